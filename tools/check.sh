#!/bin/bash
# Everything a change must pass beyond `make test`. Goes on after a failure and lists them all.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()
step() {
  local name=$1
  shift
  echo "== $name"
  "$@" || failed+=("$name")
}

asan_units() {
  cmake --preset asan > /dev/null && cmake --build --preset asan --target unit_tests -j "$(nproc)" &&
    ASAN_OPTIONS=detect_odr_violation=0 tools/run-tests.py build/asan --only unit
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
step "clang-tidy on changed files" tools/check-tidy.sh
step "unit tests under address and undefined-behaviour sanitizers" asan_units
step "tests with threads under the thread sanitizer" tsan_threads
if [ -n "$(ctest --test-dir build/dev -N -L '^long$' | grep -E 'Test +#')" ]; then
  step "long tests" tools/run-tests.py build/dev --only long
fi

echo
if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "All checks passed."
