#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Nothing stale (invariant I4): agents are stopped when full of results, their
# master is cancelled, another run begins at once on the same nodes and ports, and
# then the agents wake. No byte of the first run is in the second.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 3
# The first run: as much as there is room for, to a slow disk.
job first.ini items=4000 rows=3 vary=1 bulk_kib=2048
# The second has the same kernel and tables, and other rows.
job second.ini items=1200 rows=20 vary=1 bulk_kib=64 items_per_task=10
want=$(embedded second1 second.ini)
for host in h2 h3; do
    node $host --slots 2 --ports 7000-7009 --outbox 64M
done
nodes=(--node "tcp://$("$lab" address h2):7000" --node "tcp://$("$lab" address h3):7000")
signal () { for host in h2 h3; do "$lab" signal $host node "$1"; done; }

for round in 1 2 3; do
    master first$round first.ini --window 16M --write-rate 4M "${nodes[@]}"
    wait_for 20 has_items "$share/first$round.h5" 1 || fail 'first: nothing done'
    sleep 1 # until all outboxes are full
    signal STOP
    # Round 2: killed, so that nobody says goodbye.
    if [ $round = 2 ]; then
        "$lab" signal h1 first$round KILL
        ended first$round 10
        equal 'first: exit status' $status 137
    else
        "$lab" signal h1 first$round INT
        ended first$round 30
        equal 'first: exit status' $status 130
    fi
    # At once. Round 3: they sleep so long that they count as lost.
    master second$round second.ini "${nodes[@]}"
    [ $round != 3 ] || sleep 12
    sleep 0.$((round * 2))
    signal CONT
    ended second$round 90
    complete second$round
    equal "second, round $round: digest" "$(field second$round digest)" "$want"
    equal "second, round $round: verified" "$(verified second$round)" "$want"
    look "$share/second$round.h5" --all 1200 --status complete >/dev/null ||
        fail "second, round $round: rows"
    equal "second, round $round: nodes" "$(field second$round nodes)" 2
    echo "round $round: stale frames that came and were dropped:" \
        "$(field second$round stale_frames), malformed $(field second$round malformed)"
    equal "second, round $round: malformed" "$(field second$round malformed)" 0
    look "$share/first$round.h5" >"$LAB/said" || fail 'the file of the first run'
    rm -f "$share"/first$round.h5* "$share"/second$round.h5
done

# The workers of all first runs are gone.
idle () { [ "$(processes "$1")" = 2 ]; }
for host in h2 h3; do
    check "$host: workers are gone: $(processes $host)" wait_for 15 idle $host
done
