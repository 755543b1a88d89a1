# title: what copying and mapping a guest's pages costs, counted, and whether disks may read and write mapped pages
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 900
# disk: 64M 64M
# modules: xen-gntdev null_blk
# processors: 2
# fresh: yes
# needs: bin benches halcyon-bench
#
# The last part leaves the kernel of a control domain with Linux 6.12 in a bad state: hence fresh.
# halcyon-bench is both sides: in the guest it lends pages, in the control domain it uses them.

# What is counted runs alone on processor 0; all else is on 1.
xl vcpu-pin Domain-0 0 0
xl vcpu-pin Domain-0 1 1
guest_config pv lender cpus=1 steps='insmod /xen-gntalloc.ko; /halcyon-bench grants lend'
mkdir "$WORK/tools"
cp "$(command -v halcyon-bench)" "$(find /lib/modules -name xen-gntalloc.ko)" "$WORK/tools/"
(cd "$WORK/tools" && ls | cpio -o -H newc 2>/dev/null | cat - "$WORK/lender.initrd") >"$WORK/initrd"
mv "$WORK/initrd" "$WORK/lender.initrd"
guest_create lender
expect "a guest lends 32 pages" guest_saw lender '^lent ' 240
grefs=$(guest_line lender '^lent ')
lent=(--domid "$(domid lender)" --grefs "${grefs#lent }")

# table FILE: every line of it, for the summary.
table() { while IFS= read -r row; do note "$row"; done <"$1"; }

count() { taskset -c 0 halcyon-bench grants count "${lent[@]}"; }
expect "system calls and hypercalls are counted" count
output >"$RESULTS/counts"
table "$RESULTS/counts"

mkfs.ext4 -q /dev/vdb
mkdir "$WORK/ext4"
mount /dev/vdb "$WORK/ext4"
truncate -s 1M "$WORK/ext4/file"
direct() { halcyon-bench grants direct "${lent[@]}" "$@"; }
expect "no wrong data where io_uring reads and writes mapped pages" direct "$WORK/ext4/file" /dev/vdc
output >"$RESULTS/direct"
table "$RESULTS/direct"
umount "$WORK/ext4"

# A disk that takes 3 s; the process that reads it dies at once.
modprobe -r null_blk
modprobe null_blk nr_devices=1 gb=1 irqmode=2 completion_nsec=3000000000
complaints() { dmesg | grep -cE 'WARNING: |BUG: '; }
note "complaints of the kernel before a process dies with a read into mapped pages under way: $(complaints)"
halcyon-bench grants abandon "${lent[@]}" /dev/nullb0
sleep 5
note "complaints of the kernel after it: $(complaints)"
expect_output "the kernel's words are kept" . dmesg
output >"$RESULTS/dmesg-after"
direct /dev/vdc >"$RESULTS/direct-after" 2>&1
note "after it, of 4 ways to use mapped pages with two sizes each, $(grep -c ': yes' "$RESULTS/direct-after") work"
