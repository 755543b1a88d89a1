# title: what halcyon as device model refuses: an HVM guest and unknown options in xl's output, an image in its node
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 300
# needs: file lab/dom0/ways.sh

. /payload/files/ways.sh

log() { cat "/var/log/xen/qemu-dm-$1.log"; }
images=/var/lib/halcyon-lab
mkdir -p "$images"
: >"$images/empty.img"
truncate -s 1000 "$images/odd.img"
{ printf 'QFI\373\0\0\0\003'; head -c 65528 /dev/zero; } >"$images/other.img"
why() {
    case $1 in
        missing) echo 'no such file' ;;
        empty) echo 'empty|no sector|0 bytes' ;;
        odd) echo 'multiple of 512' ;;
        other) echo 'qcow2' ;;
    esac
}
# Where the backend of a disk that does not connect says why.
error_of() { xenstore-read "/local/domain/0/error/backend/qdisk/$(domid "$1")/$(number_of xvdb)/error"; }

leftovers_before
printf 'name="hvm"\ntype="hvm"\nmemory=64\nvnc=0\ndevice_model_override="%s"\n' "$BINARY" >"$WORK/hvm.cfg"
expect_fails "an HVM guest is not created" timeout 60 xl create "$WORK/hvm.cfg"
expect_output "xl says that the device model is why" 'device model' output
expect_output "its log says what to do" 'no device model for HVM guests here yet' log hvm

# shellcheck disable=SC2046
expect_fails "a guest with an unknown option is not created" \
    guest_pv option $(disk_by qdisk "$(image option 16M)") memory=128 'device_model_args=["-frobnicate"]'
expect_output "its log names the option" '^halcyon: -frobnicate: not an option' log option

# shellcheck disable=SC2046
guest_pv refused $(disk_by qdisk "$(image refused 16M)") memory=128 steps='
    disk xvda
    while lab-io write-verify /dev/xvda --requests 200 --seed 1; do :; done' || fail "a guest is created" "$(tail -n 1 "$WORK/refused.xl")"
expect "a guest uses its disk" guest_saw refused '^write-verify .* ok' 120
for image in missing empty odd other; do
    # For a qdisk of a PV guest libxl does not wait, so xl cannot say it.
    xl block-attach refused "$(disk_spec qdisk "$images/$image.img" xvdb)" >/dev/null 2>&1
    expect "$image image: the error node is written" wait_until 20 error_of refused
    expect_output "$image image: and says why" "$(why $image)" error_of refused
    expect_output "$image image: so does one line of the log" "$image.img: .*($(why $image))" log refused
    xl block-detach refused xvdb >/dev/null 2>&1 || xl block-detach --force refused xvdb >/dev/null 2>&1
    wait_until 20 eval '! xl block-list refused | grep -q 51728'
done
before=$(grep -ac '^write-verify .* ok' "$(console refused)")
expect "the other disk went on" wait_for refused '^write-verify .* ok' 60 $((before + 1))
xl destroy refused
wait_gone refused
expect_no_leftovers "nothing is left"
