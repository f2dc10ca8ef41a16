#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# How maps of client.h end: cancelled, item by item or whole; closed in the middle; with
# their program, killed or ended, also when a child of it lives on; with their master.
# Nothing is left of any: no process, no file, no socket.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# shellcheck source=tests/flow/libclient.sh
. "$flow/libclient.sh"
[ -x "$built/tests/tools/.libs/client_play" ] && player=$built/tests/tools/.libs/client_play
export LD_LIBRARY_PATH=$built/.libs
begin () { # NAME ARGS...: in the background, $program
    local as=$1
    shift
    rm -f "$as.out" "$as.err" # what the last one said is no news of this one
    FLOW_MARK=$dir "$player" --log "$dir/$as.log" "$@" >"$as.out" 2>"$as.err" &
    program=$!
}
whole () { look "$1" >/dev/null; }
clean () { # WHAT
    nothing_left "$1"
    equal "$1: records of runs" "$(ls "$dir/run/sluice" 2>/dev/null)" ''
}
# Which items failed, and why: `first-stop reason` a line.
failed () { sed -n 's/^failed \([0-9]*\) \([0-9]*\) [-0-9]* [-0-9]* /\1-\2 /p' "$1.out" | sort -n; }
# Items that came, done and failed: each once.
items () {
    "$python" -c 'import sys
n, seen = {"result": 0, "failed": 0}, set ()
for line in open (sys.argv[1]):
    word = line.split ()
    if word[0] in n:
        for i in range (int (word[1]), int (word[2])):
            assert i not in seen, i
            seen.add (i)
            n[word[0]] += 1
print (n["result"], n["failed"])' "$1.out"
}

# ---- cancelled

# A task that hangs: without its item the others of it are done.
play one --kernel "$kernel" --cores 2 --after 10 --cancel 42:43 items 60 rows 3 \
    mode hang at 42 items_per_task 5
equal 'one: exit status' $status 0
equal 'one: what failed' "$(failed one)" '42-43 cancelled'
equal 'one: items' "$(items one)" '59 1'
check 'one: end' grep -q '^end failed 59 1' one.out
clean one
# Those that nobody had begun, with what runs, and what is done already.
play some --kernel "$kernel" --cores 2 --after 3 --cancel 0:190 --most 1000 \
    --output some.h5 items 200 rows 3 sleep_us 20000 items_per_task 2
