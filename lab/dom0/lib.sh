# The verbs of scenarios. Sourced before each; runs in the control domain, in bash.
#
# EXPECTATIONS: each prints and records one line: ok CLAIM / not ok CLAIM: WHY / skipped CLAIM: REASON.
# A claim is a sentence about what was seen. A scenario goes on after one that does not hold.
#   expect CLAIM COMMAND...              the command succeeds; else its last line of output is the why
#   expect_fails CLAIM COMMAND...        the command fails
#   expect_output CLAIM REGEX COMMAND... the command succeeds and some line it prints matches
#   expect_equal CLAIM WANTED GOT        two texts are the same
#   pass CLAIM, fail CLAIM WHY           what the scenario judged itself
#   skip CLAIM REASON                    cannot be seen here; says why
#   note TEXT...                         a measurement for the summary, never judged
#   output                               what the last expect* command printed
#
# GUESTS: NAME is the guest's. Its console: $(console NAME). Its xl.cfg: $WORK/NAME.cfg.
#   guest_pv NAME [OPTION...] [<<STEPS]  writes a PV guest's xl.cfg and creates it: xl create's status,
#   guest_pvh NAME [OPTION...] [<<STEPS]   its output in $WORK/NAME.xl. The same for PVH
#       disk=SPEC, vif=SPEC     one more of xl.cfg's list (repeatable), e.g.
#                               disk=format=raw,vdev=xvda,access=rw,backendtype=qdisk,target=/tmp/a.img
#       steps=TEXT              what the guest's shell runs after boot; a here-document is the same.
#                               Then the guest powers off. None: it powers off at once. Its own verbs:
#                               stand in guest/init; lab-io and busybox are there
#       extra=WORDS             more of the kernel's command line
#       line=TEXT               one more line of xl.cfg as it is
#       KEY=VALUE               any other xl.cfg key; memory=256 vcpus=1 on_reboot=destroy ... stand before
#     In a `while read` loop give it </dev/null, or it takes the loop's input for steps.
#   guest_config pv|pvh NAME [OPTION...] [<<STEPS]   the xl.cfg only
#   guest_create NAME                    creates (again) from $WORK/NAME.cfg
#   guest_up NAME [SECONDS]              waits until its init runs (180)
#   guest_done NAME [SECONDS]            waits until its steps have ended: succeeds if they did (300)
#   guest_saw NAME PATTERN SECONDS       waits until its console shows the pattern (grep -a -E)
#     These three create the guest again, up to 3 times, if the emulator killed it: with a triple fault,
#     which `xl dmesg` shows, or with flags that no processor has. Each is counted in the summary.
#   guest_shutdown NAME [SECONDS]        destroys it if it does not go by itself (60)
#   guest_line NAME PATTERN              the last console line that matches
#   console NAME                         path of its console's log
#
# WAITING: nothing sleeps for a fixed time; the status tells whether it came in time.
#   wait_until SECONDS COMMAND...        until the command succeeds
#   wait_for NAME PATTERN SECONDS [N]    until N lines (1) of the console match; no repetition
#   wait_gone NAME [SECONDS]             until the domain is gone (60)
#
# PROCESSES AND LEFTOVERS
#   domid NAME                           its domain number
#   process_of NAME [PROGRAM]            pids of PROGRAM (halcyon) whose arguments name the domain
#   switches PID...                      context switches of all tasks of these processes so far
#   tasks PID...                         how many tasks they have
#   ticks PID...                         their CPU time so far, in 1/100 s
#   leftovers                            prints what must not change: the xenstore tree, event-channel rows of
#                                        /proc/interrupts, grants in use, our processes, /run/halcyon
#   leftovers_before                     remembers that
#   expect_no_leftovers CLAIM [SECONDS]  it is the same again, at the latest after so long (30)
#
# GIVEN: $STACK (xen-4.17), $XEN_VERSION, $WORK (empty directory in memory), $RESULTS (kept on the host),
# /payload/bin (test binaries and examples asked for, in PATH), /payload/files (repository files asked
# for), halcyon and lab-io in /usr/local/bin, /dev/vdb... (scratch disks asked for).
# Every number of seconds here is multiplied by $PATIENCE, which `lab test --patience` sets.
source /etc/lab-environment
PATIENCE=$(cat /payload/patience 2>/dev/null || echo 1)

record() { printf '%s\n' "$1" >>"$RESULTS/results"; printf '%s\n' "$1"; }
# A claim with line breaks would be taken apart by whoever reads the lines.
one_line() { printf '%s' "$*" | tr '\n\r' '  '; }
pass() { record "ok $(one_line "$1")"; }
fail() { record "not ok $(one_line "$1"): $(one_line "${@:2}")"; }
skip() { record "skipped $(one_line "$1"): $(one_line "${@:2}")"; }
note() { record "note $(one_line "$@")"; }
output() { cat "$WORK/.output"; }
# What the last one printed is there until this one has ended: the command may be `output` itself.
attempt() {
    local status
    "$@" >"$WORK/.printed" 2>&1
    status=$?
    mv "$WORK/.printed" "$WORK/.output"
    return $status
}
last_line() { grep -v '^[[:space:]]*$' "$WORK/.output" | tail -n 1; }

