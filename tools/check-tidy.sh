#!/bin/bash
# clang-tidy on the source files that differ from the main branch (all of them with --all).
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/dev
if [ "${1:-}" = "--all" ]; then
  files=$(git ls-files 'src/*.cc')
else
  base=$(git merge-base HEAD origin/main 2> /dev/null || git merge-base HEAD main 2> /dev/null ||
    git rev-list --max-parents=0 HEAD)
  # On the main branch itself, what the last commit changed.
  [ "$base" = "$(git rev-parse HEAD)" ] && base=$(git rev-parse -q --verify HEAD~1 || echo "$base")
  files=$( (git diff --name-only --diff-filter=d "$base" -- 'src/*.cc'
    git ls-files --others --exclude-standard -- 'src/*.cc') | sort -u)
fi
[ -n "$files" ] || { echo "clang-tidy: no source file changed"; exit 0; }
echo "clang-tidy: $(wc -l <<< "$files") files"
# The compile commands are g++'s; the flag that clang does not know is taken out.
mkdir -p build/tidy
sed 's/ -fno-gnu-unique//g' "$build/compile_commands.json" > build/tidy/compile_commands.json
xargs -n 1 -P "$(nproc)" clang-tidy-14 --quiet -p build/tidy <<< "$files" \
  2> >(grep -vE '^[0-9]+ warnings? (and|generated)' >&2)
