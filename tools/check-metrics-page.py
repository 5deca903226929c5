#!/usr/bin/env python3
"""docs/metrics.md names every metric that the code registers, and none that it does not."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Names are literals: whole, or behind the scope that other systems know.
WHOLE = re.compile(r'"((?:weir_(?:task|network|slot|memory|checkpoint|build)|process)_[a-z_]+)"')
SCOPED = re.compile(r'(?:scope\w*|"_") \+ "(_[a-z_]+)"|(?:gauge|histogram)\("(_[a-z_]+)"')


def registered():
    names = set()
    for folder in ("metrics", "taskmanager", "jobmanager"):
        for path in (ROOT / "src" / folder).glob("*.cc"):
            text = path.read_text(encoding="utf-8")
            names |= set(WHOLE.findall(text))
            names |= {"SCOPE" + (a or b) for a, b in SCOPED.findall(text)}
    return names


def told():
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`((?:weir_(?!operator|rocksdb)|process_|SCOPE_)[a-z_]+)`", page))
    return names


def main():
    code, page = registered(), told()
    for name in sorted(code - page):
        print(f"docs/metrics.md does not tell of {name}; add it")
    for name in sorted(page - code):
        print(f"docs/metrics.md tells of {name}, which no code registers; take it out")
    if len(code) < 20:
        print(f"only {len(code)} metrics found in the code; this check no longer reads it")
        return 1
    return 1 if code != page else 0


if __name__ == "__main__":
    sys.exit(main())
