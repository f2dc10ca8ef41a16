#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Where no broadcast comes through, nodes are found through the share's folder;
# and a node is used once, however many ways lead to it.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 3
job job.ini items=1000 rows=20 vary=1 sleep_us=1000 items_per_task=5
want=$(embedded one job.ini)

node h2 --slots 2 --no-beacon
run folder job.ini --no-local
equal 'digest' "$(field folder digest)" "$want"
equal 'nodes' "$(field folder nodes)" 1
first_results folder >"$LAB/first"
cat "$LAB/first"
within 'ms until the first result' "$(cut -d ' ' -f 2 "$LAB/first")" 2000
"$lab" in h1 "$SLUICE" nodes "$("$lab" share h1)" >"$LAB/nodes"
check 'sluice nodes says how it was found' grep -q '^h2 .* share ' "$LAB/nodes"

# One that comes late is found, too.
job late.ini items=4000 rows=20 vary=1 sleep_us=2000 items_per_task=5
late=$(embedded late1 late.ini)
master late late.ini --no-local
wait_for 20 has_items "$share/late.h5" 100 || fail 'late: nothing done'
node h3 --slots 2
ended late 60
complete late
equal 'late: digest' "$(field late digest)" "$late"
equal 'late: hosts' "$(first_results late | cut -d ' ' -f 1 | tr '\n' ' ')" 'h2 h3 '

# By beacon, by folder and by name: still one of each.
run thrice job.ini --node "$("$lab" in h1 "$SLUICE" nodes "$("$lab" share h1)" |
    awk '$1 == "h3" {print $2}')"
equal 'thrice: digest' "$(field thrice digest)" "$want"
equal 'thrice: nodes' "$(field thrice nodes)" 2

# A node beside the master shares its cores with the run's own.
node h1 --slots 2
run beside job.ini
equal 'beside: digest' "$(field beside digest)" "$want"

# A node that ends in order takes its record along, and gives its tasks back.
records () { find "$share/.sluice/nodes" -type f | wc -l; }
equal 'records in the share' "$(records)" 3
master leave late.ini --no-local
wait_for 20 has_items "$share/leave.h5" 100 || fail 'leave: nothing done'
"$lab" signal h2 node TERM
"$lab" wait h2 node 10 || fail 'the node on h2 did not end in order'
equal 'records in the share' "$(records)" 2
equal 'processes left on h2' "$(processes h2)" 0
ended leave 60
complete leave
equal 'leave: digest' "$(field leave digest)" "$late"