expect() {
    local claim=$1 status
    shift
    attempt "$@"
    status=$?
    if [ $status = 0 ]; then pass "$claim"; else fail "$claim" "$1 gave $status: $(last_line)"; fi
    return $status
}

expect_fails() {
    local claim=$1
    shift
    if attempt "$@"; then fail "$claim" "$1 succeeded: $(last_line)"; else pass "$claim"; fi
}

expect_output() {
    local claim=$1 pattern=$2
    shift 2
    if ! attempt "$@"; then
        fail "$claim" "$1 failed: $(last_line)"
    elif grep -aqE -e "$pattern" "$WORK/.output"; then
        pass "$claim"
    else
        fail "$claim" "$1 printed nothing like $pattern: $(last_line)"
    fi
}

expect_equal() {
    if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "wanted '$2', got '$3'"; fi
}

wait_until() {
    local end=$((SECONDS + $1 * PATIENCE))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.3
    done
}

console() { echo "/var/log/xen/console/guest-$1.log"; }
domid() { xl domid "$1" 2>/dev/null; }
gone() { ! xl domid "$1"; }
shows() { [ "$(grep -acE -e "$2" "$(console "$1")")" -ge "${3:-1}" ]; }
wait_for() { wait_until "$3" shows "$1" "$2" "${4:-1}"; }
wait_gone() { wait_until "${2:-60}" gone "$1"; }
guest_line() { grep -aE -e "$2" "$(console "$1")" | tail -n 1 | tr -d '\r'; }

# steps_archive NAME: the guest's archive with its steps before the base.
steps_archive() {
    local dir=$WORK/$1.archive
    mkdir -p "$dir"
    mv "$WORK/$1.steps" "$dir/steps"
    (cd "$dir" && echo steps | cpio -o -H newc 2>/dev/null) >"$WORK/$1.initrd"
    truncate -s $((($(stat -c %s "$WORK/$1.initrd") + 511) / 512 * 512)) "$WORK/$1.initrd"
    cat /payload/guest/initrd >>"$WORK/$1.initrd"
}

guest_config() {
    local type=$1 name=$2 option key value
    shift 2
    local extra="console=hvc0 quiet" disks= vifs= lines= steps=
    local -A keys=([memory]=256 [vcpus]=1 [on_poweroff]=destroy [on_reboot]=destroy [on_crash]=destroy)
    # Otherwise every reading of the clock is an exit, under emulation.
    [ "$type" = pvh ] && keys[tsc_mode]=native
    for option; do
        key=${option%%=*} value=${option#*=}
        case $key in
            disk) disks+="'$value', " ;;
            vif) vifs+="'$value', " ;;
            extra) extra+=" $value" ;;
            line) lines+="$value"$'\n' ;;
            steps) steps=$value ;;
            *) keys[$key]=$value ;;
        esac
    done
    # Standard input is /dev/null, a character device, unless a here-document is given.
    [ -c /dev/stdin ] || steps=$(cat)
    keys[ramdisk]=/payload/guest/initrd
    if [ -n "$steps" ]; then
        printf '%s\n' "$steps" >"$WORK/$name.steps"
        steps_archive "$name"
        keys[ramdisk]=$WORK/$name.initrd
    fi
    {
        printf 'name="%s"\ntype="%s"\nkernel="/guest/vmlinux"\nextra="%s"\n' "$name" "$type" "$extra"
        for key in "${!keys[@]}"; do
            value=${keys[$key]}
            [[ $value =~ ^([0-9]+|\[.*\])$ ]] || value="\"$value\""
            printf '%s=%s\n' "$key" "$value"
        done
        printf 'disk=[%s]\nvif=[%s]\n%s' "${disks%, }" "${vifs%, }" "$lines"
    } >"$WORK/$name.cfg"
}

guest_create() {
    local log
    log=$(console "$1")
    [ ! -e "$log" ] || mv "$log" "$log.$(date +%s.%N)"
    xl create "$WORK/$1.cfg" </dev/null >"$WORK/$1.xl" 2>&1 || return
    # One that has ended already has no number; it was created all the same.
    domid "$1" >>"$WORK/$1.domids" || true
}

guest_pv() { guest_config pv "$@" && guest_create "$1"; }
guest_pvh() { guest_config pvh "$@" && guest_create "$1"; }

# How many faults of the emulator's this guest's domains have had. Its number changes with
# each reboot, so every number it was seen under is kept; a fault of another guest is that guest's.
faults_of() {
    local numbers
    domid "$1" >>"$WORK/$1.domids"
    numbers=$(sort -u "$WORK/$1.domids" | tr '\n' '|')
    [ -n "${numbers%|}" ] || { echo 0; return; }
    echo $(($(xl dmesg | grep -cE "d(${numbers%|})v[0-9]+ Triple fault") + $(impossible_flags "$1")))
}
# A guest's kernel that panics with flags that no processor has (bits from 22 up are zero) was given
# them by the emulator.
impossible_flags() { cat "$(console "$1")"* 2>/dev/null | grep -acE 'RSP: .* EFLAGS: (0[1-9a-f]|[1-9a-f]|00[4-9a-f])'; }
faults_seen() { cat "$WORK/$1.faults" 2>/dev/null || echo 0; }

