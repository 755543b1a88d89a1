# title: every wake-up of the process of an idle Debian guest is attributed to its cause
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 900
# disk: debian
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh
SECONDS_IDLE=60
TRACING=/sys/kernel/tracing
WAKING=$TRACING/events/sched/sched_waking

# The kernel's own record: each waking of one of our tasks, with the stack of whoever wakes it.
trace_start() {
    echo 16384 >$TRACING/buffer_size_kb
    echo 'comm ~ "halcyon*"' >$WAKING/filter
    echo 'stacktrace if comm ~ "halcyon*"' >$WAKING/trigger
    echo >$TRACING/trace
    echo 1 >$WAKING/enable
}
trace_stop() {
    echo 0 >$WAKING/enable
    cat $TRACING/trace >"$RESULTS/trace"
    echo '!stacktrace if comm ~ "halcyon*"' >$WAKING/trigger
    echo 0 >$WAKING/filter
}

# One line for each waking of the process's first task: why.
causes() {
    awk -v pid="$1" '
        function cause() {
            if (stack ~ /evtchn_interrupt/) return "event of the guest"
            if (stack ~ /xenbus|xs_/) return "xenstore"
            if (stack ~ /blk_|bio_|virtblk|nvme|iomap/) return "disk operation that ended"
            if (stack ~ /hrtimer|run_timer|io_timeout/) return "deadline"
            if (stack ~ /eventfd/) return "answer of a helper"
            if (stack ~ /do_exit|futex|signal/) return "helper"
            return "unknown: " stack
        }
        / sched_waking: / { if (seen) print cause(); seen = ($0 ~ " pid=" pid " "); stack = "" }
        /^ => / { stack = stack " " $2 }
        END { if (seen) print cause() }' "$RESULTS/trace"
}
counted() { "$BINARY" stats --prometheus | awk -v name="halcyon_$1{" 'index($0, name) == 1 { sum += $NF } END { print sum + 0 }'; }
asleep() { awk '/^voluntary/ { print $2 }' "/proc/$1/status"; }
preempted() { awk '/^nonvoluntary/ { print $2 }' "/proc/$1/status"; }

expect "the daemon starts" host_start
leftovers_before

# What its installation would have brought up to date is no matter here, and takes minutes.
# shellcheck disable=SC2046
guest_pv debian $(disk_by vbd /dev/vdb) memory=256 \
    extra="lab.root=/dev/xvda lab.init=/sbin/init systemd.firstboot=off systemd.condition_needs_update=0" || fail "the guest is created" "$(tail -n 1 "$WORK/debian.xl")"
expect "Debian boots from our disk to its login prompt" guest_saw debian 'login: *$' 400
pid=$(process_of debian)

# Its first minutes bring what any first boot brings; that is not idleness yet.
quiet() {
    local before
    before=$(counted kicks)
    sleep 10
    [ $(($(counted kicks) - before)) -le 10 ]
}
expect "it comes to rest" wait_until 200 quiet

trace_start
before=$(asleep "$pid") forced=$(preempted "$pid")
for counter in kicks reads writes flushes; do declare "$counter=$(counted $counter)"; done
sleep $SECONDS_IDLE
slept=$(($(asleep "$pid") - before)) forced=$(($(preempted "$pid") - forced))
for counter in kicks reads writes flushes; do declare "$counter=$(($(counted $counter) - ${!counter}))"; done
trace_stop

causes "$pid" >"$RESULTS/causes"
sort "$RESULTS/causes" | uniq -c | sort -rn | while read -r times cause; do note "$times wake-ups: $cause"; done
note "in $SECONDS_IDLE s: $slept sleeps, $forced preemptions; the guest sent $kicks events for $reads reads, $writes writes, $flushes flushes"
woken() { grep -c "^$1" "$RESULTS/causes"; }
expect_equal "every sleep ended with a waking that was recorded" "$slept" "$(wc -l <"$RESULTS/causes")"
expect_equal "each has a known cause" 0 "$(woken unknown)"
# An event that comes while it is awake wakes nobody.
expect "events woke it no more often than halcyon stats counts them" test "$(woken 'event of the guest')" -le "$kicks"
expect "disk operations woke it no more often than there were requests" test "$(woken 'disk operation')" -le $((reads + writes + flushes))
expect "so did helpers and deadlines" test "$(woken 'answer of a helper\|helper\|deadline')" -le $((2 * (reads + writes + flushes)))
expect_equal "one task when all is done" 1 "$(wait_until 10 eval '[ "$(tasks '"$pid"')" = 1 ]'; tasks "$pid")"

xl destroy debian
expect_no_leftovers "the guest leaves nothing"
expect "the daemon stops" host_stop
