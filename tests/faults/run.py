#!/usr/bin/env python3
"""Runs scenarios of faults against real processes and judges the results from outside.

    run.py [--build build/dev] [--scenario NAME ...] [--seed N | --seeds 1-20] [--beside 2]
           [--again | --missing] [--for MINUTES]
    run.py --replay SCHEDULE.json
    run.py --quick           every planted bug, two seeds of the core rows; for `make test`
    run.py --quick --share 1/2     every other run of these: what the other half is, runs beside it
    run.py --planted         every planted bug

Without --seed each scenario runs with the seeds that it asks for; what has passed already with this
build is left out unless --again, with --missing what has passed with any. The first seed of every
scenario comes before the second of any. --beside: so many runs at once, each in namespaces of its
own; --for: none begins later than that. Each run has a directory below BUILD/faults with
schedule.json, result.json and, unless it passed, the logs. Exit code 0: all passed.
"""

import argparse
import concurrent.futures
import copy
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import cycles  # noqa: E402
import scenario as scenarios  # noqa: E402
from cluster import eventually  # noqa: E402
from daemons import spawn  # noqa: E402
from figures_of import FiguresOf  # noqa: E402
from results import Results, result_of  # noqa: E402
from soak import KINDS  # noqa: E402
from verdict import of_planted, verdict  # noqa: E402
from world import JobEnded, World  # noqa: E402

ISOLATED = "WEIR_FAULTS_ISOLATED"


def isolate():
    """Starts this program again in namespaces of its own: processes end with it, whatever happens,
    and networks, ports and mounts are ours alone."""
    if os.environ.get(ISOLATED):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    command = ["unshare", "--fork", "--pid", "--mount-proc", "--net", "--mount", "--kill-child"]
    if os.geteuid() != 0:
        command.append("--map-root-user")
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        raise SystemExit("run.py: this machine does not let us make namespaces (unshare)")
    os.environ[ISOLATED] = "1"
    os.execvp("unshare", [*command, sys.executable, *sys.argv])


class Run:
    """One schedule, from start to verdict."""

    def __init__(self, build, schedule, directory):
        self.build, self.schedule, self.dir = build, schedule, directory
        self.begun = time.monotonic()
        self.faults, self.first_results, self.figures, self.judge = [], [], {}, None

    def log(self, text):
        print(f"  {time.monotonic() - self.begun:6.1f} s  {text}", flush=True)

    def execute(self):
        ended, why = "inconclusive", "it did not begin"
        try:
            # What a fault changes of the job is not what a replay begins with.
            with World(self.build, copy.deepcopy(self.schedule), self.dir, self.log) as world:
                try:
                    ended, why = self.inside(world)
                except JobEnded as over:
                    ended, why = self.on_ended(str(over))
                except (AssertionError, OSError, subprocess.SubprocessError) as error:
                    ended, why = "fail", str(error)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            ended, why = "inconclusive", f"it could not begin or end: {error}; {why}"
        return result_of(self.schedule, ended, why, self.faults, first_result_s=self.first_results,
                         figures=self.figures, judge=self.judge,
                         took_s=round(time.monotonic() - self.begun, 1))

    def on_ended(self, reason):
        words = self.schedule["expect"].get("failed")
        if words and words in reason:
            return "pass", reason
        return "fail", f"the job ended: {reason}"

    def inside(self, world):
        self.log(f"{world.job_name} job, parallelism {self.schedule['job']['parallelism']}, "
                 f"{self.schedule['job']['backend']} backend")
        world.await_healthy((0, 0), "before the first fault", 60)
        for step in self.steps():
            time.sleep(step.get("after_s", 0))
            details = world.check()
            attempt = details["status"]["attempt"] if details else 0
            self.schedule["faults"].append(aimed := world.aimed(step))
            fault = KINDS[step["kind"]](world, aimed)
            begin, mark = time.monotonic() - self.begun, world.mark()
            fault.begin()
            fault.hold()
            # Only then: without a JobManager it takes its time.
            now = world.mark() if self.schedule["expect"].get("progress") else mark
            fault.end()
            entry = {"what": fault.describe(), "begin_s": round(begin, 2),
                     "end_s": round(time.monotonic() - self.begun, 2), "landed": fault.landed,
                     "meanwhile": [now[1] - mark[1], now[0] - mark[0]], "evidence": fault.evidence}
            self.faults.append(entry)
            for name, value in fault.figures.items():
                self.figures.setdefault(name, []).append(value)
            if self.schedule["pace"] == "healthy":
                self.recover(world, world.mark(), entry)
                fault.afterwards()
                entry |= {"landed": fault.landed, "evidence": fault.evidence,
                          "attempts": [attempt, world.attempt()]}
            self.log(f"{entry['what']}: {entry['evidence']}" +
                     (f", first result after {entry['first_result_s']} s"
                      if "first_result_s" in entry else ""))
        if self.schedule["pace"] == "clock" and self.faults:
            self.recover(world, world.mark(), self.faults[-1])
        if self.schedule["expect"].get("failed"):
            # world.check() raises when the job has ended, and on_ended() sees what it says.
            eventually(lambda: world.check() and False, "the job fails, saying " +
                       self.schedule["expect"]["failed"], self.schedule["limits"]["healthy_s"])
        world.check_neighbour()
        world.drain(60)
        world.stop_job()
        self.judge = world.verify()
        self.log(f"judged: {json.dumps(told(self.judge))}; {world.restores} restarts, each from the "
                 "newest checkpoint")
        return verdict(self.schedule, self.judge, self.faults, self.figures)

    def steps(self):
        """The rounds that are wanted, and more while the phase of faults is short. Of the schedule is
        left what was gone through, and whom it hit: a replay does the same."""
        begun, planned = time.monotonic(), self.schedule["faults"]
        self.schedule["faults"] = []
        yield from planned
        for cycle in self.schedule.pop("cycles", []):
            yield from cycles.of_cycle(cycle)
        for steps in self.schedule.pop("more", []):
            if time.monotonic() - begun >= self.schedule["phase_s"]:
                return
            yield from steps

    def recover(self, world, mark, entry):
        first, healthy = world.await_healthy(mark, entry["what"])
        entry["healthy_s"] = round(healthy, 2)
        entry["first_result_s"] = round(first, 2)
        self.first_results.append(entry["first_result_s"])


