# title: create, reboot, shut down, destroy, attach, detach and list by xl, for guests of the host daemon
# stacks: xen-4.17 xen-4.20
# set: quick
# timeout: 420
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh

alone() { [ "$(halcyons)" = "$(cat "$WORK/host.pid")" ]; }

expect "the daemon starts" host_start
leftovers_before
for way in $WAYS; do
    [ "$way" != qdisk ] || continue
    name=life-$way
    # shellcheck disable=SC2046
    guest_pv "$name" $(disk_by "$way" "$(image "$name" 16M)") memory=128 on_reboot=restart steps='
        disk xvda && lab-io write-verify /dev/xvda --requests 100 --seed 1 && echo "guest idles" && idle' ||
        fail "$name is created" "$(tail -n 1 "$WORK/$name.xl")"
    expect "$way: the guest uses its disk" guest_saw "$name" '^guest idles' 120
    expect_equal "$way: it has one process" 1 "$(process_of "$name" | wc -l)"
    first=$(domid "$name")

    expect "$way: a second disk is attached" xl block-attach "$name" "$(disk_spec "$way" "$(image "$name-b" 16M)" xvdb)"
    expect "$way: it connects" wait_until 30 connected "$name" xvdb
    expect_equal "$way: by the same process" 1 "$(process_of "$name" | wc -l)"
    expect_output "$way: xl lists it" '^51728 .* 4 ' xl block-list "$name"
    expect "$way: it is detached" xl block-detach "$name" xvdb
    expect_fails "$way: and is listed no more" eval "xl block-list $name | grep ^51728"

    expect "$way: xl reboots the guest" xl reboot -F "$name"
    expect "$way: it comes up under another number" wait_until 60 eval "[ \"\$(domid $name)\" -gt $first ]"
    expect "$way: and uses its disk" wait_for "$name" '^guest idles' 120 2
    expect "$way: with one process" wait_until 15 eval "[ \$(process_of $name | wc -l) = 1 ] && [ \$(halcyons | wc -l) = 2 ]"
    expect "$way: xl shuts it down" xl shutdown -F "$name"
    expect "$way: it goes" wait_gone "$name" 60
    expect "$way: and its process" wait_until 15 alone

    # shellcheck disable=SC2046
    guest_pv "$name" $(disk_by "$way" "/var/lib/halcyon-lab/$name.img") memory=128 steps='
        disk xvda; while lab-io write-verify /dev/xvda --requests 100 --seed 1; do :; done'
    expect "$way: a guest in the middle of its I/O" guest_saw "$name" '^write-verify .* ok' 120
    expect "$way: xl destroys it" xl destroy "$name"
    expect "$way: its process goes" wait_until 15 alone
done
expect_no_leftovers "nothing is left"
expect "the daemon stops" host_stop
