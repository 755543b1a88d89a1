# title: PV and PVH guests with ext4 as root on our disk: mkfs, checksummed load, reboot, verified, clean
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 900
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh
REQUESTS=20000

# A reboot without unmounting: the journal has to carry it. What the load wrote was flushed. Most of it
# goes over blocks that are there, a quarter into holes: those are dear, each one a transaction.
steps() {
    cat <<STEPS
load="/data --seed $1 --requests $REQUESTS --depth 32"
if [ ! -e /loaded ]; then
    dd if=/dev/zero of=/data bs=1M count=36 oflag=direct 2>/dev/null
    lab-io write-verify \$load --size 48M || exit
    touch /loaded
    sync
    echo "guest reboots"
    reboot -f
fi
lab-io verify \$load
STEPS
}

expect "the daemon starts" host_start
leftovers_before

# One guest at a time: libxl waits 10 s for a disk, however busy the machine is.
seed=0
for type in pv pvh; do
    for way in $WAYS; do
        name=$type-$way
        seed=$((seed + 1))
        file=$(image "$name" 96M)
        # shellcheck disable=SC2046
        "guest_$type" "$name" $(disk_by "$way" "$file") memory=160 on_reboot=restart extra=lab.root=/dev/xvda steps="$(steps $seed)" ||
            fail "$name is created" "$(tail -n 1 "$WORK/$name.xl")"
        expect "$name: $REQUESTS checksummed requests" guest_saw "$name" "^write-verify .* requests=$REQUESTS .* ok" 200
        note "$name: $(guest_line "$name" '^write-verify ')"
        expect "$name: all of it is there after the reboot" guest_done "$name" 100
        expect "$name: it rebooted" wait_for "$name" '^guest up ' 1 2
        expect "$name: it powers off" wait_gone "$name" 60
        expect "$name: its file system is clean" e2fsck -fn "$file"
    done
done

expect_no_leftovers "the guests leave nothing"
expect "the daemon stops" host_stop
