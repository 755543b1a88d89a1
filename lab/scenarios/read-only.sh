# title: a read-only disk refuses the writes of a guest that was never told it is read-only
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 400
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh

# Linux obeys the backend's `info` node and never sends such a write. So this guest is shown a copy of
# the backend's directory in which the node says otherwise; ring and requests go to the real one.
show_copy() {
    local real=$1 copy=$2 guest=$3 node
    for node in $(xenstore-list "$real"); do
        [ "$node" = state ] || xenstore-write "$copy/$node" "$(xenstore-read "$real/$node")"
    done
    xenstore-write "$copy/info" 0
    xenstore-write "$copy/state" "$(xenstore-read "$real/state")"
    xenstore-chmod -r "$copy" n0 "r$guest"
}

expect "the daemon starts" host_start
leftovers_before

for way in $WAYS; do
    name=naive-$way
    file=$(image "$name" 8M)
    head -c 1048576 /dev/urandom | dd of="$file" conv=notrunc status=none
    sum=$(sha256sum <"$file")
    # shellcheck disable=SC2046
    guest_config pv "$name" $(disk_by "$way" "$file" xvda r) memory=128 steps='
        disk xvda || exit
        echo "the guest believes that it is read-only: $(cat /sys/block/xvda/ro)"
        lab-io rate /dev/xvda rand 4096 1 1 write
        echo "the write gave $?"
        lab-io rate /dev/xvda seq 65536 4 1
        echo "the read gave $?"'
    expect "$way: the guest is created" xl create -p "$WORK/$name.cfg"
    id=$(domid "$name")
    real=$(backend_of "$name" xvda) copy=/local/domain/0/lab/$id
    show_copy "$real" "$copy" "$id"
    xenstore-write "$(frontend_of "$name" xvda)/backend" "$copy"
    xl unpause "$name"
    expect "$way: its disk connects" wait_until 90 eval "[ \"\$(xenstore-read $real/state)\" = 4 ]"
    expect_equal "$way: the backend calls it read-only" 4 "$(xenstore-read "$real/info")"
    show_copy "$real" "$copy" "$id"
    expect "$way: the guest takes it for writable" wait_for "$name" 'read-only: 0' 60
    expect "$way: the write gets an I/O error" wait_for "$name" '^lab-io: writing .*: I.*O error|^lab-io: writing .*: Input/output error' 60
    expect "$way: reads go on" wait_for "$name" '^the read gave 0' 60
    note "$way: $(guest_line "$name" '^lab-io: ')"
    wait_gone "$name" || xl destroy "$name"
    xenstore-rm "$copy"
    expect_equal "$way: the image is as it was" "$sum" "$(sha256sum <"$file")"
done

xenstore-rm /local/domain/0/lab
expect_no_leftovers "the guests leave nothing"
expect "the daemon stops" host_stop
