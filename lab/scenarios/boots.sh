# title: a PV and a PVH guest boot, do their steps and power off, with stock components only
# stacks: xen-4.17 xen-4.20
# set: full
# timeout: 600

leftovers_before

guest_pv plain
expect "a PV guest boots" guest_up plain
expect "a PV guest powers off" wait_gone plain

guest_pvh thin <<'STEPS'
grep -q lab-io /bin/lab-io && echo "the tool is there"
STEPS
expect "a PVH guest boots" guest_up thin
expect "its steps run to their end" guest_done thin
expect_output "its steps are those of the scenario" "the tool is there" cat "$(console thin)"
expect "a PVH guest powers off" wait_gone thin

expect_no_leftovers "guests without devices leave nothing"
