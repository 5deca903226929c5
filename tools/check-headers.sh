#!/bin/bash
# Every header compiles alone, so that an include says all that a file needs.
#
#   tools/check-headers.sh [BUILD_DIR]      BUILD_DIR holds the generated proto/ headers
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/dev}
[ -d "$build" ] || { echo "check-headers.sh: $build is missing; run make build-dev" >&2; exit 1; }

export flags="-std=c++20 -fsyntax-only -Wall -Wextra -Werror -Wno-missing-field-initializers \
  -march=x86-64-v3 -DWEIR_FAILPOINTS=1 -I src -I $build -I ."
headers=$(git ls-files 'src/*.h' 'tests/*.h' 'bench/*.h' 'examples/*.h')
count=$(wc -l <<< "$headers")
xargs -n 1 -P "$(nproc)" bash -c '
  echo "#include \"$1\"" | g++ $flags -x c++ - && echo "$1" || { echo "$1: FAILED"; exit 1; }' \
  header <<< "$headers" |
  awk -v count="$count" '{ printf "[%d/%d] %s\n", NR, count, $0; fflush() }'
