#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Exactly once, whatever is lost (invariant I3): a node's agent is killed, a whole
# host dies, another is cut off and comes back, all while the run goes on. It
# completes, its content is that of an undisturbed one, and no worker is left.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 4
job job.ini items=6000 rows=20 vary=1 bulk_kib=16 sleep_us=4000 items_per_task=20
want=$(embedded one job.ini)
for host in h2 h3 h4; do node $host --slots 2; done
items=6000

# The agent of h3 alone: its spawner, workers and zygote go with it. (With copies the
# others would have done its tasks before it is missed.)
agent () { # HOST: the id there of the process that `node` started
    cat "$LAB/.lab/$1.node.inside"
}
none () { [ "$(processes "$1")" = 0 ]; }
master killed job.ini --no-local --no-copies
wait_for 20 has_items "$share/killed.h5" 200 || fail 'killed: nothing done'
at_least 'processes on h3' "$(processes h3)" 5
"$lab" in h3 kill -KILL "$(agent h3)"
began=$(now_ms)
wait_for 10 none h3 || fail "left on h3: $(processes h3)"
echo "all of h3 gone $(($(now_ms) - began)) ms after its agent was killed"
within 'ms until all of h3 was gone' $(($(now_ms) - began)) 10000
ended killed 90
complete killed
equal 'killed: digest' "$(field killed digest)" "$want"
equal 'killed: verified' "$(verified killed)" "$want"
look "$share/killed.h5" --all $items --status complete || fail 'killed: rows'
at_least 'killed: retried' "$(field killed retried)" 1
check 'killed: it says that h3 was lost' grep -q 'lost node h3' "$LAB/h1.killed.log"

# Cut off for a while, long enough to be given up (10 s), then there again. Its
# workers have ended by then (I9), and it takes part again.
node h3 --slots 2
job long.ini items=6000 rows=20 vary=1 bulk_kib=16 sleep_us=16000 items_per_task=10
master cut long.ini --no-local
wait_for 20 has_items "$share/cut.h5" 100 || fail 'cut: nothing done'
"$lab" cut h2
began=$(now_ms)
alone () { [ "$(processes h2)" = 2 ]; }
wait_for 20 alone || fail "workers live on h2: $(processes h2)"
echo "workers of h2 gone $(($(now_ms) - began)) ms after it was cut off"
within 'ms until then' $(($(now_ms) - began)) 12000
"$lab" heal h2
# A shorter cut, and a host that dies with all that runs on it.
sleep 1
"$lab" cut h4
sleep 2
"$lab" heal h4
"$lab" crash h3
ended cut 150
complete cut
equal 'cut: digest' "$(field cut digest)" "$want"
equal 'cut: verified' "$(verified cut)" "$want"
first_results cut
look "$share/cut.h5" --all $items --status complete || fail 'cut: rows'
at_least 'cut: retried' "$(field cut retried)" 1
for host in h2 h4; do
    check "$host: workers are gone" wait_for 5 sh -c \
        "[ \"\$('$lab' in $host sh -c 'cat /proc/[0-9]*/comm | grep -c sluice')\" = 2 ]"
done

# Cut off when the run ends, and never healed: it completes all the same.
"$lab" in h4 true
job end.ini items=1500 rows=20 vary=1 sleep_us=4000 items_per_task=20
short=$(embedded short end.ini)
master end end.ini --no-local
wait_for 20 has_items "$share/end.h5" 300 || fail 'end: nothing done'
"$lab" unplug h4
ended end 60
complete end
equal 'end: digest' "$(field end digest)" "$short"
