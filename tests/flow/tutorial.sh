#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# What README.md and doc/tutorial.md tell a newcomer to type, typed, and what they show,
# compared with what comes.
#
# A command is a line `    $ COMMAND`; if it ends in <<'END', the lines up to END belong to
# it. Those of one document run in one shell, in order. Each must succeed, unless it ends
# in `# exit status N`. The lines below it, up to the next command or the end of the
# block, are all that it prints; a line `...` stands for any lines, or none. A command
# below a `sleep` is repeated for a while until it is right: a busy machine is slower.
#
# These may differ, in so far as both are of the same kind: numbers with a decimal point;
# numbers before a unit of bytes or seconds; how many cores, slots, tasks, nodes and
# batches; ids of runs, and what a run waits for in the list of `sluice runs`; times of
# day; addresses and ports; how a node was found; the user; how many blanks there are; the
# order of lines about failed items. The host is called pc1 and the home folder /home/ana.
# Bars of progress are left out: only a slow machine shows them. All else is compared:
# items, rows, digests.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# Commands are to find sluice on the path; a function would stand between `&` and it.
unset -f sluice

# ---- a home like that of a reader who has built and installed Sluice in ~/sluice

home=$dir/home
tree=$home/sluice
mkdir -p "$tree/build" "$tree/calc"
cp -r "$top/calc/examples" "$top/calc/demo" "$tree/calc"
chmod -R u+w "$tree/calc"
ln -s "$top/include" "$tree/include"
compiler=cc
sanitizer=
if [ -e "$built/Makefile" ]; then
    compiler=$(sed -n 's/^CC = //p' "$built/Makefile")
    # A program is linked to the library as the library was.
    sanitizer=$(sed -n 's/^SLUICE_CFLAGS = //p' "$built/Makefile" |
        grep -o -e '-fsanitize=[^ ]*' | grep -v fuzzer | tr '\n' ' ' || true)
fi
# command_is NAME TEXT: what that command does here
command_is () {
    printf '#!/bin/bash\n%s\n' "$2" >"$tree/build/$1"
    chmod +x "$tree/build/$1"
}
command_is sluice "FLOW_MARK='$dir' exec '$binary' \"\$@\""
command_is python3 "exec '$python' \"\$@\""
command_is cc "exec $compiler $sanitizer \"\$@\""
command_is pkg-config "PKG_CONFIG_PATH='$built' exec '$(type -P pkg-config)' \
    --define-variable=includedir='$top/include' --define-variable=libdir='$built/.libs' \"\$@\""
export HOME=$home PATH=$tree/build:$PATH LD_LIBRARY_PATH=$built/.libs
unset PYTHONHOME SLUICE_KEY

# ---- reading a document, and comparing

# Makes NN.command, NN.status and NN.wanted in folder steps for each command.
cat >"$dir/split.py" <<'END'
import re, sys

steps, step, here = [], None, None
for line in open(sys.argv[1], encoding='utf-8'):
    line = line.rstrip('\n')
    if here and line.strip() == here:
        step['command'] += here + '\n'
        here = None
    elif here:
        step['command'] += line[4:] + '\n'
    elif line.startswith('    $ '):
        step = {'command': line[6:] + '\n', 'wanted': []}
        steps.append(step)
        here = (re.findall(r"<<'(\w+)'", line) or [None])[0]
    elif line.startswith('    ') and step:
        step['wanted'].append(line[4:])
    elif line:
        step = None
for n, step in enumerate(steps):
    name = '%s/%03d.' % (sys.argv[2], n)
    status = re.findall(r'# exit status (\d+)$', step['command'].split('\n')[0])
    open(name + 'command', 'w').write(step['command'])
    open(name + 'status', 'w').write((status or ['0'])[0] + '\n')
    open(name + 'wanted', 'w').write(''.join(x + '\n' for x in step['wanted']))
END

# Is what came, on standard input, what was wanted (a file)? HOST and HOME are ours.
cat >"$dir/compare.py" <<'END'
import re, sys

