#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Invariant I10: the share hangs, as with a file server that is gone, on the master's
# host and on the nodes'. Heartbeats are answered and the run goes on to its end;
# explain, runs, nodes and doctor answer all the same and say what hangs; a node that
# hangs in its inputs holds nobody up. When the share is back all is as before.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 3
job job.ini items=3600 rows=20 vary=1 sleep_us=12000 items_per_task=20
job short.ini items=200 rows=20 vary=1 sleep_us=5000 items_per_task=10
want=$(embedded one job.ini)
on=$("$lab" share h1)

# begin_hang HOST FOLDER: that folder hangs on that host
begin_hang () {
    "$lab" start "$1" hang sh -c 'sleep 1000 | exec "$@"' sh "$built/tests/tools/hang" "$2"
    wait_for 10 grep -q . "$LAB/$1.hang.log" || fail "hang on $1"
    if ! grep -q '^hangs' "$LAB/$1.hang.log"; then
        echo "no FUSE to be had: $(cat "$LAB/$1.hang.log")"
        exit 77
    fi
}
end_hang () {
    "$lab" in "$1" sh -c 'for f in /proc/[0-9]*/comm; do
        if [ "$(cat $f)" = hang ]; then kill -TERM "$(basename "$(dirname "$f")")"; fi; done'
    wait_for 30 quiet "$1" || fail "the hang on $1 goes on"
}
quiet () { ! "$lab" in "$1" grep -q '^hang ' /proc/self/mounts; }
# ask NAME ARGS...: on h1; what it says in $LAB/NAME, its status in $LAB/NAME.status
ask () {
    local as=$1 status=0
    shift
    "$lab" in h1 timeout -k 5 60 "$SLUICE" "$@" >"$LAB/$as" 2>&1 || status=$?
    echo $status >"$LAB/$as.status"
}
# said NAME STATUS WORDS: that is how it ended, and what it said
said () {
    equal "$1: exit status ($(cat "$LAB/$1"))" "$(cat "$LAB/$1.status")" "$2"
    check "$1: $(cat "$LAB/$1")" grep -q "$3" "$LAB/$1"
}

node h2 --slots 2
node h3 --slots 2
# The whole share hangs on h3, before the run: its node cannot open the kernel.
begin_hang h3 "$("$lab" share h3)"

"$lab" start h1 run sh -c 'out=$1; shift; exec "$@" >"$out"' sh "$LAB/run.json" \
    "$SLUICE" run "$on/job.ini" --json --no-local -o "$LAB/run.h5"
wait_for 60 has_items "$LAB/run.h5" 1 || fail 'nothing was done'
run=$(basename "$("$lab" in h1 sh -c "echo $on/.sluice/runs/*")")
begin_hang h1 "$on/.sluice"
begin_hang h2 "$("$lab" share h2)/.sluice"
began=$(now_ms)
before=$(look "$LAB/run.h5" --items)

# Each of these needs the share on h1, and none waits for it for long.
ask explain explain "$run" --share "$on" &
ask runs runs "$on" &
ask nodes nodes "$on" &
ask doctor doctor "$on" &
wait
said explain 0 'of the run is\|items'
said explain 0 'does not answer within'
said runs 0 "^${run:0:8}"
said nodes 1 'does not answer within'
said doctor 1 '^bad *share .*hangs in'

# Longer than a silent node or master is borne with.
while [ $(($(now_ms) - began)) -lt 13000 ]; do sleep 0.2; done
wait_for 60 has_items "$LAB/run.h5" $((before + 1)) || fail 'the run stands still'
! grep 'lost node' "$LAB/h1.run.log" || fail 'a node was lost'

status=0
"$lab" wait h1 run 120 || status=$?
equal "exit status" $status 0
equal 'digest' "$(field run digest)" "$want"
equal 'nodes that computed' "$(field run nodes)" 1
check 'the record stays, and that was said' grep -q 'the share does not answer' \
    "$LAB/h1.run.log"

for host in h1 h2 h3; do end_hang $host; done
recovered () {
    "$lab" in h1 "$SLUICE" nodes "$on" >"$LAB/nodes" 2>&1
    [ "$(grep -c idle "$LAB/nodes")" = 2 ]
}
wait_for 60 recovered || fail "not both nodes are idle: $(cat "$LAB/nodes")"
wait_for 60 "$lab" in h1 "$SLUICE" doctor "$on" >"$LAB/doctor" ||
    fail "doctor: $(cat "$LAB/doctor")"
run again short.ini --no-local
equal 'again: digest' "$(field again digest)" "$(embedded short short.ini)"
equal 'again: nodes' "$(field again nodes)" 2
