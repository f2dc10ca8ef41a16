#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Commands that do what commands do: leave children, ignore SIGTERM, close stdout, print
# without end or binary, change folder, need a virtual environment, read stdin, eat
# memory, cannot be run. Each fares as its user would expect, and nothing is left.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
mb=1024
[ -z "$small" ] || mb=64
mkdir "$dir/work"
cd "$dir/work"

good () {
    map "$@"
    [ $status = 0 ] || { tail -n 5 "$dir/$1.err" >&2; fail "map $1: exit status $status"; }
    checks=$((checks + 1))
}
# bad NAME PATTERN ARGS...: it fails, saying so
bad () {
    local as=$1 pattern=$2
    shift 2
    map "$as" "$@"
    equal "$as: exit status" $status 1
    check "$as says: $(cat "$dir/$as.err")" grep -qe "$pattern" "$dir/$as.err"
}
said () { sluice get "$dir/$1.h5" stdout "${@:2}"; }
# What runs and has this word in its command line.
living () { grep -lzx "${1/./[.]}" /proc/[0-9]*/cmdline 2>/dev/null || true; }
none () { [ -z "$(living "$1")" ]; }

# ---- children
# What they print before their parent ends is kept; those it leaves behind are killed,
# whatever they did to get away, and hold nothing up.
good children -- sh -c '(echo child) & wait; sleep 300.75 & setsid sleep 300.75 & echo parent' x ::: 1 2
equal 'of parent and child' "$(said children --item 1 | sort)" $'child\nparent'
check 'children that were left' none 300.75
good serial --serial -- sh -c 'setsid sleep 300.76 & (setsid setsid sleep 300.76 &) ; echo x' x ::: 1 2
check 'children that were left, serial' none 300.76

# ---- time
bad timeout 'out of time: ended after 0.5 s' --timeout 0.5 -- \
    sh -c 'sleep 300.77 & setsid sleep 300.77 & echo begun; sleep 300.77' x ::: 1
check 'all of it is gone' none 300.77
bad stubborn 'out of time' --timeout 0.5 -- \
    sh -c 'trap "" TERM; sh -c "trap \"\" TERM; while :; do sleep 300.78; done" & while :; do sleep 300.78; done' x ::: 1
check 'SIGTERM ignored' none 300.78
bad told 'out of time.*: told' --timeout 0.5 -- \
    sh -c 'trap "echo told >&2; exit 3" TERM; sleep 300.79 & wait' x ::: 1
# A stopped one, too; and the neighbours of all these are done.
bad stopped 'item 1 failed.*out of time' --timeout 1 -- \
    sh -c 'test $1 = 2 && kill -STOP $$; echo done $1' x ::: 1 2 3
equal 'its neighbours' "$(said stopped)" $'done 1\ndone 3'
bad interrupt 'killed by signal 9' -- sh -c 'kill -9 $$' x ::: 1
"$python" - "$dir/interrupt.h5" <<'END' || fail 'signal in the record'
import h5py, sys
with h5py.File(sys.argv[1], 'r') as f:
    row = f['sluice/failures'][0]
    assert row['sig'] == 9 and row['exit_code'] == -1, row
END

# ---- output
good closed -- sh -c 'echo before; exec >&- 2>&-; sleep 0.3' x ::: 1 2
equal 'stdout closed' "$(said closed)" $'before\nbefore'
good large --window 16M --outbox 8M -- \
    sh -c 'head -c '$mb'M /dev/zero | tr "\0" "x"' x ::: 1
equal 'bytes' "$(said large | wc -c)" $((mb << 20))
equal 'all x' "$(said large | tr -d x | wc -c)" 0
equal 'verified' "$(verified large)" "$(field large digest)"
at_most 'held by the master' "$(field large peak_held)" $((16 << 20))
# What failed leaves nothing, though it was on its way.
bad large2 'exit status 5' --window 16M -- \
    sh -c 'head -c 20M /dev/zero; test $1 = 2 || exit 5' x ::: 1 2
equal 'one of two' "$(said large2 | wc -c)" $((20 << 20))
head -c 100000 /dev/urandom >bytes
good binary -- cat {} ::: bytes bytes
cat bytes bytes | cmp - <(said binary) || fail 'binary output'
printf '\377\376\001 bad\n' >odd
bad words 'exit status 1: ' -- sh -c 'cat odd >&2; exit 1' x ::: 1
check 'its words can be shown' "$python" -c 'import sys; sys.stdin.buffer.read ().decode ("utf-8")' \
    <"$dir/words.err"
