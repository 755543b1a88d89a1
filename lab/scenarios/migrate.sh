# title: a PV guest is saved, restored and migrates to the same host under load, and its data is verified
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 900
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh

# Each round writes and reads at random, then reads all that it left behind. A write of an old domain
# that landed after the first read of the new one would be found there.
STEPS='
disk xvda
for round in $(seq 100000); do
    said=$(lab-io write-verify /dev/xvda --requests 1000 --seed $round --depth 8 2>&1 &&
        lab-io verify /dev/xvda --requests 1000 --seed $round 2>&1) || { echo "$said"; exit 1; }
    echo "round $round is good"
done
'

# A guest that migrates has another name, and so another console, until it is there.
consoles() { cat "$(console "$1")" "$(console "$1--incoming")" 2>/dev/null; }
rounds() { consoles "$1" | grep -ac '^round .* is good'; }
# N more good rounds within so many seconds.
more_rounds() { local end=$(($(rounds "$1") + $2)); wait_until "$3" eval "[ \$(rounds $1) -ge $end ]"; }
unserved() {
    local pid
    ! for pid in $(halcyons); do tr '\0' ' ' <"/proc/$pid/cmdline"; done | grep -qE "domid[ =]$1 "
}
# The process that has the lock of an image.
holder() {
    local pid inode
    inode=$(stat -c %i "$1")
    for pid in $(halcyons); do
        ! grep -hq "^lock:.* WRITE .*:$inode " "/proc/$pid"/fdinfo/* 2>/dev/null || echo "$pid"
    done
}
migrate() { timeout $((120 * PATIENCE)) xl migrate -s '' "$1" 'exec xl migrate-receive'; }

expect "the daemon starts" host_start
leftovers_before

for way in $WAYS; do
    name=mover-$way
    image=$(image "$name" 48M)
    # shellcheck disable=SC2046
    guest_pv "$name" $(disk_by "$way" "$image") memory=128 steps="$STEPS" ||
        fail "$way: the guest is created" "$(tail -n 1 "$WORK/$name.xl")"
    expect "$way: the guest has a load" guest_saw "$name" '^round 1 is good' 120

    first=$(domid "$name")
    expect "$way: it is saved under load" timeout $((90 * PATIENCE)) xl save "$name" /var/lib/halcyon-lab/saved
    expect "$way: it is gone" wait_gone "$name"
    expect "$way: and so is the process that served it" wait_until 15 unserved "$first"
    expect "$way: it is restored" timeout $((90 * PATIENCE)) xl restore /var/lib/halcyon-lab/saved
    expect "$way: its load goes on" more_rounds "$name" 2 60
    rm -f /var/lib/halcyon-lab/saved

    # As a migration that is not live: the sender is saved and stays, the receiver is built beside it and
    # goes on, and only then is the sender destroyed.
    expect "$way: it is saved and stays, paused" timeout $((90 * PATIENCE)) xl save -p "$name" /var/lib/halcyon-lab/saved
    xl rename "$name" "$name-sender"
    expect "$way: it is restored beside itself" timeout $((90 * PATIENCE)) xl restore -p /var/lib/halcyon-lab/saved
    expect_equal "$way: its disk waits for the frontend" 2 "$(state_of "$name" xvda)"
    expect "$way: the sender's disk is still connected" connected "$name-sender" xvda
    expect_output "$way: the sender's process has the image" "^$(process_of "$name-sender")\$" holder "$image"
    receiver=$(process_of "$name")
    xl unpause "$name"
    expect "$way: the sender is destroyed" xl destroy "$name-sender"
    expect "$way: its load goes on with the receiver" more_rounds "$name" 2 60
    expect "$way: whose disk is connected" connected "$name" xvda
    expect_output "$way: and whose process has the image" "^$receiver\$" holder "$image"
    rm -f /var/lib/halcyon-lab/saved

    for turn in first second; do
        if ! xl info | grep -q '^virt_caps.* shadow'; then
            skip "$way: it migrates for the $turn time" "xl migrate tracks what a PV guest writes by shadow paging, \
without which this hypervisor is built"
            continue
        fi
        before=$(domid "$name")
        expect "$way: it migrates to the same host for the $turn time" migrate "$name"
        output >"$RESULTS/$name-$turn.xl"
        expect "$way: it is another domain" [ "$(domid "$name")" != "$before" ]
        expect "$way: its load goes on after that" more_rounds "$name" 2 60
        expect "$way: its disk is connected" connected "$name" xvda
    done
    expect_equal "$way: no round was bad" "" "$(consoles "$name" | grep -a '^guest steps ended\|^lab-io:')"
    xl destroy "$name"
    wait_gone "$name"
done

expect_no_leftovers "the guests leave nothing"
expect "the daemon stops" host_stop
