#!/usr/bin/env python3
"""What fails behind the checkpoint of `weir stop --drain`: no window has a second result, and the job
ends.

    stop_failure_test.py WEIR WINDOWS_JOB
"""

import collections
import pathlib
import subprocess
import sys
import unittest

from answers import windows
from cluster import eventually
from daemons import Daemons

WEIR, JOB = sys.argv[1:3]


class FailureAtAStop(unittest.TestCase):
    def cluster_with(self, failpoint):
        """One whose JobManager meets that; and a job that is under way on it."""
        cluster = Daemons(WEIR, task_managers=1, slots=4)
        cluster.__enter__()
        self.addCleanup(cluster.__exit__, None)
        cluster.kill("jobmanager")
        cluster.start("jobmanager", env={"WEIR_FAILPOINTS": failpoint})
        eventually(cluster.ready_now, "the JobManager is back")
        self.cluster, self.out = cluster, pathlib.Path(cluster.dir, "lines")
        self.job = cluster.run("run", JOB, "--detached", "-p", 1, "--", "--count", 10_000_000,
                               "--rate", 5_000, "--out", self.out).strip()
        eventually(lambda: self.out.exists() and len(self.out.read_text().splitlines()) >= 500,
                   "there are results")

    def stopping(self):
        self.savepoints = pathlib.Path(self.cluster.dir, "savepoints")
        return subprocess.Popen([WEIR, "stop", self.job, "--drain", "--directory", self.savepoints],
                                env=self.cluster.env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def state(self):
        try:
            return self.cluster.json("describe", self.job)["status"]["state"]
        except AssertionError:
            return None

    def ends(self, state):
        eventually(lambda: self.state() in ("FINISHED", "FAILED", "CANCELED"), "the job ends")
        self.assertEqual(self.state(), state)
        got = collections.Counter(self.out.read_text().splitlines())
        rows = sum(int(line.split()[2]) for line in got if line.startswith("all "))
        self.assertEqual(got, windows(rows), "each window has one result")

    def test_a_savepoint_that_cannot_be_written(self):
        self.cluster_with("jobmanager.before_export=error")
        _, said = self.stopping().communicate(timeout=60)
        self.assertIn("--from-savepoint", said)
        self.ends("FAILED")

    def test_a_jobmanager_that_dies_while_it_exports(self):
        self.cluster_with("savepoint.before_commit=crash")
        stop = self.stopping()
        self.assertEqual(self.cluster.processes["jobmanager"].wait(60), -9)
        self.cluster.start("jobmanager")
        said, _ = stop.communicate(timeout=60)
        self.assertEqual(stop.returncode, 0, said)
        self.ends("FINISHED")
        savepoint, = self.savepoints.iterdir()
        self.assertFalse((savepoint / "exporting").exists())

    def test_a_taskmanager_that_dies_while_the_savepoint_is_exported(self):
        self.cluster_with("savepoint.before_commit=sleep:2000")
        stop = self.stopping()
        eventually(lambda: list(self.savepoints.glob("*/exporting")), "it is exported")
        self.cluster.kill("tm-1")
        self.cluster.start("tm-1")
        said, _ = stop.communicate(timeout=60)
        self.assertEqual(stop.returncode, 0, said)
        self.ends("FINISHED")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
