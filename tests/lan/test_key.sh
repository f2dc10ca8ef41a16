#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Members only (invariant I7): a node with another key is not seen and cannot be
# used; a master with another key can use no node; garbage at the ports of a node
# and of a master does no harm.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 3
job job.ini items=600 rows=20 vary=1 sleep_us=2000
"$SLUICE" key --new "$LAB/other.key" >/dev/null
cp "$LAB/other.key" "$share/other.key"
chmod 600 "$share/other.key"
want=$(embedded one job.ini)

# h2 has the cluster's key, h3 another; both in the same share.
node h2 --slots 2
node h3 --slots 2 --ports 7000-7010 --key "$("$lab" share h3)/other.key"
wrong=tcp://$("$lab" address h3):7000

run one job.ini --no-local
equal 'nodes: only the one with the key' "$(field one nodes)" 1
equal 'digest' "$(field one digest)" "$want"
equal 'tasks of h2 alone' "$(first_results one | cut -d ' ' -f 1)" h2
"$lab" in h1 "$SLUICE" nodes "$("$lab" share h1)" >"$LAB/nodes"
equal 'sluice nodes' "$(cut -d ' ' -f 1 "$LAB/nodes")" h2

# Even when it is named: the handshake is refused.
run named job.ini --node "$wrong" --node "$("$lab" in h1 "$SLUICE" nodes "$("$lab" share h1)" |
    awk '{print $2}')"
equal 'named: nodes' "$(field named nodes)" 1
equal 'named: digest' "$(field named digest)" "$want"
# A master with the other key sees and uses only h3.
run other job.ini --no-local --key "$("$lab" share h1)/other.key"
equal 'the other key: tasks of h3 alone' "$(first_results other | cut -d ' ' -f 1)" h3
# A master with a third key: no node, and that soon enough. Meanwhile ...
"$lab" signal h2 node TERM
"$lab" wait h2 node 10 || fail 'the node on h2 did not end in order'
node h2 --slots 2 --ports 7000-7010
"$SLUICE" key --new "$share/third.key" >/dev/null
began=$(now_ms)
master none job.ini --no-local --node "$wrong" --node "tcp://$("$lab" address h2):7000" \
    --key "$("$lab" share h1)/third.key"

# ... garbage, at the node's TCP port and as beacons, at a run that works.
cat >"$share/noise.py" <<'END'
import os, random, socket, sys, time
rng = random.Random (7)
host, ports = sys.argv[1], [int (p) for p in sys.argv[2:]]
udp = socket.socket (socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt (socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
greeting = b'\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00' + b'CURVE'.ljust (20, b'\0') + b'\0' * 32
sent = refused = 0
held = []
for i in range (250):
    udp.sendto (rng.randbytes (rng.randrange (1, 256)), ('10.77.0.255', 5677))
    udp.sendto (b'\xdd\x06\0\0\0' + rng.randbytes (20), (host, 5677))
    for port in ports:
        try:
            tcp = socket.create_connection ((host, port), 1)
            tcp.sendall (rng.choice ([b'', greeting]) + rng.randbytes (rng.randrange (2000)))
            sent += 1
            if i % 4 == 0:
                held.append (tcp) # half open, and left so
            else:
                tcp.close ()
        except OSError:
            refused += 1
    time.sleep (0.005)
print (sent, refused)
END
job noisy.ini items=3500 rows=20 vary=1 sleep_us=4000
quiet=$(embedded quiet noisy.ini)
master noisy noisy.ini --no-local --node "tcp://$("$lab" address h2):7000"
wait_for 20 has_items "$share/noisy.h5" 2 || fail 'noisy: nothing done'
"$lab" in h3 "$python" "$("$lab" share h3)/noise.py" "$("$lab" address h2)" 7000 7001 7002 ||
    fail 'noise'
# And at the master's own ports, whichever they are.
port=$(grep -l 'job = noisy.ini' "$share"/.sluice/runs/*/master | xargs sed -n 's/^tcp = .*://p')
at_least 'port of the master' "$port" 1
"$lab" in h3 "$python" "$("$lab" share h3)/noise.py" \
    "$("$lab" address h1)" "$port" || fail 'noise at the master'
ended noisy 60
complete noisy
equal 'noisy: digest' "$(field noisy digest)" "$quiet"
equal 'noisy: verified' "$(verified noisy)" "$quiet"
check 'the node lives' "$lab" in h2 sh -c "cat /proc/[0-9]*/comm | grep -q sluice"

# Somebody with another key can neither cancel nor ask.
master long noisy.ini --no-local
wait_for 20 has_items "$share/long.h5" 2 || fail 'long: nothing done'
for file in "$share"/.sluice/runs/*/master; do
    grep -q 'job = noisy.ini' "$file" || continue
    id=$(basename "$(dirname "$file")")
    status=0
    "$lab" in h3 "$SLUICE" cancel "$id" --share "$("$lab" share h3)" \
        --key "$("$lab" share h3)/other.key" >"$LAB/said" 2>&1 || status=$?
    [ $status != 0 ] || fail "cancelled with another key: $(cat "$LAB/said")"
done
ended long 60
complete long
equal 'long: digest' "$(field long digest)" "$quiet"

ended none 60
took=$(($(now_ms) - began))
equal 'no node: exit status' $status 3
within 'ms until then' $took 60000
check 'it says so in a line' grep -q '^sluice run: no node' "$LAB/h1.none.log"