equal 'some: exit status' $status 0
all=$(items some)
check "some: done and failed: $all" test $((${all% *} + ${all#* })) = 200
at_least 'some: done' "${all% *}" 10
at_most 'some: done' "${all% *}" 40
check 'some: all cancelled' test -z "$(failed some | grep -v cancelled)"
said=$(sluice verify some.h5) || fail "verify: $said"
equal 'some: items in the file' "$(look some.h5 --items)" "${all% *}"
clean some
play serial --serial --kernel "$kernel" --after 2 --cancel 20:25 items 30 rows 3 \
    sleep_us 10000 items_per_task 3
equal 'serial: items' "$(items serial)" '25 5'
clean serial
# Everything.
for how in '--cores 2' --serial; do
    # shellcheck disable=SC2086
    play all $how --kernel "$kernel" --after 3 --cancel-all --output all.h5 --force \
        items 1000 sleep_us 20000 items_per_task 1
    equal "all $how: exit status" $status 0
    check "all $how: end: $(tail -n 3 all.out)" grep -q '^end cancelled' all.out
    all=$(items all)
    equal "all $how: items in the file" "$(look all.h5 --items)" "${all% *}"
    clean "all $how"
done
# From elsewhere, as any other run.
begin elsewhere --kernel "$kernel" --cores 2 --name mine items 100000 sleep_us 20000
wait_for 10 grep -qs ^begun elsewhere.out || fail "elsewhere: $(cat elsewhere.out)"
run_id=$(sed -n 's/^begun [0-9]* //p' elsewhere.out)
check 'sluice runs knows it by its name' grep -q mine <(sluice runs 2>&1)
sluice cancel "$run_id" >/dev/null
wait $program || fail "elsewhere: $(cat elsewhere.out)"
check 'elsewhere: end' grep -q '^end cancelled' elsewhere.out
clean elsewhere

# ---- closed

for how in '--cores 2' '--cores 2 --output closed.h5' --serial '--cores 2 --two'; do
    # shellcheck disable=SC2086
    play closed $how --kernel "$kernel" --after 2 --close items 100000 rows 3 \
        sleep_us 20000 items_per_task 1
    equal "closed $how: exit status: $(cat closed.out)" $status 0
    equal "closed $how: children" "$(grep children closed.out)" 'children none'
    seconds=$(sed -n 's/^closed \([0-9]*\)[.].*/\1/p' closed.out | sort -n | tail -n 1)
    within "closed $how: seconds" "$seconds" 3
    equal "closed $how: processes" "$(ours)" ''
    clean "closed $how"
done
check 'the named output is whole' whole closed.h5
# A kernel that never comes back.
play hangs --cores 2 --kernel "$kernel" --close --after 3 items 100 mode hang at 5 \
    items_per_task 1
within 'hangs: seconds' "$(sed -n 's/^closed \([0-9]*\)[.].*/\1/p' hangs.out)" 5
clean hangs
play hangs --serial --kernel "$kernel" --close --after 3 items 100 mode hang at 5 \
    items_per_task 1
equal 'serial hangs: processes' "$(ours)" ''
clean 'serial hangs'

# ---- the program is gone

for how in hang fork; do
    for where in '--cores 2' '--cores 2 --output killed.h5' --serial; do
        rm -f killed.h5
        # shellcheck disable=SC2086
        begin killed --$how $where --kernel "$kernel" --after 2 items 100000 rows 3 \
            bulk_kib 64 sleep_us 20000 items_per_task 1
        wait_for 20 grep -qs ^hangs killed.out || fail "killed: $(cat killed.out killed.err)"
        kill -KILL $program
        wait $program 2>/dev/null || true
        if [ $how = fork ]; then
            only_child () { [ "$(ours | wc -l)" = 1 ]; }
            check "killed with a child, $where: $(ours)" wait_for 10 only_child
            # shellcheck disable=SC2046
            kill -KILL $(ours)
        fi
        clean "killed --$how $where"
        [ ! -e killed.h5 ] || check 'the output is whole' whole killed.h5
    done
done
# It is gone before the kernel has made its plan.
cat >plan.c <<'END'
#include <unistd.h>
#include <sluice/kernel.h>
static int plan (sluice_plan_t *p, sluice_error_t *err)
{
    (void) p;
    for (;;)
        pause ();
    return sluice_fail (err, SLUICE_EINPUT, "never");
}
static int run (sluice_task_t *t, void *s, uint64_t first, uint64_t stop, sluice_error_t *err)
{
    (void) t, (void) s, (void) first, (void) stop, (void) err;
    return 0;
}
const sluice_kernel_t sluice_kernel = {
    .abi = SLUICE_KERNEL_ABI, .name = "plan", .plan = plan, .run = run};
END
cc -shared -fPIC -I "$top/include" -o plan.so plan.c
begin plan --kernel ./plan.so
serving () { [ "$(ours | wc -l)" -ge 2 ]; }
wait_for 10 serving || fail "plan: $(cat plan.out plan.err)"
sleep 0.3
kill -KILL $program
wait $program 2>/dev/null || true
clean plan

# ---- the master is gone: an error, and what came before is good

begin orphan --kernel "$kernel" --cores 2 --output orphan.h5 items 100000 rows 3 \
    sleep_us 20000 items_per_task 1
wait_for 10 grep -qs ^result orphan.out || fail "orphan: $(cat orphan.out)"
master=$(pgrep -P $program)
kill -KILL "$master"
status=0
wait $program || status=$?
equal 'orphan: exit status' $status 1
check "orphan: $(grep error orphan.out)" grep -q '^error 200 .*killed by signal 9' orphan.out
equal 'orphan: children' "$(grep children orphan.out)" 'children none'
check 'orphan: a process is left' wait_for 12 no_process
check 'orphan: the output is whole' whole orphan.h5

# ---- nothing of the program's goes along, and nothing of ours to it

begin files --hang --kernel "$kernel" --cores 1 --after 1 items 1000 sleep_us 20000 7<plan.c
wait_for 20 grep -qs ^hangs files.out || fail "files: $(cat files.out)"
for pid in $(ours); do
    [ "$pid" = $program ] || equal "descriptors of $pid that are the program's" \
        "$(find "/proc/$pid/fd" -lname "$dir/plan.c" 2>/dev/null)" ''
done
kill -KILL $program
wait $program 2>/dev/null || true
clean files
