#!/usr/bin/env python3
"""Jobs give the answer that Python works out: run straight; and run at parallelism 2, stopped with
a savepoint in the middle, and resumed at parallelism 3; on both state backends.

    resume_test.py WEIR TOTALS_JOB WINDOWS_JOB ROUTES_JOB
"""

import collections
import pathlib
import sys
import time
import unittest

from answers import expected_totals, routes, totals, windows
from cluster import Cluster, eventually

WEIR = sys.argv[1]
LIBRARIES = dict(zip(("totals", "windows", "routes"), sys.argv[2:5]))
COUNT = 30_000
RATE = 10_000
ENDLESS = 10**12
BATCH = 1024  # by which a source may overstep its rate, once


# Per job: what it must give, how its lines are read, and how many lines show that it is under way.
JOBS = {
    "totals": (expected_totals, totals, 8000),
    "windows": (windows, lambda lines, _: collections.Counter(lines), 600),
    "routes": (lambda n: routes(n, n), lambda lines, _: collections.Counter(lines), 3000),
}


class Resume(unittest.TestCase):
    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(WEIR, "-t", "2", "-s", "2")
        cls.addClassCleanup(cls.cluster.__exit__, None)
        cls.cluster.__enter__()

    def setUp(self):
        self.out = pathlib.Path(self.cluster.dir, self.id().rsplit(".")[-1] + ".lines")

    def lines(self):
        return self.out.read_text().splitlines() if self.out.exists() else []

    def check(self, name, count):
        expected, read, _ = JOBS[name]
        want, got = expected(count), read(self.lines(), count)
        if want != got:
            wants, gots = want if isinstance(want, tuple) else (want,), (
                got if isinstance(got, tuple) else (got,))
            for w, g in zip(wants, gots):
                missing = [(k, v, g.get(k)) for k, v in w.items() if g.get(k) != v]
                extra = [(k, v) for k, v in g.items() if k not in w]
                print(f"{len(missing)} missing or other, for instance {missing[:5]}; "
                      f"{len(extra)} too many, for instance {extra[:5]}")
            self.fail(f"{name} gives another answer; see {self.out}")

    def run_job(self, name, backend, parallelism, count, *options, rate=None):
        arguments = ["--count", count, "--out", self.out]
        if rate:
            arguments += ["--rate", rate]
        return self.cluster.run("run", LIBRARIES[name], "-p", parallelism, "--state-backend",
                                backend, *options, "--", *arguments).strip()

    def straight(self, name, backend):
        self.run_job(name, backend, 1, COUNT)
        self.check(name, COUNT)

    def resumed(self, name, backend):
        # Without end, so that it cannot end before it is stopped, however slow this machine is now.
        began = time.monotonic()
        job = self.run_job(name, backend, 2, ENDLESS, "--detached", rate=RATE)

        def under_way():
            details = self.cluster.json("describe", job)
            self.assertIn(details["status"]["state"],
                          ("CREATED", "WAITING_FOR_SLOTS", "DEPLOYING", "RUNNING"), details)
            return (int(details.get("checkpoints_completed", 0)) >= 3 and
                    len(self.lines()) >= JOBS[name][2])

        eventually(under_way, f"{name} has checkpoints and results")
        savepoint = self.cluster.json("stop", job)["savepoint_path"]
        # More than it can have read at its rate.
        read = RATE * (time.monotonic() - began) + 4 * BATCH
        count = (int(read) // COUNT + 1) * COUNT
        before = self.lines()
        self.run_job(name, backend, 3, count, "--from-savepoint", savepoint)
        after = self.lines()
        self.assertGreater(len(after), len(before), "it was not stopped in the middle")
        self.check(name, count)


for job_name in JOBS:
    for backend_name in ("memory", "rocksdb"):
        for how in ("straight", "resumed"):
            def test(self, how=how, job=job_name, backend=backend_name):
                getattr(self, how)(job, backend)
            setattr(Resume, f"test_{job_name}_{how}_on_{backend_name}", test)

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[5:], verbosity=2)
