#!/bin/bash
# Everything a change must pass beyond `make test`. Goes on after a failure; ends with a line for
# each step and "N passed, N failed".
#
#   tools/check.sh [--full]      --full: clang-tidy on every file instead of the changed ones
set -uo pipefail
cd "$(dirname "$0")/.."
tidy=()
case "${1:-}" in
  "") ;;
  --full) tidy=(--all) ;;
  *)
    echo "check.sh: $1 is not known; the only option is --full" >&2
    exit 2
    ;;
esac

steps=7
number=0
passed=0
failed=0
lines=()
took() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }
step() {
  local name=$1 begin=$SECONDS verdict
  shift
  number=$((number + 1))
  echo "== $number/$steps $name"
  if "$@"; then
    verdict=passed
    passed=$((passed + 1))
  else
    verdict=FAILED
    failed=$((failed + 1))
  fi
  lines+=("$(printf '%s %6s  %s' $verdict "$(took $((SECONDS - begin)))" "$name")")
  echo "   $verdict after $(took $((SECONDS - begin)))"
}

# The undefined-behaviour sanitizer goes on after a finding unless told to end: the test would pass.
asan_units() {
  cmake --preset asan > /dev/null && cmake --build --preset asan --target unit_tests -j "$(nproc)" &&
    ASAN_OPTIONS=detect_odr_violation=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
      tools/run-tests.py build/asan --only unit
}

# The libraries of the system are not built with it; tools/tsan.supp says what that takes.
tsan_threads() {
  cmake --preset tsan > /dev/null && cmake --build --preset tsan --target threads_tests -j "$(nproc)" &&
    TSAN_OPTIONS="suppressions=$PWD/tools/tsan.supp ignore_noninstrumented_modules=1" \
      tools/run-tests.py build/tsan --only threads
}

step "format" tools/check-format.sh
step "layers" tools/check-layers.py
step "headers compile alone" tools/check-headers.sh
step "clang-tidy" tools/check-tidy.sh "${tidy[@]}"
step "unit tests under address and undefined-behaviour sanitizers" asan_units
step "tests with threads under the thread sanitizer" tsan_threads
step "long tests: kills at random moments, brokers that die" tools/run-tests.py build/dev --only long

echo
printf '%s\n' "${lines[@]}"
echo "$passed passed, $failed failed, in $(took $SECONDS)"
[ "$failed" -eq 0 ]
