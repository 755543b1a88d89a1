# title: what the host daemon's processes refuse, xl's own output says, and the guest's other disk goes on
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 300
# needs: file lab/dom0/ways.sh
# needs: file dist/block-halcyon

. /payload/files/ways.sh

images=/var/lib/halcyon-lab
mkdir -p "$images"
: >"$images/empty.img"
truncate -s 1000 "$images/odd.img"
{ printf 'QFI\373\0\0\0\003'; head -c 65528 /dev/zero; } >"$images/other.img"
rm -f "$images/missing.img"
why() {
    case $1 in
        missing) echo 'no such file' ;;
        empty) echo 'empty|no sector|0 bytes' ;;
        odd) echo 'multiple of 512' ;;
        other) echo 'qcow2' ;;
    esac
}

expect "the daemon starts" host_start
for way in $WAYS; do
    [ "$way" != qdisk ] || continue
    name=refused-$way
    # shellcheck disable=SC2046
    guest_pv "$name" $(disk_by "$way" "$(image "$name" 16M)") memory=128 steps='
        disk xvda
        while lab-io write-verify /dev/xvda --requests 200 --seed 1; do :; done' || fail "$name is created" "$(tail -n 1 "$WORK/$name.xl")"
    expect "$way: the guest uses its disk" guest_saw "$name" '^write-verify .* ok' 120
    for image in missing empty odd other; do
        expect_fails "$way: xl block-attach fails for the $image image" \
            xl block-attach "$name" "$(disk_spec "$way" "$images/$image.img" xvdb)"
        echo "--- $way $image" >>"$RESULTS/xl-output"
        output >>"$RESULTS/xl-output"
        expect_output "$way: its output says why" "script: .*$image.img: .*($(why $image))" output
        expect "$way: the device can be taken away again" xl block-detach "$name" xvdb
    done
    before=$(grep -ac '^write-verify .* ok' "$(console "$name")")
    expect "$way: the other disk went on" wait_for "$name" '^write-verify .* ok' 60 $((before + 1))
    expect "$way: and so does a disk that is all right" \
        xl block-attach "$name" "$(disk_spec "$way" "$(image "$name-b" 16M)" xvdb)"
    expect "$way: it connects" wait_until 30 connected "$name" xvdb
    xl destroy "$name"
    wait_gone "$name"

    # shellcheck disable=SC2046
    expect_fails "$way: xl create fails for a missing image" \
        guest_pv "$name-new" $(disk_by "$way" "$images/missing.img") memory=128
    expect_output "$way: and says why" 'script: .*missing.img: no such file' cat "$WORK/$name-new.xl"
    expect "$way: it leaves no domain" wait_gone "$name-new"
    expect "$way: nor a process" wait_until 15 eval '[ "$(halcyons | wc -l)" = 1 ]'
done
expect "the daemon stops" host_stop
