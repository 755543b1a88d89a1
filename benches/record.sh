#!/bin/sh
# Records this machine's numbers: benches/record.sh NAME makes benches/record/NAME-<date>/.
# NAME says what kind of host it is. Takes about ten minutes; nothing else should run meanwhile.
set -eu
name=${1:?usage: benches/record.sh NAME}
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
triple=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --workspace
cargo bench -p benches --no-run
dir=benches/record/$name-$(date -u +%Y-%m-%d)
mkdir -p "$dir"
{
    git describe --always --dirty
    uname -srvm
    rustc -vV
    lscpu
    free -m
    echo "load average $(cat /proc/loadavg); nice $(nice)"
} > "$dir/machine.txt"
# A fixed target makes cargo write below its name.
program=$(ls -t "$target/release/halcyon" "$target/$triple/release/halcyon" 2>/dev/null | head -n 1)
"$program" bench disk > "$dir/disk.txt"
CRITERION_HOME=$(mktemp -d)
export CRITERION_HOME
trap 'rm -rf "$CRITERION_HOME"' EXIT
cargo bench -p benches -- --warm-up-time 1 --measurement-time 3 --noplot > "$dir/criterion.log" 2>&1
"$program" bench table --criterion "$CRITERION_HOME" > "$dir/criterion.txt"
rm "$dir/criterion.log"
echo "$dir"
