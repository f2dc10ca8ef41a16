#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# A master and three nodes on hosts that mount the share each at its own path find
# each other by beacon, no address given, within two seconds; the main job, smaller,
# gives the same content as on one core of one machine.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 4
cp "$top"/calc/demo/northridge/{job_small.ini,rupture.xml} "$share"
# Rows enough, and tasks so short that each node gives its first at once.
sed -i -e 's/^region_grid_spacing.*/region_grid_spacing = 4.0/' \
    -e 's/^number_of_ground.*/number_of_ground_motion_fields = 3000/' \
    -e '$a items_per_task = 5' "$share/job_small.ini"
for host in h2 h3 h4; do node $host --slots 1; done

# found NAME LIMIT: all three nodes had given a result LIMIT ms after the start
found () {
    first_results "$1" >"$LAB/first"
    tr '\n' ';' <"$LAB/first"
    echo
    local host ms count
    equal "$1: hosts that took part" "$(cut -d ' ' -f 1 "$LAB/first" | tr '\n' ' ')" "$3"
    while read -r host ms count; do
        within "$1: ms until the first result of $host" "$ms" "$2"
        at_least "$1: tasks of $host" "$count" 1
    done <"$LAB/first"
}

want=$(embedded one job_small.ini)

# What nodes left in the share is taken away: only beacons tell of them (a node
# writes its record each five seconds).
rm -f "$share"/.sluice/nodes/*
slow=(--write-rate 16M --window 4M) # so that all hosts get their share
run beacon job_small.ini --no-local "${slow[@]}"
equal 'digest' "$(field beacon digest)" "$want"
equal 'nodes' "$(field beacon nodes)" 3
equal 'cores' "$(field beacon cores)" 3
found beacon 2000 'h2 h3 h4 '
equal 'verified' "$(verified beacon)" "$want"
check 'data came encrypted' grep -q tcp+aes256gcm <<<"$(field beacon data_path)"
"$python" "$top/tests/flow/gmf_check.py" "$share/beacon.h5" >"$LAB/said" ||
    fail "gmf_check: $(cat "$LAB/said")"

# With the master's own machine, too.
run all job_small.ini "${slow[@]}"
equal 'digest with the local node' "$(field all digest)" "$want"
equal 'nodes with the local one' "$(field all nodes)" 4
found all 2500 'h1 h2 h3 h4 '

# The tests' kernel: its shared object and nothing else comes from the share.
job rows.ini items=3000 rows=30 vary=1 bulk_kib=8
want=$(embedded rows1 rows.ini)
run rows rows.ini --no-local
equal 'digest of rows' "$(field rows digest)" "$want"
look "$share/rows.h5" --all 3000 --status complete >/dev/null || fail 'rows'

# `sluice nodes` sees them; nothing is left of the runs.
"$lab" in h1 "$SLUICE" nodes "$("$lab" share h1)" >"$LAB/nodes" || fail 'sluice nodes'
cat "$LAB/nodes"
equal 'sluice nodes' "$(cut -d ' ' -f 1 "$LAB/nodes" | sort | tr '\n' ' ')" 'h2 h3 h4 '
equal 'left of runs in the share' "$(ls "$share/.sluice/runs")" ''
idle () { [ "$(processes "$1")" = 2 ]; } # agent and spawner
for host in h2 h3 h4; do
    check "$host: workers are gone: $(processes $host)" wait_for 5 idle $host
done

# Cancelled from another host by its id.
job long.ini items=100000 rows=3 sleep_us=2000 items_per_task=10
master long long.ini --no-local
wait_for 20 has_items "$share/long.h5" 20 || fail 'long: nothing done'
id=$(ls "$share/.sluice/runs")
began=$(now_ms)
"$lab" in h3 "$SLUICE" cancel "${id:0:8}" --share "$("$lab" share h3)" || fail 'cancel from h3'
for host in h2 h3 h4; do
    wait_for 5 idle $host || fail "$host: workers live on: $(processes $host)"
done
within 'ms until all workers were gone' $(($(now_ms) - began)) 2000
ended long 10
equal 'exit status of the cancelled run' $status 130
look "$share/long.h5" --status cancelled || fail 'the file of the cancelled run'
