# title: a guest is saved, restored and migrates to the same host under load, and its data is verified
# stacks: xen-4.17 xen-4.20
# set: quick
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
migrate() { timeout $((120 * PATIENCE)) xl migrate -s '' "$1" 'exec xl migrate-receive'; }

expect "the daemon starts" host_start
leftovers_before

# mover TYPE WAY NAME: a guest with a load.
mover() {
    # shellcheck disable=SC2046
    "guest_$1" "$3" $(disk_by "$2" "$(image "$3" 48M)") memory=128 steps="$STEPS" ||
        fail "$2: the guest is created" "$(tail -n 1 "$WORK/$3.xl")"
    expect "$2: a $1 guest has a load" guest_saw "$3" '^round 1 is good' 120
}

# Live migration needs to know what a guest writes to: of a PV guest by shadow page tables alone.
mover=pv
if ! xl info | grep -q '^virt_caps.* shadow'; then
    mover=pvh
    skip "a PV guest migrates" "this hypervisor is built without shadow paging (virt_caps of xl info)"
fi

for way in $WAYS; do
    name=mover-$way
    mover pv "$way" "$name"
    first=$(domid "$name")
    expect "$way: it is saved under load" timeout $((90 * PATIENCE)) xl save "$name" /var/lib/halcyon-lab/saved
    expect "$way: it is gone" wait_gone "$name"
    expect "$way: and so is the process that served it" wait_until 15 unserved "$first"
    expect "$way: it is restored" timeout $((90 * PATIENCE)) xl restore /var/lib/halcyon-lab/saved
    expect "$way: its load goes on" more_rounds "$name" 2 60
    rm -f /var/lib/halcyon-lab/saved

    if [ $mover != pv ]; then
        xl destroy "$name"
        wait_gone "$name"
        name=mover-$way-$mover
        mover $mover "$way" "$name"
    fi
    for turn in first second; do
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
