#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# sluice map and sluice get: a thousand items of a Python script that knows nothing of
# Sluice give the rows that they give without it; arguments, lines, columns, files and
# ranges; what a person sees when three of them fail, and how these alone are run again.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
n=1000
[ -z "$small" ] || n=200
mkdir "$dir/work"
cd "$dir/work"

complete () { # NAME ARGS...
    map "$@"
    [ $status = 0 ] || { tail -n 5 "$dir/$1.err" >&2; fail "map $1: exit status $status"; }
    equal "status of $1" "$(field "$1" status)" complete
}
out () { sluice get "$dir/$1.h5" "${@:2}"; }

# ---- a thousand items, equal to what a loop gives
cp "$top/tests/flow/npywriter.py" .
cat >script.py <<'END'
import math
import os
import struct
import sys
from npywriter import save, text


def rows(i):
    import numpy as np
    a = np.zeros(i % 4, [('i', '<i4'), ('where', '>f8', (2,)), ('name', 'U6'), ('ok', '?')])
    a['i'] = i
    a['where'] = np.sqrt(i) + np.arange(2)
    a['name'] = ['é%d' % (i + k) for k in range(len(a))]
    a['ok'] = i % 2
    return a


if __name__ == '__main__':
    i = int(sys.argv[1])
    save('rows.npy', [('i', '<i4'), ('where', '>f8', (2,)), ('name', '<U6'), ('ok', '|b1')],
         (i % 4,), b''.join(struct.pack('<i', i) + struct.pack('>2d', math.sqrt(i), math.sqrt(i) + 1) +
                            text('é%d' % (i + k)) + struct.pack('?', i % 2) for k in range(i % 4)))
    save('mean.npy', '<f4', (), struct.pack('<f', i / 3))
    print('item', i, 'in', os.path.basename(os.getcwd()))
    print('stderr of', i, file=sys.stderr)
END
cat >check.py <<'END'
import sys
import h5py
import numpy as np
from script import rows

with h5py.File(sys.argv[1], 'r') as f:
    n = int(sys.argv[2])
    index = {}
    for item, a, b in f['rows_index'][:].tolist():
        index.setdefault(item, []).append((a, b))
    data, mean = f['rows'][:], f['mean'][:]
    place = {item: a for item, a, b in f['mean_index'][:].tolist()}
    for i in range(n):
        places = index.get(i, [(0, 0)])
        want = rows(i)
        assert len(places) == 1
        got = data[places[0][0]:places[0][1]]
        assert len(got) == len(want)
        if len(want):
            for name in ('i', 'where', 'ok'):
                assert got[name].dtype == want[name].dtype
                assert got[name].tobytes() == want[name].tobytes(), (i, name)
            assert [s.decode() for s in got['name']] == want['name'].tolist()
        assert mean[place[i]] == np.float32(i / 3)
    text = f['stdout'][:].tobytes()
    for item, a, b in f['stdout_index'][:].tolist():
        assert text[a:b] == b'item %d in work\n' % item
    said = f['sluice/stderr'][:].tobytes()
    for item, a, b in f['sluice/stderr_index'][:].tolist():
        assert said[a:b] == b'stderr of %d\n' % item
    assert f['arguments'][:].tolist() == list(range(n))
    tasks = f['sluice/tasks'][:]
    assert len(tasks) == n and (tasks['cpu'] > 0).all() and (tasks['rss'] > 1 << 20).all()
END
complete thousand --range 0:$n -- "$python" script.py {}
check 'equal to what a loop gives' "$python" check.py "$dir/thousand.h5" $n
want=$(field thousand digest)
equal verified "$(verified thousand)" "$want"
cat >numpy-script.py <<'END'
import os, sys
import numpy as np
from script import rows
i = int(sys.argv[1])
np.save(os.environ['SLUICE_OUT'] + '/rows.npy', rows(i))
np.save(os.environ['SLUICE_OUT'] + '/mean.npy', np.float32(i / 3))
print('item', i, 'in', os.path.basename(os.getcwd()))
print('stderr of', i, file=sys.stderr)
END
complete numpy --range 0:40 -- "$python" numpy-script.py {}
check 'the same with NumPy' "$python" check.py "$dir/numpy.h5" 40
complete one --cores 1 --range 0:50 -- "$python" script.py {}
complete serial --serial --range 0:50 -- "$python" script.py {}
equal 'serial digest' "$(field serial digest)" "$(field one digest)"
check 'serial rows' "$python" check.py "$dir/serial.h5" 50
# stderr is no content.
complete noisy -- sh -c 'echo $1; echo $$ >&2' x {} ::: a b c
complete noisy2 -- sh -c 'echo $1; echo $$ >&2' x {} ::: a b c
equal 'with another stderr' "$(sluice diff "$dir/noisy.h5" "$dir/noisy2.h5")" equal

