#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# The same bits with every instruction set that the CPU has, forced by Sluice's own
# switch, and with FMA, AVX2 and AVX-512 hidden from glibc (invariant I6).

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cp "$top"/calc/demo/northridge/{job_small.ini,rupture.xml} "$dir"
chmod u+w "$dir/job_small.ini"
sed -e 's/^gsim.*/gsim = BooreAtkinson2008/' -e 's/PGA, SA(1.0)/PGA, PGV, SA(0.3)/' \
    "$dir/job_small.ini" >"$dir/other.ini"
printf '%s\n' 'reference_depth_to_1pt0km_per_sec = 120' >>"$dir/job_small.ini"

sets='scalar'
for set in sse2 avx avx2 avx512; do
    case $set in avx512) flag=avx512f ;; *) flag=$set ;; esac
    ! grep -qw -m 1 "$flag" /proc/cpuinfo || sets+=" $set"
done
! grep -qw -m 1 asimd /proc/cpuinfo || sets+=' neon'

for job in job_small other; do
    good $job-own "$dir/$job.ini" --serial
    want=$digest
    widest=$(field $job-own isa)
    equal "$job: the widest is taken" "$widest" "${sets##* }"
    for set in $sets; do
        SLUICE_ISA=$set good $job-$set "$dir/$job.ini" --cores 2
        equal "$job: isa of $set" "$(field $job-$set isa)" "$set"
        equal "$job: digest with $set" "$digest" "$want"
    done
    equal "$job: verified" "$(verified $job-scalar)" "$want"
    # glibc of 2.33 and later, and older ones, name them differently.
    hidden='-AVX512F,-AVX512F_Usable,-AVX2,-AVX2_Usable,-FMA,-FMA_Usable,-FMA4,-FMA4_Usable'
    GLIBC_TUNABLES=glibc.cpu.hwcaps=$hidden good $job-hidden "$dir/$job.ini" --cores 2
    equal "$job: digest with FMA, AVX2 and AVX-512 hidden" "$digest" "$want"
    SLUICE_ISA=scalar GLIBC_TUNABLES=glibc.cpu.hwcaps=$hidden,-AVX,-AVX_Usable \
        good $job-bare "$dir/$job.ini" --serial
    equal "$job: digest with all that hidden, in plain C" "$digest" "$want"
done
echo "instruction sets: $sets"

SLUICE_ISA=mmx run wrong "$dir/job_small.ini" --serial
equal 'an unknown instruction set' $status 2
check 'it is named' grep -q '^sluice run: .*mmx' "$dir/wrong.err"
check 'no output' test ! -e "$dir/wrong.h5"
