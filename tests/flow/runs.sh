#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# What goes on is seen, and what it waits for: sluice runs and sluice explain, of
# several runs, a slow disk, a hanging task, and a master that was killed.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$dir"
# ask NAME CMD...: its output in $dir/NAME, its status in $status
ask () {
    local as=$1
    shift
    status=0
    sluice "$@" >"$dir/$as" 2>"$dir/$as.err" || status=$?
}
# begin NAME ARGS...: a run in the background ($master), its id in $id
begin () {
    local as=$1 before
    shift
    rm -f "$dir/$as.h5"
    before=$(ls "$dir/run/sluice" 2>/dev/null | tr '\n' ' ' || true)
    FLOW_MARK=$dir env --default-signal=INT "$binary" run "$dir/$as.ini" -q --json \
        -o "$dir/$as.h5" "$@" >"$dir/$as.json" 2>"$dir/$as.err" &
    master=$!
    wait_for 20 new_run "$before" || fail "$as: not registered: $(cat "$dir/$as.err")"
}
new_run () {
    for id in "$dir"/run/sluice/*; do
        id=${id##*/}
        case "$1 * " in *"$id "*) ;; *) return 0 ;; esac
    done
    return 1
}
# value FILE EXPRESSION: of the JSON object d in it
value () { "$python" -c 'import json, sys
d = json.load (open (sys.argv[1]))
print (eval (sys.argv[2]))' "$dir/$1" "$2"; }

ask none runs
equal 'no run: status' $status 0
equal 'no run' "$(sed 's/ in .*//' none)" 'no run is going on'
ask none.json runs --json
equal 'no run, for programs' "$(cat none.json)" ''

# Two at once; one hangs in its item 7.
job slow.ini items=2000 rows=30 vary=1 sleep_us=5000 items_per_task=5
job hang.ini items=40 rows=30 vary=1 mode=hang at=7 items_per_task=1
begin slow --cores 1
slow=$id slow_pid=$master
begin hang --cores 1
hang=$id hang_pid=$master
wait_for 20 has_items "$dir/slow.h5" 10 || fail 'slow: nothing done'
sleep 0.5
began=$(now_ms)
ask runs runs
within 'ms that sluice runs took' $(($(now_ms) - began)) 1600
equal 'runs: status' $status 0
cat runs
equal 'lines' "$(wc -l <runs)" 3
check 'the slow one' grep -qE "^${slow:0:8} .*slow\.ini +[1-9][0-9]*/2000 " runs
check 'the one that hangs' grep -qE "^${hang:0:8} .*hang\.ini +[0-9]+/40 " runs
ask runs.json runs --json
"$python" - "$dir/runs.json" "$slow" "$hang" <<'END' || fail 'runs --json'
import json, sys
runs = {r['run']: r for r in map (json.loads, open (sys.argv[1]))}
assert set (runs) == set (sys.argv[2:]), runs
for r in runs.values ():
    assert r['state'] == 'running' and r['status']['nodes'] == 1, r
    assert r['status']['owner'] == r['owner'] and '@' in r['owner'], r
END
checks=$((checks + 1))

# The whole run, and tasks of it.
began=$(now_ms)
ask hang.say explain "${hang:0:6}"
within 'ms that sluice explain took' $(($(now_ms) - began)) 1000
equal 'explain: status' $status 0
cat hang.say
check 'what is pending waits for a slot' \
    grep -qE 'items? \(.*\) waits? for a free slot: all 1 of 1 node are taken' hang.say
check 'its node' grep -qE '^  .* ready +1 slots, 0 free' hang.say
check 'the task that hangs' grep -qE 'task +8 +running +items 7 to 7, at .*, for [0-9.]+ s' hang.say
ask hang.task explain "$hang" 8
check 'it waits for its worker' grep -q '  waits for its worker at ' hang.task
ask hang.json explain "$hang" --json
equal 'where' "$(value hang.json 'd["tasks"][0]["where"]')" running
equal 'items done' "$(value hang.json 'd["done"]')" 7
ask over explain "$hang" 1
check 'a task that is over' grep -q 'task 1 is over' over
ask uncut explain "$hang" 1000
check 'a task that is not cut' grep -q 'task 1000 is not cut yet' uncut
ask bad explain "$hang" x
equal 'no task: status' $status 2
ask bad explain 0123456789abcdef
equal 'no such run: status' $status 2
equal 'in one line' "$(wc -l <bad.err)" 1

# Its end is not seen any more.
kill -INT $hang_pid
wait $hang_pid || true
ask runs runs
equal 'lines when one has ended' "$(wc -l <runs)" 2

# A master that was killed is shown as such, and cannot be explained.
kill -KILL $slow_pid
{ wait $slow_pid || true; } 2>/dev/null
ask dead runs
cat dead
check 'a dead master' grep -q "^${slow:0:8} .*its master has died; still at no node" dead
ask dead.json runs --json
equal 'state of it' "$(value dead.json 'd["state"]')" dead
ask dead.say explain "$slow"
equal 'explain a dead run: status' $status 3
check 'it says so' grep -q 'its master on .* has died' dead.say.err
# Cancelling it removes what is left of it.
check 'its processes end' wait_for 10 no_process
ask dead.cancel cancel "${slow:0:8}"
equal "cancel a dead run: $(cat dead.cancel.err)" $status 0
check 'it says so' grep -q 'its master has died; ended at 0 of 0 nodes that had it; its record is removed' dead.cancel
nothing_left 'a dead run'

# A slow disk: results wait for the writer, or for credit.
job bulk.ini items=4000 rows=3 bulk_kib=1024
begin bulk --cores 2 --window 8M --outbox 16M --write-rate 2M
# full: nothing more fits, and explain says so
full () {
    ask bulk.say explain "$id"
    grep -qE 'results of this machine wait for the writer, [0-9.]* MiB of them|results of 1 node( \(.* kept there\))? wait for credit: the window of .* is full' bulk.say
}
check "results wait: $(cat bulk.say 2>/dev/null)" wait_for 20 full
cat bulk.say
kill -INT $master
wait $master || true

# All of this user's at once.
begin slow --cores 1
begin hang --cores 1
began=$(now_ms)
ask mine cancel --all-mine
equal "cancel --all-mine: $(cat mine.err)" $status 0
check 'all are gone' wait_for 10 no_process
within 'ms until they were' $(($(now_ms) - began)) 2500
equal 'runs it names' "$(grep -c ': cancelled$' mine)" 2
ask mine cancel --all-mine
equal 'nothing to cancel: status' $status 0
check 'it says so' grep -q '^no run of .* is going on' mine
nothing_left end
