#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Some tasks of a run are cancelled: one that runs, one that hangs, one that is
# half pushed. Each is gone within two seconds, its items are failed for good and
# named, nothing of it is in the file, and the run goes on to its end.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$dir"
# begin NAME ARGS...: a run in the background ($master), its id in $id
begin () {
    local as=$1
    shift
    rm -f "$as.h5"
    FLOW_MARK=$dir env --default-signal=INT "$binary" run "$dir/$as.ini" -q --json \
        -o "$dir/$as.h5" "$@" >"$as.json" 2>"$as.err" &
    master=$!
    wait_for 20 registered || fail "$as: not registered: $(cat "$as.err")"
}
registered () {
    id=$(ls "$dir/run/sluice" 2>/dev/null)
    [ -n "$id" ]
}
# is NAME TASK WHERE: what explain says of it
is () {
    sluice explain "$id" "$1" --json 2>/dev/null | grep -q "\"where\":\"$2\""
}
ended () { # NAME STATUS
    status=0
    wait $master || status=$?
    equal "$1: exit status" $status "$2"
}
failed_items () { # NAME: first-stop reason, of what is given up
    "$python" - "$1.h5" <<'END'
import sys, h5py
with h5py.File (sys.argv[1], 'r') as f:
    for row in f['sluice/failures'][:]:
        if row['final']:
            print ('%d-%d %s' % (row['first'], row['stop'], row['reason'].decode ()))
END
}

# One hangs: the run would never end.
job hang.ini items=100 rows=30 vary=1 mode=hang at=42 items_per_task=5
begin hang --cores 2
wait_for 20 is 9 running || fail 'hang: task 9 does not run'
over () { [ "$(sluice explain "$id" --json 2>/dev/null | sed 's/.*"done":\([0-9]*\).*/\1/')" = 95 ]; }
wait_for 20 over || fail 'hang: the others are not done'
began=$(now_ms)
status=0
sluice cancel "${id:0:8}" 9 >said 2>err || status=$?
equal "cancel: $(cat err)" $status 0
equal 'what it says' "$(sed 's/ it was at .*//' said)" 'task 9: cancelled; items 40 to 44 are failed;'
ended hang 1
within 'ms until the run was over' $(($(now_ms) - began)) 2500
check 'the run names it' grep -q 'task 9 was cancelled: items 40 to 44' hang.err
equal 'status' "$(field hang status)" failed
equal 'items done' "$(field hang "done")" 95
equal 'items failed' "$(field hang failed)" 5
equal 'in the file' "$(failed_items hang)" '40-45 cancelled'
look hang.h5 --status failed >/dev/null || fail 'the file does not agree'
check 'verify' sluice verify hang.h5 >/dev/null
nothing_left hang

# Tasks that run, several at once, with some that do not; twice.
job slow.ini items=60 rows=30 vary=1 sleep_us=200000 items_per_task=10
begin slow --cores 2
wait_for 20 is 2 running || fail 'slow: task 2 does not run'
status=0
sluice cancel "$id" 1 2 77 >said 2>err || status=$?
equal 'some cannot be: status' $status 1
equal 'lines' "$(wc -l <said)" 3
equal 'cancelled' "$(grep -c ': cancelled; items' said)" 2
check 'the one that is not there' grep -q '^task 77: not cancelled: it is not cut yet' said
check 'in one line' grep -q '^sluice cancel: 2 of 3 tasks were cancelled' err
status=0
sluice cancel "$id" 1 >said 2>err || status=$?
equal 'twice: status' $status 1
check 'twice' grep -q '^task 1: not cancelled: it is over' said
# Their workers are free again at once.
wait_for 3 is 4 running || fail 'slow: the cores are not free'
ended slow 1
equal 'items done' "$(field slow "done")" 40
equal 'items failed' "$(field slow failed)" 20
equal 'in the file' "$(failed_items slow | sort | tr '\n' ';')" '0-10 cancelled;10-20 cancelled;'
look slow.h5 --status failed >/dev/null || fail 'the file does not agree'
# --fail-fast is about what fails by itself.
begin slow --cores 2 --fail-fast
wait_for 20 is 2 running || fail 'slow: task 2 does not run'
sluice cancel "$id" 2 >/dev/null || fail 'cancel under --fail-fast'
ended slow 1
equal 'items done under --fail-fast' "$(field slow "done")" 50

# Half pushed: many pieces are in the file or on their way when it is cancelled.
job bulk.ini items=2 rows=3 bulk_kib=100000 items_per_task=1
begin bulk --cores 2 --window 8M --outbox 16M --write-rate 20M
pushed () { # by both, and much less than all of it
    is 1 running && is 2 running && [ "$(($(stat -c '%b * %B' bulk.h5)))" -gt 12000000 ]
}
wait_for 20 pushed || fail 'bulk: nothing was pushed'
check "it still runs: $(sluice explain "$id" 1 2>&1)" is 1 running
sluice cancel "$id" 1 >said 2>err || fail "bulk: $(cat err)"
ended bulk 1
equal 'items done' "$(field bulk "done")" 1
look bulk.h5 --status failed >/dev/null || fail 'bulk: the file does not agree'
check 'verify' sluice verify bulk.h5 >/dev/null
rows=$("$python" -c 'import h5py; f = h5py.File ("bulk.h5"); print (len (f["bulk"]), *set (f["bulk"]["item"][:]))')
equal 'rows of the other one only' "$rows" '100000 1'
nothing_left bulk

# What is wrong on the command line.
for args in '' 'xyz' 'abc x' '--all-mine abc' '--nonsense'; do
    status=0
    # shellcheck disable=SC2086
    sluice cancel $args >out 2>err || status=$?
    equal "cancel $args: status" $status 2
    equal "cancel $args: lines" "$(wc -l <err)" 1
done
