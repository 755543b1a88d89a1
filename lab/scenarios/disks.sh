# title: three disks under load, one of them detached and attached again; a read-only one refuses writes
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 600
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh

# xvda: a verified load from start to end. xvdb: cut off in the middle, then there again with another.
# xvdc: read-only, read all the time; where the file says it is.
STEPS='
for name in xvda xvdb xvdc; do disk $name || exit; done
echo "xvdc is read-only: $(cat /sys/block/xvdc/ro)"
lab-io rate /dev/xvdc rand 4096 1 1 write
(
    lab-io write-verify /dev/xvda --requests 12000 --seed 1 --depth 8 &&
        lab-io verify /dev/xvda --requests 12000 --seed 1
    echo "load a gave $?"
) &
(
    lab-io rate /dev/xvdb rand 4096 8 600 write
    echo "load b was cut off"
    while [ -b /dev/xvdb ]; do sleep 0.1; done
    echo "xvdb is gone"
    while ! [ -b /dev/xvdb ]; do sleep 0.1; done
    lab-io write-verify /dev/xvdb --requests 3000 --seed 2 && lab-io verify /dev/xvdb --requests 3000 --seed 2
    echo "load b gave $?"
) &
(
    lab-io rate /dev/xvdc rand 4096 4 20
    echo "load c gave $?"
) &
wait
'

expect "the daemon starts" host_start
leftovers_before

for way in $WAYS; do
    name=disks-$way
    for disk in a b c; do image "$name-$disk" 48M >/dev/null; done
    images=/var/lib/halcyon-lab/$name
    head -c 1048576 /dev/urandom | dd of="$images-c.img" conv=notrunc status=none
    sum=$(sha256sum <"$images-c.img")
    # shellcheck disable=SC2046
    guest_pv "$name" $(disk_by "$way" "$images-a.img" xvda) $(disk_by "$way" "$images-b.img" xvdb) \
        $(disk_by "$way" "$images-c.img" xvdc r) memory=128 steps="$STEPS" || fail "$name is created" "$(tail -n 1 "$WORK/$name.xl")"
    expect "$way: the guest has three disks" guest_saw "$name" '^xvdc is read-only: 1' 120
    expect "$way: the guest's kernel refuses to write to the read-only one" wait_for "$name" '^lab-io: (opening|writing .* of) /dev/xvdc: ' 60
    expect "$way: xl detaches the second one under load" xl block-detach "$name" xvdb
    expect "$way: its load ends with an I/O error" wait_for "$name" '^lab-io: writing .* of /dev/xvdb: ' 60
    expect "$way: it is gone from the guest" wait_for "$name" '^xvdb is gone' 60
    expect "$way: xl attaches it again" xl block-attach "$name" "$(disk_spec "$way" "$images-b.img" xvdb)"
    expect "$way: a verified load on it" wait_for "$name" '^load b gave 0' 120
    expect "$way: the first one never noticed" wait_for "$name" '^load a gave 0' 200
    expect "$way: nor did the third" wait_for "$name" '^load c gave 0' 60
    expect "$way: the guest ends" guest_done "$name"
    wait_gone "$name"
    expect_equal "$way: the read-only image is as it was" "$sum" "$(sha256sum <"$images-c.img")"
done

expect_no_leftovers "the guests leave nothing"
expect "the daemon stops" host_stop
