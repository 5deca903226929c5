#!/usr/bin/env python3
"""A source with splits and a sink that publishes files, both a user's own (examples/meters): every
reading is in the files once, whatever is killed, however the parallelism changes, and whoever
begins twice from one savepoint.

    own_connectors_test.py WEIR METERS_JOB
"""

import collections
import os
import pathlib
import signal
import sys
import unittest

from cluster import OneCluster, eventually
from daemons import Daemons

OneCluster.WEIR, METERS = sys.argv[1:3]
COUNT = 5_000
RATE = 1_000  # of the 40,000 readings
WANT = collections.Counter({f"meter-{m},{n}": 1 for m in range(8) for n in range(COUNT)})


class Files:
    """What the test's jobs have published."""

    def make_out(self):
        self.out = pathlib.Path(self.cluster.dir, self.id().rsplit(".")[-1])
        self.out.mkdir()

    def rows(self):
        return collections.Counter(line for file in self.out.glob("*.csv")
                                   for line in file.read_text().splitlines())

    def arguments(self, *more):
        return ("--", "--count", COUNT, "--out", self.out, *more)

    def check(self, want=WANT):
        rows = self.rows()
        self.assertEqual((len(want - rows), len(rows - want)), (0, 0), "readings lost, and doubled")


class OwnConnectors(Files, OneCluster):
    OPTIONS = ("-t", "2", "-s", "3")

    def setUp(self):
        self.make_out()

    def test_every_reading_once_through_kills_and_a_change_of_parallelism(self):
        job = self.start(METERS, "-p", 2, *self.arguments("--rate", RATE))
        for kill in range(2):
            before = len(self.rows())
            self.cluster.run("rate", job, "meters", RATE)
            eventually(lambda: len(self.rows()) > before + RATE, "files appear")
            attempt = int(self.describe(job)["status"]["attempt"])
            victim = self.cluster.task_managers()[f"tm-{kill + 1}"]["pid"]
            os.kill(int(victim), signal.SIGKILL)
            eventually(lambda: int(self.describe(job)["status"]["attempt"]) > attempt,
                       "the job restarts")
            eventually(lambda: self.state(job) == "RUNNING", "it runs")
            # However slow the machine, it is not to end before it is stopped.
            self.cluster.run("rate", job, "meters", 0)
        savepoint = self.cluster.json("stop", job)["savepoint_path"]
        between = self.rows()
        self.assertLess(len(between), len(WANT), "it was not stopped in the middle")
        self.assertFalse(between - WANT)
        self.cluster.run("run", METERS, "-p", 3, "--from-savepoint", savepoint, *self.arguments())
        self.check()

    def test_straight(self):
        self.cluster.run("run", METERS, *self.arguments())
        self.check()

    def test_epochs_of_megabytes_travel_in_checkpoints(self):
        # One subtask with all readings, as fast as they are taken.
        self.cluster.run("run", METERS, "-p", 1, "--", "--out", self.out)
        self.check(collections.Counter(
            {f"meter-{m},{n}": 1 for m in range(8) for n in range(100_000)}))
        largest = max(file.stat().st_size for file in self.out.glob("*.csv"))
        self.assertGreater(largest, 1 << 20, "no epoch was larger than what travels in messages")


class SecondStart(Files, unittest.TestCase):
    """The sink cannot tell that an older savepoint was begun from: the JobManager does, and the next
    one, too."""

    def setUp(self):
        self.cluster = Daemons(OneCluster.WEIR, task_managers=1, slots=3)
        self.addCleanup(self.cluster.__exit__, None)
        self.cluster.__enter__()
        self.make_out()

    def kill_jobmanager(self):
        self.cluster.kill("jobmanager")
        self.cluster.start("jobmanager")
        eventually(self.cluster.ready_now, "the JobManager is back")

    def refused(self, savepoint, *words):
        before = self.rows()
        self.cluster.run("run", METERS, "--from-savepoint", savepoint, *self.arguments(), code=1)
        for word in ("sink 'files' (uid 'files')", str(savepoint), *words):
            self.assertIn(word, self.cluster.stderr.replace("\n", " "))
        self.assertFalse(before - self.rows())

    def test_what_is_published_past_is_refused_and_the_newest_point_is_not(self):
        first = self.cluster.run("run", METERS, "--detached", *self.arguments("--rate", RATE)).strip()
        eventually(self.rows, "files appear")
        old = self.cluster.json("savepoint", first)["savepoint_path"]
        known = len(self.rows())
        eventually(lambda: len(self.rows()) > known + RATE, "more is published")
        self.kill_jobmanager()
        self.refused(old, f"job {first}", "has not ended", f"weir stop {first}")
        eventually(lambda: self.cluster.json("describe", first)["status"]["state"] == "RUNNING",
                   "the job runs again")
        newest = self.cluster.json("stop", first)
        self.kill_jobmanager()
        self.refused(old, f"job {first}", f"published up to checkpoint {newest['checkpoint_id']}",
                     "--new-lineage")
        self.cluster.run("run", METERS, "--from-savepoint", newest["savepoint_path"],
                         *self.arguments())
        self.check()
        self.refused(newest["savepoint_path"], "published up to checkpoint")
        self.check()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
