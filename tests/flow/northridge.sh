#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# The main job, smaller: the Northridge earthquake on all cores, checked from
# outside against the model's mean and standard deviation, shown and drawn.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$dir"
sluice run "$top/calc/demo/northridge/job_small.ini" --json >summary.json 2>progress ||
    fail "run: $(cat progress)"
file=job_small-001.h5
check 'the output has the name that was said' test -e $file
check 'the summary says so' grep -q "\"output\":\"$file\"" summary.json
check 'progress begins with what is done' grep -q '^sluice run: job_small.ini, 100 items' progress
"$python" "$flow/gmf_check.py" $file >said || fail "gmf_check: $(cat said)"
checks=$((checks + 1))
tail -n 1 said
for key in run status tasks done failed retried rows bytes seconds mb_per_s nodes cores \
    window peak_rss peak_held stale_frames digest output; do
    check "the summary has $key" grep -q "\"$key\":" summary.json
done
cp summary.json job.json
dir=. # `field` looks for job.json there
equal status "$(field job status)" complete
equal 'items done' "$(field job done)" 100
sites=$("$python" -c 'import h5py, sys; print (len (h5py.File (sys.argv[1], "r")["sitecol"]))' $file)
equal 'rows: sites x realisations' "$(field job rows)" $((sites * 100))
at_least sites "$sites" 400
want=$(field job digest)
dir=$PWD

sluice verify $file >said || fail "verify: $(cat said)"
check 'verified' grep -q "sound; complete.* digest $want" said
sluice show $file >said || fail 'show'
check 'show says that it is complete' grep -qi complete said
check 'show names the host' grep -q "$(hostname)" said
sluice show $file --json >said || fail 'show --json'
check 'show --json is JSON' "$python" -c 'import json, sys; json.load (open (sys.argv[1]))' said

if grep -q HAVE_CAIRO "$built/config.h" && ! grep -q '^#define HAVE_CAIRO 1' "$built/config.h"; then
    echo 'built without cairo: no picture'
else
    for imt in '' 'SA(1.0)'; do
        sluice plot $file ${imt:+--imt "$imt"} >said 2>&1 || fail "plot: $(cat said)"
        equal 'plot says its name' "$(cat said)" job_small-001.png
        equal 'it is a PNG' "$(head -c 4 job_small-001.png | tail -c 3)" PNG
        at_least 'bytes of the picture' "$(stat -c %s job_small-001.png)" 10000
        cksum <job_small-001.png >>sums
    done
    equal 'another measure is another picture' "$(sort -u sums | wc -l)" 2
    status=0
    sluice plot $file --imt PGV 2>said || status=$?
    equal 'a measure that is not in the file' $status 2
    check 'is named' grep -q 'PGV' said
fi
rm -f job_small-001.png sums
nothing_left end
