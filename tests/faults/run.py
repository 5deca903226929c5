#!/usr/bin/env python3
"""Runs scenarios of faults against real processes and judges the results from outside.

    run.py [--build build/dev] [--scenario NAME ...] [--seed N | --seeds 1-20] [--again]
    run.py --replay SCHEDULE.json
    run.py --quick           every planted bug, two seeds of the core rows; for `make test`
    run.py --quick --share 1/2     every other run of these: what the other half is, runs beside it
    run.py --planted         every planted bug

Without --seed each scenario runs with seeds 1 to 3; what has passed already is left out unless
--again. Each run has a directory below BUILD/faults with schedule.json, result.json and, unless it
passed, the logs. Exit code 0: all passed.
"""

import argparse
import datetime
import hashlib
import itertools
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import scenario as scenarios  # noqa: E402
from faults import KINDS  # noqa: E402
from results import Results  # noqa: E402
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
    # What fetches Kafka needs the network that the namespaces will not have.
    subprocess.run([HERE.parents[1] / "tools" / "kafka" / "fetch.sh"], check=True,
                   stdout=subprocess.DEVNULL)
    os.environ[ISOLATED] = "1"
    os.execvp("unshare", [*command, sys.executable, *sys.argv])


class Run:
    """One schedule, from start to verdict."""

    def __init__(self, build, schedule, directory):
        self.build, self.schedule, self.dir = build, schedule, directory
        self.begun = time.monotonic()
        self.faults, self.first_results, self.judge = [], [], None

    def log(self, text):
        print(f"  {time.monotonic() - self.begun:6.1f} s  {text}", flush=True)

    def execute(self):
        verdict, why = "inconclusive", "it did not begin"
        try:
            with World(self.build, self.schedule, self.dir, self.log) as world:
                try:
                    verdict, why = self.inside(world)
                except JobEnded as ended:
                    verdict, why = self.on_ended(str(ended))
                except (AssertionError, OSError, subprocess.SubprocessError) as error:
                    verdict, why = "fail", str(error)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            why = f"it could not begin: {error}"
        schedule = self.schedule
        return {"scenario": schedule["scenario"], "seed": schedule["seed"], "row": schedule["row"],
                "planted": schedule["planted"], "verdict": verdict, "why": why,
                "faults": self.faults, "landed": sum(f["landed"] for f in self.faults),
                "first_result_s": self.first_results, "judge": self.judge,
                "took_s": round(time.monotonic() - self.begun, 1),
                "date": datetime.date.today().isoformat()}

    def on_ended(self, reason):
        words = self.schedule["expect"].get("failed")
        if words and words in reason:
            return "pass", reason
        return "fail", f"the job ended: {reason}"

    def inside(self, world):
        self.log(f"{world.job_name} job, parallelism {self.schedule['job']['parallelism']}, "
                 f"{self.schedule['job']['backend']} backend")
        world.await_healthy((0, 0), "before the first fault", 60)
        for step in self.schedule["faults"]:
            time.sleep(step.get("after_s", 0))
            world.check()
            fault = KINDS[step["kind"]](world, self.aimed(world, step))
            begin = time.monotonic() - self.begun
            fault.begin()
            fault.hold()
            fault.end()
            entry = {"what": fault.describe(), "begin_s": round(begin, 2),
                     "end_s": round(time.monotonic() - self.begun, 2), "landed": fault.landed,
                     "evidence": fault.evidence}
            self.faults.append(entry)
            if self.schedule["pace"] == "healthy":
                self.recover(world, world.mark(), entry)
                fault.afterwards()
                entry["landed"] = fault.landed
            self.log(f"{entry['what']}: {entry['evidence']}" +
                     (f", first result after {entry['first_result_s']} s"
                      if "first_result_s" in entry else ""))
        if self.schedule["pace"] == "clock" and self.faults:
            self.recover(world, world.mark(), self.faults[-1])
        if self.schedule["expect"].get("failed"):
            time.sleep(1)
            world.check()
            return "fail", "the job should have failed, saying " + self.schedule["expect"]["failed"]
        world.check_neighbour()
        world.drain(60)
        world.stop_job()
        self.judge = world.verify()
        judged = {key: value for key, value in self.judge.items()
                  if value is not True and value not in (0, [])}
        examples = judged.pop("examples", [])[:2]
        self.log(f"judged: {json.dumps(judged)}")
        if not self.judge["ok"] and self.judge["judged"]:
            return "fail", "; ".join(examples) or json.dumps(judged)
        if not self.judge["judged"]:
            bad = sum(self.judge.get(name, 0) for name in ("lost", "duplicate", "wrong", "corrupt"))
            return "fail" if bad else "inconclusive", json.dumps(judged)
        missed = [entry["what"] for entry in self.faults if not entry["landed"]]
        if missed:
            return "inconclusive", f"took no effect: {', '.join(missed)}"
        return "pass", ""

    @staticmethod
    def aimed(world, step):
        """The step with "worker" and "other-worker" replaced by TaskManagers that have work."""
        dice = random.Random(step["seed"])
        step = dict(step)
        for key in ("target", "other", "kill"):
            if step.get(key) in ("worker", "other-worker"):
                fitting = [name for name in world.workers() if name != step.get("target")]
                if not fitting:
                    raise AssertionError(f"no {step[key]} for {step['kind']}: the job runs on "
                                         f"{world.workers()}")
                step[key] = dice.choice(fitting)
        if "link" in step:
            step["link"] = step["link"].replace("worker", step.get("target", "worker"))
        return step

    def recover(self, world, mark, entry):
        first, healthy = world.await_healthy(mark, entry["what"])
        entry["healthy_s"] = round(healthy, 2)
        entry["first_result_s"] = round(first, 2)
        self.first_results.append(entry["first_result_s"])


