#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# A full disk stops nothing for good: the run says so in a line, waits, and goes on
# when there is space again, with nothing lost. When its patience is at an end it
# leaves a whole file behind, with status 4 (invariant I10).
#
# The disk is a small tmpfs where one may be mounted (root, or a user namespace),
# and always also a limit on the size of files.

# A mount of ours alone, which goes away with us.
if [ -z "${FLOW_MOUNTS:-}" ]; then
    for way in -m -rm; do
        if unshare $way true 2>/dev/null; then
            exec unshare $way env FLOW_MOUNTS=yes "$BASH" "$0" "$@"
        fi
    done
    FLOW_MOUNTS=no
fi

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

items=120
job "$dir/job.ini" items=$items rows=20 vary=1 bulk_kib=512 items_per_task=5 sleep_us=40000
good right "$dir/job.ini" --cores 2
want=$digest
size=$(stat -c %s "$dir/right.h5")
at_least 'size of the output' "$size" $((60 << 20))

disk=$dir/disk
mkdir "$disk"
# make_disk: nearly nothing fits; more_room PID: all does
case $FLOW_MOUNTS in
yes)
    mount -t tmpfs -o size=16M none "$disk" || FLOW_MOUNTS=no
    ;;
esac
ways=limit
[ $FLOW_MOUNTS = no ] || ways='limit tmpfs'

begin () { # NAME WAY ARGS...
    local as=$1 way=$2 limit=()
    shift 2
    if [ "$way" = tmpfs ]; then
        mount --options-mode ignore -o remount,size=16M "$disk"
        output=$disk/$as.h5
    else
        limit=(prlimit --fsize=$((16 << 20)):unlimited)
        output=$dir/$as.h5
    fi
    FLOW_MARK=$dir "${limit[@]}" "$binary" run "$dir/job.ini" -q --json -o "$output" "$@" \
        >"$dir/$as.json" 2>"$dir/$as.err" &
    master=$!
}
more_room () {
    if [ "$1" = tmpfs ]; then
        mount --options-mode ignore -o remount,size=1G "$disk"
    else
        prlimit --pid $master --fsize=unlimited
    fi
}
says () { grep -q "$2" "$dir/$1.err" 2>/dev/null; }

for way in $ways; do
    for how in '--cores 2' --serial; do
        as=$way-${how//[- 2]/}
        # shellcheck disable=SC2086
        begin $as $way $how --disk-wait 60
        wait_for 20 says $as 'space' || fail "$as: it does not say: $(cat "$dir/$as.err")"
        sleep 1
        kill -0 $master || fail "$as: it did not wait"
        equal "$as: it says it once: $(cat "$dir/$as.err")" "$(wc -l <"$dir/$as.err")" 1
        check "$as: what is the matter, and that it waits" \
            grep -Eq '^sluice run: .*(No space|too large).*waiting for space' "$dir/$as.err"
        look "$output" --status running >"$dir/said" || fail "$as: the file while it waits"
        echo "$as: while it waits: $(cat "$dir/said")"
        began=$(now_ms)
        more_room $way
        status=0
        wait $master || status=$?
        equal "$as: exit status: $(cat "$dir/$as.err")" $status 0
        equal "$as: digest" "$(field $as digest)" "$want"
        [ "$output" = "$dir/$as.h5" ] || cp "$output" "$dir/$as.h5"
        equal "$as: verified" "$(verified $as)" "$want"
        look "$dir/$as.h5" --all $items --status complete >/dev/null || fail "$as: rows"
        echo "$as: over $(($(now_ms) - began)) ms after there was space"
        rm -f "$output" "$dir/$as.h5"

        # No space comes.
        as=$as-never
        began=$(now_ms)
        # shellcheck disable=SC2086
        # Slowly, so that there is a first state before the disk is full.
        begin $as $way $how --disk-wait 2 --write-rate 8M
        status=0
        wait $master || status=$?
        equal "$as: exit status: $(cat "$dir/$as.err")" $status 4
        at_least "$as: ms that it waited" $(($(now_ms) - began)) 2000
        within "$as: ms that it waited" $(($(now_ms) - began)) 15000
        said=$(look "$output" --status running) || fail "$as: the file does not agree"
        check "$as: verify" sluice verify "$output" >/dev/null
        at_least "$as: items" "$(cut -d ' ' -f 3 <<<"$said")" 1
        check "$as: the last line: $(tail -n 1 "$dir/$as.err")" \
            grep -Eq '^sluice run: .*(space|too large)' <<<"$(tail -n 1 "$dir/$as.err")"
        nothing_left "$as"
        rm -f "$output"
    done
done

# Interrupted while it waits: over at once, and the file is whole.
way=${ways##* }
for how in '--cores 2' --serial; do
    as=stopped-${how//[- 2]/}
    # shellcheck disable=SC2086
    begin $as "$way" $how --disk-wait 60
    wait_for 20 says $as 'space' || fail "$as: it does not say"
    began=$(now_ms)
    kill -TERM $master
    status=0
    wait $master || status=$?
    within "$as: ms until it was over" $(($(now_ms) - began)) 3000
    equal "$as: exit status: $(cat "$dir/$as.err")" $status 130
    # What it says is in the file is there.
    said=$(sluice verify "$output") || fail "$as: verify: $said"
    equal "$as: items" "$(field $as "done")" "$(sed 's/.* \([0-9]*\) items.*/\1/' <<<"$said")"
    equal "$as: digest" "$(field $as digest)" "${said##* digest }"
    look "$output" --status running >/dev/null || fail "$as: the file"
    rm -f "$output"
done

# No room for the very first state: nothing is begun.
if [ $FLOW_MOUNTS != no ]; then
    mount --options-mode ignore -o remount,size=16M "$disk"
    # The whole disk, but for some pages.
    dd if=/dev/zero of="$disk/filler" bs=4k count=4094 status=none || true
    status=0
    sluice run "$dir/job.ini" -q -o "$disk/none.h5" --disk-wait 2 2>"$dir/said" || status=$?
    equal "full from the start: $(cat "$dir/said")" $status 4
    equal 'one line' "$(wc -l <"$dir/said")" 1
    check 'no file' test ! -e "$disk/none.h5"
    rm -f "$disk/filler"
    umount "$disk"
fi
nothing_left end
echo "disks: $ways"
