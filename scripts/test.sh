#!/usr/bin/env bash
# Installs what is missing, builds rewind and runs every test; then the linters, the unit tests again under
# sanitizers, and the fuzzers. Ends with the test runner's closing line.
#
# Arguments go to ctest: `scripts/test.sh -L database` runs the tests of one label, without linters and sanitizers.
# Before them, `--tsan` or `--asan`: the tests, and rewind itself, are built and run with ThreadSanitizer, or with
# AddressSanitizer and UndefinedBehaviorSanitizer; what these report of any process fails the run. BUILD_DIR names another
# build directory.
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build}
build_options=()
cores=$(nproc)
# Not optimized: optimizing instrumented code takes the compiler three times as long.
asan_options=(-DREWIND_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0)
tsan_options=(-DREWIND_SANITIZE=thread "${asan_options[@]:1}")
sanitizer=
case ${1:-} in
  --asan) sanitizer=AddressSanitizer build_options=("${asan_options[@]}") ;;&
  --tsan) sanitizer=ThreadSanitizer build_options=("${tsan_options[@]}") ;;&
  --asan | --tsan)
    build_dir+=-${1#--}
    shift
    ;;
esac

((EUID == 0)) || { echo "test: run as root: the tests mount filesystems and start a Docker engine" >&2; exit 1; }

# Everything that the tests make lies here, and whatever they leave (mounts, daemons, an engine) goes with it.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/rewind-tests.XXXXXX")
chmod 0711 "$TMPDIR"  # a database runs as its own user
export TMPDIR
clean_up() {
  local status=$?
  trap - EXIT INT TERM HUP
  if command -v python3 >/dev/null; then
    python3 -B "$source_dir/tests/docker/leftovers.py" "$TMPDIR" || true
  fi
  rm -rf --one-file-system "$TMPDIR" || true
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# RocksDB comes without instrumentation, so containers that cross into it cannot be checked.
export ASAN_OPTIONS=detect_container_overflow=0 UBSAN_OPTIONS=print_stacktrace=1
# Processes report by themselves, also those that are killed thereafter or become nobody.
reports=$TMPDIR/reports
if [[ $sanitizer ]]; then
  mkdir -m 1777 "$reports"
  # The signals are those that tests kill the daemon with.
  into="log_path=$reports/of handle_segv=0 handle_abort=0"
  # io_sync=0: that one thread wrote to /dev/fuse before another read there orders nothing of rewind's.
  export TSAN_OPTIONS="$into suppressions=$source_dir/tests/tsan.supp exitcode=0 die_after_fork=0 history_size=7 io_sync=0"
  # What is kept from being used again counts where tests look at memory.
  ASAN_OPTIONS+=" quarantine_size_mb=8 $into" UBSAN_OPTIONS+=" log_path=$reports/of"
fi

began=$SECONDS
failed=()
title() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - began)); }
# Runs a step; its failure is remembered, and the others run all the same.
step() {
  local name=$1
  shift
  title "$name"
  "$@" </dev/null || { failed+=("$name"); echo "test: $name: FAILED"; }
}