def run_one(build, schedule, keep):
    directory = keep / f"{schedule['scenario']}-{schedule['seed']}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "schedule.json").write_text(json.dumps(schedule, indent=1))
    print(f"{schedule['scenario']}, seed {schedule['seed']}: {schedule['row']}", flush=True)
    temp = pathlib.Path(tempfile.mkdtemp(prefix="weir_faults_"))
    try:
        result = Run(build, schedule, temp).execute()
        if result["verdict"] != "pass":
            for source in (temp / "weir" / "logs", temp / "broker" / "server.log"):
                if source.is_dir():
                    shutil.copytree(source, directory / "logs")
                elif source.exists():
                    shutil.copy(source, directory)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    (directory / "result.json").write_text(json.dumps(result, indent=1))
    print(f"  {result['verdict']} in {result['took_s']} s" +
          (f": {result['why']}" if result["why"] else ""), flush=True)
    return result


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
        yield json.loads(options.replay.read_text()), False
        return
    if options.quick or options.planted:
        for name in planted_runs():
            yield scenarios.schedule(scenarios.load(name), 1), True
        if options.planted:
            return
    names = options.scenario or [name for name in scenarios.names() if name not in planted_runs()]
    for name in names:
        loaded = scenarios.load(name)
        seeds = loaded["quick"] if options.quick else seeds_of(options.seeds)
        for seed in seeds:
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
    parser.add_argument("--seed", "--seeds", dest="seeds", default="1-3")
    parser.add_argument("--replay", type=pathlib.Path)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--share", type=share_of, default=(1, 1), metavar="K/N")
    options = parser.parse_args()
    options.build = options.build.resolve()
    isolate()
    keep = options.build / "faults"
    build = hashlib.sha256((options.build / "lib" / "libweir.so").read_bytes()).hexdigest()[:10]
    rows = {name: scenarios.load(name)["row"] for name in scenarios.names()}
    results = Results()
    passed, failed = 0, []
    first, every = options.share
    for schedule, wanted_fail in itertools.islice(chosen(options), first - 1, None, every):
        name, seed = schedule["scenario"], schedule["seed"]
        if not (options.again or options.quick or options.replay) and \
                results.passed(name, seed, build):
            continue
        result = run_one(options.build, schedule, keep)
        if wanted_fail and not schedule["expect"].get("failed"):
            # Caught means that the judge saw it in the output, not that the run got stuck.
            words = schedule["expect"].get("seen")
            seen = words in result["why"] if words else \
                result["judge"] is not None and not result["judge"]["ok"]
            result["verdict"] = {"fail": "pass" if seen else "inconclusive", "pass": "fail"}.get(
                result["verdict"], result["verdict"])
        if wanted_fail:
            print(f"  the planted bug was {'caught' if result['verdict'] == 'pass' else 'MISSED'}",
                  flush=True)
        # The quick selection proves this build; the page is about what was run on purpose.
        if not (options.quick or options.replay):
            results.add(result, build)
            results.write(rows)
        if result["verdict"] == "pass":
            passed += 1
        else:
            failed.append(f"{name} seed {seed}: {result['verdict']}: {result['why']}")
    for line in failed:
        print(f"NOT PASSED: {line}")
    print(f"{passed} passed, {len(failed)} not passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
