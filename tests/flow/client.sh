#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# client.h from programs: every item comes once with the rows that `sluice run` has of
# it, item by item or many at a time; two clients in one process; results larger than
# the window; a program that does not read; the examples in C and Python; and errors.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# shellcheck source=tests/flow/libclient.sh
. "$flow/libclient.sh"
# fine NAME ARGS...: the same, and it must be complete
fine () {
    play "$@"
    check "$1: exit status $status: $(grep error "$1.out"; cat "$1.err" "$1.log")" \
        test $status = 0
    check "$1: complete: $(tail -n 4 "$1.out")" grep -q '^end complete' "$1.out"
    equal "$1: children" "$(grep children "$1.out")" 'children none'
}
ended () { sed -n 's/^end [a-z]* [0-9]* [0-9]* //p' "$1.out"; }
# Every item came once, done.
once () { # NAME ITEMS
    equal "$1: items that came" "$("$python" -c 'import sys
seen = set ()
for line in open (sys.argv[1]):
    word = line.split ()
    if word[0] == "result":
        for i in range (int (word[1]), int (word[2])):
            assert i not in seen, i
            seen.add (i)
print (len (seen), min (seen), max (seen))' "$1.out")" "$2 0 $(($2 - 1))"
}
# The dumped rows of NAME are those of file FILE, in whatever order.
same_rows () { # NAME FILE TABLE...
    local as=$1 file=$2
    shift 2
    check "$as: rows" "$python" - "$as" "$file" "$@" <<'END'
import sys, h5py, numpy as np
name, file, *tables = sys.argv[1:]
with h5py.File (file, 'r') as f:
    for table in tables:
        want = f[table][:]
        got = np.fromfile ('%s.rows.%s' % (name, table), want.dtype)
        order = list (want.dtype.names[:2])
        key = lambda a: a[np.lexsort ([a[c] for c in reversed (order) if a[c].ndim == 1])]
        assert len (want) and len (got) == len (want), (table, len (got), len (want))
        assert key (got).tobytes () == key (want).tobytes (), table
END
}

# ---- the same rows as those of `sluice run`

n=3000
[ -z "$small" ] || n=500
job_of=(items "$n" rows 7 vary 1 bulk_kib 1 random_seed 3)
job run.ini "items=$n" rows=7 vary=1 bulk_kib=1 random_seed=3
good run run.ini --cores 2
tables='samples notes bulk'

fine one --kernel "$kernel" --cores 2 --dump one.rows "${job_of[@]}"
once one $n
# shellcheck disable=SC2086
same_rows one run.h5 $tables
equal 'digest of one' "$(ended one)" "$digest"
check 'items come one by one' grep -q '^result 0 1 samples=0 notes=1 bulk=1$' one.out

fine many --kernel "$kernel" --cores 2 --most 1000000 --part 13 --dump many.rows \
    --output many.h5 "${job_of[@]}"
once many $n
# shellcheck disable=SC2086
same_rows many many.h5 $tables
equal 'digest of many' "$(ended many)" "$digest"
equal 'what is in the named output' "$(verified many)" "$digest"

# Small tasks, so that they are packed together; and tables that are met late.
fine small --kernel "$kernel" --cores 2 --dump small.rows items_per_task 3 "${job_of[@]}"
once small $n
# shellcheck disable=SC2086
same_rows small run.h5 $tables
equal 'digest of small' "$(ended small)" "$digest"
fine serial --kernel "$kernel" --serial --dump serial.rows --seed 3 "${job_of[@]}"
once serial $n
# shellcheck disable=SC2086
same_rows serial run.h5 $tables
equal 'digest of serial' "$(ended serial)" "$digest"

{ echo '[general]'; echo "kernel = $built/tests/kernels/late_kernel.so"; echo 'items = 300'; } >late.ini
good late late.ini --cores 2
fine late --kernel "$built/tests/kernels/late_kernel.so" --cores 2 items 300
equal 'digest with late tables' "$(ended late)" "$digest"
once late 300

# ---- two clients in one process, each in a thread

fine two --two --kernel "$kernel" --cores 1 --seed 3 --dump two.rows items 400 rows 7
job two.ini items=400 rows=7
good two3 two.ini --seed 3
good two4 two.ini --seed 4
mv two.rows0.samples two.rows.samples
same_rows two two3.h5 samples
mv two.rows1.samples two.rows.samples
same_rows two two4.h5 samples

# ---- results larger than the window and a program that takes its time

