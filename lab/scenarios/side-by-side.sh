# title: one image served to one guest in turn by xen-blkback, qemu's qdisk and halcyon, side by side
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 1200
# disk: 512M
# modules: xen-blkback loop
# processors: 2
# needs: bin benches halcyon-bench
#
# The image is a file on ext4 on a virtio disk of the machine, written once, so that all overwrite in
# place. xen-blkback reaches it past the page cache, through a loop device with direct I/O, and halcyon
# past the page cache as always. Debian's qemu can do no more than the page cache and a pool of threads:
# it is built without native AIO, and direct-io-safe asks for that.
# Times under emulation say little by themselves; what is printed are ratios of runs beside each other.
# The guest says "ready" before each run and waits for an answer; nobody polls meanwhile.

rounds=3
seconds=1.5

cat >"$WORK/steps" <<STEPS
exec </dev/hvc0
turn=0
run() { echo "ready \$*"; read -r go; lab-io rate /dev/xvdb rand \$2 \$3 $seconds \$4; }
load() { lab-io "\$1" /dev/xvdb --requests 100 --seed \$turn --range 0..16M; }
while :; do
    until [ -b /dev/xvdb ]; do sleep 0.3; done
    [ \$turn = 0 ] || load verify
    for bytes in 4096 45056; do
        for depth in 1 32; do
            run read \$bytes \$depth
            run write \$bytes \$depth write
        done
    done
    turn=\$((turn + 1))
    load write-verify
    echo "turn \$turn over"
    while [ -b /dev/xvdb ]; do sleep 0.3; done
    echo "turn \$turn gone"
done
STEPS

mkfs.ext4 -q /dev/vdb
mkdir "$WORK/ext4"
mount /dev/vdb "$WORK/ext4"
image=$WORK/ext4/image
dd if=/dev/zero of="$image" bs=1M count=128 conv=fsync 2>/dev/null
# qemu runs for a PV guest only if it had such a disk from the start.
truncate -s 1M "$WORK/first"
guest_config pv bench disk="format=raw,vdev=xvda,access=rw,backendtype=qdisk,target=$WORK/first" \
    steps="$(cat "$WORK/steps")"
guest_create bench
expect "the guest is up" guest_up bench 200
guest=$(domid bench)
devid=$((202 << 8 | 16))
exec 5<>"$(xenstore-read "/local/domain/$guest/console/tty")"

# BACKENDS: attach_X and detach_X; server_X: the process that serves.
# The loop device is there for its turn alone: halcyon refuses an image that somebody else has attached.
attach_blkback() {
    loop=$(losetup --find --show --direct-io=on "$image") &&
        xl block-attach bench "format=raw,vdev=xvdb,access=rw,backendtype=phy,target=$loop"
}
attach_qemu() { xl block-attach bench "format=raw,vdev=xvdb,access=rw,backendtype=qdisk,target=$image"; }
detach_blkback() { xl block-detach bench xvdb && losetup -d "$loop"; }
detach_qemu() { xl block-detach bench xvdb; }
server_blkback() { :; }
server_qemu() { { process_of bench qemu-system-i386; process_of bench xen-qemu-system-i386; } | head -n 1; }
server_halcyon() { echo "$halcyon"; }

# By hand, in kind vbd3, as libxl writes it for backendtype=tap: the other kinds are taken in this boot,
# and libxl knows that one from 4.19 only.
back=/local/domain/0/backend/vbd3/$guest/$devid
front=/local/domain/$guest/device/vbd/$devid
attach_halcyon() {
    halcyon vm --domid "$guest" --kind vbd3 >"$RESULTS/halcyon.log" 2>&1 &
    halcyon=$!
    xenstore-write "$front" ""
    xenstore-chmod "$front" "n$guest" r0
    xenstore-write "$back" ""
    xenstore-chmod "$back" n0 "r$guest"
    xenstore-write "$front/backend" "$back" "$front/backend-id" 0 "$front/virtual-device" "$devid" \
        "$front/device-type" disk "$front/state" 1
    xenstore-write "$back/frontend" "$front" "$back/frontend-id" "$guest" "$back/params" "raw:$image" \
        "$back/online" 1 "$back/removable" 1 "$back/bootable" 1 "$back/dev" xvdb "$back/type" vbd3 \
        "$back/mode" w "$back/device-type" disk "$back/discard-enable" 0 "$back/state" 1
}
closed() { [ "$(xenstore-read "$back/state")" = 6 ]; }
detach_halcyon() {
    xenstore-write "$back/online" 0 "$back/state" 5
    wait_until 20 closed
    xenstore-rm "$back"
    xenstore-rm "$front"
    xenstore-rm "/local/domain/0/backend/vbd3/$guest"
    kill "$halcyon"
    wait "$halcyon"
}

# The control domain's busy time so far in 1/100 s, in $busy. Not with `read`: bash gives it what is left of
# the console.
busy() {
    local stat numbers='^cpu +([0-9]+) ([0-9]+) ([0-9]+) [0-9]+ [0-9]+ ([0-9]+) ([0-9]+) '
    stat=$(</proc/stat)
    [[ $stat =~ $numbers ]] || return
    busy=$((BASH_REMATCH[1] + BASH_REMATCH[2] + BASH_REMATCH[3] + BASH_REMATCH[4] + BASH_REMATCH[5]))
}

syscalls=/sys/kernel/tracing/events/raw_syscalls/sys_enter
# calls_of PID: system calls of its tasks since the histogram was cleared, in all and by name.
calls_of() {
    local tasks
    [ -n "$1" ] || { echo 0 -; return; }
    tasks=$(ls "/proc/$1/task" | tr '\n' ' ')
    awk -v tasks=" $tasks" '
        { sub(",", "", $3) }
        $1 == "{" && index(tasks, " " $3 " ") { sum += $NF; sub("sys_", "", $5); names[$5] += $NF }
        END {
            for (name in names) list = list (list == "" ? "" : ",") name "=" names[name]
            print sum + 0, list == "" ? "-" : list
        }' $syscalls/hist
}

