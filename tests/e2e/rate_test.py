#!/usr/bin/env python3
"""`weir rate`: a source's rate changes while the job runs, and outlives processes.

    rate_test.py WEIR BAD_JOB
"""

import math
import os
import signal
import sys
import unittest

from cluster import Cluster, eventually

WEIR, JOB = sys.argv[1:3]
STATES = ("busy", "back_pressured", "idle", "waiting_for_slot")


class Rate(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(WEIR, "-t", "2", "-s", "1")
        self.addCleanup(self.cluster.__exit__, None)
        self.cluster.__enter__()

    def describe(self):
        return self.cluster.json("describe", self.job)

    def source(self):
        return next(v for v in self.describe()["vertices"] if v["uid"] == "rows")

    def figures(self):
        """Rows read in the attempt, and the time for which all subtasks have run in it: they are
        told once a second."""
        metrics = [s.get("metrics", {}) for s in self.source()["subtasks"]]
        if not all(metrics):
            return 0, 0
        seconds = [sum(int(m.get(f"{state}_us", 0)) for state in STATES) / 1e6 for m in metrics]
        return sum(int(m.get("records_in", 0)) for m in metrics), sum(seconds) / len(seconds)

    def rows(self):
        return self.figures()[0]

    def checkpoint(self):
        return int(self.describe()["status"].get("last_checkpoint_id", 0))

    def per_second(self, over_s=1.5):
        rows, at = self.figures()
        more, then = eventually(lambda: self.figures_after(at + over_s), "new figures")
        return (more - rows) / (then - at)

    def figures_after(self, at):
        figures = self.figures()
        return figures if figures[1] >= at else None

    def set(self, rate):
        self.cluster.run("rate", self.job, "rows", rate)

    def more_checkpoints(self):
        before = self.checkpoint()
        eventually(lambda: self.checkpoint() >= before + 2, "barriers pass")

    def test_changes_while_the_job_runs_and_survives_restarts(self):
        self.job = self.cluster.run("run", JOB, "--detached", "-p", "2").strip()
        eventually(lambda: self.checkpoint() > 0 and self.rows() > 500, "it runs")
        self.assertEqual(self.source()["rate_per_second"], 1000)
        self.assertLess(self.per_second(over_s=4), 1300)  # it may have saved a second's worth

        self.set("20000")
        eventually(lambda: 15_000 < self.per_second() < 26_000, "twenty times as many rows")

        self.set("0")
        eventually(lambda: self.per_second() == 0, "it is paused")
        self.more_checkpoints()
        self.assertEqual(self.per_second(), 0)
        self.assertIn("reads at most 0 records per second", self.cluster.run("describe", self.job))

        for process in ("task manager", "job manager"):
            status = self.cluster.json("status")
            _, ran = self.figures()
            attempt = int(self.describe()["status"]["attempt"])
            task_managers = [int(tm["pid"]) for tm in status["task_managers"]]
            if process == "task manager":
                os.kill(task_managers[0], signal.SIGKILL)
            else:
                [job_manager] = set(self.cluster.pids()) - set(task_managers)
                os.kill(job_manager, signal.SIGKILL)
                ran = math.inf  # it has forgotten the old attempt's figures
            eventually(lambda: int(self.describe()["status"]["attempt"]) > attempt
                       and self.describe()["status"]["state"] == "RUNNING", "it runs again")
            self.more_checkpoints()
            eventually(lambda: 0 < self.figures()[1] < ran, "the new attempt's figures")
            self.assertEqual(self.rows(), 0, f"paused still after the death of a {process}")

        self.set("unlimited")
        eventually(lambda: self.rows() > 100_000, "as fast as it can")
        self.assertNotIn("rate_per_second", self.source())

    def test_what_cannot_be_is_refused(self):
        self.job = self.cluster.run("run", JOB, "--detached").strip()
        self.cluster.run("rate", self.job, "mapped", "10", code=2)
        self.assertIn("no source with the uid 'mapped'; its sources are 'rows'",
                      self.cluster.stderr)
        for rate in ("fast", "nan", "inf"):
            self.cluster.run("rate", self.job, "rows", rate, code=2)
        self.cluster.run("rate", "nobody", "rows", "10", code=4)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
