#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Invariants I7 (members only) and I4 (nothing stale): somebody on h3 without the key,
# while h1 and h2 work. Beacons forged, cut, recorded and sent again; at every port of
# node and master: garbage, greetings, frames that claim 2 GiB, nested msgpack, wrong
# CURVE keys, half-open connections, a slow-loris. All of it is counted, said once, and
# costs neither run nor memory.
#
# ATTACK_HALF_OPEN=10000 is the number of connections that are left half open.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

half_open=${ATTACK_HALF_OPEN:-1500}
hosts 3
on=$("$lab" share h2)
job plain.ini items=400 rows=20 vary=1
job job.ini items=400 rows=20 vary=1 mode=wait at=350 "marker=$on/go" sleep_us=5000
"$SLUICE" key --new "$LAB/other.key" >/dev/null
want=$(embedded one plain.ini)
h2=$("$lab" address h2)
attacker () { "$lab" in h3 "$python" "$here/libattack.py" "$@"; }
status () { # FIELD: of the node, as a member on h1 is told
    "$lab" in h1 "$SLUICE" nodes "$("$lab" share h1)" --json >"$LAB/nodes.json" || return 1
    "$python" -c 'import json, sys
for line in open (sys.argv[1]):
    node = json.loads (line)
    if node["status"]:
        print (node["status"][sys.argv[2]])' "$LAB/nodes.json" "$1"
}
peak () { # of the agent, in KiB
    local pid
    read -r pid <"$LAB/.lab/h2.node.inside"
    "$lab" in h2 sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status"
}

# A node of yesterday, whose beacon was recorded.
"$lab" start h3 capture "$python" "$here/libattack.py" capture "$LAB/old"
node h2 --slots 1 --ports 7020-7021
"$lab" wait h3 capture 60 || fail 'no beacon was heard'
"$lab" signal h2 node TERM
"$lab" wait h2 node 30 || fail 'the node on h2 did not end in order'

"$lab" start h3 capture "$python" "$here/libattack.py" capture "$LAB/new"
node h2 --slots 2 --ports 7000-7010
"$lab" wait h3 capture 60 || fail 'no beacon was heard'

# A recorded beacon, sent again from another address all the time, does not keep a
# master from the node that it names, which it finds by nothing else.
mv "$share/.sluice/nodes" "$share/.sluice/away"
"$lab" start h3 replay "$python" "$here/libattack.py" replay "$LAB/new" 600
sleep 0.3
run replayed plain.ini --no-local
equal 'replayed: nodes' "$(field replayed nodes)" 1
equal 'replayed: digest' "$(field replayed digest)" "$want"
"$lab" signal h3 replay TERM
mv "$share/.sluice/away" "$share/.sluice/nodes"

# A run that cannot end before the attack has.
master run job.ini --no-local
wait_for 60 has_items "$share/run.h5" 20 || fail 'nothing done'
record=$(grep -l 'job = job.ini' "$share"/.sluice/runs/*/master)
port=$(sed -n 's/^tcp = .*://p' "$record")
at_least 'port of the master' "$port" 1
before=$(peak)
attacker beacons "$LAB/old"
: >"$LAB/tcp.log"
mkfifo "$LAB/go"
exec {go}<>"$LAB/go"
ports=("$h2:7000" "$h2:7001" "$("$lab" address h1):$port")
attacker tcp "$half_open" "${ports[@]}" <&"$go" >"$LAB/tcp.log" &
pid=$!
wait_for 120 grep -q '^open' "$LAB/tcp.log" || fail 'the attack on TCP does not get on'
# Meanwhile members get in ...
check 'a member asks the node' status strangers
check 'a member asks the master' wait_for 30 "$lab" in h1 "$SLUICE" explain \
    "$(basename "$(dirname "$record")")" --share "$("$lab" share h1)" >"$LAB/explain.log"
# ... and who has another key does not.
for endpoint in "${ports[@]}"; do
    said=$("$lab" in h3 "$built/tests/tools/rogue_master" "$LAB/other.key" \
        "$("$lab" share h3)" "tcp://$endpoint" knock 20)
    equal "$endpoint: with another key" "$said" 'frames: 0'
done
echo >&"$go"
wait $pid || fail 'attack on TCP'
cat "$LAB/tcp.log"

at_least 'node: strangers' "$(status strangers)" $((half_open / 3 + 200))
at_most 'node: KiB that it grew by' $(($(peak) - before)) $((160 << 10))
at_most 'node: lines in its log' "$(wc -l <"$LAB/h2.node.log")" 4
equal 'node: said once' "$(grep -c 'said once' "$LAB/h2.node.log")" 1
touch "$share/go"
ended run 120
complete run
equal 'digest' "$(field run digest)" "$want"
equal 'verified' "$(verified run)" "$want"
equal 'nodes' "$(field run nodes)" 1
at_least 'master: forged beacons' "$(field run forged)" 500
at_least 'master: strangers' "$(field run strangers)" $((half_open / 3 + 100))
at_most 'master: peak of memory' "$(field run peak_rss)" \
    $(($(field run window) + (224 << 20)))
equal 'master: nothing malformed from nodes' "$(field run malformed)" 0
equal 'master: nobody cut off' "$(field run cut_off)" 0
at_most 'master: lines' "$(grep -c '^sluice run: ' "$LAB/h1.run.log")" 6
equal 'master: said once' "$(grep -c 'said once' "$LAB/h1.run.log")" 1
# The next run is served as if nothing had been.
run after plain.ini --no-local
equal 'after: digest' "$(field after digest)" "$want"
echo "node grew by $((($(peak) - before) / 1024)) MiB, $(status strangers) strangers;" \
    "master $(($(field run peak_rss) >> 20)) MiB, $(field run strangers) strangers," \
    "$(field run forged) forged beacons"