# turn BACKEND ROUND: follows the guest until it is done with the disk. Round 0 counts calls instead.
turn() {
    local line what before requests iops tracer
    while IFS= read -r -t 120 -u 5 line; do
        line=${line%$'\r'}
        case $line in
            "ready "*)
                what=${line#ready }
                what=${what%write} what=${what% }
                if [ "$2" = 0 ]; then
                    echo 'hist:keys=common_pid,id.syscall:clear' >>$syscalls/trigger
                    rm -f "$WORK/trace"
                    xentrace -D -e 0x0020f000 -S 1024 -s 200 "$WORK/trace" 2>/dev/null &
                    tracer=$!
                    wait_until 10 [ -s "$WORK/trace" ]
                fi
                busy
                before=$busy
                echo go >&5
                ;;
            "rate "*)
                busy
                [[ $line =~ requests=([0-9]+) ]] && requests=${BASH_REMATCH[1]}
                [[ $line =~ iops=([0-9.]+) ]] && iops=${BASH_REMATCH[1]}
                if [ "$2" = 0 ]; then
                    kill -TERM "$tracer"
                    wait "$tracer"
                    echo "$1 $what $requests $(calls_of "$server") $(halcyon-bench hypercalls "$WORK/trace")" >>"$RESULTS/calls"
                else
                    echo "$2 $1 $what $iops $requests $((busy - before))" >>"$RESULTS/times"
                fi
                ;;
            "verify "* | "write-verify "*) echo "$1 $2 $line" >>"$RESULTS/verified" ;;
            "lab-io: "*) fail "the guest's load goes through" "$1: $line" ;;
            "turn "*" over") return 0 ;;
        esac
    done
    fail "the guest goes through its runs" "$1: nothing said for 120 s"
    return 1
}

# serve BACKEND ROUND
serve() {
    local gone
    attach_$1 >"$WORK/attach" 2>&1 || { fail "$1 can be attached" "$(tail -n 1 "$WORK/attach")"; return 1; }
    server=$(server_$1)
    turn "$1" "$2" || return 1
    detach_$1 >>"$WORK/attach" 2>&1
    while IFS= read -r -t 60 -u 5 gone; do
        case $gone in "turn "*" gone"*) return 0 ;; esac
    done
    fail "$1 can be detached" "$(tail -n 1 "$WORK/attach")"
    return 1
}

# Round 0: each domain on a processor of its own, so that what processor 0 calls, the control domain calls.
xl vcpu-pin Domain-0 all 0
xl vcpu-pin bench all 1
echo 'hist:keys=common_pid,id.syscall' >$syscalls/trigger
for round in $(seq 0 $rounds); do
    for backend in blkback qemu halcyon; do serve $backend "$round" || break 2; done
    [ "$round" = 0 ] || continue
    echo '!hist:keys=common_pid,id.syscall' >>$syscalls/trigger
    xl vcpu-pin Domain-0 all all
    xl vcpu-pin bench all all
done
exec 5>&-

for backend in blkback qemu halcyon; do
    served=$(grep -c "^$backend .*write-verify .* ok" "$RESULTS/verified")
    expect_equal "$backend served the image in every round, and what it wrote was read back" $((rounds + 1)) "$served"
done
# Each verifies what the one before it wrote.
expect_equal "each found what the one before it had written" $((3 * (rounds + 1) - 1)) \
    "$(grep -c ' verify .* ok' "$RESULTS/verified")"

# Median and extremes of ours / theirs, of runs of the same round.
ratios() {
    awk -v theirs="$1" '
        { key = $3 " " $4 " " $5; iops[$2, key, $1] = $6; cpu[$2, key, $1] = $8 / $7; keys[key]; rounds[$1] }
        function spread(of, key,    n, r, i, j, t, v) {
            n = 0
            for (r in rounds) if (of[theirs, key, r] > 0) v[++n] = of["halcyon", key, r] / of[theirs, key, r]
            for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j] < v[j - 1]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
            return n ? sprintf("%.2f (%.2f..%.2f)", v[int((n + 1) / 2)], v[1], v[n]) : "-"
        }
        END { for (key in keys) printf "halcyon/%s %s: iops %s dom0-cpu-per-request %s\n", theirs, key, spread(iops, key), spread(cpu, key) }
    ' "$RESULTS/times" | sort
}
for theirs in blkback qemu; do ratios $theirs; done >"$RESULTS/ratios"
while IFS= read -r line; do note "$line"; done <"$RESULTS/ratios"
awk '
    function per_request(list,    n, i, pair, pairs, text) {
        n = split(list, pairs, ",")
        for (i = 1; i <= n; i++)
            if (split(pairs[i], pair, "=") == 2 && pair[2] / $5 >= 0.05) text = text sprintf(" %s %.2f", pair[1], pair[2] / $5)
        return text
    }
    {
        grants = events = 0
        for (i = 10; i <= NF; i++) { split($i, pair, "="); if (pair[1] == "grant_table_op") grants = pair[2]; if (pair[1] == "event_channel_op") events = pair[2] }
        printf "%s %s %s depth %s: per request %.2f system calls of its process (%s ), %.2f hypercalls of dom0 (%.2f grants, %.2f events)\n", \
            $1, $2, $3, $4, $6 / $5, per_request($7), $9 / $5, grants / $5, events / $5
    }' "$RESULTS/calls" >"$RESULTS/calls-per-request"
while IFS= read -r line; do note "$line"; done <"$RESULTS/calls-per-request"
