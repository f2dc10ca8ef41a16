#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Bad wires: 1 Mbit/s; 20 ms one way and one packet in a hundred lost. The run completes
# with the content of an undisturbed one, no node is given up, and results come from
# behind the bad wire. Two masters on the same nodes, one of them killed: the other does
# not notice, and what the dead one had is free within ten seconds (I9).

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 4
job slow.ini items=150 rows=20 vary=1 bulk_kib=8 sleep_us=20000
job job.ini items=600 rows=20 vary=1 bulk_kib=8 sleep_us=20000

# behind HOST NAME: how many tasks came from that host
behind () { first_results "$2" | sed -n "s/^$1 [0-9]* //p"; }
bad_wire () { # NAME HOST JOB
    local want
    want=$(embedded one "$3")
    master "$1" "$3" --no-local
    ended "$1" 240
    complete "$1"
    equal "$1: digest" "$(field "$1" digest)" "$want"
    equal "$1: verified" "$(verified "$1")" "$want"
    at_least "$1: tasks of $2" "$(behind "$2" "$1")" 1
    check "$1: no node is lost: $(cat "$LAB/h1.$1.log")" \
        test -z "$(grep 'lost node' "$LAB/h1.$1.log")"
    equal "$1: tried again" "$(field "$1" retried)" 0
    echo "$1: $(field "$1" seconds) s"
}
# Pieces of 1 MiB take 9 s there: longer than some deadline, and they are not sent again.
node h3 --slots 1 --outbox 8M
"$lab" rate h3 1mbit
bad_wire slow h3 slow.ini
"$lab" fair h3
"$lab" wire h3 20 1
# It is long: a ping takes two delays.
ms=$("$lab" in h1 "$python" - "$("$lab" address h3)" <<'END'
import socket, sys, time
s = socket.socket ()
began = time.monotonic ()
try:
    s.connect ((sys.argv[1], 9))
except ConnectionRefusedError:
    pass
print (int ((time.monotonic () - began) * 1000))
END
)
at_least 'ms there and back' "$ms" 40
bad_wire lossy h3 job.ini
"$lab" fair h3

# Two masters.
for host in h2 h4; do node $host --slots 2; done
job long.ini items=6000 rows=20 vary=1 bulk_kib=8 sleep_us=8000 items_per_task=10
other=$(embedded other long.ini)
idle () { [ "$(processes "$1")" = 2 ]; }
all_idle () { idle h2 && idle h3 && idle h4; }
both () { [ "$(processes h2)" = 8 ] && [ "$(processes h4)" = 8 ]; }
only_one () { [ "$(processes h2)" = 5 ] && [ "$(processes h4)" = 5 ]; }
wait_for 60 all_idle || fail 'workers are left of earlier runs'
master lives long.ini --no-local
master dies long.ini --no-local
wait_for 60 has_items "$share/lives.h5" 50 || fail 'lives: nothing done'
wait_for 60 has_items "$share/dies.h5" 50 || fail 'dies: nothing done'
wait_for 60 both || fail "nodes do not serve both: $(processes h2) $(processes h4)"
"$lab" signal h1 dies KILL
began=$(now_ms)
wait_for 60 only_one || fail "what the dead one had lives: $(processes h2) $(processes h4)"
echo "free $(($(now_ms) - began)) ms after its master was killed"
# 8 s of silence, and what killing takes on a busy machine.
at_most 'ms until it was free' $(($(now_ms) - began)) 20000
check 'the other goes on' test ! -e "$LAB/.lab/h1.lives.status"
ended lives 240
complete lives
equal 'digest' "$(field lives digest)" "$other"
equal 'verified' "$(verified lives)" "$other"
equal 'tried again' "$(field lives retried)" 0
wait_for 60 all_idle || fail 'workers are left'
