#!/usr/bin/env python3
"""Includes point down only, and what a user's job includes needs the standard library alone.

ALLOWED is the layering: a folder of src/ may include itself and the folders named for it. The
longest matching folder name decides. PUBLIC_ROOTS is where a user's includes start; all that can
be reached from there must be free of third-party headers, and is what `cmake --install` installs
(`--public` lists it, `--install DIR` copies it).
"""

import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SRC = ROOT / "src"

SERVICES = {"base", "log", "metrics", "config"}

ALLOWED = {
    "base": set(),
    "log": {"base"},
    "metrics": {"base"},
    "config": {"base"},
    "state": {"base", "metrics", "proto"},
    "ha": {"base", "proto"},
    "runtime": {"base", "state", "metrics", "log", "proto"},
    "runtime/element": {"base"},
    "api": {"base", "state", "runtime"},
    "testing": {"base", "state", "runtime", "api"},
    "job": {"base", "state", "runtime", "api", "proto"},
    "connectors": {"base", "state", "runtime", "api", "metrics", "log", "connectors/format"},
    "connectors/nexmark": {"base", "runtime"},
    "jobmanager": SERVICES | {"state", "ha", "runtime/graph", "runtime/element", "job", "proto"},
    "taskmanager": SERVICES | {"state", "ha", "runtime", "api", "job", "connectors", "proto"},
    "cli": SERVICES | {"state", "ha", "runtime", "api", "job", "jobmanager", "taskmanager", "proto"},
    "weir": {"base", "state", "runtime", "api", "connectors"},
}

# Inside runtime nothing but the daemons stands on task/, and the exchange knows no operator.
FORBIDDEN = {
    "runtime/graph": {"runtime/operator", "runtime/exchange", "runtime/task"},
    "runtime/operator": {"runtime/exchange", "runtime/task"},
    "runtime/exchange": {"runtime/operator", "runtime/task"},
    "api": {"runtime/task", "runtime/exchange"},
}

PUBLIC_ROOTS = ["base/*.h", "api/*.h", "testing/*.h", "weir/*.h"]
# Private although they lie in a public folder: Abseil's status is for our own .cc files.
PRIVATE = re.compile(r"(^|/)(status|internal)[^/]*\.h$")
THIRD_PARTY = re.compile(
    r"^(absl|grpc|grpcpp|google/protobuf|rocksdb|spdlog|fmt|prometheus|yaml-cpp|CLI|nlohmann|"
    r"simdjson|librdkafka|xxhash|proto)[/.]")
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def includes(path):
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def in_folder(name, folder):
    return name == folder or name.startswith(folder + "/")


def owner(name):
    """The layering entry that a file belongs to, or None."""
    matches = [folder for folder in ALLOWED if in_folder(name, folder)]
    return max(matches, key=len) if matches else None


def top_of(name):
    parts = name.split("/")
    # Connectors do not know one another: each is a folder of its own.
    return "/".join(parts[:2]) if parts[0] == "connectors" else parts[0]


def check_layers(problems):
    for path in sorted(SRC.rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        name = path.relative_to(SRC).as_posix()
        folder = owner(name)
        if folder is None:
            problems.append(f"src/{name}: its folder has no layer; give it one in {__file__}")
            continue
        for target in includes(path):
            if not (SRC / target).exists() and not target.startswith("proto/"):
                continue
            same = in_folder(target, folder) or (folder != "connectors" and
                                                 top_of(target) == folder)
            if folder == "connectors":
                same = top_of(target) == top_of(name)
            allowed = same or any(in_folder(target, other) for other in ALLOWED[folder])
            for holder, banned in FORBIDDEN.items():
                if in_folder(name, holder) and any(in_folder(target, b) for b in banned):
                    allowed = False
            if not allowed:
                problems.append(f"src/{name}: {folder} must not include {target}")


def public_headers():
    """Headers reachable from the public roots, each with the header that included it first."""
    found = {}
    queue = [(path.relative_to(SRC).as_posix(), None)
             for pattern in PUBLIC_ROOTS for path in sorted(SRC.glob(pattern))]
    queue = [(name, by) for name, by in queue if not PRIVATE.search(name)]
    while queue:
        name, by = queue.pop()
        if name in found:
            continue
        found[name] = by
        queue += [(target, name) for target in includes(SRC / name) if (SRC / target).exists()]
    return found


def check_public(problems):
    for name, by in sorted(public_headers().items()):
        for target in includes(SRC / name):
            if THIRD_PARTY.match(target):
                via = f" (public because {by} includes it)" if by else ""
                problems.append(f"src/{name}: a public header{via} must not include <{target}>")


def main():
    if sys.argv[1:] == ["--public"]:
        print("\n".join(sorted(public_headers())))
        return 0
    if len(sys.argv) == 3 and sys.argv[1] == "--install":
        for name in public_headers():
            target = pathlib.Path(sys.argv[2]) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SRC / name, target)
        return 0
    problems = []
    check_layers(problems)
    check_public(problems)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
