#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

# What is wrong with a job or a command line is said in one line before anything
# is started: with the right exit status, no output, and nothing left behind.

# shellcheck source=tests/flow/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mkdir "$dir/out" "$dir/jobs"
cd "$dir/jobs"
as=()

# refused STATUS PATTERN ARGS...: `sluice run ARGS` ends with this status and one
# line that matches
refused () {
    local want=$1 pattern=$2 status=0
    shift 2
    find "$dir/out" "$dir/jobs" | sort >"$dir/before"
    if [ ${#as[@]} = 0 ]; then
        sluice run "$@" >"$dir/stdout" 2>"$dir/stderr" || status=$?
    else
        FLOW_MARK=$dir "${as[@]}" "$binary" run "$@" >"$dir/stdout" 2>"$dir/stderr" || status=$?
    fi
    local what="run $*"
    equal "$what: exit status ($(head -c 300 "$dir/stderr"))" $status "$want"
    equal "$what: lines: $(cat "$dir/stderr")" "$(wc -l <"$dir/stderr")" 1
    check "$what: $(cat "$dir/stderr")" grep -q '^sluice run: ' "$dir/stderr"
    check "$what: '$(cat "$dir/stderr")' matches '$pattern'" grep -Eq -- "$pattern" "$dir/stderr"
    equal "$what: on stdout" "$(cat "$dir/stdout")" ''
    equal "$what: files" "$(find "$dir/out" "$dir/jobs" | sort | diff "$dir/before" -)" ''
    no_process || fail "$what: a process is left"
    equal "$what: run folder" "$(find "$dir/run" -mindepth 1 ! -path "$dir/run/sluice")" ''
}
o=(-o "$dir/out/x.h5")
both () { # as refused, embedded and serial
    refused "$@" "${o[@]}"
    refused "$@" --serial "${o[@]}"
}

demo=$top/calc/demo/northridge
cp "$demo/rupture.xml" .
# edit FILE SED...: a job like the small Northridge one
edit () {
    local file=$1
    shift
    sed "$@" "$demo/job_small.ini" >"$file"
}
# line FILE PATTERN: number of the line in it
line () { grep -n -m 1 -- "$2" "$1" | cut -d : -f 1; }

# ---- the command line
refused 2 'which job' "${o[@]}"
refused 2 '--help' x.ini y.ini "${o[@]}"
refused 2 "no-such-option.*--help" x.ini --no-such-option "${o[@]}"
refused 2 "'many'" x.ini --cores many "${o[@]}"
refused 2 "'0'" x.ini --cores 0 "${o[@]}"
refused 2 "'5000'" x.ini --cores 5000 "${o[@]}"
refused 2 "'64Q'" x.ini --window 64Q "${o[@]}"
refused 2 '--serial' x.ini --serial --cores 2 "${o[@]}"
refused 2 'nodes.txt' x.ini --nodes nodes.txt "${o[@]}"
mkfifo pipe
refused 2 'pipe: is not a plain file' x.ini --nodes pipe "${o[@]}"
for command in plot trace; do
    status=0
    timeout 10 "$binary" $command pipe 2>"$dir/said" || status=$?
    equal "$command of a pipe: $(cat "$dir/said")" $status 2
done

# ---- the job file
both 2 'none.ini' none.ini
both 2 'no-such-folder' no-such-folder/job.ini
mkdir folder.ini
both 2 'folder.ini' folder.ini
: >empty.ini
both 2 'empty.ini.*(kernel|calculation_mode)' empty.ini
head -c 3000 /dev/urandom >noise.ini
both 2 'noise.ini' noise.ini
printf '[general]\nthis is no parameter\n' >malformed.ini
both 2 'malformed.ini:2' malformed.ini
printf '[general]\nkernel = a\nitems = 3\nitems = 4\n' >twice.ini
both 2 'twice.ini:4.*3|twice.ini:3.*4' twice.ini
printf '[general\nkernel = a\n' >section.ini
both 2 'section.ini:1' section.ini
if [ "$(id -u)" = 0 ]; then
    chmod 711 "$dir"
    edit secret.ini ''
    chmod 600 secret.ini
    as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    refused 2 'secret.ini.*[Pp]ermission' secret.ini --serial "${o[@]}"
    as=()
fi

# ---- which kernel
edit unknown.ini 's/^calculation_mode.*/calculation_mode = scenaro/'
both 2 "unknown.ini:$(line unknown.ini scenaro).*scenaro" unknown.ini
edit two.ini "s|^calculation_mode.*|&\nkernel = $kernel|"
both 2 'two.ini:[0-9]+.*kernel' two.ini
edit none2.ini '/^calculation_mode/d'
both 2 'none2.ini.*calculation_mode' none2.ini
printf '[general]\nkernel = ./not.so\n' >missing-kernel.ini
both 2 'missing-kernel.ini:2.*not.so' missing-kernel.ini
echo 'int main;' >text.so
printf '[general]\nkernel = text.so\n' >text-kernel.ini
both 2 'text-kernel.ini:2.*text.so' text-kernel.ini
: >nothing.so
mkfifo pipe.so
printf '[general]\nkernel = pipe.so\n' >pipe-kernel.ini
both 2 'pipe-kernel.ini:2' pipe-kernel.ini
printf '[general]\nkernel = nothing.so\n' >nothing-kernel.ini
both 2 'nothing-kernel.ini:2' nothing-kernel.ini
cat >abi.c <<'END'
struct { unsigned abi; const char *name; void *f[4]; } sluice_kernel = {77, "abi", {0}};
END
echo 'int something_else;' >symbol.c
cat >hollow.c <<'END'
struct { unsigned abi; const char *name; void *f[4]; } sluice_kernel = {1, "hollow", {0}};
END
cc=$(command -v cc || command -v gcc || command -v clang)
for c in abi symbol hollow; do
    "$cc" -shared -fPIC -o $c.so $c.c
    printf '[general]\nkernel = %s.so\n' $c >$c-kernel.ini
done
both 2 'abi-kernel.ini:2.*77' abi-kernel.ini
both 2 'symbol-kernel.ini:2.*sluice_kernel' symbol-kernel.ini
both 2 'hollow-kernel.ini:2' hollow-kernel.ini
job zero.ini items=0
both 2 'item' zero.ini
job number.ini items=many
both 2 'number.ini:3: items' number.ini
job policy.ini items=10 items_per_task=some
both 2 'policy.ini:4: items_per_task' policy.ini
job seed.ini items=10 random_seed=-1
both 2 'seed.ini:4: random_seed' seed.ini

# ---- the scenario's inputs
edit no-rupture.ini 's/^rupture_model_file.*/rupture_model_file = none.xml/'
both 2 'none.xml' no-rupture.ini
edit no-file.ini '/^rupture_model_file/d'
both 2 'rupture_model_file' no-file.ini
edit gsim.ini 's/^gsim.*/gsim = BooreEtAl1066/'
both 2 "gsim.ini:$(line gsim.ini 1066).*BooreEtAl1066" gsim.ini
edit imt.ini 's/^intensity_measure_types.*/intensity_measure_types = PGA, SAA(1.0)/'
both 2 "imt.ini:$(line imt.ini SAA).*SAA" imt.ini
edit region.ini 's/^region =.*/region = -119 33, north west, -118 34/'
both 2 "region.ini:$(line region.ini 'region =')" region.ini
edit spacing.ini 's/^region_grid_spacing.*/region_grid_spacing = -1/'
both 2 "spacing.ini:$(line spacing.ini spacing)" spacing.ini
edit far.ini 's/^maximum_distance.*/maximum_distance = 0.001/'
both 2 "far.ini:$(line far.ini maximum).*no site" far.ini
edit fields.ini 's/^number_of_gr.*/number_of_ground_motion_fields = none/'
both 2 "fields.ini:$(line fields.ini number_of)" fields.ini
edit zero-fields.ini 's/^number_of_gr.*/number_of_ground_motion_fields = 0/'
both 2 'zero-fields.ini|item' zero-fields.ini

broken=$(sed -n '/<strike/=; /<dip/=; /<rake/=; /<magnitude/=' rupture.xml | head -n 1)
sed "${broken}s|</|<|" rupture.xml >torn.xml
edit torn.ini 's/^rupture_model_file.*/rupture_model_file = torn.xml/'
both 2 'torn.xml:[0-9]+' torn.ini
sed 's|<magnitude>.*</magnitude>|<magnitude>large</magnitude>|' rupture.xml >large.xml
edit large.ini 's/^rupture_model_file.*/rupture_model_file = large.xml/'
both 2 "large.xml:$(line large.xml large)" large.ini
echo 'hello' >hello.xml
edit hello.ini 's/^rupture_model_file.*/rupture_model_file = hello.xml/'
both 2 'hello.xml:1' hello.ini
head -c 200 rupture.xml >half.xml
edit half.ini 's/^rupture_model_file.*/rupture_model_file = half.xml/'
both 2 'half.xml:[0-9]+' half.ini

edit no-sites.ini '/^region/d'
both 2 'sites' no-sites.ini
edit no-vs30.ini '/^reference_vs30/d'
both 2 'vs30' no-vs30.ini
with_csv () { edit "$1" -e '/^region/d' -e '/^reference_vs30/d' \
    -e "s/^\[geometry\]/&\nsite_model_file = $2/"; }
printf 'lon,lat,vs30\n' >none.csv
with_csv zero-sites.ini none.csv
both 2 'none.csv.*no sites' zero-sites.ini
printf 'lon,lat,vs30\n-118.4,34.2,300\n-118.5,34.2,soft\n' >soft.csv
with_csv soft.ini soft.csv
both 2 'soft.csv:3' soft.ini
printf 'lon,lat,vs30\n-118.4,34.2,300\n-118.5\n' >short.csv
with_csv short.ini short.csv
both 2 'short.csv:3' short.ini
printf 'lon,lat\n-118.4,34.2\n' >bare.csv
with_csv bare.ini bare.csv
both 2 'bare.csv.*vs30' bare.ini
printf 'lon,vs30\n-118.4,300\n' >nolat.csv
with_csv nolat.ini nolat.csv
both 2 "nolat.csv.*lat" nolat.ini
with_csv nofile.ini nofile.csv
both 2 'nofile.csv' nofile.ini
printf 'lon,lat,vs30\n-118.4,34.2,300\n-118.4,34.2,300\n' >same.csv
with_csv same.ini same.csv
both 2 'same.csv.*[23].*[23]' same.ini

# ---- buffers
edit fine.ini ''
both 2 'window.*--window [0-9]+M' fine.ini --window 64K
refused 2 'outbox.*--outbox [0-9]+M' fine.ini --outbox 64K "${o[@]}"

# ---- the output
refused 2 'nowhere' fine.ini -o "$dir/out/nowhere/x.h5"
refused 2 'nowhere' fine.ini --serial -o "$dir/out/nowhere/x.h5"
mkdir "$dir/out/folder"
refused 2 'folder' fine.ini -o "$dir/out/folder"
refused 2 'folder' fine.ini -o "$dir/out/folder/"
for input in rupture.xml ./rupture.xml "$dir/jobs/../jobs/rupture.xml"; do
    cp -f rupture.xml "$dir/copy.xml"
    refused 2 'input.*rupture.xml|rupture.xml.*input' fine.ini --force -o "$input"
    check "$input is as it was" cmp rupture.xml "$dir/copy.xml"
done
ln -s ../jobs/rupture.xml "$dir/out/link.h5"
refused 2 'input' fine.ini --force -o "$dir/out/link.h5"
ln rupture.xml "$dir/out/hard.h5"
refused 2 'input' fine.ini --force --serial -o "$dir/out/hard.h5"
refused 2 'input' fine.ini --force -o fine.ini
check 'the job file is as it was' grep -q calculation_mode fine.ini
cp "$kernel" own.so
printf '[general]\nkernel = own.so\nitems = 5\n' >own.ini
refused 2 'input.*own.so' own.ini --force -o "$dir/jobs/own.so"
check 'the kernel is as it was' cmp own.so "$kernel"
echo taken >"$dir/out/taken.h5"
refused 2 'taken.h5.*--force' fine.ini -o "$dir/out/taken.h5"
refused 2 'taken.h5.*--force' fine.ini --serial -o "$dir/out/taken.h5"
equal 'it is as it was' "$(cat "$dir/out/taken.h5")" taken
mkfifo "$dir/out/pipe"
refused 2 'pipe.*not a plain file' fine.ini --force -o "$dir/out/pipe"
# Links in the place of what is made beside it lead nowhere.
echo precious >"$dir/precious"
ln -s "$dir/precious" "$dir/out/linked.h5.lock"
refused 4 'linked.h5.lock' fine.ini -o "$dir/out/linked.h5"
ln -s "$dir/precious" "$dir/out/.linked2.h5.new"
good linked fine.ini --cores 2
sluice run fine.ini -q -o "$dir/out/linked2.h5"
check 'a plain file' test ! -L "$dir/out/linked2.h5"
equal 'what the links led to' "$(cat "$dir/precious")" precious
# Default names: each run has its own, though all begin at the same time.
mkdir "$dir/numbered"
cd "$dir/numbered"
pids=()
for i in 1 2 3 4; do
    FLOW_MARK=$dir "$binary" run "$dir/jobs/fine.ini" -q &
    pids+=($!)
done
for i in "${pids[@]}"; do wait "$i" || fail 'one of four runs at once'; done
equal 'numbered' "$(echo *)" 'fine-001.h5 fine-002.h5 fine-003.h5 fine-004.h5'
cd "$dir/jobs"
if [ "$(id -u)" = 0 ]; then
    mkdir -m 755 "$dir/out/roots"
    chmod 755 "$dir" "$dir/out" "$dir/jobs"
    mkdir -m 700 "$dir/nobody"
    chown 65534 "$dir/nobody"
    chmod 644 ./*.ini ./*.xml
    as=(setpriv --reuid 65534 --regid 65534 --clear-groups
        env XDG_RUNTIME_DIR="$dir/nobody" TMPDIR="$dir/nobody" SLUICE_SLOTS_DIR="$dir/nobody")
else
    mkdir -m 555 "$dir/out/roots"
fi
refused 4 'roots' fine.ini -o "$dir/out/roots/x.h5"
refused 4 'roots' fine.ini --serial -o "$dir/out/roots/x.h5"
as=()

# ---- names that no message can hold
mkdir "$dir/jobs/"$'no\xff'
edit $'no\xff/fine.ini' ''
both 2 'fine.ini.*not UTF-8' $'no\xff/fine.ini'

# ---- standard output
good json "$dir/jobs/fine.ini" --cores 2
status=0
sluice run fine.ini -q --json "${o[@]}" >/dev/full 2>"$dir/stderr" || status=$?
equal "a summary that is lost: $(cat "$dir/stderr")" $status 4
check 'it says so' grep -q '^sluice run: .*summary' "$dir/stderr"
rm "$dir/out/x.h5"
sluice run fine.ini -q --json "${o[@]}" <&- >&- 2>&-
equal 'no standard output' "$(sluice verify "$dir/out/x.h5" | sed 's/.* //')" "$digest"
rm "$dir/out/x.h5"
# A session may name a run folder that is not there.
XDG_RUNTIME_DIR=$dir/none sluice run fine.ini -q "${o[@]}"
rmdir "/tmp/sluice-$(id -u)" 2>/dev/null || true
rm "$dir/out/x.h5"

# ---- with a share
mkdir "$dir/share" "$dir/outside"
sluice init "$dir/share" >/dev/null
cp rupture.xml "$dir/outside"
edit "$dir/share/job.ini" "s|^rupture_model_file.*|rupture_model_file = ../outside/rupture.xml|"
refused 2 'outside the share|outside' "$dir/share/job.ini" "${o[@]}"
edit "$dir/share/job.ini" "s|^rupture_model_file.*|rupture_model_file = $dir/outside/rupture.xml|"
refused 2 'outside' "$dir/share/job.ini" "${o[@]}"
ln -s ../outside/rupture.xml "$dir/share/link.xml"
edit "$dir/share/job.ini" "s|^rupture_model_file.*|rupture_model_file = link.xml|"
refused 2 'outside' "$dir/share/job.ini" "${o[@]}"
job "$dir/share/kernel.ini" items=10
refused 2 'outside' "$dir/share/kernel.ini" "${o[@]}"
cp "$dir/jobs/rupture.xml" "$dir/share"
edit "$dir/share/job.ini" ''
printf 'short\n' >"$dir/short.key"
chmod 600 "$dir/short.key"
refused 2 'short.key' "$dir/share/job.ini" --key "$dir/short.key" "${o[@]}"
refused 2 'none.key' "$dir/share/job.ini" --key "$dir/none.key" "${o[@]}"
refused 2 'share' fine.ini --no-local "${o[@]}"
refused 2 'share' fine.ini --node tcp://127.0.0.1:1 "${o[@]}"
refused 2 'elsewhere' "$dir/share/job.ini" --node elsewhere "${o[@]}"
refused 2 'nohost.invalid has no address' "$dir/share/job.ini" --node tcp://nohost.invalid:5 "${o[@]}"

# All of it was refused for what is wrong with it: this one is right.
good fine "$dir/jobs/fine.ini" --cores 2
nothing_left end
