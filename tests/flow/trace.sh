#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# What master and node say to each other is recorded with --trace and decoded by
# sluice trace: every piece that the writer got is in it, nothing in it is
# malformed, a torn tail costs the last record only, and the run's content is the
# same as without.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$dir"
job job.ini items=600 rows=30 vary=1 bulk_kib=64 items_per_task=10
good plain job.ini
want=$digest
good traced job.ini --cores 2 --trace "$dir/trace"
equal 'digest with a trace' "$digest" "$want"
sluice trace trace >said || fail 'sluice trace'
sluice trace --json trace >said.json || fail 'sluice trace --json'
equal 'lines for people and for programs' "$(($(wc -l <said) - 1))" "$(wc -l <said.json)"
head -n 4 said | cut -c 1-150
check 'who recorded it' grep -q '^# trace of the master on ' said
equal 'malformed' "$(grep -c MALFORMED said || true)" 0
"$python" - said.json "$(field traced run)" "$(field traced tasks)" <<'END' || fail 'what is in it'
import json, sys
from collections import Counter
run, tasks = sys.argv[2], int (sys.argv[3])
records = [json.loads (line) for line in open (sys.argv[1])]
assert all (r['run'] == run for r in records)
times = [r['time'] for r in records]
assert times == sorted (times)
kinds = Counter ((r['type'], r['direction']) for r in records)
assert kinds['HELLO', 'out'] == kinds['WELCOME', 'in'] == kinds['BYE', 'out'] == 1, kinds
assigned = {t['task'] for r in records if r['type'] == 'ASSIGN' for t in r['tasks']}
done = [r for r in records if r['type'] == 'PIECE' and r['kind'] == 'DONE']
assert assigned == {r['task'] for r in done} and len (done) == tasks, (len (done), tasks)
# the stream has no gap: each piece begins where the one before ended
position = 0
for r in records:
    if r['type'] == 'PIECE':
        assert r['position'] == position, r
        assert sum (p['bytes'] for p in r['parts']) == r['payload'], r
        position += r['bytes'] + r['payload']
credit = [r for r in records if r['type'] == 'CREDIT']
assert all (c['granted'] >= c['received'] for c in credit)
assert credit[-1]['received'] == position
hello = next (r for r in records if r['type'] == 'HELLO')
assert hello['items'] == 600 and hello['params']['items'] == '600', hello
END
checks=$((checks + 1))

# A message and its neighbours, for msgpack elsewhere.
"$python" - trace <<'END' || fail 'it is not msgpack'
import sys
try: import msgpack
except ImportError: sys.exit (0)
head, *rest = msgpack.Unpacker (open (sys.argv[1], 'rb'), max_buffer_size=1 << 26)
assert head[0] == 'sluice trace' and head[1] == 1, head
assert all (len (r) == 6 and isinstance (r[5], bytes) for r in rest)
END

# A tail that is cut off: all before it is shown.
size=$(stat -c %s trace)
head -c $((size - 7)) trace >torn
status=0
sluice trace torn >torn.said 2>torn.err || status=$?
equal 'torn: status' $status 0
equal 'torn: lines' "$(wc -l <torn.said)" "$(($(wc -l <said) - 1))"
check 'torn: it says so' grep -q '^sluice trace: torn: the last record is cut off' torn.err
head -c 3 trace >short
: >empty
: >node.out
for file in short empty job.ini traced.h5 nothing .; do
    status=0
    sluice trace $file >out 2>err || status=$?
    equal "$file: status" $status 2
    equal "$file: lines" "$(wc -l <err)" 1
    equal "$file: output" "$(cat out)" ''
done
# Damage in the middle is named with its place.
{ head -c 2000 trace; printf '\xc1\xc1\xc1\xc1'; tail -c +2001 trace; } >hurt
status=0
sluice trace hurt >out 2>err || status=$?
at_least 'damage in the middle: what was before it' "$(wc -l <out)" 2
at_most 'damage in the middle: one line at most' "$(wc -l <err)" 1

# The trace of a node; a name that is taken; a trace that cannot be written.
status=0
sluice run job.ini -q -o other.h5 --trace job.ini 2>err || status=$?
equal 'a file that is no trace: status' $status 2
check 'it is untouched' grep -q '^\[general\]' job.ini
check 'nothing was started' test ! -e other.h5
status=0
sluice run job.ini -q -o other.h5 --serial --trace t 2>err || status=$?
equal '--serial --trace: status' $status 2
good full job.ini --trace "$dir/trace" # the same name again: it is a trace
sluice init "$dir/share" >/dev/null
FLOW_MARK=$dir env --default-signal=INT "$binary" node "$dir/share" --user "$(id -un)" --slots 1 \
    --no-beacon --trace "$dir/node.trace" >node.out 2>node.err &
node=$!
wait_for 10 grep -q 'waiting for runs' node.out || fail "node: $(cat node.err)"
cp "$kernel" "$dir/share/kernel.so"
sed "s|^kernel.*|kernel = kernel.so|" job.ini >"$dir/share/job.ini"
good network "$dir/share/job.ini" --no-local --trace "$dir/master.trace"
equal 'digest over the network' "$digest" "$want"
kill -TERM $node
wait $node || fail "the node: $(cat node.err)"
sluice trace --json master.trace >master.json || fail 'trace of the master'
sluice trace --json node.trace >node.json || fail 'trace of the node'
"$python" - master.json node.json "$(field network run)" <<'END' || fail 'master and node disagree'
import json, sys
def load (name):
    return [r for r in map (json.loads, open (name)) if r.get ('run') == sys.argv[3]]
master, node = load (sys.argv[1]), load (sys.argv[2])
def stream (records, direction, types):
    drop = ('time', 'direction', 'peer')
    return [{k: v for k, v in r.items () if k not in drop} for r in records
            if r['direction'] == direction and (r['type'] in types)]
# What one sent the other received, in that order.
for types in (('PIECE',), ('OFFER',), ('ASSIGN', 'CREDIT', 'HELLO')):
    there = 'in' if types[0] != 'ASSIGN' else 'out'
    back = 'out' if there == 'in' else 'in'
    a, b = stream (master, there, types), stream (node, back, types)
    assert a == b and a, (types, len (a), len (b))
END
checks=$((checks + 1))
nothing_left end
