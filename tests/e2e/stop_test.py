#!/usr/bin/env python3
"""`weir stop`, with and without `--drain`.

Without: no window or timer fires that the data did not fire, and from the savepoint the job goes on
as if it had never stopped. With: the last watermark fires everything, as at the end of the data.

    stop_test.py WEIR WINDOWS_JOB ROUTES_JOB
"""

import collections
import pathlib
import sys
import unittest

from answers import routes, windows
from cluster import OneCluster, eventually

OneCluster.WEIR, WINDOWS, ROUTES = sys.argv[1:4]
COUNT = 120_000
RATE = 5_000


class Stop(OneCluster):
    OPTIONS = ("-t", "2", "-s", "2")

    def setUp(self):
        self.out = pathlib.Path(self.cluster.dir, self.id().rsplit(".")[-1] + ".lines")

    def lines(self):
        return self.out.read_text().splitlines() if self.out.exists() else []

    def under_way(self, library, backend, parallelism):
        job = self.start(library, "-p", parallelism, "--state-backend", backend, "--", "--count",
                         COUNT, "--rate", RATE, "--out", self.out)
        eventually(lambda: len(self.lines()) >= 500, "there are results")
        return job

    def ended(self, job):
        """The rows that each source gave, as `describe` tells of the ended job."""
        details = self.describe(job)
        self.assertEqual(details["status"]["state"], "FINISHED")
        return {v["name"]: sum(int(s["metrics"].get("records_in", 0)) for s in v["subtasks"])
                for v in details["vertices"]}

    def drained_windows(self, backend, parallelism):
        job = self.under_way(WINDOWS, backend, parallelism)
        stopped = self.cluster.json("stop", job, "--drain")
        got = collections.Counter(self.lines())
        rows = sum(int(line.split()[2]) for line in got if line.startswith("all "))
        self.assertLess(rows, COUNT, "it was not stopped in the middle")
        if parallelism == 1:
            self.assertEqual(got, windows(rows))
        else:
            # Each of the source's subtasks has a share of the rows, and each got somewhere else in
            # its own; every row is in one tumbling window and in six sliding ones.
            tumbled = sum(int(line.split()[3]) for line in got if line.startswith("tumbling "))
            slid = sum(int(line.split()[3]) for line in got if line.startswith("sliding "))
            self.assertEqual((tumbled, slid), (rows, 6 * rows))
        self.assertTrue(pathlib.Path(stopped["savepoint_path"]).is_dir())
        # What `describe` tells of the ended job is what it came to in the end.
        self.assertIn(rows, self.ended(job).values())

    def test_drain_fires_windows_on_memory(self):
        self.drained_windows("memory", 1)

    def test_drain_fires_windows_on_rocksdb(self):
        self.drained_windows("rocksdb", 2)

    def test_going_on_from_a_drained_savepoint_is_warned_of_and_counts_every_row_once(self):
        job = self.under_way(WINDOWS, "memory", 1)
        savepoint = self.cluster.json("stop", job, "--drain")["savepoint_path"]
        before = len(self.lines())
        self.cluster.run("run", WINDOWS, "-p", 1, "--from-savepoint", savepoint, "--", "--count",
                         COUNT, "--out", self.out)
        self.assertIn("stop --drain", self.cluster.stderr)
        lines = self.lines()
        self.assertGreater(len(lines), before)
        # The windows that were open have two results; each row is in one of them.
        count = {kind: sum(int(line.split()[at]) for line in lines if line.startswith(kind))
                 for kind, at in (("tumbling", 3), ("sliding", 3), ("all", 2))}
        self.assertEqual(count, {"tumbling": COUNT, "sliding": 6 * COUNT, "all": COUNT})

    def test_drain_fires_timers(self):
        job = self.under_way(ROUTES, "memory", 1)
        self.cluster.run("stop", job, "--drain")
        got = collections.Counter(self.lines())
        # How far either source came shows within three rows from the multiples of three.
        thirds = [int(line.split()[1]) for line in got if line.startswith("third ")]
        evens = max(v for v in thirds if v % 2 == 0) // 2 + 1
        odds = max(v for v in thirds if v % 2) // 2 + 1
        self.assertLess(max(evens, odds), COUNT, "it was not stopped in the middle")
        self.assertIn(got, [routes(evens + i, odds + j) for i in range(3) for j in range(3)])

    def test_a_stop_fires_nothing_and_the_job_goes_on_exactly(self):
        job = self.under_way(WINDOWS, "rocksdb", 2)
        savepoint = self.cluster.json("stop", job)["savepoint_path"]
        before, want = collections.Counter(self.lines()), windows(COUNT)
        self.assertLess(sum(before.values()), sum(want.values()), "it was not stopped in the middle")
        # A window that fired early would give a line that is not among those of all the data.
        self.assertEqual(before - want, collections.Counter())
        self.cluster.run("run", WINDOWS, "-p", 1, "--from-savepoint", savepoint, "--", "--count",
                         COUNT, "--out", self.out)
        self.assertNotIn("drain", self.cluster.stderr)
        self.assertEqual(collections.Counter(self.lines()), want)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
