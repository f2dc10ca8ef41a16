#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# One item that cannot be computed, in whatever way, costs that item: it is named,
# all others are in the file, and the run ends with status 1. What goes wrong once
# costs nothing.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

n=1000 at=437
job "$dir/right.ini" items=$n rows=20 vary=1
good right "$dir/right.ini" --serial
all=$digest
job "$dir/serial.ini" items=$n rows=20 vary=1 mode=error at=$at
run serial "$dir/serial.ini" --serial
equal 'status of the serial run' $status 1
rest=$(field serial digest)
differ 'digest without one item' "$rest" "$all"
look "$dir/serial.h5" --all $n --but $at --status failed >/dev/null || fail 'serial: rows'
equal 'serial: verified' "$(verified serial)" "$rest"

failures () { # NAME EXPRESSION: of the record of final failures
    "$python" -c 'import sys, h5py
with h5py.File (sys.argv[1], "r") as f:
    rows = f["sluice/failures"][:]
    final = rows[rows["final"] == 1]
    print (eval (sys.argv[2]))' "$dir/$1.h5" "$2"
}

# without NAME REASON ARGS...: the run of NAME.ini fails at that item alone
without () {
    local as=$1 reason=$2
    shift 2
    run "$as" "$dir/$as.ini" "$@"
    equal "$as: exit status" $status 1
    equal "$as: status" "$(field "$as" status)" failed
    equal "$as: failed" "$(field "$as" failed)" 1
    equal "$as: done" "$(field "$as" done)" $((n - 1))
    check "$as: names the item: $(head -n 3 "$dir/$as.err")" grep -q "item $at " "$dir/$as.err"
    check "$as: and the reason '$reason': $(head -n 3 "$dir/$as.err")" \
        grep -Eq "item $at .*($reason)" "$dir/$as.err"
    look "$dir/$as.h5" --all $n --but $at --status failed >/dev/null || fail "$as: rows"
    equal "$as: digest" "$(field "$as" digest)" "$rest"
    equal "$as: verified" "$(verified "$as")" "$rest"
    equal "$as: on record" "$(failures "$as" '[(int (r["first"]), int (r["stop"])) for r in final]')" \
        "[($at, $((at + 1)))]"
    nothing_left "$as"
}

for mode in abort segv kill exit error flood; do
    job "$dir/$mode.ini" items=$n rows=20 vary=1 mode=$mode at=$at
    case $mode in
    abort) reason='abort|ABRT|signal 6' ;;
    segv) reason='egmentation|SEGV|signal 11' ;;
    kill) reason='[Kk]ill|KILL|signal 9' ;;
    exit) reason='exit|ended' ;;
    error | flood) reason="item $at cannot be computed" ;;
    esac
    without $mode "$reason" --cores 2
done
check 'abort: its last words are on record' test \
    "$(failures abort 'b"about to abort" in final[0]["stderr"]')" = True
check 'flood: its last words are on record' test \
    "$(failures flood 'b"the last line" in final[0]["stderr"]')" = True
at_most 'bytes that were printed' "$(wc -c <"$dir/flood.err")" 8000
equal 'signal on record' "$(failures abort 'int (final[0]["sig"])')" 6
equal 'exit code on record' "$(failures exit 'int (final[0]["exit_code"])')" 0
# Both ways of cutting.
sed '$a items_per_task = 1' "$dir/abort.ini" >"$dir/abort1.ini"
without abort1 . --cores 3
sed '$a items_per_task = 1000' "$dir/abort.ini" >"$dir/abort1000.ini"
without abort1000 . --cores 2
sed '$a crash_limit = 1' "$dir/abort.ini" >"$dir/abort-once.ini"
without abort-once . --cores 2
if ! is_asan; then
    job "$dir/memory.ini" items=$n rows=20 vary=1 mode=memory at=$at
    without memory 'no memory after [0-9]{1,3} MiB|memory' --cores 2 --memory 300M
fi
show=$(sluice show "$dir/abort.h5") || fail 'show'
check 'show names the failure' grep -q "$at" <<<"$show"

# first NAME MODE ARGS...: it goes wrong once, and all is as if it had not
first () {
    local as=first-$1 mode=$1
    shift
    job "$dir/$as.ini" items=$n rows=20 vary=1 "mode=first $mode" at=$at marker="$dir/$as.mark"
    good "$as" "$dir/$as.ini" "$@"
    check "$as: it happened" test -e "$dir/$as.mark"
    equal "$as: digest" "$digest" "$all"
    at_least "$as: retried" "$(field "$as" retried)" 1
    equal "$as: failed" "$(field "$as" failed)" 0
    equal "$as: verified" "$(verified "$as")" "$all"
    look "$dir/$as.h5" --all $n --status complete >/dev/null || fail "$as: rows"
}
for mode in abort kill exit error; do
    first $mode --cores 2
done

