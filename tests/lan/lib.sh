# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# lib.sh - what the tests on several hosts share; read in by each of them
#
# `hosts N` makes a lab of N hosts (see lab) with a share, its key, and the tests'
# kernel in it. The lab goes down with the test. Host h1 is the master's.
#
# shellcheck shell=bash

set -euo pipefail

here=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")")
top=$(readlink -f "${top_srcdir:-$here/../..}")
# shellcheck source=tests/check.sh
. "$top/tests/check.sh"
built=$(readlink -f "${top_builddir:-$top}")
lab=$here/lab
python=${PYTHON:-/usr/bin/python3}
name=$(basename "$0" .sh)
SLUICE=$(readlink -f "${SLUICE:-$built/sluice}")
kernel=$built/tests/kernels/flow_kernel.so
[ -x "$SLUICE" ] && [ -e "$kernel" ] || {
    echo "$name: set SLUICE to the sluice that is to be tested, and top_builddir" >&2
    exit 99
}
LAB=$(mktemp -d)
export LAB LAB_OWNER=$$ SLUICE PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0}
unset SLUICE_KEY SLUICE_SLOTS_DIR XDG_RUNTIME_DIR
share=$LAB/share
mkdir "$share"
chmod 755 "$LAB" "$share"

# What was begun on a host, seen from outside, is gone with the lab.
all_left () {
    local file
    for file in $(grep -lsF "$LAB/.lab/" /proc/[0-9]*/cmdline); do
        ! grep -qsx nsenter "${file%/cmdline}/comm" || return 1
    done
}
finish () {
    local status=$? log
    trap '' EXIT INT TERM
    if [ $status != 0 ]; then
        for log in "$LAB"/*.log; do
            [ ! -s "$log" ] || { echo "--- $(basename "$log")"; tail -n 12 "$log"; } >&2
        done
    fi
    "$lab" down
    wait_for 5 all_left || { echo "$name: processes are left" >&2; status=1; }
    rm -rf "$LAB"
    [ $status != 0 ] || echo "$name: $checks checks, all right, in $SECONDS s"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

hosts () {
    "$lab" up "$1" "$share"
    "$SLUICE" init "$share" >/dev/null
    cp "$kernel" "$share/kernel.so"
}
# job FILE NAME=VALUE...: in the share, for the tests' kernel
job () {
    local file=$share/$1
    shift
    {
        echo '[general]'
        echo 'kernel = kernel.so'
        printf '%s\n' "$@" | sed 's/=/ = /'
    } >"$file"
}
# node HOST ARGS...: begin one there, and wait until it says that it is ready
node () {
    local host=$1
    shift
    "$lab" start "$host" node "$SLUICE" node "$("$lab" share "$host")" --user root "$@"
    wait_for 10 grep -q 'waiting for runs' "$LAB/$host.node.log" || fail "node on $host"
}
# master NAME JOB ARGS...: begin a run on h1; output in the share, NAME.h5
master () {
    local as=$1 job=$2 on
    shift 2
    on=$("$lab" share h1)
    rm -f "$share/$as.h5"
    # shellcheck disable=SC2016
    "$lab" start h1 "$as" sh -c 'out=$1; shift; exec "$@" >"$out"' sh "$LAB/$as.json" \
        "$SLUICE" run "$on/$job" --json -o "$on/$as.h5" "$@"
}
# ended NAME SECONDS: wait for it; its exit status in $status
ended () {
    status=0
    "$lab" wait h1 "$1" "$2" || status=$?
}
# run NAME JOB ARGS...: all at once; it must be complete
run () {
    master "$@"
    ended "$1" 120
    complete "$1"
}
complete () {
    equal "$1: exit status" $status 0
    equal "$1: status" "$(field "$1" status)" complete
}
# embedded NAME JOB: digest of a run on one core of this machine alone; without the
# time that items are to take, which is not content
embedded () {
    sed '/^sleep_us/d' "$share/$2" >"$share/plain-$2"
    "$SLUICE" run "$share/plain-$2" -q --json --cores 1 --no-network -o "$LAB/$1.h5" \
        >"$LAB/$1.json" || fail "embedded run of $2"
    rm -f "$LAB/$1.h5"
    field "$1" digest
}
field () {
    "$python" -c 'import json, sys
value = json.load (open (sys.argv[1]))[sys.argv[2]]
print (value)' "$LAB/$1.json" "$2"
}
verified () { # NAME: the digest that `sluice verify` computes
    local said
    said=$("$SLUICE" verify "$share/$1.h5" 2>&1) || fail "verify $1: $said"
    case $said in
    *": sound; "*" digest "*) printf '%s\n' "${said##* digest }" ;;
    *) fail "verify $1: $said" ;;
    esac
}
look () { "$python" "$top/tests/flow/libflow.py" "$@"; }
# Workers, zygotes and spawners are forks of the node: how many processes of
# sluice are on a host, by their command.
processes () { "$lab" in "$1" sh -c 'cat /proc/[0-9]*/comm 2>/dev/null | grep -c sluice' || true; }
# tasks NAME: host and when the first of its results came, one line per host
first_results () {
    "$python" - "$share/$1.h5" <<'END'
import sys, h5py
with h5py.File (sys.argv[1], 'r') as f:
    hosts = {int (n['node']): n['host'].decode () for n in f['sluice/nodes'][:]}
    first, count = {}, {}
    for task in f['sluice/tasks'][:]:
        host = hosts[int (task['node'])]
        first[host] = min (first.get (host, 1e9), task['received'])
        count[host] = count.get (host, 0) + 1
for host in sorted (first):
    print (host, int (first[host] * 1000), count[host])
END
}
