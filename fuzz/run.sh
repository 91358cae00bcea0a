#!/bin/sh
# Fuzzes every target for a while: fuzz/run.sh [SECONDS [TARGET...]]. The seconds (60) are shared by the targets.
#
# What the fuzzers learn stays in fuzz/corpus-local, which is not committed. An input that breaks something is printed and
# lies in fuzz/artifacts; it belongs into fuzz/regressions/TARGET, under a name that says what it is.
set -eu
cd "$(dirname "$0")"
PATH="$HOME/.cargo/bin:$PATH"
seconds=${1:-60}
[ $# -gt 0 ] && shift
# The sanitizer's flags are for nightly compilers; this makes a stable one take them.
export RUSTC_BOOTSTRAP=1
command -v cargo-fuzz >/dev/null 2>&1 || cargo install cargo-fuzz --locked --quiet
all=$(cargo fuzz list)
targets=${*:-$all}
# shellcheck disable=SC2086 # a list of names
set -- $targets
each=$((seconds / $#))
[ "$each" -gt 0 ] || each=1
cargo fuzz build
for target; do
    mkdir -p "corpus-local/$target"
    echo "fuzzing $target for $each s"
    cargo fuzz run "$target" "corpus-local/$target" "corpus/$target" -- \
        -max_total_time="$each" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0
done
echo "fuzzed: $* ($seconds s in all), nothing was found"
