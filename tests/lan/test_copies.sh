#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# The workers of one host stand still while its agent answers: what they had is
# computed once more by the other host, and the run ends with the digest of a run that
# nothing happened to. Without copies it would wait for ever. A task that waits for
# credit gets none (invariant I2).

# shellcheck source=tests/lan/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts 3
node h2 --slots 1
node h3 --slots 2 --outbox 64M

job items.ini items=400 rows=30 vary=1 bulk_kib=450 sleep_us=40000 items_per_task=1
run whole items.ini --no-copies
digest=$(field whole digest)
equal 'copies that were not wanted' "$(field whole copies)" 0

# Workers are what the spawner's zygote forked: the youngest two there.
workers () { "$lab" in h3 sh -c 'ps -eo pid=,comm= --sort=pid | grep sluice | tail -n 2 | cut -c1-8'; }
freeze () {
    local pid
    for pid in $(workers); do "$lab" in h3 kill -STOP "$pid"; done
}
master slow items.ini --no-local
wait_for 20 has_items "$share/slow.h5" 20 || fail 'slow: nothing done'
freeze
ended slow 60
equal 'exit status' $status 0
look "$share/slow.h5" --status complete >/dev/null || fail 'the file'
equal 'digest' "$(field slow digest)" "$digest"
equal 'verify' "$(verified slow)" "$digest"
copies=$(field slow copies)
check "copies of what stood still: $copies" test "$copies" -ge 1
idle () { [ "$(processes h3)" = 2 ]; } # agent and spawner
wait_for 10 idle || fail "the stopped workers live on: $(processes h3)"
echo "copies: $copies"

# Forty times as slow because the disk is: no copies.
job bulk.ini items=24 rows=3 bulk_kib=4000 items_per_task=1
run bulk bulk.ini --no-local --window 8M --write-rate 12M
equal 'copies of what waits for credit' "$(field bulk copies)" 0
