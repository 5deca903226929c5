#!/usr/bin/env python3
"""Every block of C++ in README.md and docs/ stands, word for word, in a file that is compiled: of
tests/examples/ or examples/."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    sources = [p.read_text(encoding="utf-8") for folder in ("tests/examples", "examples")
               for p in (ROOT / folder).rglob("*.cc")]
    missing = 0
    blocks = 0
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```cpp\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            blocks += 1
            if not any(match.group(1) in source for source in sources):
                line = text.count("\n", 0, match.start()) + 1
                print(f"{page.relative_to(ROOT)}:{line}: this example is in no file of tests/examples or examples")
                missing += 1
    if blocks == 0:
        print("no example was found in docs/")
    return 1 if missing or blocks == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
