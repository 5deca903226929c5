#!/bin/bash
# clang-tidy on the source files and headers that differ from the main branch. With --all: on every
# source file, and on the headers that have none of their own name.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/dev
# processor.cc asks for a processor by a name that clang 14 does not know.
paths=('src/*.cc' 'src/*.h' 'examples/*.cc' ':!src/cli/processor.cc')
if [ "${1:-}" = "--all" ]; then
  files=$(git ls-files -- "${paths[@]}" | while read -r file; do
    [ "${file%.h}" != "$file" ] && [ -e "${file%.h}.cc" ] || echo "$file"
  done)
else
  base=$(git merge-base HEAD origin/main 2> /dev/null || git merge-base HEAD main 2> /dev/null ||
    git rev-list --max-parents=0 HEAD)
  # On the main branch itself, what the last commit changed.
  [ "$base" = "$(git rev-parse HEAD)" ] && base=$(git rev-parse -q --verify HEAD~1 || echo "$base")
  files=$( (git diff --name-only --diff-filter=d "$base" -- "${paths[@]}"
    git ls-files --others --exclude-standard -- "${paths[@]}") | sort -u)
fi
[ -n "$files" ] || { echo "clang-tidy: no source file changed"; exit 0; }
# The compile commands are g++'s: the flag that clang does not know and its headers are taken out.
mkdir -p build/tidy
sed -E 's/ -fno-gnu-unique//g; s/ -Winvalid-pch -include [^ ]+//g' "$build/compile_commands.json" > build/tidy/compile_commands.json
check_one() {
  local findings
  if findings=$(clang-tidy-14 --quiet -p build/tidy \
    --extra-arg=-Wno-unknown-warning-option "$1" 2> /dev/null); then
    echo "$1"
  else
    echo "$1: FAILED"
    # What stops it (a file that does not compile, say) is told on the same stream as findings.
    echo "${findings:-clang-tidy says nothing: try clang-tidy-14 -p build/tidy $1}" >&2
    return 1
  fi
}
export -f check_one
count=$(wc -l <<< "$files")
xargs -n 1 -P "$(nproc)" bash -c 'check_one "$1"' tidy <<< "$files" |
  awk -v count="$count" '{ printf "[%d/%d] %s\n", NR, count, $0; fflush() }'
