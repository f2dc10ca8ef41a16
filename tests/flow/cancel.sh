#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# A run that is stopped is stopped everywhere within two seconds, with children
# of workers that left their session; its file opens and holds what was done. So
# it is when the master is killed, within ten (invariant I9).

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

job "$dir/escape.ini" items=2000 rows=30 vary=1 sleep_us=5000 mode=escape items_per_task=5

# begin NAME: start it in the background ($master) until some items are done
begin () {
    FLOW_MARK=$dir env --default-signal=INT "$binary" run "$dir/escape.ini" -q --json \
        --cores 2 -o "$dir/$1.h5" >"$dir/$1.json" 2>"$dir/$1.err" &
    master=$!
    wait_for 20 has_items "$dir/$1.h5" 10 || fail "$1: nothing done: $(cat "$dir/$1.err")"
    # master, agent, spawner, zygote, 2 workers, 4 that escaped
    at_least "$1: processes" "$(ours | wc -l)" 10
    began=$(now_ms)
}
only_master () { [ -z "$(ours | grep -vx "$master")" ]; }
# stopped NAME LIMIT STATUS: nothing but the master lives after LIMIT ms; it ends so
stopped () {
    wait_for 15 only_master || fail "$1: still there: $(ours | tr '\n' ' ')"
    local took=$(($(now_ms) - began))
    within "$1: ms until all others were gone" $took "$2"
    status=0
    wait $master || status=$?
    equal "$1: exit status" $status "$3"
    echo "$1: others gone after $took ms, master after $(($(now_ms) - began)) ms"
    [ "$3" = 137 ] || nothing_left "$1"
}
whole () { # NAME STATUS
    local said
    said=$(look "$dir/$1.h5" --status "$2") || fail "$1: the file does not agree"
    at_least "$1: items" "$(cut -d ' ' -f 3 <<<"$said")" 10
    check "$1: verify" sluice verify "$dir/$1.h5" >/dev/null
    echo "$1: $said"
}

begin interrupted
kill -INT $master
stopped interrupted 2000 130
whole interrupted cancelled
equal 'status of interrupted' "$(field interrupted status)" cancelled
check 'it says so' grep -q '^sluice run: .*cancelled' "$dir/interrupted.err"
check 'no lock is left' test ! -e "$dir/interrupted.h5.lock"

begin terminated
kill -TERM $master
stopped terminated 2000 130
whole terminated cancelled

# Hung up: its end, but not under nohup; nor its node's.
begin hungup
kill -HUP $master
stopped hungup 2000 130
whole hungup cancelled
trap '' HUP
begin nohup
trap - HUP
xargs kill -HUP $master <"/proc/$master/task/$master/children"
have=$(items_of "$dir/nohup.h5")
wait_for 20 has_items "$dir/nohup.h5" $((have + 10)) || fail "nohup: $(cat "$dir/nohup.err")"
equal 'nohup: lost nodes' "$(grep -c 'lost node' "$dir/nohup.err")" 0
kill -TERM $master
stopped nohup 2000 130

status=0
sluice run "$dir/escape.ini" --no-local --no-network -o "$dir/none.h5" 2>"$dir/said" || status=$?
equal "nothing to compute on: $(cat "$dir/said")" $status 2
equal 'in one line' "$(wc -l <"$dir/said")" 1

begin cancelled
id=$(ls "$dir/run/sluice")
status=0
(cd / && sluice cancel "${id:0:6}") >"$dir/said" 2>&1 || status=$?
equal "sluice cancel: $(cat "$dir/said")" $status 0
stopped cancelled 2000 130
whole cancelled cancelled
equal 'the run it names' "$(field cancelled run)" "$id"
status=0
sluice cancel "${id:0:6}" 2>"$dir/said" || status=$?
equal 'sluice cancel of what is over' $status 2
equal 'in one line' "$(grep -c '^sluice cancel: ' "$dir/said")" 1

# Not even time to clean up.
begin killed
kill -KILL $master
stopped killed 10000 137 2>/dev/null
whole killed running
check 'processes after kill -9' wait_for 10 no_process
# The place is not blocked for the next one, which tidies up.
job "$dir/next.ini" items=100 rows=30 vary=1
good killed "$dir/next.ini" --force
look "$dir/killed.h5" --all 100 >/dev/null || fail 'the next run'
nothing_left 'the next run'

# A hanging kernel, one process. What it leaves when it is killed goes with the next run.
job "$dir/serial.ini" items=2000 rows=30 vary=1 sleep_us=5000
serial () {
    rm -f "$dir/serial.h5"
    FLOW_MARK=$dir env --default-signal=INT "$binary" run "$dir/serial.ini" -q --json \
        --serial -o "$dir/serial.h5" >"$dir/serial.json" 2>"$dir/serial.err" &
    master=$!
    wait_for 20 has_items "$dir/serial.h5" 10 || fail 'serial: nothing done'
}
serial
kill -KILL $master
wait $master 2>/dev/null || true
check 'its folder is left' touch -d '1 minute ago' "$dir"/run/sluice-run-*
serial
began=$(now_ms)
kill -INT $master
stopped serial 4000 130
within 'ms until a serial run was over' $(($(now_ms) - began)) 4500
whole serial cancelled
serial
kill -HUP $master
stopped serial 4000 130
whole serial cancelled
nothing_left end

# A small limit of file size: a line, not a death by signal. (--serial has nobody who would
# find what escaped.)
job "$dir/plain.ini" items=2000 rows=30 vary=1 sleep_us=5000 items_per_task=5
for how in '--cores 2' --serial; do
    status=0
    # shellcheck disable=SC2086
    (ulimit -f 200 && exec "$binary" run "$dir/plain.ini" -q $how --disk-wait 1 \
        -o "$dir/small.h5" 2>"$dir/said" >/dev/null) || status=$?
    equal "limit, $how: $(cat "$dir/said")" $status 4
    rm -f "$dir/small.h5"
done
nothing_left limit
