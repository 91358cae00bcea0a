#!/bin/sh
# Installs what is missing on a Debian machine, then runs every check of the project. One argument, `quick`, leaves out
# the slow ones (dependency check, documentation, fuzzing) for use while working. Another one, `busy`, runs the tests
# alone, three times, beside stress-ng: a test that judges by the clock fails there.
#
# It fails where FUSE is missing: the tests with a real mount are never skipped.
set -eu
cd "$(dirname "$0")"
PATH="$HOME/.cargo/bin:$PATH"
export PATH CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
began=$(date +%s)

say() { printf '\n== %s (%d s since the start)\n' "$*" "$(($(date +%s) - began))"; }
die() { printf 'test.sh: %s\n' "$*" >&2; exit 1; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# command:package, for what the build and the tests use beyond a minimal Debian.
tools='cc:build-essential fusermount3:fuse3 getfattr:attr mkfs.ext4:e2fsprogs chattr:e2fsprogs findmnt:util-linux fallocate:util-linux
    ps:procps fuser:psmisc git:git openssl:openssl nginx:nginx-light python3:python3
    losetup:mount mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs'

install_packages() {
    missing=
    for pair in $tools; do
        # Programs for administrators are not in everybody's PATH.
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
    done
    [ -z "$missing" ] && return
    say "installing:$missing"
    command -v apt-get >/dev/null 2>&1 || die "please install:$missing (there is no apt-get here)"
    root apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
    # The tests start servers of their own. Debian starts one with the package, which nobody asked for here.
    case "$missing " in *" nginx-light "*) root systemctl disable --now nginx >/dev/null 2>&1 || true ;; esac
}

install_rust() {
    command -v cargo >/dev/null 2>&1 && return
    say 'installing Rust with rustup'
    command -v curl >/dev/null 2>&1 || root apt-get install -y -qq curl ca-certificates
    curl -sSf https://sh.rustup.rs | sh -s -- -y -q --profile minimal -c clippy -c rustfmt
}

# Takes some minutes, beside the lints: `wait_for_dufs` comes before the tests.
install_dufs() {
    dufs_job=
    command -v dufs >/dev/null 2>&1 && return
    say 'installing dufs, in the background'
    cargo install dufs --locked --version 0.47.0 --quiet &
    dufs_job=$!
}

wait_for_dufs() {
    [ -z "$dufs_job" ] || wait "$dufs_job" || die 'dufs could not be installed: the tests of web servers need it'
}

need_fuse() {
    [ -c /dev/fuse ] || root modprobe fuse 2>/dev/null || true
    [ -c /dev/fuse ] || die 'there is no /dev/fuse: the tests mount for real (in a container: --device /dev/fuse --cap-add SYS_ADMIN)'
    (: <>/dev/fuse) 2>/dev/null || die '/dev/fuse cannot be opened: the tests mount for real'
}

# The tests of power cuts put file systems of their own on loop devices.
need_loops() {
    [ "$(id -u)" = 0 ] || say 'NOTE: you are not root, who alone has loop devices: the tests of power cuts on ext4 and XFS will fail'
    [ -c /dev/loop-control ] || root modprobe loop 2>/dev/null || true
    [ -c /dev/loop-control ] || die 'there is no /dev/loop-control: the tests of power cuts attach loop devices'
    for fs in ext4 xfs btrfs; do
        grep -qw "$fs" /proc/filesystems || root modprobe "$fs" 2>/dev/null || true
        grep -qw "$fs" /proc/filesystems || die "this kernel has no $fs: the tests of power cuts mount one"
    done
}

check_dependencies() {
    command -v cargo-deny >/dev/null 2>&1 || { say 'installing cargo-deny'; cargo install cargo-deny --locked; }
    cargo deny --all-features check --hide-inclusion-graph bans licenses sources
    # The database of advisories lies on the net. Where it cannot be had, say so; where it can, its word holds.
    if cargo deny --all-features fetch db; then
        cargo deny --all-features check --disable-fetch advisories
    else
        echo 'test.sh: NOT CHECKED: the database of security advisories cannot be reached from here'
    fi
}

# run_tests [OPTION...]: the options are for nextest.
run_tests() {
    if command -v cargo-nextest >/dev/null 2>&1; then
        cargo nextest run --all-features --no-fail-fast "$@"
    else
        cargo test --all-features --no-fail-fast --lib --bins --tests --examples
    fi
}

# What a program that embeds the cache builds: without the command line, FUSE and HTTP, and without their crates.
check_library_alone() {
    cargo clippy --no-default-features --lib -- -D warnings
    cargo test --no-default-features --lib --test library --quiet
}

run_beside_stress() {
    cargo test --all-features --no-run
    # In a session of its own, by which its workers are found in the end.
    setsid stress-ng --quiet --cpu 8 --io 4 --vm 2 &
    stress=$!
    trap 'pkill -KILL -s "$stress" || true' EXIT
    for round in 1 2 3; do
        say "tests on a busy machine, round $round of 3"
        # As many tests at once as stress-ng has workers that compute: otherwise a round takes an hour.
        run_tests -j 8
    done
    say 'everything passed'
}

[ "${1:-}" != busy ] || tools="$tools stress-ng:stress-ng"
install_packages
install_rust
install_dufs
need_fuse
need_loops
if [ "${1:-}" = busy ]; then
    wait_for_dufs
    run_beside_stress
    exit
fi

say 'format'
cargo fmt --check
say 'lints'
cargo clippy --all-targets --all-features -- -D warnings
if [ "${1:-}" != quick ]; then
    say 'dependencies'
    check_dependencies
    say 'documentation'
    RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --all-features
    say 'the library alone'
    check_library_alone
fi
wait_for_dufs
say 'tests, with the replay of the fuzz corpora'
run_tests
say 'examples in the documentation'
cargo test --all-features --doc
if [ "${1:-}" != quick ]; then
    say 'a minute of fuzzing'
    fuzz/run.sh 60
fi
say 'everything passed'
