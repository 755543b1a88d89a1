# title: libxl starts, asks, reboots and ends halcyon as device model of PV and PVH guests; xentop shows the qdisk
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 400
# needs: file lab/dom0/ways.sh

. /payload/files/ways.sh

# What xentop -x says of a disk, and the guest's own counts: reads, sectors read, writes, written.
shown() {
    xentop -b -i 1 -x | tr '[]' '  ' |
        sed -n "s/.*VBD .*$1 .*RD: *\([0-9]*\) *WR: *\([0-9]*\) *RSECT: *\([0-9]*\) *WSECT: *\([0-9]*\).*/\1 \3 \2 \4/p"
}
counted() { guest_line "$1" '^counted ' | cut -d ' ' -f 2-; }
# libxenstat gives up after 10 ms, which an emulated machine needs now and then.
agrees() { [ "$(shown "$(number_of xvda)")" = "$(counted "$1")" ]; }
ended() { [ -z "$(halcyons)" ]; }

# Boots twice; counts what it did to its disk the second time; ends when told to.
STEPS='
disk xvda
if ! lab-io verify /dev/xvda --requests 500 --seed 1; then
    lab-io write-verify /dev/xvda --requests 500 --seed 1 && reboot -f
fi
dd if=/dev/xvda of=/dev/null bs=4096 count=300 iflag=direct 2>/dev/null
set -- $(cat /sys/block/xvda/stat)
echo "counted $1 $3 $5 $7"
idle'

leftovers_before
for type in pv pvh; do
    name=life-$type
    # shellcheck disable=SC2046
    "guest_$type" "$name" $(disk_by qdisk "$(image "$name" 48M)") memory=128 on_reboot=restart steps="$STEPS" ||
        fail "$name is created" "$(tail -n 1 "$WORK/$name.xl")"
    expect "$type: it reads after its reboot what it wrote before" guest_saw "$name" '^counted ' 180
    id=$(domid "$name")
    expect_equal "$type: the node that libxl waits for" running "$(xenstore-read "/local/domain/0/device-model/$id/state")"
    expect_equal "$type: libxl knows the process" "$(xenstore-read "/local/domain/$id/image/device-model-pid")" "$(process_of "$name")"
    expect "$type: xentop shows what the guest counted" wait_until 30 agrees "$name"
    note "$type: reads, sectors, writes, sectors: $(counted "$name"); xentop: $(shown "$(number_of xvda)")"
    expect_output "$type: xl block-list shows the disk connected" ' 4 ' xl block-list "$name"

    image "$name-b" 16M >/dev/null
    expect "$type: a disk is attached" xl block-attach "$name" "$(disk_spec qdisk "/var/lib/halcyon-lab/$name-b.img" xvdb)"
    expect "$type: and connects" wait_until 20 connected "$name" xvdb
    expect "$type: it is detached" xl block-detach "$name" xvdb
    expect "$type: so is the last disk" xl block-detach "$name" xvda
    expect "$type: the process stays for the next one" kill -0 "$(process_of "$name")"
    expect "$type: which connects" xl block-attach "$name" "$(disk_spec qdisk "/var/lib/halcyon-lab/$name.img" xvda)"
    wait_until 20 connected "$name" xvda

    process=$(process_of "$name")
    before=$(switches "$process")
    sleep 10
    expect_equal "$type: at rest with its monitors open nothing runs" "$before" "$(switches "$process")"
    expect_equal "$type: in one task" 1 "$(tasks "$process")"

    expect "$type: xl destroys it" xl destroy "$name"
    expect "$type: the process ends" wait_until 10 ended
    expect_fails "$type: without an error" grep -iE 'error|failed|panicked' "/var/log/xen/qemu-dm-$name.log"
done
expect "the sockets are gone" eval '! ls /run/xen/qmp-* 2>/dev/null'
expect_no_leftovers "the guests leave nothing"