check_format() {
  sources '*.cc' '*.h' | xargs -0 clang-format --dry-run -Werror
}
# C++ sources of the project, found without git: it may be absent.
sources() {
  local pattern names=()
  for pattern in "$@"; do names+=(-o -name "$pattern"); done
  (cd "$source_dir" && find plugin fs metadata tests bench \( "${names[@]:1}" \) -print0 | sort -z |
    sed -z "s#^#$source_dir/#")
}
check_scripts() {
  local script
  for script in "$source_dir"/scripts/*.sh "$source_dir"/.ci/run; do
    bash -n "$script" || return 1
  done
  python3 -m json.tool "$source_dir/plugin-config/config.json" >/dev/null
}
check_tidy() {
  local log=$TMPDIR/clang-tidy.log
  # Without the static analyzer, which takes twice the time of everything else together: `cmake --preset tidy` has it.
  # The flags are gcc's; clang does not know them all. Headers are checked with the sources that include them.
  run-clang-tidy -quiet -j "$cores" -p "$build_dir" -checks='-clang-analyzer-*' \
    -extra-arg=-Wno-unknown-warning-option "^$source_dir/(plugin|fs|metadata)/.*\\.cc\$" >"$log" 2>&1 && return
  sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -A4 -E '(warning|error):' | head -n 100
  return 1
}
# Calls a function of this script with the arguments that follow and each line of standard input, `at_once` of them or
# as many as there are processors; false if any of them failed.
for_each() {
  local function=$1
  shift
  xargs -d '\n' -P "${at_once:-$cores}" -n 1 bash -c "$(declare -f "$function"); $function \"\$@\"" "$function" "$@"
}
check_sanitized() {
  local dir=$build_dir-asan
  cmake -S "$source_dir" -B "$dir" -G Ninja "${asan_options[@]}" >/dev/null
  cmake --build "$dir" --target unit_tests || return
  # They wait as long as they work.
  local shards=$((2 * cores))
  seq 0 $((shards - 1)) | at_once=$shards for_each run_shard "$dir/tests/unit_tests" "$shards"
}
# One of so many parts of the unit tests; shows what it printed once it has ended.
run_shard() {
  local tests=$1 shards=$2 shard=$3 log status=0
  log=$TMPDIR/unit_tests-$shard.log
  GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard UBSAN_OPTIONS=$UBSAN_OPTIONS:halt_on_error=1 \
    "$tests" --gtest_brief=1 >"$log" 2>&1 || status=1
  cat "$log"
  return "$status"
}

check_reports() {
  local of
  of=$(find "$reports" -type f -size +0)
  [[ -z $of ]] || { xargs -d '\n' cat <<<"$of" | head -n 1000; return 1; }
}

# Each from its corpus on, for REWIND_FUZZ_SECONDS.
check_fuzzers() {
  local dir=$build_dir-fuzz
  cmake -S "$source_dir" -B "$dir" -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DREWIND_FUZZ=ON -DREWIND_TESTS=OFF >/dev/null &&
    cmake --build "$dir" --target fuzzers || return
  find "$source_dir/tests/fuzz/corpus" -mindepth 1 -maxdepth 1 -type d | sort | for_each run_fuzzer "$dir"
}
# One, by the directory of its corpus; shows the end of its log if it fails, with the input that did it.
run_fuzzer() {
  local dir=$1 corpus=$2 name
  name=$(basename "$corpus")
  mkdir -p "$TMPDIR/fuzz/$name"
  "$dir/tests/fuzz/${name}_fuzzer" -max_total_time="${REWIND_FUZZ_SECONDS:-60}" -timeout=120 -max_len=2048 \
    -artifact_prefix="$TMPDIR/fuzz/$name-" "$TMPDIR/fuzz/$name" "$corpus" >"$TMPDIR/fuzz/$name.log" 2>&1 || {
    tail -n 40 "$TMPDIR/fuzz/$name.log"
    return 1
  }
  echo "$name: $(grep -o '^Done [0-9]* runs' "$TMPDIR/fuzz/$name.log")"
}

title "Packages"
"$source_dir/scripts/setup.sh" build engine story test
title "Build"
BUILD_DIR=$build_dir "$source_dir/scripts/build.sh" "${build_options[@]}"

title "Tests"
ctest_log=$TMPDIR/ctest.log
ctest --test-dir "$build_dir" --output-on-failure -j "$cores" "$@" </dev/null 2>&1 | tee "$ctest_log" ||
  failed+=("tests")
grep -qE 'tests passed, .* out of [1-9]' "$ctest_log" || failed+=("tests: none ran")

if [[ $sanitizer ]]; then
  step "Reports of $sanitizer" check_reports
elif (($# == 0)); then
  step "Scripts" check_scripts
  step "Format" check_format
  step "clang-tidy" check_tidy
  step "Unit tests under AddressSanitizer and UndefinedBehaviorSanitizer" check_sanitized
  step "Fuzzers" check_fuzzers
fi

title "Done"
if ((${#failed[@]})); then
  printf 'test: FAILED: %s\n' "${failed[@]}"
fi
grep -E 'tests passed, .* out of' "$ctest_log" || echo "no test ran"
((${#failed[@]} == 0))