wanted, host, home = sys.argv[1:]
KINDS = [
    (r'\d+(\.\d+)? ([KMGT]i)?B\b', 'N B'),
    (r'\d+(\.\d+)? s\b', 'N s'),
    (r'\d+ %', 'N %'),
    (r'\d{4}-\d\d-\d\dT[0-9:]+Z', 'TIME'),
    (r'\b\d\d:\d\d\b', 'TIME'),
    (r'tcp://\S+', 'ADDRESS'),
    (r'\bport \d+', 'port N'),
    (r'\b\d+ (core|slot|task|node|batch)(e?s)?\b', r'N \1'),
    (r'\bN slot +(share|beacon|both)\b', 'N slot FOUND'),
    (r'\b(?=[0-9a-f]*[a-f])[0-9a-f]{8}\b|\brun [0-9a-f]{8,32}\b|^\d{8}\b', 'RUN'),
    (r'\d+\.\d+', 'N'),
    (r'\S+@pc1', 'USER@pc1'),
    (r'\s+', ' '),
    (r'^(RUN USER@pc1 .*) N \d+ TIME.*', r'\1 N N TIME'),
]


def plain(lines):
    out, failed = [], []
    for line in lines:
        for kind, name in KINDS:
            line = re.sub(kind, name, line)
        line = line.strip()
        if re.match('sluice map: item .* failed', line):
            failed.append(line)
            continue
        out += sorted(failed) + [line]
        failed = []
    return out + sorted(failed)


def match(want, got):
    if not want:
        return not got
    if want[0] == '...':
        return any(match(want[1:], got[n:]) for n in range(len(got) + 1))
    return bool(got) and want[0] == got[0] and match(want[1:], got[1:])


def ours(line):
    line = line.replace(home, '/home/ana')
    return re.sub(r'(failed on |@|node: host |^ *(?=\S+ +(?:tcp://|\()))%s(?![\w.-])' % re.escape(host),
                  r'\1pc1', line)


came = sys.stdin.read().splitlines()
got = plain(ours(line) for line in came if not re.match(r'(\[[#.]+\])? *\d+ %  \d', line))
want = plain(line for line in open(wanted, encoding='utf-8').read().splitlines())
if not match(want, got):
    print('wanted:', *want, 'came:', *got, sep='\n  ')
    sys.exit(1)
END

# type_it STEP: run the command of that step; does it do what is shown? Not in a subshell:
# what it sets, and the folder it goes to, are there for the next.
type_it () {
    local step=$1 status=0
    set +u
    eval "$(cat "$step.command")" >"$step.came" 2>&1 </dev/null || status=$?
    set -u
    if [ "$status" != "$(cat "$step.status")" ]; then
        { echo "exit status $status:"; cat "$step.came"; } >"$step.said"
        return 1
    fi
    "$python" "$dir/compare.py" "$step.wanted" "$(hostname)" "$home" <"$step.came" >"$step.said"
}
# follow DOCUMENT: type its commands in the present folder
follow () {
    local document=$1 steps=$dir/steps_${1##*/} step line before=
    local -i n=0
    mkdir "$steps"
    "$python" "$dir/split.py" "$document" "$steps" || fail "$document cannot be read"
    for step in "$steps"/*.command; do
        step=${step%.command}
        line=$(head -n 1 "$step.command")
        ! is_left_out "$line" || continue
        case $before in
        'sleep '*) wait_for 20 type_it "$step" ;;
        *) type_it "$step" ;;
        esac || fail "${document##*/}: $line: $(cat "$step.said")"
        before=$line
        n+=1
    done
    checks=$((checks + 2 * n))
    check "${document##*/}: there are commands in it" test "$n" -ge 5
}
# Is the command not for this build, or too long for a small scale?
is_left_out () {
    case $1 in
    'sluice plot '*)
        { ! grep -q '^#define HAVE_CAIRO 1' "$built/config.h" 2>/dev/null &&
            [ -e "$built/config.h" ]; } || [[ -n $small && $1 = *northridge.h5* ]]
        ;;
    'sluice run '*northridge/job.ini* | 'sluice run '*examples/area.ini* | *' area.h5')
        [ -n "$small" ]
        ;;
    *) return 1 ;;
    esac
}

# Side by side, since both wait much. In a shell of its own the tutorial's jobs have the
# numbers that it gives them, and its `--all-mine` does not reach the README's runs.
mkdir -m 700 "$dir/run_readme"
mkdir "$home/tour"
(
    cd "$home/tour"
    follow "$top/doc/tutorial.md"
    echo $checks >"$dir/checks"
) &
tutorial=$!
(
    export XDG_RUNTIME_DIR=$dir/run_readme
    cd "$tree"
    follow "$top/README.md"
    echo $checks >"$dir/checks_readme"
) || {
    kill $tutorial 2>/dev/null || true
    wait $tutorial || true
    fail 'README.md'
}
wait $tutorial || fail 'doc/tutorial.md'
checks=$(($(cat "$dir/checks") + $(cat "$dir/checks_readme")))
nothing_left end
