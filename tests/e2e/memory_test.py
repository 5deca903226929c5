#!/usr/bin/env python3
"""A TaskManager keeps to taskmanager.memory: state larger than it goes to RocksDB, and what cannot
go there ends the job by name instead of the process.

    memory_test.py WEIR GROWING_JOB
"""

import pathlib
import re
import sys
import unittest
import urllib.request

from cluster import Cluster, eventually

WEIR, JOB = sys.argv[1:3]
BUDGET = 256 << 20
MEMORY = ("--parallelism", "1", "--state-backend", "memory")
ROWS = 280_000  # of a kilobyte: more than the budget


class OneTaskManager:
    SLOTS = 1

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(WEIR, "-t", "1", "-s", str(cls.SLOTS),
                              "--set", "taskmanager.min-instances=1",
                              "--set", "taskmanager.max-instances=1",
                              "--set", "taskmanager.dedicated=false",
                              "--set", "taskmanager.memory=256mb")
        cls.addClassCleanup(cls.cluster.__exit__, None)
        cls.cluster.__enter__()
        cls.out = f"{cls.cluster.dir}/out"

    def task_manager(self):
        return eventually(lambda: list(self.cluster.task_managers().values()), "a TaskManager")[0]

    def metrics(self):
        port = self.task_manager()["metrics_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            return page.read().decode()


class Memory(OneTaskManager, unittest.TestCase):
    def test_state_larger_than_memory_stays_within_the_budget(self):
        pid = self.task_manager()["pid"]
        self.cluster.run("run", JOB, "--state-backend", "rocksdb", "--", "--count", ROWS,
                         "--out", self.out)
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) << 10
        self.assertLess(peak, 1.3 * BUDGET)

    def test_windows_that_do_not_fit_end_the_job_by_name(self):
        job = self.cluster.run("run", JOB, "--detached", "--state-backend", "rocksdb", "--",
                               "--windows", "1", "--count", 100 * ROWS, "--out", self.out).strip()
        eventually(lambda: self.cluster.json("describe", job)["status"]["state"] == "FAILED",
                   "the job fails", limit_s=200)
        said = self.cluster.run("describe", job)
        self.assertIn("windows and timers take", said)
        self.assertIn("counts", said)
        self.assertIn("raise taskmanager.memory", said)
        status = pathlib.Path(f"/proc/{self.task_manager()['pid']}/status").read_text()
        self.assertLess(int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) << 10, 1.3 * BUDGET)

    def test_the_plan_is_told(self):
        parts = re.findall(r'weir_memory_plan_bytes{part="(\w+)"} (\S+)', self.metrics())
        self.assertEqual({name for name, _ in parts},
                         {"process", "user", "network", "connectors", "snapshots", "rocksdb",
                          "tables"})
        self.assertEqual(sum(float(value) for _, value in parts), BUDGET)


class TwoJobs(OneTaskManager, unittest.TestCase):
    SLOTS = 2

    def test_a_second_job_takes_nothing_from_one_that_runs(self):
        # More than half of the 76 MiB that there are for state without RocksDB.
        keys = 45_000
        first = self.cluster.run("run", JOB, "--detached", *MEMORY, "--", "--keys", keys,
                                 "--out", self.out).strip()

        def held():
            figures = re.findall(r"^weir_task_state_memory_bytes{.*} (\S+)$", self.metrics(), re.M)
            return sum(map(float, figures))

        eventually(lambda: held() > 45 << 20, "the first has grown")
        self.cluster.run("run", JOB, *MEMORY, "--", "--count", 1000, "--out", self.out)
        # One that wants more than is free fails itself.
        greedy = self.cluster.run("run", JOB, "--detached", *MEMORY, "--", "--count", 100 * keys,
                                  "--out", self.out).strip()
        eventually(lambda: self.cluster.json("describe", greedy)["status"]["state"] == "FAILED",
                   "the greedy one fails")
        self.assertIn("state in memory take", self.cluster.run("describe", greedy))
        self.assertEqual(self.cluster.json("describe", first)["status"]["state"], "RUNNING")
        self.cluster.run("cancel", first)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
