#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# The content of a run depends on the job and its seed alone (invariant I6):
# not on processes, cores, or how the items were cut into tasks. verify and diff
# say the same; outputs are not overwritten.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

same_digests () { # PREFIX JOB ITEMS_PER_TASK...
    local prefix=$1 job=$2 want n other
    shift 2
    good "$prefix-serial" "$job" --serial
    want=$digest
    equal "$prefix-serial verified" "$(verified "$prefix-serial")" "$want"
    for n in 1 2 3; do
        good "$prefix-c$n" "$job" --cores $n
        equal "$prefix: digest on $n cores" "$digest" "$want"
        equal "$prefix: verified on $n cores" "$(verified "$prefix-c$n")" "$want"
        equal "$prefix: cores" "$(field "$prefix-c$n" cores)" $n
    done
    for n in "$@"; do
        sed "\$a items_per_task = $n" "$job" >"$job.cut.ini"
        good "$prefix-cut$n" "$job.cut.ini" --cores 2
        equal "$prefix: digest with tasks of $n" "$digest" "$want"
        good "$prefix-scut$n" "$job.cut.ini" --serial
        equal "$prefix: serial digest with tasks of $n" "$digest" "$want"
    done
    check "$prefix: diff says equal" sluice diff "$dir/$prefix-serial.h5" "$dir/$prefix-c2.h5" \
        >"$dir/said"
    equal "$prefix: diff" "$(cat "$dir/said")" equal
    good "$prefix-seed" "$job" --cores 2 --seed 4711
    differ "$prefix: another seed" "$digest" "$want"
    good "$prefix-seed2" "$job" --serial --seed 4711
    equal "$prefix: the same other seed" "$digest" "$(field "$prefix-seed" digest)"
    other=0
    sluice diff "$dir/$prefix-serial.h5" "$dir/$prefix-seed.h5" >"$dir/said" || other=$?
    equal "$prefix: diff of other content" $other 1
    equal "$prefix: diff says it in a line" "$(wc -l <"$dir/said")" 1
    check "$prefix: diff names a table and an item" \
        grep -Eq '(samples|gmf_data).*item [0-9]+|item [0-9]+.*(samples|gmf_data)' "$dir/said"
}

n=3000
[ -z "$small" ] || n=600
job "$dir/rows.ini" items=$n rows=40 vary=1
same_digests rows "$dir/rows.ini" 1 7 1000
look "$dir/rows-serial.h5" --all $n --status complete >/dev/null || fail 'rows of the serial run'
look "$dir/rows-c3.h5" --all $n --status complete >/dev/null || fail 'rows on 3 cores'
look "$dir/rows-cut7.h5" --all $n --status complete >/dev/null || fail 'rows of tasks of 7'

# Pieces larger than what is left of a task, and a window that is tight.
job "$dir/bulk.ini" items=40 rows=3 bulk_kib=3000
good bulk-serial "$dir/bulk.ini" --serial
want=$digest
good bulk-tight "$dir/bulk.ini" --cores 2 --window 4M --outbox 16M
equal 'digest through a tight window' "$digest" "$want"
at_most 'peak_held' "$(field bulk-tight peak_held)" $((4 << 20))
equal 'verified' "$(verified bulk-tight)" "$want"
look "$dir/bulk-tight.h5" --all 40 >/dev/null || fail 'rows through a tight window'
rm -f "$dir"/bulk-*.h5

# The scenario.
cp "$top"/calc/demo/northridge/{job_small.ini,rupture.xml} "$dir"
sed -i 's/^number_of_ground_motion_fields.*/number_of_ground_motion_fields = 60/' \
    "$dir/job_small.ini"
same_digests scenario "$dir/job_small.ini" 1 25

# Damage is found.
cp "$dir/rows-c2.h5" "$dir/broken.h5"
"$python" - "$dir/broken.h5" <<'END'
import sys, h5py
with h5py.File (sys.argv[1], 'r') as f:
    row = f['sluice/index'][0]
with open (sys.argv[1], 'r+b') as f:
    f.seek (int (row['address'] + row['offset']) + 20)
    byte = f.read (1)[0]
    f.seek (-1, 1)
    f.write (bytes ([byte ^ 4]))
END
status=0
sluice verify "$dir/broken.h5" >"$dir/said" 2>&1 || status=$?
differ 'verify of a damaged file' $status 0
equal 'verify says one line' "$(grep -c '^sluice verify: ' "$dir/said")" 1

# A name that is taken is left alone; without -o names are numbered.
before=$(cksum <"$dir/rows-c1.h5")
status=0
sluice run "$dir/rows.ini" -q -o "$dir/rows-c1.h5" 2>"$dir/said" || status=$?
equal 'an output that exists' $status 2
check 'it says what to do' grep -q -- --force "$dir/said"
equal 'it is as it was' "$(cksum <"$dir/rows-c1.h5")" "$before"
sluice run "$dir/rows.ini" -q --force -o "$dir/rows-c1.h5" || fail 'run --force'
differ 'it was replaced' "$(cksum <"$dir/rows-c1.h5")" "$before"
mkdir "$dir/names"
for i in 1 2 3; do
    (cd "$dir/names" && sluice run ../rows.ini -q --serial) || fail "run $i without -o"
done
equal 'numbered names' "$(cd "$dir/names" && echo *)" 'rows-001.h5 rows-002.h5 rows-003.h5'
nothing_left end
