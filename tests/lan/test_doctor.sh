#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# sluice doctor asks all nodes of a share at once: one that is cut off is named and
# delays no other; a key that lies on plain NFS is warned about, and one with krb5p
# is not.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 4
on=$("$lab" share h1)
# doctor ARGS...: on h1; its findings in $LAB/said, its status in $status
doctor () {
    status=0
    "$lab" in h1 "$SLUICE" doctor "$on" "$@" >"$LAB/said" 2>&1 || status=$?
}
finds () { # LEVEL ABOUT WORDS
    check "$1 $2: $3: $(cat "$LAB/said")" grep -q "^$1 *$2 .*$3" "$LAB/said"
}

for host in h2 h3 h4; do node $host --slots 2 --ports 7000-7009; done
seen () { [ "$("$lab" in h1 "$SLUICE" nodes "$on" | grep -c idle)" = 3 ]; }
wait_for 60 seen || fail 'not all nodes are seen'
doctor
equal "exit status: $(cat "$LAB/said")" $status 0
for host in h2 h3 h4; do
    finds ok $host 'ports 7000-7009, answers in'
    finds ok $host 'its clock is'
done

"$lab" cut h3
doctor
"$lab" heal h3
equal 'one is cut off: exit status' $status 1
finds bad h3 'does not answer.*--ports'
for host in h2 h4; do finds ok $host 'answers in'; done

# What the kernel says of mounts, told otherwise: the share's device is an NFS mount.
device=$("$lab" in h1 stat -c '%Hd:%Ld' "$on" 2>/dev/null)
mkdir -p "$LAB/proc/self"
for security in sys krb5p; do
    printf '1 0 %s / %s rw - nfs4 server:/lab rw,vers=4.2,sec=%s,addr=10.77.0.1\n' "$device" \
        /lab $security >"$LAB/proc/self/mountinfo"
    # shellcheck disable=SC2016
    "$lab" in h1 unshare -m sh -c 'mount --bind "$1" /proc && exec "$2" doctor "$3"' sh \
        "$LAB/proc" "$SLUICE" "$on" >"$LAB/said" 2>&1 || fail "doctor: $(cat "$LAB/said")"
    finds ok share 'on nfs4 (server:/lab)'
    if [ $security = sys ]; then
        finds warn key 'crosses the network in clear.*krb5p'
    else
        finds ok key 'mode 0600, on nfs4'
    fi
done
