#!/usr/bin/env python3
"""Savepoints that an earlier build has taken of running jobs are resumed by this one, at another
parallelism and on both state backends, to the right answer. README.md says when to write new ones.

    restore_test.py [--write] WEIR TOTALS_JOB WINDOWS_JOB ROUTES_JOB
"""

import collections
import os
import pathlib
import shutil
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from answers import routes, windows  # noqa: E402  (needs the path above)
from cluster import Cluster, eventually  # noqa: E402

WRITE = sys.argv[1] == "--write"
WEIR, *JOBS = sys.argv[2:] if WRITE else sys.argv[1:]
LIBRARIES = dict(zip(("totals", "windows", "routes"), JOBS))
COUNT = 6_000
RATE = 2_000


def totals():
    """What totals_job gives, as `read` reads it."""
    lines = collections.Counter()
    for k in range(100):
        values = range(k, COUNT, 100)
        for n in range(1, len(values)):
            lines[f"agg k{k} {n}"] += 1
            lines[f"own k{k} {n}"] += 1
        fifths = len({i // 7 % 5 for i in values})
        quarters = sum(i // 7 % 4 == 0 for i in values)
        lines[f"agg k{k} {len(values)} {sum(values)}"] += 1
        lines[f"own k{k} {len(values)} {sum(values)} {fifths} {quarters}"] += 1
    return lines


def read(name, out):
    """The lines of a job, without what depends on the order in which subtasks were heard."""
    lines = out.read_text().splitlines() if out.exists() else []
    if name == "totals":
        words = [line.split() for line in lines]
        lines = [" ".join(w if int(w[2]) == COUNT // 100 else w[:3]) for w in words]
    return collections.Counter(lines)


ANSWERS = {"totals": totals, "windows": lambda: windows(COUNT),
           "routes": lambda: routes(COUNT, COUNT)}


class Restore(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(WEIR, "-t", "2", "-s", "2")
        cls.addClassCleanup(cls.cluster.__exit__, None)
        cls.cluster.__enter__()

    def stored(self, name):
        return HERE / "savepoints" / name

    def write(self, name):
        """Stopped in the middle, with the lines that it had written until then."""
        out = pathlib.Path(self.cluster.dir, f"{name}.lines")
        job = self.cluster.run("run", LIBRARIES[name], "-p", 2, "--detached", "--", "--count", COUNT,
                               "--out", out, "--rate", RATE).strip()
        eventually(lambda: int(self.cluster.json("describe", job).get("checkpoints_completed", 0))
                   >= 2 and read(name, out).total() > 0.3 * ANSWERS[name]().total(),
                   "it has checkpoints and results")
        savepoint = self.cluster.json("stop", job)["savepoint_path"]
        shutil.rmtree(self.stored(name), ignore_errors=True)
        shutil.copytree(savepoint, self.stored(name), ignore=shutil.ignore_patterns(".tmp"))

    def resume(self, name, backend):
        out = pathlib.Path(self.cluster.dir, f"{name}-{backend}.lines")
        self.cluster.run("run", LIBRARIES[name], "-p", 3, "--state-backend", backend,
                         "--from-savepoint", self.stored(name), "--", "--count", COUNT, "--out",
                         out)
        want, got = ANSWERS[name](), read(name, out)
        self.assertEqual(got - want, {}, "lines that no run gives")
        self.assertLess(got.total(), 0.9 * want.total(), "the savepoint holds nothing")
        # What it had not given yet: all of the last tenth.
        last = collections.Counter({line: n for line, n in want.items() if late(name, line)})
        self.assertGreater(last.total(), 20)
        self.assertEqual(last - got, {}, "lines are missing")


def late(name, line):
    """True of lines that stand for rows of the last tenth alone."""
    words = line.split()
    if name == "totals":
        return int(words[2]) > 0.9 * COUNT / 100
    if words[0] == "third":
        return int(words[1]) > 0.9 * 2 * COUNT
    return int(words[1 if words[0] == "all" else 2]) >= COUNT


for job_name in LIBRARIES:
    if WRITE:
        setattr(Restore, f"test_write_{job_name}",
                lambda self, name=job_name: self.write(name))
        continue
    for backend_name in ("memory", "rocksdb"):
        setattr(Restore, f"test_{job_name}_on_{backend_name}",
                lambda self, name=job_name, backend=backend_name: self.resume(name, backend))

if __name__ == "__main__":
    os.umask(0o022)
    unittest.main(argv=sys.argv[:1], verbosity=2)
