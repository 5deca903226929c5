#!/usr/bin/env python3
"""Runs the benchmarks one after the other and prints one table: what `make bench` calls.

    bench/run.py [REGEX] [--build DIR] [--all] [--table] [-- ARGUMENTS OF THE BENCHMARKS]

A benchmark is a program build/release/bench/*_bench or a script bench/*_bench.py; REGEX chooses some
by name. Results are kept in build/release/bench/results.jsonl until they are measured again; the table
shows what this run measured, or with --table, which runs nothing, all that is kept. Rows without a
bound are left out unless --all is given. Ends with 1 if a benchmark failed or missed what it must
reach.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import report

ROOT = pathlib.Path(__file__).resolve().parents[1]


def benchmarks(build):
    """Names and commands, fixed order."""
    found = {p.name: [p] for p in (build / "bench").glob("*_bench") if os.access(p, os.X_OK)}
    for script in (ROOT / "bench").glob("*_bench.py"):
        found[script.stem] = [sys.executable, script, "--build", build]
    return sorted(found.items())


def run(name, command, extra):
    """The results of one benchmark; what it prints for people is passed on as it comes."""
    print(f"== {name}", flush=True)
    results = []
    with subprocess.Popen([*map(str, command), "--json", *extra], stdout=subprocess.PIPE,
                          text=True) as process:
        for line in process.stdout:
            if line.startswith('{"bench"'):
                results.append(json.loads(line))
            else:
                print(line, end="", flush=True)
    if process.returncode != 0:
        print(f"{name} FAILED: it ended with {process.returncode}", flush=True)
    return results, process.returncode == 0


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return (f"{model.group(1) if model else 'a processor'}, {len(os.sched_getaffinity(0))} CPUs, "
            f"load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}")


def main():
    arguments = sys.argv[1:]
    extra = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, extra = arguments[:at], arguments[at + 1:]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("only", nargs="?", default="", metavar="REGEX")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--all", action="store_true", help="rows without a bound, too")
    parser.add_argument("--table", action="store_true", help="run nothing; show what is kept")
    options = parser.parse_args(arguments)

    kept_at = options.build / "bench" / "results.jsonl"
    kept = {}
    if kept_at.exists():
        for line in kept_at.read_text().splitlines():
            result = json.loads(line)
            kept[result["bench"], result["name"]] = result

    begun_on = machine()
    failed = []
    if options.table:
        shown = [r for r in kept.values() if re.search(options.only, r["bench"])]
    else:
        chosen = [b for b in benchmarks(options.build) if re.search(options.only, b[0])]
        if not chosen:
            names = ", ".join(name for name, _ in benchmarks(options.build))
            sys.exit(f"no benchmark matches '{options.only}'; there are: {names or 'none built'}")
        shown = []
        for name, command in chosen:
            results, good = run(name, command, extra)
            shown += results
            if not good:
                failed.append(name)
            for result in results:
                kept[result["bench"], result["name"]] = result | {"machine": begun_on}
            kept_at.write_text("".join(json.dumps(r) + "\n" for r in kept.values()))

    if not options.all:
        shown = [r for r in shown if "must" in r or "goal" in r]
    shown.sort(key=lambda r: r["bench"])
    print(f"\n{begun_on}")
    print("\n".join(report.table(shown)))
    for name in failed:
        print(f"FAILED: {name}")
    missed = [r for r in shown if report.reached(r, "must") is False]
    sys.exit(1 if failed or missed else 0)


if __name__ == "__main__":
    main()