mib=200
[ -z "$small" ] || mib=100
fine large --kernel "$kernel" --cores 2 --window 67108864 --outbox 67108864 --part 100 \
    --output large.h5 items 4 bulk_kib $((mib * 256))
equal 'rows of a large item' "$(grep -c "bulk=$((mib * 256))" large.out)" 4
[ -n "$small" ] || at_most 'KiB that the program took' \
    "$(sed -n 's/rss_kib //p' large.out)" 40000
rm -f large.h5

# A reader that sleeps: the run goes on without it, and nothing is lost.
fine slow --kernel "$kernel" --cores 2 --pause 10 items 200 items_per_task 1 rows 3
once slow 200
# Items that fail come, too, each once; and so does progress.
play failing --kernel "$kernel" --cores 2 --progress items 60 rows 3 mode abort at 31
equal 'failing: exit status' $status 0
equal 'failing: what failed' "$(grep '^failed' failing.out)" \
    'failed 31 32 6 -1 killed by signal 6 (Aborted)'
equal 'failing: end' "$(sed -n 's/^\(end .*\) .*/\1/p' failing.out)" 'end failed 59 1'
check 'failing: progress' grep -q '^progress 60 ' failing.out
# A program that waits for any child itself.
fine reap --kernel "$kernel" --cores 2 --reap --pause 20 items 60 rows 3
fine ignore --kernel "$kernel" --cores 2 --ignore items 60 rows 3
play ignore_close --kernel "$kernel" --cores 2 --ignore --after 2 --close items 60 \
    sleep_us 100000
equal 'ignore_close: exit status' $status 0

# ---- errors are values

# refused NAME CODE PATTERN ARGS...
refused () {
    local as=$1 code=$2 pattern=$3
    shift 3
    play "$as" "$@"
    equal "$as: exit status" $status 1
    check "$as: $(cat "$as.out")" grep -q "^error $code .*$pattern" "$as.out"
    equal "$as: lines of errors" "$(grep -c ^error "$as.out")" 1
    equal "$as: children" "$(grep children "$as.out")" 'children none'
}
refused missing 2 'nowhere.so' --kernel ./nowhere.so items 5
refused nothing 2 'what is to be computed' items 5
refused empty 2 'no kernel' --cores 1
refused number 2 'items: expected a whole number' --kernel "$kernel" items many
refused twice 2 'given twice' --kernel "$kernel" items 5 items 6
echo mine >precious
refused exists 2 'precious: exists' --kernel "$kernel" --output precious items 5
equal 'what was there' "$(cat precious)" mine
refused no_folder 2 'cannot open the folder' --kernel "$kernel" --output no/such.h5 items 5
refused no_command 2 'is not a program' --command /no/such/sluice --kernel "$kernel" items 5
refused other_command 200 'before it began' --command /bin/false --kernel "$kernel" items 5
refused no_share 2 'make one with: sluice init' --no-local --kernel "$kernel" items 5
mkdir lab
sluice init lab >/dev/null
cp "$kernel" lab/k.so
refused outside 2 'share' --folder lab --kernel "$kernel" items 5
head -c 32 /dev/zero >open.key
chmod 644 open.key
refused open_key 2 'open.key' --folder lab --key open.key --kernel k.so items 5
head -c 31 /dev/zero >short.key
chmod 600 short.key
refused short_key 2 'short.key' --folder lab --key short.key --kernel k.so items 5
refused no_nodes 3 'no node answered within 1 s' --folder lab --no-local --wait 1 \
    --output none.h5 --kernel k.so items 5
check 'what was not begun leaves no output' test ! -e none.h5
refused bad_node 2 'HOST:PORT' --folder lab --node tcp:// --kernel k.so items 5
refused no_such_host 2 'nowhere.invalid' --folder lab --node tcp://nowhere.invalid:9 \
    --kernel k.so items 5

# With a share: its nodes; and a good key that is another's finds none.
FLOW_MARK=$dir env --default-signal=INT "$binary" node lab --user "$(id -un)" --slots 2 \
    >node.out 2>&1 &
node=$!
fine shared --folder lab --no-local --kernel k.so items 50 rows 3
once shared 50
head -c 32 /dev/urandom >other.key
chmod 600 other.key
refused other_key 3 'no node' --folder lab --key other.key --no-local --wait 2 \
    --kernel k.so items 5
kill -INT $node
wait $node || true

# ---- the examples