def told(judge):
    return {key: value for key, value in judge.items()
            if key != "examples" and value is not True and value not in (0, [])}


def run_here(build, directory):
    """The run of schedule.json in the directory, in namespaces of its own; leaves result.json."""
    isolate()
    schedule = json.loads((directory / "schedule.json").read_text())
    print(f"{schedule['scenario']}, seed {schedule['seed']}: {schedule['row']}", flush=True)
    if not schedule["build"]:
        # A broker that lives for a minute is not worth the second compiler: a fifth of the CPU time.
        os.environ.setdefault("WEIR_KAFKA_JVM", "-XX:TieredStopAtLevel=1")
    temp = pathlib.Path(tempfile.mkdtemp(prefix="weir_faults_"))
    try:
        run = FiguresOf if schedule.get("program") else Run
        result = run(build, schedule, temp).execute()
        if result["verdict"] != "pass":
            for source in (temp / "weir" / "logs", temp / "broker" / "server.log"):
                if source.is_dir():
                    shutil.copytree(source, directory / "logs")
                elif source.exists():
                    shutil.copy(source, directory)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    for key in ("more", "cycles"):
        schedule.pop(key, None)
    (directory / "schedule.json").write_text(json.dumps(schedule, indent=1))
    (directory / "result.json").write_text(json.dumps(result, indent=1))
    print(f"  {result['verdict']} in {result['took_s']} s" +
          (f": {result['why']}" if result["why"] else ""), flush=True)


