#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# What befalls the share, on the hosts of some nodes: it is slow, does not answer for a
# while, is mounted read-only, shows an older file, is gone. No heartbeat waits for it: a
# run that goes on goes on. Who cannot read an input says so, once, and takes no part;
# the others do its work.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 5
on () { "$lab" in "$@"; }
place () { "$lab" share "$1"; }
# slow HOST MS: there the share is that of a slow server from now on
slow () {
    "$lab" start "$1" server "$python" "$here/slowfs.py" "$(place "$1")" "$2"
    wait_for 60 grep -q mounted "$LAB/$1.server.log" || fail "no slow share on $1"
}
mkdir "$share/old"
cp "$kernel" "$share/old/kernel.so"
echo old >>"$share/old/kernel.so"
items=2500
job job.ini items=$items rows=20 vary=1 bulk_kib=4 sleep_us=24000 items_per_task=5
job next.ini items=300 rows=20 vary=1
job aside.ini items=400 rows=20 vary=1 sleep_us=20000 items_per_task=5
aside=$(embedded three aside.ini)
want=$(embedded one job.ini)
next=$(embedded two next.ini)
# h2: slow, and hangs later. h3: read-only. h4: an older kernel. h5: gone, later.
slow h2 3
on h3 mount -o remount,bind,ro "$(place h3)"
on h4 mount --bind "$(place h4)/old/kernel.so" "$(place h4)/kernel.so"
for host in h2 h3 h4 h5; do node $host --slots 1; done

log=$LAB/h1.hung.log
# An agent, its spawner, a zygote and a worker; on h2 there is the server besides.
works () { [ "$(processes "$1")" = 4 ]; }
master hung job.ini --no-local
for host in h2 h3 h5; do wait_for 60 works $host || fail "$host does not work: $(cat "$log")"; done
check 'h3 says that it cannot write' wait_for 60 grep -qi 'read-only' "$LAB/h3.node.log"
equal 'lines of it' "$(grep -ci 'read-only' "$LAB/h3.node.log")" 1
check 'h4 has another kernel' wait_for 60 grep -q 'h4: .*kernel.*takes no part' "$log"
equal 'lines of it' "$(grep -c 'h4: ' "$log")" 1

# It does not answer: a run under way does not notice, one that begins waits on that host.
done_by () { # HOST: how many tasks the run has of it
    first_results hung | sed -n "s/^$1 [0-9]* //p"
}
has_done () { [ -n "$(done_by h2)" ]; }
wait_for 60 has_done || fail 'h2 has done nothing'
before=$(done_by h2)
"$lab" signal h2 server STOP
began=$(now_ms)
more () { [ "$(done_by h2)" -gt $((before + 8)) ]; }
wait_for 60 more || fail "h2 waits for the share: $before, $(done_by h2)"
master next next.ini --no-local
ended next 120
complete next
equal 'next: digest' "$(field next digest)" "$next"
check 'h2 did not take part in it' test -z "$(first_results next | grep '^h2 ')"
# Longer than a silence is suffered.
while [ $(($(now_ms) - began)) -lt 12000 ]; do sleep 0.2; done
check "no node is lost: $(cat "$log")" test -z "$(grep 'lost node' "$log")"
"$lab" signal h2 server CONT
echo "h2: the share did not answer for $(($(now_ms) - began)) ms"

# It is gone: the next run cannot begin there, the present one goes on.
on h5 umount -l "$(place h5)"
master gone next.ini --no-local
ended gone 120
complete gone
equal 'gone: digest' "$(field gone digest)" "$next"
check "h5 says why: $(cat "$LAB/h1.gone.log")" \
    grep -q 'h5: .*takes no part' "$LAB/h1.gone.log"
check 'h2 takes part again' grep -q '^h2 ' <<<"$(first_results gone)"

ended hung 120
complete hung
equal 'digest' "$(field hung digest)" "$want"
equal 'verified' "$(verified hung)" "$want"
equal 'tried again' "$(field hung retried)" 0
look "$share/hung.h5" --all $items --status complete >/dev/null || fail 'rows'
first_results hung >"$LAB/first"
equal 'who took part' "$(cut -d ' ' -f 1 "$LAB/first" | tr '\n' ' ')" 'h2 h3 h5 '
idle () { [ "$(processes "$1")" = 2 ]; }
for host in h2 h3 h4 h5; do
    wait_for 60 idle $host || fail "$host: workers are left: $(processes $host)"
done

# The master's own view of the share stops while its run goes on: results are safe
# elsewhere, so it ends, and says what is left.
slow h1 2
# shellcheck disable=SC2016
"$lab" start h1 aside sh -c 'out=$1; shift; exec "$@" >"$out"' sh "$LAB/aside.json" \
    "$SLUICE" run "$(place h1)/aside.ini" --json -o /tmp/aside.h5 --no-local
begun () { "$lab" in h1 test -e /tmp/aside.h5; }
wait_for 60 begun || fail "aside: not begun: $(cat "$LAB/h1.aside.log")"
wait_for 60 works h2 || fail 'aside: h2 does not work'
"$lab" signal h1 server STOP
ended aside 120
complete aside
equal 'aside: digest' "$(field aside digest)" "$aside"
equal "it says so: $(cat "$LAB/h1.aside.log")" \
    "$(grep -c 'the share does not answer' "$LAB/h1.aside.log")" 1
check 'aside: verify' "$lab" in h1 "$SLUICE" verify /tmp/aside.h5 >/dev/null
"$lab" signal h1 server CONT
