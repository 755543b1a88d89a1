# title: ten idle guests cost no context switch in 30 s, and every process of ours is one task
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 600
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh

# What every task of every process of ours has switched so far; a task that comes or goes is a line.
ledger() {
    local task
    for task in $(halcyons | sed 's|.*|/proc/&/task/*|'); do
        awk -v task="${task#/proc/}" -v name="$(tr '\0' ' ' <"/proc/${task#/proc/*/task/}/cmdline" | head -c 60)" \
            '/ctxt_switches/ { sum += $2 } END { print task, sum, name }' "$task/status"
    done
}

expect "the daemon starts" host_start
leftovers_before

# The first event has happened when they are idle: the disk was found, read and written to.
for number in 0 1 2 3 4 5 6 7 8 9; do
    # shellcheck disable=SC2086
    set -- $WAYS
    shift $((number % $#))
    # shellcheck disable=SC2046
    guest_pv "idle-$number" $(disk_by "$1" "$(image "idle-$number" 16M)") memory=112 \
        steps='disk xvda && lab-io write-verify /dev/xvda --requests 200 --seed 1 && echo "guest idles" && idle' ||
        fail "idle-$number is created" "$(tail -n 1 "$WORK/idle-$number.xl")"
done
for number in 0 1 2 3 4 5 6 7 8 9; do
    expect "guest $number has used its disk and idles" guest_saw "idle-$number" '^guest idles' 120
done

# A process cools down for at most 2 s after its last request; xl and xenstore have long been quiet.
sleep 5
ledger >"$RESULTS/before"
sleep 30
ledger >"$RESULTS/after"
expect_equal "no task of ours was switched to in 30 s" "" "$(diff "$RESULTS/before" "$RESULTS/after" | grep '^[<>]' | tr '\n' ';')"
expect_equal "eleven processes: one for each guest, and the daemon" 11 "$(halcyons | wc -l)"
expect_equal "and each is one task" 11 "$(wc -l <"$RESULTS/after")"
for pid in $(halcyons); do
    echo "$pid $(tr '\0' ' ' <"/proc/$pid/cmdline") $(awk '/^(Pss|Private)/ { printf "%s %s kB ", $1, $2 }' "/proc/$pid/smaps_rollup")"
done >"$RESULTS/memory"
note "largest private memory: $(awk '{ for (i = 1; i < NF; i++) if ($i ~ /^Private_(Clean|Dirty):/) sum[$1] += $(i + 1) } END { for (pid in sum) if (sum[pid] > most) most = sum[pid]; print most }' "$RESULTS/memory") kB"

for number in 0 1 2 3 4 5 6 7 8 9; do xl destroy "idle-$number"; done
expect_no_leftovers "the guests leave nothing"
expect "the daemon stops" host_stop