equal 'example in C: what it says' "$("$built/calc/examples/client" \
    "$built/calc/examples/area.so" 0.005 2>client.err | sed -E 's/[0-9]+ batches/N batches/; s/[0-9][.][0-9]+/N/g')" \
    'area N, error N, from N batches'
check "its progress: $(cat client.err)" grep -q 'of 100000 batches on' client.err

export LIBSLUICE=$built/.libs/libsluice.so.0
preload=
if is_asan; then
    # Python has no sanitizer in it: it comes first then.
    preload=$(clang -print-file-name=libclang_rt.asan-x86_64.so)
    [ -e "$preload" ] || preload=$(gcc -print-file-name=libasan.so)
fi
# py FILE ARGS...; what Python starts is as it is.
py () {
    LD_PRELOAD=$preload FLOW_MARK=$dir "$python" -c 'import os, runpy, sys
os.environ.pop ("LD_PRELOAD", None)
sys.argv = sys.argv[1:]
runpy.run_path (sys.argv[0], run_name="__main__")' "$@"
}
said=$(py "$top/calc/examples/client.py" "$built/calc/examples/area.so" 40) ||
    fail "client.py: $said"
check "client.py: $said" grep -q '^area 3.1[0-9]* from 200000 darts, complete, digest' <<<"$said"
# All that it binds, and rows as NumPy arrays of the right type.
cat >binding.py <<'END'
import sys
sys.dont_write_bytecode = True
sys.path.insert (0, sys.argv[1])
import client, numpy as np
kernel = sys.argv[2]
heard = []
with client.Client (cores=2, no_network=True).map (
        kernel, heard.append, {'seed': 5, 'has_seed': True}, items=30, rows=4,
        mode='fail', at=7, bulk_kib=1, sleep_us=20000) as run:
    seen = {}
    for r in run:
        assert r.stop == r.first + 1 and r.first not in seen
        seen[r.first] = r.failed
        if r.failed:
            assert r.reason == 'item 7 cannot be computed', r.reason
            continue
        rows = r.rows ('samples')
        assert rows.dtype == np.dtype ([('item', '<u8'), ('k', '<u4'), ('x', '<f8'), ('u', '<f8')])
        assert (rows['item'] == r.first).all () and (rows['k'] == range (4)).all ()
        assert (rows['x'] == r.first * 0.5 + np.arange (4)).all ()
        bulk = r.rows ('bulk')
        assert bulk.dtype['fill'].shape == (127,) and bulk['item'][0] == r.first
        assert r.rows ('nothing') is None
s = run.summary
assert sorted (seen) == list (range (30)) and [i for i in seen if seen[i]] == [7], seen
assert (s.status, s.done, s.failed, s.rows) == (b'failed', 29, 1, 4 * 29 + 29 + 10), (s.status, s.done, s.failed, s.rows)
assert heard
# Cancelled: the end, not an error.
with client.Client (cores=1).map (kernel, items=1000, sleep_us=20000, items_per_task=1) as run:
    for r in run:
        run.cancel ()
assert run.summary.status == b'cancelled' and run.summary.done < 900
try:
    client.Client ().map ('./nowhere.so', items=3)
    assert False
except client.SluiceError as e:
    assert 'nowhere.so' in str (e)
END
check binding.py py binding.py "$top/calc/examples" "$kernel"

# ---- with valgrind, in one process: no error and no leak, here and in the master

if ! is_asan; then
    real=$built/tests/tools/.libs/client_play
    [ -x "$real" ] || real=$player
    LD_LIBRARY_PATH=$built/.libs FLOW_MARK=$dir valgrind -q --trace-children=yes \
        --leak-check=full --errors-for-leak-kinds=definite,possible --error-exitcode=99 \
        --log-file="$dir/valgrind.%p" "$real" --serial --log vg.log --after 3 --cancel 25:28 \
        --kernel "$kernel" items 30 rows 5 vary 1 mode fail at 3 sleep_us 20000 \
        items_per_task 2 >valgrind.out 2>&1 || fail "valgrind: $(cat valgrind.out valgrind.[0-9]*)"
    check "valgrind: $(cat valgrind.out)" grep -q '^end failed 26 4' valgrind.out
    at_least 'processes that it looked at' "$(find . -name "valgrind.[0-9]*" | wc -l)" 2
    equal 'what valgrind found' "$(cat valgrind.[0-9]* | grep '^==' || true)" ''
fi
nothing_left end
equal 'left where outputs without a name are made' "$(ls "$TMPDIR")" ''
