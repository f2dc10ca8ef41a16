#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# The disk of the output does not answer (invariant I10): heartbeats and questions are
# answered all the same; the run goes on where it was when the disk is back; and a run
# that is told to end twice ends, with a file that is whole.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

job "$dir/endless.ini" items=100000 rows=10 vary=1 bulk_kib=64 sleep_us=2000
[ -z "$small" ] && deaf_for=11 || deaf_for=3 # 11 s: longer than a silence is borne with

# begin NAME JOB: a run whose disk is deaf while $dir/deaf is there
begin () {
    SLUICE_HANG=$dir/deaf LD_PRELOAD=$built/tests/preload/hangat.so FLOW_MARK=$dir \
        ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 "$binary" run "$2" -q --json \
        --cores 2 --window 8M --outbox 16M -o "$dir/$1.h5" >"$dir/$1.json" 2>"$dir/$1.err" &
    master=$!
    check "$1: some items" wait_for 60 has_items "$dir/$1.h5" 1
}
begin goes_on "$dir/endless.ini"
run=$(basename "$dir"/run/sluice/*)
touch "$dir/deaf"
sleep $deaf_for
said=$(timeout 60 "$binary" explain "$run") || fail "explain: $said"
kill -0 $master || fail "it has ended: $(cat "$dir/goes_on.err")"
equal 'it says' "$(grep -c 'lost node' "$dir/goes_on.err")" 0
before=$(items_of "$dir/goes_on.h5")
rm "$dir/deaf"
check 'it goes on' wait_for 60 has_items "$dir/goes_on.h5" $((before + 1))
kill -INT $master
status=0
wait $master || status=$?
equal 'exit status' $status 130
look "$dir/goes_on.h5" >/dev/null || fail 'goes_on: rows'

begin left "$dir/endless.ini"
touch "$dir/deaf"
kill -INT $master
check 'it stops' wait_for 60 grep -q 'stopping every node' "$dir/left.err"
sleep 1 # what comes at once is one signal
kill -INT $master
check 'it leaves' wait_for 60 grep -q 'does not answer' "$dir/left.err"
status=0
wait $master || status=$?
equal 'exit status' $status 130
check 'the summary' grep -q '"status":"cancelled"' "$dir/left.json"
look "$dir/left.h5" >/dev/null || fail 'left: rows'
rm "$dir/deaf"
nothing_left end
