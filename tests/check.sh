# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# check.sh - how scripts of tests check and wait; read in by the lib.sh of each kind
#
# $checks counts; the first check that does not hold ends the test.
#
# shellcheck shell=bash

checks=0

fail () {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}
# check WHAT COMMAND...: it must succeed
check () {
    local what=$1
    shift
    checks=$((checks + 1))
    "$@" || fail "$what ($*)"
}
equal () { # WHAT GOT WANT
    checks=$((checks + 1))
    [ "$2" = "$3" ] || fail "$1: '$2', not '$3'"
}
differ () { # WHAT A B
    checks=$((checks + 1))
    [ "$2" != "$3" ] || fail "$1: both '$2'"
}
at_most () { # WHAT NUMBER LIMIT
    checks=$((checks + 1))
    [ "$2" -le "$3" ] || fail "$1: $2, more than $3"
}
at_least () { # WHAT NUMBER LIMIT
    checks=$((checks + 1))
    [ "$2" -ge "$3" ] || fail "$1: $2, less than $3"
}

# How many times as long as on an idle machine things may take now: 1 unless more
# processes want to run than there are cores.
slack () {
    local load rest
    read -r load rest </proc/loadavg
    load=$((${load%.*} / $(nproc)))
    printf '%s\n' $((load > 1 ? load : 1))
}
within () { # WHAT TIME LIMIT: a time that is promised, of an idle machine
    at_most "$1" "$2" $(($3 * $(slack)))
}
# wait_for SECONDS COMMAND...: until it succeeds. What it waits for comes sooner; the
# limit is there to end a test that has failed, and no statement of how soon.
wait_for () {
    local until=$((${EPOCHREALTIME/./} + $1 * 4000000))
    shift
    until "$@"; do
        [ "${EPOCHREALTIME/./}" -lt "$until" ] || return 1
        sleep 0.02
    done
}
# Milliseconds of a clock.
now_ms () { printf '%s\n' "$((${EPOCHREALTIME/./} / 1000))"; }
# How many items are done in an output: a quick look, without h5py, to wait with.
items_of () {
    local n
    n=$("${binary:-$SLUICE}" show --json "$1" 2>/dev/null |
        sed -n 's/.*"items_done": \([0-9]*\).*/\1/p') || true
    printf '%s\n' "${n:-0}"
}
# has_items FILE N: are so many items done in it?
has_items () { [ "$(items_of "$1")" -ge "$2" ]; }
