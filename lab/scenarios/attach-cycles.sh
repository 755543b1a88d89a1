# title: fifty attach and detach cycles leave xenstore, event channels and grants as they were
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 1200
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh
CYCLES=50

# One cycle: the guest connects, reads the partition table, and lets go.
cycle() {
    xl block-attach "$1" "$(disk_spec "$2" "$3" xvdb)" >>"$WORK/$1.cycles" 2>&1 &&
        wait_until 30 connected "$1" xvdb &&
        xl block-detach "$1" xvdb >>"$WORK/$1.cycles" 2>&1 &&
        wait_until 30 none "$1" xvdb
}
none() { ! xenstore-exists "$(frontend_of "$1" "$2")" && ! xenstore-exists "/libxl/$(domid "$1")/device/vbd/$(number_of "$2")"; }

expect "the daemon starts" host_start
for way in $WAYS; do
    name=cycles-$way
    # The disk that stays keeps the process, whose every cycle then has to clean up after itself.
    # shellcheck disable=SC2046
    guest_pv "$name" $(disk_by "$way" "$(image "$name" 16M)") memory=128 steps='disk xvda && echo "guest idles" && idle' ||
        fail "$name is created" "$(tail -n 1 "$WORK/$name.xl")"
    image "$name-b" 16M >/dev/null
done
for way in $WAYS; do
    expect "$way: the guest has its first disk" guest_saw "cycles-$way" '^guest idles' 120
    expect "$way: a first cycle" cycle "cycles-$way" "$way" "/var/lib/halcyon-lab/cycles-$way-b.img"
done

leftovers_before
for way in $WAYS; do
    through=0
    while [ $through -lt $CYCLES ] && cycle "cycles-$way" "$way" "/var/lib/halcyon-lab/cycles-$way-b.img"; do
        through=$((through + 1))
    done
    expect_equal "$way: all $CYCLES cycles went through" "$CYCLES" "$through"
done
expect_no_leftovers "xenstore, event channels, grants and processes are as before"

for way in $WAYS; do xl destroy "cycles-$way"; done
expect "the daemon stops" host_stop