class Runner:
    """Runs one after another, or several beside each other, each as a process of its own."""

    def __init__(self, options):
        self.options = options
        self.results = Results()
        self.build = digest(options.build)
        self.commit = commit()
        self.scenarios = {name: scenarios.load(name) for name in scenarios.names()}
        self.lock = threading.Lock()  # guards the results and what is printed
        self.passed, self.failed = 0, []
        self.beside = 1
        self.until = time.monotonic() + 60 * options.minutes if options.minutes else None

    def is_done(self, schedule):
        options, name, seed = self.options, schedule["scenario"], schedule["seed"]
        if options.again or options.quick or options.replay:
            return False
        return self.results.passed(name, seed, None if options.missing else self.build)

    def all(self, runs):
        runs = [run for run in runs if not self.is_done(run[0])]
        if not (self.options.quick or self.options.replay):
            # What is longest comes first among equals, so that nothing long is left for the end.
            runs.sort(key=lambda run: (run[0]["seed"],
                                       -self.results.took_s(run[0]["scenario"])))
        self.beside = max(1, min(self.options.beside, len(runs)))
        for run in runs:
            if run[0].get("alone"):
                self.one(*run)
        with concurrent.futures.ThreadPoolExecutor(self.beside) as pool:
            for _ in pool.map(lambda run: self.one(*run),
                              (run for run in runs if not run[0].get("alone"))):
                pass
        for line in self.failed:
            print(f"NOT PASSED: {line}")
        print(f"{self.passed} passed, {len(self.failed)} not passed")
        return 1 if self.failed else 0

    def one(self, schedule, wanted_fail):
        if self.until and time.monotonic() > self.until:
            return
        directory = self.options.build / "faults" / f"{schedule['scenario']}-{schedule['seed']}"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (directory / "schedule.json").write_text(json.dumps(schedule, indent=1))
        quiet = self.beside > 1
        build = self.options.build
        if schedule.get("build"):
            build = build.with_name(schedule["build"])
        child = spawn([sys.executable, HERE / "run.py", "--build", build, "--in", directory],
                      stdout=subprocess.PIPE if quiet else None,
                      stderr=subprocess.STDOUT if quiet else None)
        said = (child.communicate()[0] or b"").decode(errors="replace")
        path = directory / "result.json"
        with self.lock:
            print(said, end="", flush=True)
            passed = self.take(json.loads(path.read_text()) if path.exists() else
                               result_of(schedule, "inconclusive",
                                         f"run.py ended with {child.returncode}"),
                               schedule, wanted_fail)
        if not passed:
            keep_failed(directory)

    def take(self, result, schedule, wanted_fail):
        name, seed = schedule["scenario"], schedule["seed"]
        if wanted_fail:
            result["verdict"] = of_planted(schedule["expect"], result)
        if wanted_fail:
            print(f"  the planted bug was {'caught' if result['verdict'] == 'pass' else 'MISSED'}",
                  flush=True)
        # The quick selection proves this build; the page is about what was run on purpose.
        if not (self.options.quick or self.options.replay):
            with open(HERE / "results.py", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.results = Results()  # another run.py may have written
                self.results.add(result, self.build, self.commit)
                self.results.write(self.scenarios)
        if result["verdict"] == "pass":
            self.passed += 1
        else:
            self.failed.append(f"{name} seed {seed}: {result['verdict']}: {result['why']}")
        return result["verdict"] == "pass"


def digest(build):
    """Of what is tested and of what tests it: with another engine, judge or fault a pass says little."""
    whole = hashlib.sha256((build / "lib" / "libweir.so").read_bytes())
    for path in sorted(path for path in HERE.rglob("*")
                       if path.suffix in (".py", ".toml", ".cc", ".h")):
        whole.update(path.read_bytes())
    for program in (scenarios.load(name)["program"] for name in scenarios.names()):
        if program:
            whole.update((HERE.parents[1] / program[0]).read_bytes())
    return whole.hexdigest()[:10]


def keep_failed(directory):
    """The next run of the same scenario and seed takes its directory, and a failure that comes once
    in many runs is not seen again soon."""
    kept = directory.with_name(directory.name + ".failed")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(directory, kept)


def commit():
    """The newest commit of what is tested, and its sources; "+" when the files differ from it."""
    page = ":!tests/faults/RESULTS.md"

    def git(*words):
        done = subprocess.run(["git", "-C", HERE.parents[1], *words, "--", "src", "tests", page],
                              capture_output=True, text=True, check=False)
        return done.stdout.strip()
    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    tree = subprocess.run(["git", "-C", HERE.parents[1], "rev-parse", "--short=10", "HEAD:src"],
                          capture_output=True, text=True, check=False).stdout.strip()
    return {"commit": git("log", "-1", "--format=%h", "--abbrev=10") + changed,
            "src": tree + changed}


def planted_runs():
    """Scenarios with names "planted-*": the verdict that is wanted is `fail`."""
    return [name for name in scenarios.names() if name.startswith("planted-")]


def seeds_of(text):
    seeds = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        seeds += range(int(low), int(high or low) + 1)
    return seeds


def chosen(options):
    """(schedule, whether a failure is what is wanted) for each run."""
    if options.replay:
        replayed = json.loads(options.replay.read_text())
        yield replayed, bool(replayed["planted"])
        return
    if options.quick or options.planted:
        for name in planted_runs():
            yield scenarios.schedule(scenarios.load(name), 1), True
        if options.planted:
            return
    names = options.scenario or [name for name in scenarios.names()
                                 if not (options.quick and name in planted_runs())]
    for name in names:
        loaded = scenarios.load(name)
        if options.quick:
            for seed in loaded["quick"]:
                yield scenarios.schedule(scenarios.one_fault_of(loaded, seed), seed), False
            continue
        for seed in seeds_of(options.seeds or f"1-{loaded['seeds']}"):
            yield scenarios.schedule(loaded, seed), bool(loaded["planted"])


def share_of(text):
    """ "2/3" is every third run, from the second on."""
    try:
        first, every = map(int, text.split("/"))
    except ValueError:
        first = every = 0
    if not 1 <= first <= every:
        raise argparse.ArgumentTypeError(f"'{text}' is no share such as 1/2")
    return first, every


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build" / "dev")
    parser.add_argument("--scenario", action="append")
    parser.add_argument("--seed", "--seeds", dest="seeds")
    parser.add_argument("--replay", type=pathlib.Path)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--share", type=share_of, default=(1, 1), metavar="K/N")
    parser.add_argument("--beside", type=int, default=1)
    parser.add_argument("--for", type=float, dest="minutes", metavar="MINUTES")
    parser.add_argument("--in", type=pathlib.Path, dest="here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.build = options.build.resolve()
    if options.here:
        return run_here(options.build, options.here)
    # What fetches Kafka needs the network that the namespaces will not have.
    subprocess.run([HERE.parents[1] / "tools" / "kafka" / "fetch.sh"], check=True,
                   stdout=subprocess.DEVNULL)
    first, every = options.share
    return Runner(options).all(list(chosen(options))[first - 1::every])


if __name__ == "__main__":
    sys.exit(main())
