# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# libclient.sh - what the tests of client.h share; read in behind lib.sh
#
# shellcheck shell=bash

cd "$dir"
export SLUICE=$binary
player=$built/tests/tools/client_play

# play NAME ARGS...: NAME.out, and its exit status in $status
play () {
    local as=$1
    shift
    status=0
    FLOW_MARK=$dir "$player" --log "$dir/$as.log" "$@" >"$as.out" 2>"$as.err" || status=$?
    check "$as: a sanitizer has something to say: $(cat "$as.err" "$as.log")" \
        sound "$as.err" "$as.log"
}
sound () { ! cat "$@" 2>/dev/null | grep -q 'Sanitizer\|runtime error'; }
