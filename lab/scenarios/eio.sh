# title: a disk whose storage fails in one place gives the guest an I/O error there, and nothing else
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 300
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon
# needs: example halcyon faulty_disk

. /payload/files/ways.sh

# The shipped binary cannot be made to fail, so faulty_disk serves these guests, started by hand: it is
# the same process with a decorator over each disk. One page fails, 16 MiB from the start.
SECTOR=32768
PAGE=$((SECTOR / 8))
STEPS="
disk xvda; disk xvdb
try() { why=\$(\"\$@\" 2>&1); echo \"\$what gave \$? \$(echo \"\$why\" | grep -o 'I/O error\|Input/output error')\"; }
what='the write of the bad page' try dd if=/dev/zero of=/dev/xvda bs=4096 seek=$PAGE count=1 oflag=direct
what='the read of the bad page' try dd if=/dev/xvda of=/dev/null bs=4096 skip=$PAGE count=1 iflag=direct
what='the page before' try dd if=/dev/xvda of=/dev/null bs=4096 skip=$((PAGE - 1)) count=1 iflag=direct
what='the page after' try dd if=/dev/zero of=/dev/xvda bs=4096 seek=$((PAGE + 1)) count=1 oflag=direct
what='a load beside it' try lab-io write-verify /dev/xvda --range 0..$((SECTOR * 512)) --requests 2000 --seed 1
what='a load on another disk' try lab-io write-verify /dev/xvdb --requests 2000 --seed 2
lab-io rate /dev/xvda seq 65536 4 2 write >/dev/null 2>&1
what='a load beside it, after a load across it' try lab-io verify /dev/xvdb --requests 2000 --seed 2
dmesg | grep 'error.*xvda' | head -n 1
"

script_in_place
# Made by the first process that needs it, and stays.
mkdir -p /run/halcyon
leftovers_before

for way in $WAYS; do
    [ "$way" != qdisk ] || continue
    name=faulty-$way
    guest_config pv "$name" memory=128 steps="$STEPS"
    expect "$way: a guest without disks is created" xl create -p "$WORK/$name.cfg"
    id=$(domid "$name")
    HALCYON_FAULT="io $SECTOR-$((SECTOR + 7))" faulty_disk --platform linux vm --domid "$id" \
        >"$RESULTS/$name.log" 2>&1 &
    pid=$!
    wait_until 20 grep -q "serving domain $id" "$RESULTS/$name.log"
    expect "$way: a disk is attached" xl block-attach "$name" "$(disk_spec "$way" "$(image "$name-a" 48M)" xvda)"
    expect "$way: another is attached" xl block-attach "$name" "$(disk_spec "$way" "$(image "$name-b" 12M)" xvdb)"
    xl unpause "$name"
    expect "$way: the guest ends by itself" wait_for "$name" '^guest steps ended 0' 120
    said() { expect_output "$way: $1" "$2" cat "$(console "$name")"; }
    said "a write where the storage fails is an I/O error" '^the write of the bad page gave 1 (I/O|Input/output) error'
    said "so is a read" '^the read of the bad page gave 1 (I/O|Input/output) error'
    said "the page before it is read" '^the page before gave 0 '
    said "the page after it is written" '^the page after gave 0 '
    said "a verified load beside it" '^a load beside it gave 0 '
    said "a verified load on another disk" '^a load on another disk gave 0 '
    said "all is still there after a load across it" '^a load beside it, after a load across it gave 0 '
    said "the guest's kernel names the sector" "error, dev xvda, sector $SECTOR "
    expect_output "$way: the operator is told, once for many" 'request failed: storage failed: Input/output error' \
        cat "$RESULTS/$name.log"
    # However many requests fail: one line, and one more for each interval (blkback/src/stats.rs).
    expect "$way: in a few lines" test "$(grep -c 'storage failed' "$RESULTS/$name.log")" -le 3
    wait_gone "$name"
    expect "$way: the process ends well" wait "$pid"
done

expect_no_leftovers "the guests leave nothing"
