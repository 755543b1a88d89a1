# The ways in which a guest's disk comes to Halcyon, for scenarios that show the same for each. Sourced
# after lib.sh by those who ask for it in their header.
#   qdisk   libxl starts halcyon as the guest's device model, which serves the guest's qdisks
#   vbd     the daemon serves the kind of Linux's xen-blkback, which is not loaded
#   vbd3    the daemon serves libxl's backendtype=tap, which libxl has from 4.19 on
#
#   $WAYS                                    those of this stack
#   disk_spec WAY FILE [VDEV] [MODE]         the disk as xl's configuration spells it (xvda, rw)
#   disk_by WAY FILE [VDEV] [MODE]           the options of guest_pv and guest_pvh for it
#   host_start, host_stop                    the daemon
#   script_in_place                          the hotplug script alone, where no daemon runs
#   state_of NAME VDEV                       what the backend says in xenstore: 4 is connected
#   connected NAME VDEV                      whether that is so
#   halcyons                                 pids of all halcyon processes, the daemon included
#   image NAME SIZE                          an empty image file on the disk; prints its path
BINARY=/usr/local/bin/halcyon
WAYS="qdisk vbd"
[ "$STACK" = xen-4.17 ] || WAYS+=" vbd3"

disk_spec() {
    local way=$1 file=$2 vdev=${3:-xvda} mode=${4:-rw}
    local -A backend=([qdisk]=backendtype=qdisk [vbd]=backendtype=phy,script=block-halcyon [vbd3]=backendtype=tap,script=block-halcyon)
    echo "format=raw,vdev=$vdev,access=$mode,${backend[$way]},target=$file"
}

disk_by() {
    echo "disk=$(disk_spec "$@")"
    [ "$1" != qdisk ] || echo "device_model_override=$BINARY"
}

# As a package would install it; not every busybox has install.
script_in_place() { cp /payload/files/block-halcyon /etc/xen/scripts/ && chmod 755 /etc/xen/scripts/block-halcyon; }

host_start() {
    script_in_place
    "$BINARY" host >"$RESULTS/host.log" 2>&1 &
    echo $! >"$WORK/host.pid"
    wait_until 20 test -S /run/halcyon/host.sock
}

host_stop() {
    local pid
    pid=$(cat "$WORK/host.pid")
    kill -TERM "$pid"
    wait_until 10 test ! -e "/proc/$pid/exe"
}

# xen-vbd-interface(7): major 202, 16 minors for each of the first sixteen disks.
number_of() { printf '%d' $(((202 << 8) + ($(printf '%d' "'${1#xvd}") - 97) * 16)); }
frontend_of() { echo "/local/domain/$(domid "$1")/device/vbd/$(number_of "$2")"; }
backend_of() { xenstore-read "$(frontend_of "$1" "$2")/backend"; }
state_of() { xenstore-read "$(backend_of "$1" "$2")/state"; }
connected() { [ "$(state_of "$1" "$2")" = 4 ] && [ "$(xenstore-read "$(frontend_of "$1" "$2")/state")" = 4 ]; }

halcyons() { pids_of halcyon; }

# The root file system is on a disk: in memory, no image can be opened past the page cache.
image() {
    mkdir -p /var/lib/halcyon-lab
    rm -f "/var/lib/halcyon-lab/$1.img"
    truncate -s "$2" "/var/lib/halcyon-lab/$1.img"
    echo "/var/lib/halcyon-lab/$1.img"
}
