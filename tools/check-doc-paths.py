#!/usr/bin/env python3
"""Every file that the pages name in `code` or link to exists.

A name counts when it has a slash and begins with a folder of the repository's root, or with one of
src/ (as includes do), or when it is the target of a relative link. Of `folder/{a,b}.h` and
`folder/*.h` each part is looked up.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = ("build/", "proto/x")  # what a build makes


def candidates(name):
    braces = re.match(r"(.*)\{([^}]*)\}(.*)", name)
    if braces:
        return [braces[1] + part + braces[3] for part in braces[2].split(",")]
    return [name]


def exists(name):
    for root in (ROOT, ROOT / "src"):
        if "*" in name or "<" in name:
            if any(root.glob(re.sub(r"<[^>]*>", "*", name))):
                return True
        elif (root / name.rstrip("/")).exists():
            return True
    return False


def main():
    folders = {p.name for root in (ROOT, ROOT / "src") for p in root.iterdir() if p.is_dir()}
    problems = []
    looked_up = 0
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        for name in re.findall(r"`([\w.*{},<>-]+/[\w./*{},<>-]*)`", text):
            if name.split("/")[0] not in folders or name.startswith(BUILT):
                continue
            for candidate in candidates(name):
                looked_up += 1
                if not exists(candidate):
                    problems.append(f"{page.relative_to(ROOT)}: there is no {candidate}")
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            looked_up += 1
            if not (page.parent / link).exists():
                problems.append(f"{page.relative_to(ROOT)}: there is no {link}")
    if looked_up == 0:
        problems.append("no page names a file: check-doc-paths.py looks in the wrong place")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
