#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# Every bench runs, and says figures that bench/run understands: at small sizes, so that
# no time means anything, and none is looked at. Each row of doc/performance.md is there,
# or it is said what is missing for it.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export top_builddir=$built SLUICE=$binary
benches=()
# With sanitizers and other slow builds: that the programs of bench/ work there, too.
[ -z "$small" ] || benches=(tasks latency commands memory safety flat)
status=0
FLOW_MARK=$dir "$python" "$top/bench/run" "${benches[@]}" --quick --json --write "$dir/table.md" \
    >"$dir/figures" 2>"$dir/said" || status=$?
[ $status = 0 ] || cat "$dir/said" >&2
equal 'exit status' $status 0
# A bench that prints what is no figure is told on stderr.
equal 'what is no figure' "$(grep -v '^run: ' "$dir/said" || true)" ''

"$python" - "$dir/figures" "$dir/table.md" "${benches[@]}" <<'END' || fail 'figures'
import json, math, sys
figures = [json.loads(line) for line in open(sys.argv[1], encoding='utf-8')]
table = open(sys.argv[2], encoding='utf-8').read()
wanted = sys.argv[3:] or ['tasks', 'latency', 'commands', 'results', 'sealed', 'memory',
                          'safety', 'link', 'layout', 'compressed', 'scale', 'gmf', 'cores',
                          'mainjob', 'flat']
seen = set()
for f in figures:
    assert f['bench'] and f['name'], f
    seen.add(f['bench'])
    if 'skipped' in f:
        assert f['skipped'], f
        continue
    assert 'failed' not in f, f
    for key in ('value', 'reference', 'ratio'):
        assert f[key] is None or math.isfinite(f[key]), (key, f)
    assert f['value'] is not None and f['unit'], f
    assert (f['reference'] is None) == (f['ratio'] is None), f
    assert f['met'] in (None, True, False), f
    if isinstance(f['target'], str) and f['target']:
        what, relation, bound = f['target'].split()
        assert what in ('ratio', 'value') and relation in ('>=', '<=', '<'), f
        float(bound)
    assert '| %s | %s |' % (f['bench'], f['name']) in table, f
assert seen == set(wanted), (sorted(seen), wanted)
assert any('value' in f for f in figures)
END
checks=$((checks + 1))
# Of the benches nothing is left, not even a node or a file.
nothing_left 'after the benches'
