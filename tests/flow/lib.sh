# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# lib.sh - what the flow tests share; read in by each of them
#
# Makes a folder of the test's own, $dir, and removes it at the end with all
# processes that were started through `sluice` and still live: they are known
# by a variable in their environment, which their descendants inherit, so that
# tests can run side by side.
#
# shellcheck shell=bash

set -euo pipefail

top=${top_srcdir:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
# shellcheck source=tests/check.sh
. "$top/tests/check.sh"
built=${top_builddir:-$top}
python=${PYTHON:-/usr/bin/python3}
kernel=$built/tests/kernels/flow_kernel.so
small=${SLUICE_TEST_SCALE:-}
flow=$top/tests/flow
name=$(basename "$0" .sh)
binary=$(readlink -f "${SLUICE:-$built/sluice}")
[ -x "$binary" ] && [ -e "$kernel" ] || {
    echo "$name: set SLUICE to the sluice that is to be tested, and top_builddir" >&2
    exit 99
}

# Short, because a Unix socket's path has only 107 bytes.
dir=$(mktemp -d /tmp/flow-XXXXXX)
mkdir -m 700 "$dir/run" "$dir/tmp" "$dir/slots"
export XDG_RUNTIME_DIR=$dir/run TMPDIR=$dir/tmp SLUICE_SLOTS_DIR=$dir/slots
export PYTHONDONTWRITEBYTECODE=1
# Leaks of a process that is killed or forks are no news; errors are.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0}
extra= # one more folder to remove at the end

sluice () { FLOW_MARK=$dir "$binary" "$@"; }

# The ids of all processes of ours.
ours () {
    grep -lzxF "FLOW_MARK=$dir" /proc/[0-9]*/environ 2>/dev/null |
        sed 's|/proc/\([0-9]*\)/environ|\1|' || true
}

finish () {
    local status=$? pid
    trap '' EXIT INT TERM
    for pid in $(ours); do
        kill -KILL "$pid" 2>/dev/null || true
    done
    ! grep -q " $dir/disk " /proc/self/mounts || umount -l "$dir/disk" || true
    if [ $status != 0 ] && [ -n "${FLOW_KEEP:-}" ]; then
        echo "kept: $dir" >&2
    else
        rm -rf "$dir" ${extra:+"$extra"}
    fi
    [ $status != 0 ] || echo "$name: $checks checks, all right, in $SECONDS s"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# job FILE NAME=VALUE...: a job file for the tests' kernel
job () {
    local file=$1
    shift
    {
        echo '[general]'
        echo "kernel = $kernel"
        printf '%s\n' "$@" | sed 's/=/ = /'
    } >"$file"
}

# run NAME JOB ARGS...: run a job; $dir/NAME.json, .err and .h5; its status in $status
run () {
    local as=$1 job=$2
    shift 2
    rm -f "$dir/$as.h5"
    status=0
    sluice run "$job" -q --json -o "$dir/$as.h5" "$@" >"$dir/$as.json" 2>"$dir/$as.err" ||
        status=$?
    if [ $status -gt 2 ] && [ $status != 130 ]; then
        tail -n 5 "$dir/$as.err" >&2
    fi
}
# map NAME ARGS...: the same for sluice map
map () {
    local as=$1
    shift
    rm -f "$dir/$as.h5"
    status=0
    sluice map -q --json -o "$dir/$as.h5" "$@" >"$dir/$as.json" 2>"$dir/$as.err" </dev/null ||
        status=$?
}
# good NAME JOB ARGS...: run it, and it must be complete; its digest in $digest
good () {
    run "$@"
    checks=$((checks + 1))
    if [ $status != 0 ]; then
        tail -n 20 "$dir/$1.err" >&2
        fail "run $1: exit status $status"
    fi
    equal "status of $1" "$(field "$1" status)" complete
    digest=$(field "$1" digest)
}
# field NAME FIELD: from the JSON summary of run NAME
field () {
    "$python" -c 'import json, sys
value = json.load (open (sys.argv[1]))[sys.argv[2]]
print (value)' "$dir/$1.json" "$2"
}
# The digest that `sluice verify` computes from the rows of run NAME.
verified () {
    local said
    said=$(sluice verify "$dir/$1.h5" 2>&1) || fail "verify $1: $said"
    case $said in
    *": sound; "*" digest "*) printf '%s\n' "${said##* digest }" ;;
    *) fail "verify $1: $said" ;;
    esac
}
# look FILE [ARGS]: h5py opens it, and all in it agrees; prints what it holds
look () { "$python" "$flow/libflow.py" "$@"; }

no_process () { [ -z "$(ours)" ]; }
nothing_left () {
    check "$1: a process is left: $(ours | tr '\n' ' ')" wait_for 10 no_process
    # The registry of runs may stay as a folder, empty.
    equal "$1: left in the run folder" \
        "$(find "$dir/run" -mindepth 1 ! -path "$dir/run/sluice" | head -n 3)" ''
    equal "$1: left in the scratch folder" "$(find "$dir/tmp" -mindepth 1 | head -n 3)" ''
}
is_asan () { grep -q __asan_init "$binary"; }
