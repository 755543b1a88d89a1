# title: what every platform does, shown of /dev/xen: grants, event channels, xenstore
# stacks: xen-4.17 xen-4.20
# set: quick
# timeout: 240
# needs: test xen linux

# Each claim of the program is one here. Its lines: test [KIND] NAME ... ok|FAILED|ignored.
claims=$(xen-linux --list 2>/dev/null | sed -n 's/: test$//p' | wc -l)
xen-linux >"$RESULTS/claims" 2>"$RESULTS/panics"
for claim in $(sed -nE 's/^test (\[.*\] )?([a-z_:]+) +\.\.\. .*/\2/p' "$RESULTS/claims"); do
    line=$(grep -m 1 -E "^test .*$claim +\.\.\." "$RESULTS/claims")
    case $line in
        *"... ok"*) pass "${claim//_/ }" ;;
        *"... ignored"*) skip "${claim//_/ }" "$(sed -nE 's/^test \[(.*)\].*/\1/p' <<<"$line")" ;;
        *) fail "${claim//_/ }" "$(grep -A3 -e "^---- $claim " "$RESULTS/claims" | sed -n 2,4p)" ;;
    esac
done
expect_equal "each claim has its verdict" "$claims" "$(grep -cE '^test (\[.*\] )?[a-z_:]+ +\.\.\. ' "$RESULTS/claims")"
expect_output "the last line counts no failure" '^test result: ok' tail -n 3 "$RESULTS/claims"
