#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# A node is cut off for less than it takes to be given up: nothing is lost. Packets get
# through one way only, for longer: the node is given up, and takes part again later. The
# master stands still for longer than its nodes wait: they end its run, and begin it anew.
# All of it in one run, which completes with the content of an undisturbed one.
# (A long cut both ways: test_loss.sh.)

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 4
items=9000
job job.ini items=$items rows=20 vary=1 bulk_kib=8 sleep_us=24000 items_per_task=10
want=$(embedded one job.ini)
for host in h2 h3 h4; do node $host --slots 2; done
log=$LAB/h1.cuts.log
lost () { [ "$(grep -c "lost node $1" "$log")" -ge "${2:-1}" ]; }
goes_on () { ! [ -e "$LAB/.lab/h1.cuts.status" ] || fail "$1: the run is over: $(tail -n 3 "$log")"; }
# An agent, its spawner, a zygote and two workers.
works () { [ "$(processes "$1")" = 5 ]; }
works_not () { [ "$(processes "$1")" = 2 ]; }

master cuts job.ini --no-local
wait_for 60 has_items "$share/cuts.h5" 100 || fail 'nothing done'
for host in h2 h3 h4; do wait_for 60 works $host || fail "$host does not work"; done

# Short.
"$lab" cut h2
sleep 4
"$lab" heal h2
sleep 2
check "4 s cost nothing: $(cat "$log")" test -z "$(grep 'lost node' "$log")"
goes_on short

# One way: what h3 sends does not come, and h2 hears nothing.
began=$(now_ms)
"$lab" mute h3 h1
"$lab" mute h1 h2
wait_for 60 lost h3 || fail "h3 is not given up: $(cat "$log")"
echo "given up $(($(now_ms) - began)) ms after it could not be heard"
wait_for 60 works_not h2 || fail "h2 goes on: $(processes h2)"
echo "h2 ended the run $(($(now_ms) - began)) ms after it heard nothing"
wait_for 60 lost h2 || fail "h2 is not given up: $(cat "$log")"
goes_on 'one way'
"$lab" unmute h3 h1
"$lab" unmute h1 h2
for host in h2 h3; do wait_for 60 works $host || fail "$host does not take part again"; done
goes_on 'one way, healed'

# The master stands still.
"$lab" signal h1 cuts STOP
began=$(now_ms)
none () { works_not h2 && works_not h3 && works_not h4; }
wait_for 60 none || fail "workers live: $(processes h2) $(processes h3) $(processes h4)"
took=$(($(now_ms) - began))
echo "workers of a stopped master gone after $took ms"
[ $took -gt 12000 ] || sleep 4
"$lab" signal h1 cuts CONT
for host in h2 h3 h4; do wait_for 60 works $host || fail "$host does not take part again"; done
check 'it says that it stood still' grep -q 'stood still for' "$log"

ended cuts 240
complete cuts
equal 'digest' "$(field cuts digest)" "$want"
equal 'verified' "$(verified cuts)" "$want"
look "$share/cuts.h5" --all $items --status complete >/dev/null || fail 'rows'
at_least 'retried' "$(field cuts retried)" 3
at_most 'held' "$(field cuts peak_held)" "$(field cuts window)"
for host in h2 h3 h4; do
    wait_for 60 works_not $host || fail "$host: workers are left: $(processes $host)"
done
equal 'records of runs' "$(ls "$share/.sluice/runs")" ''
