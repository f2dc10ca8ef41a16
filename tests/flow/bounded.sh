#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Memory is bounded whatever the sizes (invariants I1 and I2): 4 GiB of results
# through a window of 64 MiB to a slow disk, and one result of 6 GiB through a
# window of 256 MiB and an outbox of 64 MiB, which is the same as 6,000 small ones.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mib=$((1 << 20))
if [ -z "$small" ]; then
    many=4096 rate=400M each=1024 one=6000 need=20
else
    many=256 rate=100M each=1024 one=300 need=2
fi
# The result set lies in the build folder's file system if /tmp has no room.
room () { df -B 1G --output=avail "$1" | tail -n 1 | tr -d ' '; }
place=$dir
if [ "$(room "$dir")" -lt $need ]; then
    place=$(mktemp -d "$built/bounded-XXXXXX")
    extra=$place
fi
at_least "GB free for the files of this test in $place" "$(room "$place")" $need

# Peak of the resident memory of process $1 that is not mapped from files, and of
# memory that its workers share with it, sampled until it ends.
watch_memory () { # PID FILE
    "$python" - "$1" "$2" "$binary" <<'END'
import os, sys, time
pid, out, binary = int (sys.argv[1]), sys.argv[2], sys.argv[3]
rss = outbox = samples = 0

def status (pid):
    with open ('/proc/%d/status' % pid, encoding='ascii') as f:
        return {k: v for k, v in (line.split (':', 1) for line in f)}

def children (pid):
    try:
        with open ('/proc/%d/task/%d/children' % (pid, pid), encoding='ascii') as f:
            return [int (x) for x in f.read ().split ()]
    except OSError:
        return []

def segments (pid):
    """Bytes of memfds that this process has mapped: each once."""
    seen = {}
    with open ('/proc/%d/maps' % pid, encoding='ascii') as f:
        for line in f:
            part = line.split ()
            if len (part) > 5 and part[5].startswith ('/memfd:') and part[4] != '0':
                a, b = part[0].split ('-')
                seen[part[4]] = max (seen.get (part[4], 0), int (b, 16) - int (a, 16))
    return sum (seen.values ())

while True:
    try:
        text = status (pid)
        if 'VmRSS' not in text:
            break
        rss = max (rss, int (text['VmRSS'].split ()[0]) * 1024)
        agents = children (pid)
        for agent in agents:
            outbox = max (outbox, segments (agent))
        samples += 1
    except (OSError, ValueError):
        if not os.path.exists ('/proc/%d' % pid):
            break
    time.sleep (0.02)
with open (out, 'w', encoding='ascii') as f:
    print (rss, outbox, samples, file=f)
END
}

# watched NAME JOB ARGS...: as `good`, into $place; rss, outbox and samples are set
watched () {
    local as=$1 job=$2 pid status=0
    shift 2
    FLOW_MARK=$dir "$binary" run "$job" -q --json -o "$place/$as.h5" "$@" \
        >"$dir/$as.json" 2>"$dir/$as.err" &
    pid=$!
    watch_memory $pid "$dir/$as.memory"
    wait $pid || status=$?
    if [ $status != 0 ]; then
        cat "$dir/$as.err" >&2
        fail "run $as: exit status $status"
    fi
    read -r rss outbox samples <"$dir/$as.memory"
    at_least "$as: samples of memory" "$samples" 20
    printf '%s: %s s, %s MB/s, peak_held %s, peak_rss %s, sampled %s, outbox %s MiB\n' "$as" \
        "$(field "$as" seconds)" "$(field "$as" mb_per_s)" $(($(field "$as" peak_held) / mib)) \
        $(($(field "$as" peak_rss) / mib)) $((rss / mib)) $((outbox / mib))
}

# ---- a writer that is slower than the workers
job "$dir/many.ini" items=$many rows=1 bulk_kib=$each
watched slow "$dir/many.ini" --window 64M --outbox 128M --write-rate $rate
at_most 'peak_held' "$(field slow peak_held)" $((64 * mib))
# Two workers have 16 segments each, which are the master's until they are written.
at_least 'the window was used' "$(field slow peak_held)" $((16 * mib))
at_most 'outbox' "$outbox" $((128 * mib))
if ! is_asan; then
    at_most 'peak_rss' "$(field slow peak_rss)" $((130 * mib))
    at_most 'sampled rss' "$rss" $((130 * mib))
fi
at_least 'bytes' "$(field slow bytes)" $((many * each * 1024))
rm -f "$place/slow.h5"

# ---- an outbox that is smaller than what its workers could fill meanwhile
job "$dir/tight.ini" items=96 rows=1 bulk_kib=1024
watched tight "$dir/tight.ini" --cores 2 --window 8M --outbox 16M --write-rate 40M
at_most 'outbox' "$outbox" $((16 * mib))
at_least 'the outbox was used' "$outbox" $((4 * mib))
at_most 'peak_held' "$(field tight peak_held)" $((8 * mib))
rm -f "$place/tight.h5"

# ---- one result that is larger than every memory on its way
job "$dir/one.ini" items=$one rows=1 bulk_kib=1024 items_per_task=$one yield=0
job "$dir/each.ini" items=$one rows=1 bulk_kib=1024 items_per_task=1
watched one "$dir/one.ini" --cores 2 --window 256M --outbox 64M
want=$(field one digest)
equal 'tasks' "$(field one tasks)" 1
at_most 'peak_held' "$(field one peak_held)" $((256 * mib))
at_most 'outbox' "$outbox" $((64 * mib))
if ! is_asan; then
    at_most 'peak_rss' "$(field one peak_rss)" $(((256 + 64 + 2) * mib))
fi
said=$(sluice verify "$place/one.h5") || fail "verify: $said"
equal 'verified' "${said##* digest }" "$want"
rm -f "$place/one.h5"
watched each "$dir/each.ini" --cores 2 --window 256M --outbox 64M
equal 'tasks' "$(field each tasks)" $one
equal 'digest of one result and of as many as items' "$(field each digest)" "$want"
at_most 'outbox' "$outbox" $((64 * mib))
rm -f "$place/each.h5"
nothing_left end