# ---- get
# What -o names stays when nothing comes of it, and results are never replaced.
echo precious >kept.csv
for what in "nope -o kept.csv" "rows --item 99999 -o kept.csv" "rows -o $dir/noisy.h5"; do
    status=0
    # shellcheck disable=SC2086
    out thousand $what 2>"$dir/said" || status=$?
    equal "get $what: $(cat "$dir/said")" $status 2
    equal "get $what: lines" "$(wc -l <"$dir/said")" 1
done
equal 'what was there' "$(cat kept.csv)" precious
equal 'the results' "$(sluice diff "$dir/noisy.h5" "$dir/noisy2.h5")" equal
out thousand mean -o kept.csv
out thousand mean | cmp - kept.csv || fail 'get -o over a file'
out thousand rows -o rows.npy
out thousand rows >rows.csv
out thousand mean >mean.csv
"$python" - $n <<'END' || fail 'sluice get'
import csv, sys
import numpy as np
from script import rows
n = int(sys.argv[1])
want = [rows(i) for i in range(n)]
got = np.load('rows.npy')
for name in ('i', 'where', 'ok'):
    assert got[name].tobytes() == b''.join(w[name].tobytes() for w in want)
want = np.concatenate(want)
lines = list(csv.DictReader(open('rows.csv', encoding='utf-8')))
assert list(lines[0]) == ['i', 'where_0', 'where_1', 'name', 'ok'], lines[0]
assert [float(l['where_1']) for l in lines] == want['where'][:, 1].tolist()
assert [l['name'] for l in lines] == want['name'].tolist()
assert [l['ok'] == 'True' for l in lines] == want['ok'].tolist()
mean = [np.float32(l['value']) for l in csv.DictReader(open('mean.csv'))]
assert mean == [np.float32(i / 3) for i in range(n)]
END
equal 'stdout of an item' "$(out thousand stdout --item 17)" 'item 17 in work'
equal 'stderr of an item' "$(out thousand stderr --item 17)" 'stderr of 17'
equal 'all stdout is in order' "$(out thousand stdout | sed -n '$=; 3p')" $'item 2 in work\n'$n
equal 'rows of an item' "$(out thousand rows --item 3 | wc -l)" 4
equal 'rows of one without' "$(out thousand rows --item 4 | wc -l)" 1
said=$(out thousand nothing 2>&1 || true)
check "no such table: $said" grep -q 'no table or array nothing' <<<"$said"

