#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# sluice doctor: what is right, what is not, and its exit status; everything that is
# broken here on purpose is named in a line, and what to do about it.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# doctor ARGS...: its findings in $dir/said, its status in $status
doctor () {
    status=0
    sluice doctor "$@" >"$dir/said" 2>&1 || status=$?
}
# finds LEVEL ABOUT WORDS
finds () {
    check "$1 $2: $3: $(cat "$dir/said")" grep -q "^$1 *$2 .*$3" "$dir/said"
}
begin_node () {
    FLOW_MARK=$dir "$binary" node "$share" --user root --slots 1 --no-beacon >"$dir/node" 2>&1 &
    node=$!
    check 'a node' wait_for 60 grep -q 'waiting for runs' "$dir/node"
    check 'its record' wait_for 60 recorded
}
recorded () { [ "$(find "$share/.sluice/nodes" -type f ! -name '.*' | wc -l)" = 1 ]; }

share=$dir/share
mkdir "$share"
doctor "$dir"
equal 'no share: exit status' $status 1
finds bad share 'no share here or above.*sluice init'

sluice init "$share" >/dev/null
doctor "$share"
equal 'no node: exit status' $status 0
finds ok share 'answers in'
finds ok 'file server' 'its clock'
finds ok key "mode 0600"
finds warn nodes 'none is there; .*sluice node'
finds ok 'this machine' "sluice [0-9].*Linux"

begin_node
host=$(sed -n 's/^sluice node: host \([^,]*\),.*/\1/p' "$dir/node")
doctor "$share"
equal 'a node: exit status' $status 0
finds ok "$host" 'answers in .*found by'
finds ok "$host" 'its clock'
doctor --json "$share"
"$python" - "$dir/said" "$host" <<'END' || fail "as JSON: $(cat "$dir/said")"
import json, sys
said = json.load (open (sys.argv[1]))
assert said['bad'] == 0 and said['ok'] >= 5
assert {f['level'] for f in said['findings']} <= {'ok', 'warn'}
assert any (f['about'] == sys.argv[2] and f['text'] for f in said['findings'])
END
checks=$((checks + 1))

# A node that is there and does not answer.
kill -STOP $node
doctor "$share"
kill -CONT $node
equal 'a silent node: exit status' $status 1
finds bad "$host" 'does not answer.*firewall'
kill $node
wait $node || true

# A run whose master was killed.
job "$share/job.ini" items=1000 sleep_us=20000
cp "$kernel" "$share/kernel.so"
sed -i 's/^kernel.*/kernel = kernel.so/' "$share/job.ini"
sluice run "$share/job.ini" -q --cores 1 -o "$dir/out.h5" 2>/dev/null &
run=$!
running () { [ -n "$(ls "$share/.sluice/runs")" ]; }
check 'a run' wait_for 60 running
master=$(sed -n 's/^pid = //p' "$share"/.sluice/runs/*/master)
kill -KILL "$master"
wait $run 2>/dev/null || true
doctor "$share"
finds warn runs 'has died; sluice cancel'
sluice cancel "$(ls "$share/.sluice/runs")" --share "$share" >/dev/null 2>&1 || true
equal 'its records are gone' "$(ls "$share/.sluice/runs")$(ls "$dir/run/sluice")" ''

chmod 644 "$share/.sluice/cluster.key"
doctor "$share"
equal 'an open key: exit status' $status 1
finds bad key 'chmod'
chmod 600 "$share/.sluice/cluster.key"

rm -r "$share/.sluice/nodes"
touch "$share/.sluice/nodes"
doctor "$share"
equal 'no folder of nodes: exit status' $status 1
finds bad share 'cannot be written'

status=0
sluice doctor "$share" "$dir" 2>/dev/null || status=$?
equal 'two folders: exit status' $status 2
