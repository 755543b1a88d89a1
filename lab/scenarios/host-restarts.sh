# title: the host daemon is killed, stopped and started under load, and its guests do not notice
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 300
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh

processes() { halcyons | grep -vx "$(cat "$WORK/host.pid")" | sort; }
loads() { grep -ac '^write-verify .* ok' "$(console "$1")"; }

expect "the daemon starts" host_start
expect_equal "a second daemon is refused" 4 "$("$BINARY" host >"$WORK/second" 2>&1; echo $?)"
expect_output "in one line" 'has a host daemon already' cat "$WORK/second"

guests=
for way in $WAYS; do
    [ "$way" != qdisk ] || continue
    guests+=" load-$way"
    # shellcheck disable=SC2046
    guest_pv "load-$way" $(disk_by "$way" "$(image "load-$way" 16M)") memory=128 steps='
        disk xvda
        while lab-io write-verify /dev/xvda --requests 200 --seed 1; do :; done' || fail "load-$way is created" "$(tail -n 1 "$WORK/load-$way.xl")"
done
for name in $guests; do
    expect "$name has a load" guest_saw "$name" '^write-verify .* ok' 120
done
before=$(processes)
leftovers_before

for end in KILL TERM KILL; do
    pid=$(cat "$WORK/host.pid")
    kill -s "$end" "$pid"
    wait_until 10 test ! -e "/proc/$pid/exe"
    expect_equal "SIG$end: its processes go on" "$before" "$(processes)"
    for name in $guests; do
        done=$(loads "$name")
        expect "SIG$end: $name goes on without a daemon" wait_for "$name" '^write-verify .* ok' 60 $((done + 1))
    done
    rm -f /run/halcyon/host.sock
    expect "SIG$end: the next daemon starts" host_start
    expect "SIG$end: and takes the processes back" \
        wait_until 10 grep -q "$(echo $guests | wc -w) guests have a process" "$RESULTS/host.log"
    expect_equal "SIG$end: they are the same" "$before" "$(processes)"
done
for way in $WAYS; do
    [ "$way" != qdisk ] || continue
    name=load-$way
    expect "$way: the new daemon opens a disk for the old process" \
        xl block-attach "$name" "$(disk_spec "$way" "$(image "$name-b" 16M)" xvdb)"
    expect "$way: it connects" wait_until 30 connected "$name" xvdb
    expect "$way: and goes again" xl block-detach "$name" xvdb
    done=$(loads "$name")
    expect "$way: the first disk went on" wait_for "$name" '^write-verify .* ok' 60 $((done + 1))
    expect_fails "$way: no byte was wrong" grep -aq '^write-verify .* bad' "$(console "$name")"
    xl destroy "$name"
    wait_gone "$name"
done
expect "destroyed guests leave no process" wait_until 15 eval '[ -z "$(processes)" ]'
expect_equal "and no state" "" "$(find /run/halcyon -mindepth 1 -type d)"
expect "the daemon stops" host_stop
expect_equal "and leaves nothing" "" "$(find /run/halcyon -mindepth 1)"
