#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# The lab itself: hosts hear each other's broadcasts, see the share each at its
# own path, can be cut off and healed, and are gone without a trace at the end.

set -euo pipefail

lab=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/lab")
LAB=$(mktemp -d)
export LAB LAB_OWNER=$$
trap '"$lab" down; rm -rf "$LAB"' EXIT
share=$LAB/share
mkdir "$share"
python=${PYTHON:-/usr/bin/python3}

fail () {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

ip -brief link >"$LAB/links.before"
grep -v "$LAB" /proc/self/mounts >"$LAB/mounts.before"
"$lab" up 3 "$share"

# Another lab beside this one, with the same addresses.
mkdir "$LAB/second"
LAB=$LAB/second "$lab" up 1 "$share"
LAB=$LAB/second "$lab" down
"$lab" up 1 "$share" 2>/dev/null && fail 'a second lab in the same folder'

# One share, three paths, and none of them the one outside.
echo hello >"$share/greeting"
for host in h1 h2 h3; do
    [ "$("$lab" in $host cat "$("$lab" share $host)/greeting")" = hello ] || fail "share on $host"
    [ "$("$lab" in $host hostname)" = $host ] || fail "name of $host"
    "$lab" in $host test ! -e "$share/greeting" || fail "$host sees the path outside"
done
[ "$("$lab" share h1)" != "$("$lab" share h2)" ] || fail 'same path on h1 and h2'
"$lab" in h1 touch "/tmp/mine.$$"
[ ! -e "/tmp/mine.$$" ] || fail '/tmp is not private'
"$lab" in h2 test ! -e "/tmp/mine.$$" || fail '/tmp of h1 and h2 is one'

cat >"$LAB/hear.py" <<'END'
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 5677))
sock.settimeout(10)
print("ready", flush=True)
data, peer = sock.recvfrom(255)
print(data.decode(), peer[0], flush=True)
END
cat >"$LAB/shout.py" <<'END'
import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for i in range(20):
    sock.sendto(b"beacon", ("10.77.0.255", 5677))
    time.sleep(0.05)
END
listen () {
    "$lab" start "$1" hear "$python" "$LAB/hear.py"
    for ((i = 0; i < 500; i++)); do
        ! grep -q ready "$LAB/$1.hear.log" || return 0
        sleep 0.02
    done
    fail "$1 does not listen"
}

listen h2
listen h3
"$lab" in h1 "$python" "$LAB/shout.py"
for host in h2 h3; do
    "$lab" wait $host hear 10 || fail "$host heard nothing"
    grep -qx 'beacon 10.77.0.11' "$LAB/$host.hear.log" || fail "$host heard something else"
done

# TCP from h3 to h1 by name, and none while h1 is cut off.
"$lab" start h1 serve "$python" -m http.server --bind 10.77.0.11 8000
reach='import socket; socket.create_connection (("h1", 8000), 2).close ()'
for ((i = 0; i < 100; i++)); do
    ! "$lab" in h3 "$python" -c "$reach" 2>/dev/null || break
    sleep 0.1
done
"$lab" in h3 "$python" -c "$reach" || fail 'no TCP'
"$lab" cut h1
"$lab" in h3 "$python" -c "$reach" 2>/dev/null && fail 'h1 is not cut off'
"$lab" heal h1
"$lab" in h3 "$python" -c "$reach" || fail 'h1 is not healed'
"$lab" unplug h1
"$lab" in h1 ip -brief link show eth0 | grep -q NO-CARRIER || fail 'h1 sees its cable'
"$lab" plug h1
for ((i = 0; i < 30; i++)); do
    ! "$lab" in h3 "$python" -c "$reach" 2>/dev/null || break
done
"$lab" in h3 "$python" -c "$reach" || fail 'h1 is not back'

# Signals reach what was started; exit statuses come back.
"$lab" start h2 nap sleep 60
"$lab" wait h2 nap 0 && fail 'sleep has ended' || [ $? = 124 ] || fail 'status of a wait in vain'
"$lab" signal h2 nap INT
"$lab" wait h2 nap 5 && fail 'sleep was not interrupted' || [ $? = 130 ] || fail 'status of INT'
"$lab" in h2 sh -c 'exit 7' && fail 'exit 7' || [ $? = 7 ] || fail 'status of lab in'

# All processes of a crashed host are gone; so is everything after `down`.
"$lab" start h3 nap sleep 12345
"$lab" crash h3
sleep 0.2
"$lab" in h3 true 2>/dev/null && fail 'h3 has not crashed'
pid=$("$lab" pid h1)
"$lab" down
[ ! -e "/proc/$pid" ] || fail 'h1 lives'
sleep 0.2
ip -brief link | diff "$LAB/links.before" - || fail 'a link was left behind'
grep -v "$LAB" /proc/self/mounts | diff "$LAB/mounts.before" - || fail 'a mount was left behind'
echo 'lab: all right'
