# title: kill -9 of a guest's process during its I/O harms that disk alone, which comes back when re-attached
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 600
# modules: null_blk
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh

# A disk that takes its time: a request is answered 3 s after it came; after 5 s the kernel gives it up. The guest gets it as a partition,
# in which its kernel looks for no others.
slow_disk() {
    local dir=/sys/kernel/config/nullb/$1
    mkdir -p "$dir"
    for setting in size=8 memory_backed=1 irqmode=2 completion_nsec=3000000000 blocksize=512; do
        echo "${setting#*=}" >"$dir/${setting%%=*}"
    done
    echo 1 >"$dir/power"
    echo "/dev/$1"
}
# place_of FILE: its device and inode, as /proc/locks has them. locked PLACE: whether anybody holds an
# open-file-description lock there; forks nothing, for there is little time between a death and a landing.
place_of() { local dev inode; read -r dev inode <<<"$(stat -c '%d %i' "$1")"; printf '%02x:%02x:%d' $((dev >> 8)) $((dev & 255)) "$inode"; }
locked() { [[ $(</proc/locks) =~ OFDLCK[^$'\n']*" $1 " ]]; }
unlocked() { ! locked "$1"; }
# How many writes a disk has ended, and whether any are under way: after the former has grown, the
# guest's next ones have just begun when the latter holds.
written() { local -a fields; read -ra fields <"/sys/block/${1#/dev/}/stat"; echo "${fields[4]}"; }
writes_under_way() { local reads writes; read -r reads writes <"/sys/block/${1#/dev/}/inflight"; [ "$writes" -gt 0 ]; }
wrote_more() { [ "$(written "$1")" -gt "$2" ]; }
# In few requests, for each takes its time.
sum_of() { dd if="$1" bs=8M iflag=direct 2>/dev/null | sha256sum; }
serving() { local pid; pid=$(process_of "$1" | head -n 1) && [ -n "$pid" ] && echo "$pid"; }

mount -t configfs configfs /sys/kernel/config 2>/dev/null
expect "the daemon starts" host_start
leftovers_before

for way in $WAYS; do
    name=victim-$way
    other=bystander-$way
    disk=$(slow_disk "slow-$way")
    # shellcheck disable=SC2046
    guest_pv "$name" $(disk_by "$way" "$disk" xvda1) memory=128 on_reboot=restart steps='
        disk xvda1
        dd if=/dev/xvda1 of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null && echo "guest reads its disk"
        lab-io rate /dev/xvda1 seq 65536 8 1000 write &
        while sleep 1; do echo "guest is alive"; done' || fail "$name is created" "$(tail -n 1 "$WORK/$name.xl")"
    # shellcheck disable=SC2046
    guest_pv "$other" $(disk_by "$way" "$(image "$other" 48M)") memory=128 steps='
        disk xvda
        while lab-io write-verify /dev/xvda --requests 300 --seed 1; do :; done' || fail "$other is created" "$(tail -n 1 "$WORK/$other.xl")"
    expect "$way: the guest writes" guest_saw "$name" '^guest is alive' 120
    expect "$way: so does another" guest_saw "$other" '^write-verify .* ok' 120
    place=$(place_of "$disk")
    expect "$way: the image is locked" wait_until 30 locked "$place"

    victim=$(serving "$name")
    [ "$way" = qdisk ] || lines=$(wc -l <"$RESULTS/host.log")
    wait_until 30 wrote_more "$disk" "$(written "$disk")"
    wait_until 5 writes_under_way "$disk"
    kill -KILL "$victim"
    wait_until 5 test ! -e "/proc/$victim/exe"
    expect "$way: the image's lock outlives the process, for writes are under way" locked "$place"
    expect "$way: and goes when the last one has landed" wait_until 30 unlocked "$place"
    sum=$(sum_of "$disk")
    alive=$(grep -ac '^guest is alive' "$(console "$name")")
    ended=$(grep -ac '^write-verify .* ok' "$(console "$other")")
    expect "$way: the guest lives on" wait_for "$name" '^guest is alive' 30 $((alive + 3))
    expect "$way: so does the other guest's load" wait_for "$other" '^write-verify .* ok' 60 $((ended + 2))
    expect_equal "$way: nothing was written after the lock had gone" "$sum" "$(sum_of "$disk")"
    expect_equal "$way: nobody serves the disk again by himself" "" "$(serving "$name")"
    [ "$way" = qdisk ] ||
        expect_equal "$way: one line of the daemon's says so" 1 "$(tail -n "+$((lines + 1))" "$RESULTS/host.log" | grep -c "/$(domid "$name")/\| $(domid "$name")[: ,]")"

    if [ "$way" != qdisk ]; then
        file=$(image "$name-again" 16M)
        expect "$way: a disk attached now is served" xl block-attach "$name" "$(disk_spec "$way" "$file" xvdb)"
        expect "$way: by a new process" wait_until 30 connected "$name" xvdb
    fi
    expect "$way: xl reboots the guest" xl reboot "$name"
    expect "$way: which then has its disk again" wait_for "$name" '^guest reads its disk' 120 2
    expect "$way: served by one new process" wait_until 30 serving "$name"
    expect "$way: xl destroys the guest" xl destroy "$name"
    xl destroy "$other"
    wait_gone "$name"
    wait_gone "$other"
done

expect_no_leftovers "killed and destroyed guests leave nothing"
expect "the daemon stops" host_stop