# ---- where arguments come from
printf 'one\ntwo words\r\n\n' >lines
printf 'lon,lat\n1.5,"-2"\n3,4\n' >points.csv
touch a.xml b.xml 'c d.xml'
# said NAME: the commands' stdout in order, a line each
said () { out "$1" stdout; }
complete list -- echo {} ::: 'a b' "c'd" '$x;'
equal list "$(said list)" $'a b\nc\'d\n$x;'
complete product -- echo {2}-{1} ::: a b ::: 1 2
equal product "$(said product)" $'1-a\n2-a\n1-b\n2-b'
complete appended -- echo + ::: a ::: 'b c'
equal appended "$(said appended)" '+ a b c'
complete lines -a lines -- echo '<{}>'
equal lines "$(said lines)" $'<one>\n<two words>\n<>'
sluice map -q -o "$dir/stdin.h5" -- echo '<{}>' <lines
equal 'standard input' "$(said stdin)" $'<one>\n<two words>\n<>'
complete columns -a points.csv -- echo '{lat} {lon} {#} {1}'
equal columns "$(said columns)" $'-2 1.5 1 1.5\n4 3 2 3'
equal 'arguments by name' "$(out columns arguments)" $'lon,lat\n1.5,-2\n3,4'
complete csv --csv points.csv -- echo {}
equal csv "$(said csv)" $'1.5 -2\n3 4'
complete files -- echo {} {.} ::: './*.xml'
equal files "$(said files)" $'./a.xml ./a\n./b.xml ./b\n./c d.xml ./c d'
complete noglob --no-glob -- echo {} ::: 'x*'
equal 'no glob' "$(said noglob)" 'x*'
complete forms -- echo {} {.} {/} {//} {/.} {#} ::: d.e/f.tar.gz
equal forms "$(said forms)" 'd.e/f.tar.gz d.e/f.tar f.tar.gz d.e f.tar 1'
complete range --range 10:0:-5 -- echo {}
equal range "$(said range)" $'10\n5'
complete shell 'echo {} | tr a-z A-Z; echo "$SLUICE_TASK"' ::: 'a  b;' "it's"
equal shell "$(said shell)" $'A  B;\n0\nIT\'S\n1'
complete files2 -- sh -c 'echo kept >"$SLUICE_OUT/note.txt"; mkdir "$SLUICE_OUT/d"; echo x >"$SLUICE_OUT/d/y"' ::: 1 2
equal 'other files' "$(out files2 note.txt --item 1; out files2 d/y)" $'kept\nx\nx'
equal 'dry run' "$(sluice map --dry-run -- echo {} '$x' ::: 'a b' c)" $'echo \'a b\' \'$x\'\necho c \'$x\''
[ ! -e map-001.h5 ] || fail 'a dry run has written something'

# seeds: of item and seed alone
complete seed1 --range 0:20 --seed 7 -- sh -c 'echo $SLUICE_SEED'
complete seed2 --range 0:20 --seed 7 --serial -- sh -c 'echo $SLUICE_SEED'
equal seeds "$(said seed1)" "$(said seed2)"
equal 'all different' "$(said seed1 | sort -u | wc -l)" 20
complete seed3 --range 0:20 --seed 8 -- sh -c 'echo $SLUICE_SEED'
differ 'another seed' "$(said seed1)" "$(said seed3)"

# ---- errors before the start: one line, status 2, no output
# refused PATTERN ARGS...
refused () {
    local pattern=$1
    shift
    rm -f "$dir/refused.h5"
    status=0
    sluice map -o "$dir/refused.h5" "$@" >"$dir/said" 2>&1 </dev/null || status=$?
    equal "status of: $*" $status 2
    equal "lines of: $*" "$(wc -l <"$dir/said")" 1
    check "$* says: $(cat "$dir/said")" grep -qe "$pattern" "$dir/said"
    [ ! -e "$dir/refused.h5" ] || fail "$*: there is an output"
}
refused 'which command' ::: a
refused 'no arguments' -- echo {}
refused 'no file is called' -- echo {} ::: '*.none'
refused 'command not found' -- no-such-command {} ::: a
refused 'not executable' -- ./lines {} ::: a
mkdir sub
refused 'a folder' -- ./sub {} ::: a
refused '{3}: there are 2 sources' -- echo {3} ::: a ::: b
refused 'no column is called so; there are lon, lat' --csv points.csv -- echo {long}
refused 'is no range' --range 5 -- echo
refused 'is empty' --range 5:5 -- echo
refused 'missing' -a missing -- echo
refused 'is not known; :::' -- echo ::: a :::+ b
refused 'not a number' --retries x -- echo ::: a
refused 'is not an HDF5 file' --only-failed lines
refused 'is the input lines' --force -a lines -o lines -- echo {}
printf '#!/no/such/interpreter\n' >odd; chmod +x odd
refused 'interpreter /no/such/interpreter is not there' -- ./odd ::: a

# ---- three of a thousand fail
cat >some.py <<'END'
import os, sys
i = int(sys.argv[1])
print('said', i)
if i in (17, 103, 150) and not os.path.exists('mended'):
    print('a warning', file=sys.stderr)
    sys.exit('bad luck: %d' % i)
END
status=0
sluice map -o "$dir/fail.h5" --range 0:$n -- "$python" some.py {} 2>"$dir/fail.err" || status=$?
equal 'exit status' $status 1
cat "$dir/fail.err"
for i in 17 103 150; do
    check "item $i is named" grep -q "item $i failed on .*: exit status 1: bad luck: $i \\[.*some.py $i\\]" \
        "$dir/fail.err"
done
check 'all three at the end' grep -q '3 items failed: 17, 103, 150; see: sluice show' "$dir/fail.err"
check 'and what to do' grep -q "sluice map --only-failed $dir/fail.h5\$" "$dir/fail.err"
check 'show' grep -q "final\\|given up: exit status 1: bad luck: 103" <<<"$(sluice show "$dir/fail.h5")"
"$python" - "$dir/fail.h5" $n <<'END' || fail 'the record'
import h5py, sys
with h5py.File(sys.argv[1], 'r') as f:
    failed = f['sluice/failures'][:]
    assert sorted(failed['first'].tolist()) == [17, 103, 150] and failed['final'].all()
    assert (failed['exit_code'] == 1).all() and (failed['sig'] == 0).all()
    assert all(b'a warning\nbad luck' in s for s in failed['stderr'].tolist())
    # Neighbours are there, each run once.
    assert len(f['sluice/tasks']) == int(sys.argv[2]) - 3
    assert len(f['stdout_index']) == int(sys.argv[2]) - 3
END
check 'its last words' grep -q 'bad luck: 17' <<<"$(out fail stderr --item 17)"
map both -- sh -c 'printf "some progress"; echo oops >&2; exit 3' ::: a
equal 'of both kinds' "$(out both stderr --item 0)" $'some progress\noops'
said=$(out fail stdout --item 17 2>&1 || true)
check "its stdout: $said" grep -q 'item 17 failed: exit status 1' <<<"$said"
status=0
sluice map -q --only-failed "$dir/fail.h5" -o "$dir/fail2.h5" 2>"$dir/said" || status=$?
equal 'they fail again' $status 1
touch mended
sluice map -q --only-failed "$dir/fail.h5" -o "$dir/fail3.h5"
equal 'just these' "$(said fail3)" $'said 17\nsaid 103\nsaid 150'
equal 'their numbers' "$(out fail3 task)" $'value\n17\n103\n150'
sluice map -q --only-failed "$dir/fail2.h5" -o "$dir/fail4.h5" -- sh -c 'echo $SLUICE_TASK $1 {#}' x {}
equal 'from that run, another command' "$(said fail4)" $'17 17 18\n103 103 104\n150 150 151'
sluice map -q --only-failed "$dir/fail2.h5" -o "$dir/fail5.h5" -- echo {} ::: a b c
equal 'other arguments' "$(said fail5)" $'a\nb\nc'
sluice map --only-failed "$dir/fail3.h5" -o "$dir/none.h5" 2>"$dir/said"
check 'nothing to do' grep -q 'all its 3 items are done' "$dir/said"
[ ! -e "$dir/none.h5" ] || fail 'nothing was to be done'

# ---- retries
complete retry --retries 2 -- sh -c 'test -e tried$1 || { touch tried$1; exit 9; }; echo good' x ::: 1 2
equal 'retried' "$(field retry retried)" 2
complete retry2 --serial --retries 1 -- sh -c 'test -e again$1 || { touch again$1; exit 9; }; echo good' x ::: 1 2

# ---- shown while it runs: in order, whole lines, each once
for as in --tee -k '--tee --serial'; do
    # shellcheck disable=SC2086
    sluice map -q --force -o "$dir/tee.h5" $as --range 0:40 -- \
        sh -c 'sleep 0.$((($1 * 7) % 10)); echo a $1; printf "b %s" $1' x >"$dir/said"
    for i in $(seq 0 39); do echo "a $i"; echo "b $i"; done | cmp - "$dir/said" ||
        fail "map $as: out of order"
done
status=0
sluice map -q --force -o "$dir/tee.h5" --tee --json -- sh -c 'test $1 != 2; echo $1; test $1 != 2' x \
    ::: 1 2 3 >"$dir/said" 2>/dev/null || status=$?
equal 'tee with a failure' "$status $(grep -v '^{' "$dir/said" | tr '\n' ' ')" '1 1 3 '
check 'and JSON after it' grep -q '^{"run"' <<<"$(tail -n 1 "$dir/said")"
sluice map -q --force -o "$dir/tee.h5" --tee --range 0:2000 -- echo {} | head -n 1 >"$dir/said"
equal 'nobody looks any more' "$(cat "$dir/said")" 0
equal 'all the same' "$(out tee stdout | wc -l)" 2000
nothing_left end
