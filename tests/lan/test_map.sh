#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# sluice map on three hosts that mount the share each at its own path: the rows are those
# computed on one machine; commands start in the folder as mapped there, with paths into
# the share and a virtual environment in it; a host that lacks the command says so and
# takes no part, and the others do the work.

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

n=1000
[ -z "${SLUICE_TEST_SCALE:-}" ] || n=200
hosts 4
on=$("$lab" share h1)
mkdir "$share/work"
cp "$top/tests/flow/npywriter.py" "$share/work"
cat >"$share/work/script.py" <<'END'
import math
import os
import struct
import sys
from npywriter import save, text


def rows(i):
    import numpy as np
    a = np.zeros(1 + i % 3, [('i', '<i4'), ('x', '>f8'), ('name', 'U6')])
    a['i'] = i
    a['x'] = np.sqrt(i)
    a['name'] = 'n%d' % i
    return a


if __name__ == '__main__':
    i = int(sys.argv[1])
    save('rows.npy', [('i', '<i4'), ('x', '>f8'), ('name', '<U6')], (1 + i % 3,),
         (struct.pack('<i', i) + struct.pack('>d', math.sqrt(i)) + text('n%d' % i)) * (1 + i % 3))
    print(i, os.environ['SLUICE_SEED'])
END
# map NAME ARGS...: on h1, from the share's work folder; must be complete
map () {
    local as=$1
    shift
    rm -f "$share/$as.h5"
    status=0
    "$lab" in h1 sh -c 'cd "$1" && shift && exec "$@"' sh "$on/work" \
        "$SLUICE" map -q --json -o "$on/$as.h5" "$@" </dev/null >"$LAB/$as.json" 2>"$LAB/$as.err" ||
        status=$?
    [ $status = 0 ] || { tail -n 5 "$LAB/$as.err" >&2; fail "map $as: exit status $status"; }
}
out () { "$SLUICE" get "$share/$1.h5" "${@:2}"; }
for host in h2 h3 h4; do node $host --slots 1; done

# The same as on one machine, which has no share.
cp -r "$share/work" "$LAB/alone"
(cd "$LAB/alone" && "$SLUICE" map -q --json --no-network -o "$LAB/alone.h5" --range 0:$n -- \
    "$python" script.py {}) >"$LAB/alone.json" </dev/null || fail 'the embedded run'
map thousand --no-local --range 0:$n -- "$python" script.py {}
equal 'digest' "$(field thousand digest)" "$(field alone digest)"
equal 'nodes' "$(field thousand nodes)" 3
equal 'diff' "$("$SLUICE" diff "$LAB/alone.h5" "$share/thousand.h5")" equal
equal 'verified' "$(verified thousand)" "$(field alone digest)"
(cd "$LAB/alone" && "$python" - "$share/thousand.h5" $n) <<'END' || fail 'rows'
import sys
import h5py
from script import rows
with h5py.File(sys.argv[1], 'r') as f:
    index = {item: (a, b) for item, a, b in f['rows_index'][:].tolist()}
    data = f['rows'][:]
    for i in range(int(sys.argv[2])):
        a, b = index[i]
        want = rows(i)
        for name in ('i', 'x'):
            assert data[a:b][name].tobytes() == want[name].tobytes(), i
        assert data[a:b]['name'].tolist() == [s.encode() for s in want['name']]
END
map all --range 0:$n -- "$python" script.py {}
equal 'digest with the local node' "$(field all digest)" "$(field alone digest)"

# Where it starts, and paths into the share.
map where --no-local --range 0:30 -- sh -c 'sleep 0.05; pwd; echo "$1 $2"; cat "$1" >/dev/null' x \
    "$on/work/script.py" --in="$on/work"
for host in h2 h3 h4; do
    there=$("$lab" share $host)
    check "the folder on $host" grep -qx "$there/work" <<<"$(out where stdout)"
    check "paths on $host" grep -qx "$there/work/script.py --in=$there/work" <<<"$(out where stdout)"
done

# PATH and a virtual environment in the share.
"$python" -m venv --system-site-packages --without-pip "$share/venv"
echo 'print ("only here")' >"$(ls -d "$share"/venv/lib/python3*/site-packages)/only_here.py"
VIRTUAL_ENV=$on/venv PATH=$on/venv/bin:$PATH map venv --no-local --range 0:6 -- \
    python -c 'import only_here, os, sys; assert os.environ["VIRTUAL_ENV"] == sys.prefix'
equal 'the virtual environment' "$(out venv stdout | sort | uniq -c | tr -s ' ')" ' 6 only here'

# A command that one host lacks (its own /tmp), and one that none has.
for host in h1 h2 h3; do
    "$lab" in $host sh -c 'printf "#!/bin/sh\nsleep 0.02; hostname\n" >/tmp/tool; chmod +x /tmp/tool'
done
map lacking --no-local --range 0:60 -- /tmp/tool
check "h4 says so: $(cat "$LAB/lacking.err")" \
    grep -q 'h4: .*/tmp/tool: command not found; this node takes no part' "$LAB/lacking.err"
equal 'who did it' "$(out lacking stdout | sort -u | tr '\n' ' ')" 'h2 h3 '
status=0
"$lab" in h1 sh -c 'cd "$1" && shift && exec "$@"' sh "$on/work" \
    "$SLUICE" map -q -o "$on/none.h5" -- /tmp/none ::: 1 >"$LAB/said" 2>&1 </dev/null || status=$?
equal 'nobody has it' $status 2
check "it says so: $(cat "$LAB/said")" grep -q '/tmp/none: command not found' "$LAB/said"

# Outside the share: this machine alone, which is said.
"$lab" in h1 sh -c 'cd /tmp && exec "$@"' sh "$SLUICE" map -o /tmp/outside.h5 -- hostname ::: 1 \
    >"$LAB/said" 2>&1 </dev/null || fail "outside the share: $(cat "$LAB/said")"
check "it says so: $(cat "$LAB/said")" grep -q '/tmp is in no share, so only this machine' "$LAB/said"