# Workers killed from outside, again and again, and once the zygote that they are
# forked from: all of them begin anew.
job "$dir/hunted.ini" items=$n rows=20 vary=1 sleep_us=9000 items_per_task=20
named () { # NAME: our processes of this name
    local pid
    for pid in $(ours); do
        ! grep -q "^$1" "/proc/$pid/comm" 2>/dev/null || echo "$pid"
    done
}
hunt () {
    local i
    for ((i = 1; i <= 12; i++)); do
        sleep 0.1
        if [ $i = 6 ]; then named sluice-zygote; else named sluice-w; fi |
            shuf -n 1 --random-source=<(yes $i) | xargs -r kill -KILL 2>/dev/null || true
    done
}
# begin NAME [JOB]: the calm job again, in the background, until it is under way
begin () {
    FLOW_MARK=$dir "$binary" run "$dir/${2:-hunted}.ini" -q --json --cores 2 -o "$dir/$1.h5" \
        >"$dir/$1.json" 2>"$dir/$1.err" &
    master=$!
    wait_for 20 has_items "$dir/$1.h5" 1 || fail "$1: nothing done"
}
# survived NAME RETRIED: it completes as if nothing had been
survived () {
    status=0
    wait $master || status=$?
    equal "$1: exit status: $(cat "$dir/$1.err")" $status 0
    equal "$1: digest" "$(field "$1" digest)" "$all"
    at_least "$1: retried" "$(field "$1" retried)" "$2"
    equal "$1: verified" "$(verified "$1")" "$all"
    look "$dir/$1.h5" --all $n --status complete >/dev/null || fail "$1: rows"
    nothing_left "$1"
}
begin hunted
at_least 'workers by name' "$(named sluice-w | wc -l)" 1
equal 'zygotes by name' "$(named sluice-zygote | wc -l)" 1
hunt
survived hunted 1

# The process that makes workers, and then the agent: the master starts this
# machine's node anew, and says so.
for victim in spawner agent; do
    begin $victim
    if [ $victim = agent ]; then
        xargs kill -KILL <"/proc/$master/task/$master/children"
    else
        named sluice-spawner | xargs kill -KILL
    fi
    survived $victim 1
    check "$victim killed: it is said" grep -q 'lost node' "$dir/$victim.err"
done

# It may die more often than four times, if something is done between.
job "$dir/often.ini" items=$n rows=20 vary=1 sleep_us=24000 items_per_task=10
begin often often
for i in 1 2 3 4 5 6; do
    have=$(items_of "$dir/often.h5")
    xargs kill -KILL <"/proc/$master/task/$master/children"
    wait_for 60 has_items "$dir/often.h5" $((have + 1)) ||
        fail "often: nothing is done after death $i: $(tail -n 2 "$dir/often.err")"
done
survived often 1

# Or before it is ready; or it may stand still for longer than it is waited for, then or
# just after it was ready.
for what in KILL STOP; do
    early=early-$what
    FLOW_MARK=$dir "$binary" run "$dir/hunted.ini" -q --json --cores 2 -o "$dir/$early.h5" \
        >"$dir/$early.json" 2>"$dir/$early.err" &
    master=$!
    children=/proc/$master/task/$master/children
    wait_for 20 grep -q . "$children" || fail "$early: no node: $(cat "$dir/$early.err")"
    node=$(cat "$children")
    # shellcheck disable=SC2086
    kill -$what $node
    if [ $what = STOP ]; then
        sleep 12
        # shellcheck disable=SC2086
        kill -CONT $node 2>/dev/null || true
    fi
    survived $early 0
done

# All of it at once: what they leave goes with the next run.
begin all
for i in 1 2 3; do ours | xargs -r kill -KILL; done 2>/dev/null
wait $master 2>/dev/null || true
check 'no process' wait_for 10 no_process
check 'a scratch folder is left' touch -d '1 minute ago' "$dir"/tmp/sluice-scratch-* \
    "$dir"/run/sluice-run-*
good after "$dir/hunted.ini"
nothing_left 'the run after'

# A kernel that cannot even begin: the reason in a line, and no output, so that the next
# run may have its name. One that calls exit in the master must not look like success.
for how in '--cores 2' --serial; do
    job "$dir/begin.ini" items=$n rows=20 'mode=open fails'
    # shellcheck disable=SC2086
    run begin "$dir/begin.ini" $how
    differ "open fails $how: exit status" $status 0
    check "open fails $how: $(cat "$dir/begin.err")" grep -q 'no index was found$' "$dir/begin.err"
    equal "open fails $how: left" "$(find "$dir" -name 'begin.h5*')" ''
    job "$dir/begin.ini" items=$n rows=20 'mode=plan exits'
    # shellcheck disable=SC2086
    run begin "$dir/begin.ini" $how
    equal "plan exits $how: exit status" $status 1
    check "plan exits $how: $(cat "$dir/begin.err")" grep -q 'called exit (0)' "$dir/begin.err"
    nothing_left "$how"
done

# --fail-fast ends at once.
job "$dir/fast.ini" items=$n rows=20 vary=1 mode=abort at=3 sleep_us=20000 crash_limit=1
run fast "$dir/fast.ini" --cores 2 --fail-fast
equal 'fail-fast: exit status' $status 1
at_most 'fail-fast: done' "$(field fast done)" 500
check 'fail-fast: verify' sluice verify "$dir/fast.h5" >/dev/null
nothing_left end
