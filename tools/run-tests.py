#!/usr/bin/env python3
"""Runs the tests of a build directory and ends with one plain line.

    tools/run-tests.py BUILD_DIR [--only unit|e2e|threads|long]

Unit tests first (they fail fast), then those that start processes (labels e2e, slow). Tests
labelled `long` are left to `make check`; `threads` are those that the thread sanitizer is for. The
results are CTest's own, read from its JUnit files, which stay in BUILD_DIR/test-results.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

CORES = len(os.sched_getaffinity(0))
# The tests that start processes wait more than they work: two for each core. Those with long rounds
# are given the machine they are written for.
PHASES = {
    "unit": [f"-j{CORES}", "-LE", "^(e2e|slow|long)$"],
    "e2e": [f"-j{2 * CORES}", "-L", "^(e2e|slow)$", "-LE", "^long$"],
    "threads": [f"-j{CORES}", "-L", "^threads$"],
    "long": [f"-j{CORES}", "-L", "^long$"],
}


def run_phase(build, phase, results):
    """Returns (passed, failed, skipped) as lists of test names."""
    junit = results / f"{phase}.xml"
    junit.unlink(missing_ok=True)
    code = subprocess.run(
        ["ctest", "--test-dir", str(build), "--output-on-failure", "--no-tests=ignore",
         "--output-junit", str(junit.resolve()), *PHASES[phase]]).returncode
    if not junit.exists():
        return [], [f"ctest ({phase}) ended with code {code} and left no results"], []
    passed, failed, skipped = [], [], []
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        name = case.get("name")
        if case.find("failure") is not None or case.get("status") == "fail":
            failed.append(name)
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            skipped.append(name)
        else:
            passed.append(name)
    if code != 0 and not failed:
        failed.append(f"ctest ({phase}) ended with code {code}")
    return passed, failed, skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--only", choices=PHASES, action="append")
    args = parser.parse_args()

    results = args.build / "test-results"
    results.mkdir(parents=True, exist_ok=True)
    passed, failed, skipped = [], [], []
    for phase in args.only or ["unit", "e2e"]:
        for total, part in zip((passed, failed, skipped), run_phase(args.build, phase, results)):
            total.extend(part)

    print()
    for name in skipped:
        print(f"skipped: {name}")
    for name in failed:
        print(f"FAILED: {name}")
    print(f"{len(passed)} passed, {len(failed)} failed"
          + (f", {len(skipped)} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
