#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Tables that are met with their first rows: the same content wherever and however
# items are computed, and a table that cannot be fails its items and no node.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
kernel=$built/tests/kernels/late_kernel.so

# rows FILE ITEMS ONCE BULK_KIB: h5py finds the rows that these items have
rows () {
    "$python" - "$@" <<'END'
import sys
import h5py
import numpy as np

path, items, once, bulk = sys.argv[1], *map(int, sys.argv[2:])
want = {
    'pairs': [(i, k) for i in range(0, items, 2) for k in range(i % 5)],
    'deep/vec': [(i, k, i + k) for i in range(0, items, 3) for k in range(1 + i % 2)],
    'bytes': [i % 251 for i in range(items) for _ in range(i % 11)],
    'once': [once] if once < items else [],
    'bulk': [i * 1000003 + k * 128 for i in range(0, items, 4) for k in range(bulk)],
}
with h5py.File(path, 'r') as f:
    names = set()
    f.visititems(lambda n, o: names.add(n) if isinstance(o, h5py.Dataset)
                 and not n.startswith('sluice/') else None)
    there = {n for n in want if want[n]}
    assert names == there | {n + '_index' for n in there}, names
    for name in there:
        index, data = f[name + '_index'][:], f[name][:]
        data = np.concatenate([data[a:b] for _i, a, b in index.tolist()])
        got = data[:, 0] if name == 'bulk' else data
        assert [tuple(x) if name == 'deep/vec' else x for x in got.tolist()] \
            == want[name], name
END
}
# failed NAME: number of items that failed for good, by sluice/failures
failed () {
    "$python" -c 'import h5py, sys
print (int (h5py.File (sys.argv[1], "r")["sluice/failures"]["final"].sum ()))' "$dir/$1.h5"
}

# ---- the same anywhere
n=2000
job "$dir/late.ini" items=$n once=1700 bulk_kib=30
good serial "$dir/late.ini" --serial
want=$digest
equal verified "$(verified serial)" "$want"
check rows rows "$dir/serial.h5" $n 1700 30
for c in 1 2 3; do
    good "c$c" "$dir/late.ini" --cores $c
    equal "digest on $c cores" "$digest" "$want"
    equal "verified on $c cores" "$(verified "c$c")" "$want"
    check "rows on $c cores" rows "$dir/c$c.h5" $n 1700 30
done
for cut in 1 7 600; do
    job "$dir/cut.ini" items=$n once=1700 bulk_kib=30 items_per_task=$cut
    good "cut$cut" "$dir/cut.ini" --cores 2
    equal "digest of tasks of $cut" "$digest" "$want"
    equal "verified, tasks of $cut" "$(verified "cut$cut")" "$want"
    good "scut$cut" "$dir/cut.ini" --serial
    equal "serial digest of tasks of $cut" "$digest" "$want"
done
equal diff "$(sluice diff "$dir/serial.h5" "$dir/cut7.h5")" equal
sluice show "$dir/cut7.h5" >"$dir/said"
check 'show names them' grep -q '^  table deep/vec: [0-9]* rows' "$dir/said"
sluice show "$dir/cut7.h5" --json | "$python" -c 'import json, sys
print (len (json.load (sys.stdin)["tables"]))' >"$dir/said"
equal 'show --json' "$(cat "$dir/said")" 5
job "$dir/none.ini" items=$n bulk_kib=30
good none "$dir/none.ini" --cores 2
differ 'digest without a table' "$digest" "$want"
check 'rows without it' rows "$dir/none.h5" $n $n 30
said=$(sluice diff "$dir/serial.h5" "$dir/none.h5" || true)
check "diff names it: $said" grep -q 'table once is only in' <<<"$said"
job "$dir/declared.ini" items=$n once=1700 bulk_kib=30 declare=1
good declared "$dir/declared.ini" --serial
want=$digest
good declared2 "$dir/declared.ini" --cores 2
equal 'digest with one declared' "$digest" "$want"
equal 'verified with one declared' "$(verified declared2)" "$want"

# ---- what cannot be fails the item, and nothing else
# bad MODE PATTERN ITEMS_PER_TASK: of 60 items number 30 fails, with this reason
bad () {
    local as
    job "$dir/bad.ini" items=60 declare=1 mode="$1" at=30 items_per_task="$3"
    for as in --serial '--cores 2'; do
        # shellcheck disable=SC2086
        run bad "$dir/bad.ini" $as
        equal "$1 $as: exit status" $status 1
        equal "$1 $as: failed items" "$(failed bad)" 1
        check "$1 $as: $(cat "$dir/bad.err")" grep -Eq "$2" "$dir/bad.err"
        if grep -q 'lost node' "$dir/bad.err"; then fail "$1: a node was lost"; fi
        verified bad >/dev/null
        sluice show "$dir/bad.h5" >"$dir/said"
        check "$1 $as: show says why" grep -Eq "$2" "$dir/said"
    done
}
bad fail 'item 30 cannot be computed' 8
bad dtype 'pairs.*<u8.*\{item:<u8, k:<u4\}' 8
bad apart 'pairs.*<u8.*\{item:<u8, k:<u4\}' 1
bad name 'sluice/index' 8
bad constant "'constant' and 'constant'" 8
bad declared 'bytes.*<u8.*\|u1' 8
bad large 'large.*2097152.*declared in plan' 8

# A failed item leaves no table that it alone has.
job "$dir/only.ini" items=60 once=30 mode=fail at=30
run only "$dir/only.ini" --cores 2
equal 'exit status' $status 1
sluice show "$dir/only.h5" >"$dir/said"
equal 'no table of a failed item' "$(grep -c 'table once' "$dir/said" || true)" 0

# Tables without end: so many are there, and the run goes on to its end.
job "$dir/many.ini" items=120 mode=many at=0 items_per_task=1
for as in --serial '--cores 2'; do
    # shellcheck disable=SC2086
    run many "$dir/many.ini" $as
    equal "many $as: exit status" $status 1
    check "many $as: it says why" grep -q '64 tables' "$dir/many.err"
    verified many >/dev/null
    at_least "many $as: failed" "$(failed many)" 50
done
nothing_left end
