#!/usr/bin/env python3
"""The map in a folder's README names every file of the folder, and nothing that is not there.

Of a .h and a .cc of one name, one entry speaks for both. Folders below it that have no README of
their own count as files: `folder/` or one of their files is named.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAPPED = ("src", "bench", "deploy/k8s", "tests/golden", "tools/kafka")
ENDINGS = (".h", ".cc", ".py", ".sh", ".proto", ".yaml")


def stem(path):
    return re.sub(r"\.(h|cc)$", "", str(path))


def check(readme):
    folder = readme.parent
    named = set(re.findall(r"`([\w./-]+)[ `]", readme.read_text(encoding="utf-8")))
    named |= {name.replace("/.cc", "") for name in named}  # `run.h/.cc`
    stems = {stem(name) for name in named}
    where = folder.relative_to(ROOT)
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            inside = any(name.startswith(path.name + "/") for name in named)
            if (not inside and not (path / "README.md").exists() and
                    any(path.rglob("*" + end) for end in (".h", ".cc"))):
                yield f"{where}/README.md does not name the folder {path.name}/"
        elif path.suffix in ENDINGS and stem(path.name) not in stems:
            yield f"{where}/README.md does not name {path.name}"
    for name in sorted(named):
        if "/" not in name and name.endswith(ENDINGS) and not name.startswith("."):
            if not any(list((ROOT / top).rglob(name)) for top in ("src", "tests", "bench", "tools", "deploy")):
                yield f"{where}/README.md names {name}, which is not there"


def main():
    readmes = [r for top in MAPPED for r in (ROOT / top).rglob("README.md")
               if "| file" in r.read_text(encoding="utf-8")]
    problems = [p for r in sorted(readmes) for p in check(r)]
    if len(readmes) < 20:
        problems.append(f"only {len(readmes)} maps: check-readme-maps.py looks in the wrong place")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
