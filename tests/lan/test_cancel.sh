#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Cancelled from a third host, everything of a run is gone everywhere within two
# seconds: tasks that are queued, that run, that are half pushed; with a master that
# lives, with one that was killed, and with one that is cut off. Some tasks alone can
# be cancelled, too, one that runs at two nodes; and the runs are seen from there.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 4
for host in h2 h3; do node $host --slots 2 --outbox 64M; done
there=$("$lab" share h4)
# On the third host, h4: neither master nor node.
say () { "$lab" in h4 "$SLUICE" "$@"; }
id () { id=$(ls "$share/.sluice/runs"); }
idle () { [ "$(processes "$1")" = 2 ]; } # agent and spawner
all_idle () { idle h2 && idle h3; }
no_run () { [ -z "$(ls "$share/.sluice/runs")" ]; }
# cancel NAME ARGS...: on h4; all workers are gone within 2 s, whatever the command
# still waits for; what it said in $LAB/said
cancel () {
    local as=$1 began took asked
    shift
    began=$(now_ms)
    say cancel "$@" --share "$there" >"$LAB/said" 2>&1 &
    asked=$!
    wait_for 10 all_idle || fail "$as: workers live on: $(processes h2) $(processes h3)"
    took=$(($(now_ms) - began))
    wait $asked || fail "$as: $(cat "$LAB/said")"
    cat "$LAB/said"
    echo "$as: gone everywhere after $took ms"
    within "$as: ms until all workers were gone" $took 2000
    within "$as: ms of the command" $(($(now_ms) - began)) 3000
}
# going NAME JOB ARGS...: a run on h1 that both nodes compute
going () {
    master "$@" --no-local
    wait_for 20 busy || fail "$1: both nodes compute: $(processes h2) $(processes h3)"
    wait_for 20 has_items "$share/$1.h5" 4 || fail "$1: nothing done"
    id
}
busy () { [ "$(processes h2)" = 5 ] && [ "$(processes h3)" = 5 ]; } # zygote, 2 workers

# Many short tasks (queues), and large results to a slow disk (half pushed).
job short.ini items=1000000 rows=3 sleep_us=1000 items_per_task=2
job bulk.ini items=100000 rows=3 bulk_kib=512 items_per_task=40

# Seen from h4, and explained.
going short short.ini
say runs "$there" >"$LAB/runs" || fail 'sluice runs on h4'
cat "$LAB/runs"
check 'the run is seen' grep -qE "^${id:0:8} .*@h1 +short\.ini +[1-9][0-9]*/1000000 .* 2  " "$LAB/runs"
say explain "${id:0:8}" --share "$there" >"$LAB/explain" || fail 'sluice explain on h4'
check 'nodes' grep -qE '^  h2 +ready +2 slots' "$LAB/explain"
check 'pending' grep -q ') wait for ' "$LAB/explain"
# A live master.
cancel 'live master' "${id:0:8}"
ended short 10
equal 'exit status' $status 130
look "$share/short.h5" --status cancelled >/dev/null || fail 'the file'

# The same with full outboxes and pieces on their way.
going bulk bulk.ini --window 16M --write-rate 8M
sleep 1
cancel 'live master, half pushed' "${id:0:8}"
ended bulk 15
equal 'exit status' $status 130
look "$share/bulk.h5" --status cancelled >/dev/null || fail 'the file'

# Some tasks alone; the run goes on.
job hang.ini items=60 rows=30 vary=1 sleep_us=50000 mode=hang at=42 items_per_task=5
master hang hang.ini --no-local
wait_for 20 has_items "$share/hang.h5" 55 || fail 'hang: the others are not done'
id
# The node without work takes a copy of it.
copied () {
    said=$(say explain "$id" 9 --share "$there" --json)
    hosts=$(sed -n 's/.*"where":"running".*"host":"\(h[23]\)","other_attempt":[12],"other_host":"\(h[23]\)".*/\1 \2/p' <<<"$said")
    [ "$hosts" = 'h2 h3' ] || [ "$hosts" = 'h3 h2' ]
}
wait_for 20 copied || fail "task 9 has no copy: $said"
say explain "$id" 9 --share "$there" >"$LAB/explain" || fail 'explain of a copied task'
cat "$LAB/explain"
check 'explain names both' grep -q "or for its other attempt, at ${hosts#* }: who is first counts" "$LAB/explain"
began=$(now_ms)
say cancel "$id" 9 --share "$there" >"$LAB/said" || fail "cancel of a task: $(cat "$LAB/said")"
cat "$LAB/said"
check 'where it was' grep -q "^task 9: cancelled; items 40 to 44 are failed; it was at ${hosts% *} and ${hosts#* }\$" "$LAB/said"
ended hang 10
within 'ms until the run was over' $(($(now_ms) - began)) 2500
equal 'exit status' $status 1
equal 'items done' "$(field hang "done")" 55
look "$share/hang.h5" --status failed >/dev/null || fail 'the file'
equal 'copies' "$(field hang copies)" 1
wait_for 5 all_idle || fail 'hang: workers live on'

# A master that was killed, which its nodes have not noticed yet.
for what in short bulk; do
    going dead-$what $what.ini --window 16M --write-rate 8M
    "$lab" signal h1 dead-$what KILL
    ended dead-$what 10
    equal 'exit status' $status 137
    cancel "dead master, $what" "${id:0:8}"
    check 'it says so' grep -q "does not answer; ended at 2 of 2 nodes that had it; its record is removed" "$LAB/said"
    check 'the record is removed' no_run
    look "$share/dead-$what.h5" --status running >/dev/null || fail 'the file'
done

# Without a record: only the nodes know it.
going lost short.ini
"$lab" signal h1 lost KILL
ended lost 10
rm -r "$share/.sluice/runs/$id"
say runs "$there" >"$LAB/runs" || fail 'sluice runs on h4'
cat "$LAB/runs"
check 'nodes know it' grep -qE "^${id:0:8} .*no master is registered; known at h[23] h[23]" "$LAB/runs"
cancel 'only nodes know it' "${id:0:8}"

# A master that lives, and cannot be reached from h4: nodes end its run, and it does
# not begin again there. (It is stopped, and wakes when all is over.)
going cut short.ini
"$lab" signal h1 cut STOP
cancel 'silent master' --all-mine
"$lab" signal h1 cut CONT
sleep 3
check 'it did not begin again' all_idle
"$lab" signal h1 cut INT
ended cut 15
equal 'exit status' $status 130
look "$share/cut.h5" --status cancelled >/dev/null || fail 'the file'

# All of this user's, from there; nodes serve the next run as before.
master mine1 short.ini --no-local
master mine2 short.ini --no-local
wait_for 20 has_items "$share/mine1.h5" 4 || fail 'mine1: nothing done'
wait_for 20 has_items "$share/mine2.h5" 4 || fail 'mine2: nothing done'
cancel 'all mine' --all-mine
for as in mine1 mine2; do
    ended $as 10
    equal 'exit status' $status 130
done
job next.ini items=200 rows=30 vary=1
run next next.ini --no-local
check 'no record is left' no_run
