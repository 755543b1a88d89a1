# title: xentop shows the counters of a vbd3 disk, as the guest itself counts them
# stacks: xen-4.20 (libxl and libxenstat know vbd3 from 4.19)
# set: full
# timeout: 300
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh

# Reads, sectors read, writes, sectors written: by xentop's line of the disk, by its line of the guest,
# and by the guest itself. Tapdisk3 is xentop's name for the kind.
shown() {
    xentop -b -i 1 -x |
        sed -n "s/.*VBD Tapdisk3 *$1 .*RD: *\([0-9]*\) *WR: *\([0-9]*\) *RSECT: *\([0-9]*\) *WSECT: *\([0-9]*\).*/\1 \3 \2 \4/p"
}
columns() { xentop -b -i 1 -f | awk -v name="$1" '$1 == name { print $15, $17, $16, $18 }'; }
counted() { guest_line "$1" '^counted ' | cut -d ' ' -f 2-; }

expect "the daemon starts" host_start
leftovers_before
shared_before=$(ls /dev/shm)

guest_pv counters "$(disk_by vbd3 "$(image counters 48M)" | head -n 1)" memory=128 steps='
    disk xvda
    dd if=/dev/xvda of=/dev/null bs=4096 count=300 iflag=direct 2>/dev/null
    dd if=/dev/zero of=/dev/xvda bs=8192 count=200 oflag=direct 2>/dev/null
    set -- $(cat /sys/block/xvda/stat)
    echo "counted $1 $3 $5 $7"
    idle'
expect "the guest has made its requests" guest_saw counters '^counted ' 120
id=$(domid counters)
number=$(number_of xvda)
note "the guest counted reads, sectors, writes, sectors: $(counted counters); xentop: $(shown "$number")"
expect_equal "xentop shows what the guest counted" "$(counted counters)" "$(shown "$number")"
expect_equal "so does the guest's own line" "$(counted counters)" "$(columns counters)"
pid=$(xenstore-read "$(backend_of counters xvda)/kthread-pid")
expect_equal "the node names the process that serves" "$(process_of counters)" "$pid"
expect_equal "one page of shared memory for one disk" "vbd-$id-$number" "$(ls "/dev/shm/td3-$pid")"

expect "the disk is detached" xl block-detach counters xvda
expect "its file goes with it" wait_until 10 test ! -e "/dev/shm/td3-$pid/vbd-$id-$number"
expect "a disk is attached again" xl block-attach counters "$(disk_spec vbd3 "$(image again 16M)" xvdb)"
expect "its file is there" wait_until 10 test -e "/dev/shm/td3-$pid/vbd-$id-$(number_of xvdb)"
kill -KILL "$pid"
xl destroy counters
wait_gone counters
expect "what a killed process left goes with its guest" wait_until 15 test ! -e "/dev/shm/td3-$pid"
expect_equal "nothing is left in shared memory" "$shared_before" "$(ls /dev/shm)"

expect_no_leftovers "the guest leaves nothing"
expect "the daemon stops" host_stop
