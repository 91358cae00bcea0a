#!/bin/sh
# Runs every soak of the project and prints what each has shown: soak.sh [SECONDS [FIRST_SEED]].
#
# The seconds (600) are shared by the rigs, building not counted; what counts runs instead of time is first measured. Seeds
# begin at FIRST_SEED (the time of day, so that no two soaks repeat each other). It fails if any rig failed; the
# outputs stay in a directory that is then named.
set -u
cd "$(dirname "$0")" || exit 1
PATH="$HOME/.cargo/bin:$PATH"
seconds=${1:-600}
first=${2:-$(date +%s)00}
logs=$(mktemp -d "${TMPDIR:-/tmp}/larder-soak.XXXXXX")
failed=0

case "$seconds$first" in *[!0-9]*) echo "soak.sh: usage: soak.sh [SECONDS [FIRST_SEED]], both numbers" >&2; exit 2 ;; esac

row() { printf '%-30s | %-26s | %s\n' "$1" "$2" "$3" >>"$logs/table"; }

# What a rig's log says where it went wrong.
fail() {
    failed=1
    seed=$(grep -o 'LARDER_[A-Z]*_SEED=[0-9]*' "$logs/$2" | head -n 1)
    row "$1" "${seed:-no seed}" "FAILED: see $logs/$2"
}

# by_time NAME LOG FILTER VARIABLE SECONDS PATTERN: a soak of tests/it that ends by itself.
by_time() {
    echo "$1: $5 s"
    if env "$4=$5" cargo test --all-features --quiet --test it -- --nocapture "$3" >"$logs/$2" 2>&1; then
        said=$(grep -o "$6.*" "$logs/$2" | head -n 1 | sed 's/, Stats.*//')
        [ -n "$said" ] || { fail "$1" "$2"; return; }
        seeds=$(echo "$said" | grep -o 'seeds [0-9]*\.\.[0-9]*' | sed 's/seeds //')
        row "$1" "${seeds:-7}" "${said#soak: seeds "$seeds", }"
    else
        fail "$1" "$2"
    fi
}

# by_runs NAME LOG FILTER VARIABLE PILOT SECONDS: one that counts runs; as many as fit, after a pilot.
by_runs() {
    began=$(date +%s%N)
    env "$4=$5" cargo test --all-features --quiet --test it -- --nocapture "$3" >"$logs/$2" 2>&1 || { fail "$1" "$2"; return; }
    took=$((($(date +%s%N) - began) / 1000000 + 1))
    runs=$(($6 * 1000 * $5 / took))
    [ "$runs" -ge "$5" ] || runs=$5
    echo "$1: $runs runs"
    if env "$4=$runs" cargo test --all-features --quiet --test it -- --nocapture "$3" >>"$logs/$2" 2>&1; then
        row "$1" "0..$runs" "$runs runs, 0 violations"
    else
        fail "$1" "$2"
    fi
}

# power NAME FILTER SECONDS: the rigs with real disks; for the unsafe variants the time does not matter.
power() {
    echo "power, $1: $3 s for each of its tests"
    LARDER_POWER_SECONDS=$3 LARDER_POWER_FIRST_SEED=$first cargo test --all-features --quiet --test fuse \
        -- --nocapture --test-threads=1 "power::$2" >"$logs/$2" 2>&1
    code=$?
    grep -o 'power, .*: seeds .*' "$logs/$2" | sed 's/^power, //' >"$logs/said"
    while IFS= read -r line; do
        seeds=$(echo "$line" | sed 's/[^:]*: seeds \([^:]*\):.*/\1/')
        row "${line%%: *}" "$seeds" "$(echo "$line" | sed 's/[^:]*: [^:]*: //')"
    done <"$logs/said"
    # A rig that says nothing has shown nothing.
    { [ "$code" -eq 0 ] && [ -s "$logs/said" ]; } || fail "power, $1" "$2"
}

echo 'building'
cargo test --all-features --quiet --no-run || exit 1
share() { echo $((seconds * $1 / 100)); }
LARDER_CRASH_FIRST_SEED=$first
export LARDER_CRASH_FIRST_SEED
by_time 'crash enumeration' crash crash::the_soak LARDER_CRASH_SECONDS "$(share 35)" 'soak: seeds'
by_time 'real threads' storm storm::readers LARDER_STORM_SECONDS "$(share 8)" '[0-9]* reads judged'
by_runs 'model' model model:: LARDER_MODEL_RUNS 1500 "$(share 10)"
by_runs 'lying origin' faults faults::mixtures LARDER_FAULT_RUNS 500 "$(share 7)"
power 'lossy disk' lossy_rig "$(share 10)"
power 'lost sectors' sectors_rig "$(share 7)"
power 'reflink cuts' reflink_rig "$(share 5)"
power 'kill -9' storm_rig "$(share 6)"

echo
printf '%-30s | %-26s | %s\n' rig seeds shown
printf '%s\n' '-------------------------------|----------------------------|------'
cat "$logs/table"
if [ "$failed" -ne 0 ]; then
    echo "soak.sh: something failed; the outputs are in $logs" >&2
    exit 1
fi
rm -r "$logs"
