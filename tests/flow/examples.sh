#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# The example kernel, built and run with the very lines of its README, and what
# comes out: the area of a circle and of polygons, the same however it was run.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readme=$top/calc/examples/README.md
cp "$top"/calc/examples/area.{c,ini} "$dir"
cd "$dir"
# As it will be when Sluice is installed: headers where libsluice.pc says.
pkg-config () {
    PKG_CONFIG_PATH=$built command pkg-config --define-variable=includedir="$top/include" "$@"
}
lines=$(sed -n 's/^    \(cc .*\|sluice run .*\)/\1/p' "$readme")
equal 'lines to be run in the README' "$(wc -l <<<"$lines")" 2
while read -r line; do
    # A compiler's warning would be the reader's first impression.
    case $line in cc*) line+=" -Wall -Wextra -Werror" ;; esac
    eval "$line" >said 2>&1 || fail "$line: $(cat said)"
    checks=$((checks + 1))
done <<<"$lines"
check 'the kernel is there' test -e area.so

# The Python of the README.
sed -n '/import h5py/,/print/s/^    //p' "$readme" >area.py
check 'lines of Python in the README' grep -q print area.py
area=$("$python" area.py) || fail 'the Python of the README'
# near GOT WANT ERROR
near () { "$python" -c 'import sys
got, want, error = map (float, sys.argv[1:])
sys.exit (abs (got - want) > error)' "$@"; }
# 20,000,000 darts: a standard error of 0.0004; the polygon has 1,000 corners.
check "area of a circle: $area" near "$area" 3.141572 0.002
said=$(sluice verify area.h5) || fail "verify: $said"
want=${said##* digest }

dir=$PWD
for how in --serial '--cores 1' '--cores 3'; do
    # shellcheck disable=SC2086
    good again area.ini $how
    equal "digest with $how" "$digest" "$want"
done
good other area.ini --seed 7
differ 'another seed' "$digest" "$want"

printf '%s\n' '[general]' 'kernel = area.so' 'batches = 100' 'darts = 10000' \
    'polygon = 0 0, 2 0, 2 1,' '    1 1, 1 2, 0 2' >shape.ini
good shape shape.ini
sed 's/area.h5/shape.h5/' area.py >shape.py
area=$("$python" shape.py)
check "area of an L: $area" near "$area" 3 0.02

# What is wrong is told with its line.
for wrong in 'batches = none' 'batches = 0' 'darts = -5' 'polygon = 0 0, 1 1' 'polygon = 0 0, 1'; do
    { printf '%s\n' '[general]' 'kernel = area.so'; echo "$wrong"; } >wrong.ini
    run wrong wrong.ini
    equal "$wrong: exit status" $status 2
    equal "$wrong: lines: $(cat wrong.err)" "$(wc -l <wrong.err)" 1
    check "$wrong: $(cat wrong.err)" grep -Eq '^sluice run: .*(wrong.ini:3: |item)' wrong.err
done
nothing_left end