guest_saw() {
    local name=$1 pattern=$2 seconds=$3 turn faults end looks=0 away=0
    for turn in 1 2 3 4; do
        end=$((SECONDS + seconds * PATIENCE))
        until shows "$name" "$pattern" 2>/dev/null; do
            sleep 0.5
            # Asking the hypervisor costs the guest more than a look at its console.
            [ $((looks++ % 8)) = 7 ] || [ $SECONDS -ge $end ] || continue
            faults=$(faults_of "$name")
            if [ "$faults" -gt "$(faults_seen "$name")" ]; then
                echo "$faults" >"$WORK/$name.faults"
                record "faulted $name"
                [ $turn -lt 4 ] || return 1
                xl destroy "$name" 2>/dev/null
                wait_gone "$name"
                guest_create "$name" || return 1
                continue 2
            fi
            # A guest that has ended will say no more; one that reboots is away for a moment.
            if gone "$name" 2>/dev/null; then away=$((away + 1)); else away=0; fi
            if [ $SECONDS -ge $end ] || [ $away -ge 4 ]; then
                shows "$name" "$pattern" 2>/dev/null && return
                echo "it said last: $(guest_line "$name" .)"
                return 1
            fi
        done
        return 0
    done
}

guest_up() { guest_saw "$1" '^guest up ' "${2:-180}"; }
guest_done() { guest_saw "$1" '^guest steps ended ' "${2:-300}" && shows "$1" '^guest steps ended 0'; }
guest_shutdown() { wait_gone "$1" "${2:-60}" || { xl destroy "$1"; return 1; }; }

# pids_of PROGRAM: by the name the kernel keeps. No fork for each process: one costs 10 ms under emulation.
pids_of() {
    local dir name
    for dir in /proc/[0-9]*; do
        { read -r name <"$dir/comm"; } 2>/dev/null || continue
        [ "$name" != "${1:0:15}" ] || echo "${dir#/proc/}"
    done
}
arguments_of() {
    local -a words
    { mapfile -d '' -t words <"/proc/$1/cmdline"; } 2>/dev/null && echo "${words[*]}"
}

process_of() {
    local id pid
    id=$(domid "$1") || return 1
    for pid in $(pids_of "${2:-halcyon}"); do
        [[ ! " $(arguments_of "$pid") " =~ \ (-xen-domid|--domid)[\ =]$id\  ]] || echo "$pid"
    done
}

statuses() { local pid; for pid; do cat "/proc/$pid"/task/*/status 2>/dev/null; done; }
switches() { statuses "$@" | awk '/ctxt_switches/ { sum += $2 } END { print sum + 0 }'; }
tasks() { statuses "$@" | grep -c '^Pid:'; }
ticks() {
    local pid
    for pid; do sed 's/.*) //' "/proc/$pid/stat"; done | awk '{ sum += $12 + $13 } END { print sum + 0 }'
}

our_processes() {
    local pid program
    for program in halcyon faulty_disk qemu-system-i386 xen-qemu-system-i386; do
        for pid in $(pids_of "$program"); do arguments_of "$pid"; done
    done | sort
}

# Xen answers a debug key in its own log: all after the marker that the key itself prints last.
grants_in_use() {
    xl debug-keys g
    xl dmesg | awk '/gnttab_usage_print_all \[ key/ { rows = "" } { rows = rows $0 "\n" } END { printf "%s", rows }' |
        grep -aE '^\(XEN\) +(\[0x|\[ *[0-9a-f]+\])'
}

leftovers() {
    echo "# xenstore"
    # The first guest of a machine, or the first refusal, makes the roots of these trees, which stay.
    xenstore-ls -f | grep -v -E '^/(vm|libxl|local/domain/0/device-model|local/domain/0/error(/backend(/[a-z0-9]+)?)?) = ""$|^/local/domain/0/memory'
    echo "# event channels"
    awk '/xen-/ { sub(/^ *[0-9]+:( +[0-9]+)+ +/, ""); print }' /proc/interrupts | sort
    echo "# grants"
    grants_in_use
    echo "# processes"
    our_processes
    echo "# run"
    find /run/halcyon -mindepth 1 2>/dev/null | sort
}

# busybox's diff writes unified hunks.
differing() { sed 1,2d "$RESULTS/leftovers" | grep '^[-+]'; }
leftovers_before() { leftovers >"$WORK/.before"; }
as_before() { leftovers >"$WORK/.after"; cmp -s "$WORK/.before" "$WORK/.after"; }
expect_no_leftovers() {
    if wait_until "${2:-30}" as_before; then
        pass "$1"
    else
        diff "$WORK/.before" "$WORK/.after" >"$RESULTS/leftovers"
        fail "$1" "$(differing | wc -l) lines differ: $(differing | head -n 3)"
    fi
}