bad silent 'exit status 4: on stdout' -- sh -c 'echo on stdout; exit 4' x ::: 1

# ---- surroundings
good folder -- sh -c 'pwd; cd /; pwd; rm -rf "$SLUICE_SCRATCH" "$SLUICE_OUT"/*' x ::: 1 2
equal 'each starts in the folder' "$(said folder)" "$dir/work"$'\n/\n'"$dir/work"$'\n/'
bad gone "out" -- sh -c 'rmdir "$SLUICE_OUT"' x ::: 1
good stdin -- sh -c 'cat; echo end' x ::: 1 2
equal 'nothing on stdin' "$(said stdin)" $'end\nend'
good tty -- sh -c '(: </dev/tty) 2>/dev/null || echo none' x ::: 1
equal 'no terminal' "$(said tty)" none
good scratch --cores 1 -- sh -c 'ls "$SLUICE_SCRATCH" "$TMPDIR" "$SLUICE_OUT" | grep -c left; touch "$SLUICE_SCRATCH/left"; mkdir -m 0 "$SLUICE_SCRATCH/shut"; true' x ::: 1 2 3
equal 'scratch is empty' "$(said scratch | sort -u)" 0
"$python" -m venv --system-site-packages --without-pip "$dir/venv"
echo 'print ("in here")' >"$(ls -d "$dir"/venv/lib/python3*/site-packages)/only_here.py"
echo 'import only_here, sys, os; print (os.environ["VIRTUAL_ENV"] == sys.prefix)' >venv.py
(
    # shellcheck disable=SC1091
    . "$dir/venv/bin/activate"
    sluice map -q -o "$dir/venv.h5" -- python venv.py ::: 1
) || fail 'with a virtual environment'
equal 'the virtual environment' "$(said venv)" $'in here\nTrue'
MINE=yes sluice map -q -o "$dir/env.h5" --env MINE -- sh -c 'echo $MINE' x ::: 1
equal '--env' "$(said env)" yes
mkdir bin; printf '#!/bin/sh\necho tool $1\n' >bin/tool; chmod +x bin/tool
PATH=$dir/work/bin:$PATH sluice map -q -o "$dir/path.h5" -- tool ::: 1
equal 'PATH' "$(said path)" 'tool 1'
printf 'echo no first line $1\n' >bare; chmod +x bare
good bare -- ./bare ::: 1
equal 'a script without #!' "$(said bare)" 'no first line 1'

# ---- what cannot be run, found only by its item
touch plain
bad plain 'item 1 failed.*\./plain: not executable' -- ./{} ::: bare plain
equal 'the other' "$(said plain)" 'no first line'
bad missing 'item 0 failed.*\./none: command not found' -- ./{} ::: none bare

# ---- memory
cat >eat.py <<'END'
import sys, time
block = b'x' * (int(sys.argv[1]) << 20)
time.sleep(float(sys.argv[2]))
print(len(block))
END
# One process: told by the system at once, as a rule; several together by Sluice.
bad eat 'emory' --memory 200M -- "$python" eat.py {} 3 ::: 400
bad eaters 'out of memory: killed with .* in [3-9] processes' --memory 300M -- \
    sh -c '"$0" eat.py 200 300.81 & "$0" eat.py 200 300.81 & wait' "$python" {} ::: 1
check 'eaters are gone' none 300.81
good modest --memory 300M -- "$python" eat.py {} 1 ::: 50
# Children that share what their parent has do not count it again.
cat >fork.py <<'END'
import os, time
block = bytearray(b'x') * (150 << 20)
children = []
for i in range(4):
    pid = os.fork()
    if pid == 0:
        time.sleep(1.5)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
print('shared')
END
good shared --memory 400M -- "$python" fork.py {} ::: 1
equal 'shared memory' "$(said shared)" shared

# ---- cancelled: everything is gone
FLOW_MARK=$dir "$binary" map -q -o "$dir/cancel.h5" -- \
    sh -c 'trap "" TERM INT; setsid sleep 60.82 & sleep 60.82' x ::: 1 2 2>"$dir/said" &
master=$!
some () { [ -n "$(living 60.82)" ]; }
check 'it runs' wait_for 20 some
kill -TERM $master
status=0
wait $master || status=$?
equal 'cancelled' $status 130
check 'nothing of it runs' wait_for 10 none 60.82
nothing_left end
