#!/bin/bash
# Every source file is as clang-format 14 would write it (make format mends).
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files -z '*.h' '*.cc' | xargs -0 -r clang-format-14 --dry-run --Werror
