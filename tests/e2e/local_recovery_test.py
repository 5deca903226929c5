#!/usr/bin/env python3
"""A TaskManager is killed; the one that is left restores from copies of what it wrote itself, which
are on its own disk, and the lost tasks from the checkpoint directory, which is on another one. Damaged
copies are named and do no harm. When the job is over there are no copies.

    local_recovery_test.py WEIR TOTALS_JOB
"""

import pathlib
import re
import sys
import tempfile
import unittest
import urllib.request

from answers import expected_totals, totals
from cluster import eventually
from daemons import Daemons

WEIR, JOB = sys.argv[1:3]
COUNT = 60_000
RATE = 1_000  # until the TaskManager is killed


class LocalRecovery(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        # A file system of its own on every Linux.
        self.disk = tempfile.TemporaryDirectory(prefix="weir_e2e_", dir="/dev/shm")
        self.addCleanup(self.disk.cleanup)
        self.cluster = Daemons(WEIR, 3, 1, settings={"taskmanager.dir": self.disk.name})
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None)
        self.assertNotEqual(pathlib.Path(self.disk.name).stat().st_dev,
                            pathlib.Path(self.cluster.dir).stat().st_dev)
        self.out = pathlib.Path(self.cluster.dir, "lines")

    def describe(self):
        return self.cluster.json("describe", self.job)

    def copies(self, task_manager="*"):
        return list(pathlib.Path(self.disk.name).glob(f"{task_manager}/copies/*/*"))

    def read_from(self, task_manager, place):
        port = self.cluster.task_managers()[task_manager]["metrics_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            return float(re.search(rf'weir_checkpoint_read_bytes_total{{from="{place}"}} (\S+)',
                                   page.read().decode()).group(1))

    def run_and_kill(self, backend, before_kill=lambda survivor: None):
        """Returns the TaskManager that is left of those that the job ran on, and the new one."""
        self.job = self.cluster.run("run", JOB, "--detached", "-p", 2, "--state-backend", backend,
                                    "--", "--count", COUNT, "--rate", RATE, "--out",
                                    self.out).strip()
        eventually(lambda: int(self.describe().get("checkpoints_completed", 0)) >= 5, "checkpoints")
        used = {s["tm_id"] for v in self.describe()["vertices"] for s in v["subtasks"]}
        self.assertEqual(len(used), 2)
        victim, survivor = sorted(used)
        before_kill(survivor)
        self.cluster.kill(victim)
        self.cluster.run("rate", self.job, "rows", "unlimited")
        eventually(lambda: self.describe()["status"]["state"] == "FINISHED", "the job ends", 60)
        self.assertEqual(self.describe()["status"]["restarts"], 1)
        seen, finals = totals(self.out.read_text().splitlines(), COUNT)
        expected_seen, expected_finals = expected_totals(COUNT)
        self.assertEqual(finals, expected_finals)
        self.assertEqual(set(seen), set(expected_seen), "none is lost, and none counts further")
        return survivor, ({"tm-1", "tm-2", "tm-3"} - used).pop()

    def check(self, backend):
        survivor, spare = self.run_and_kill(backend)
        self.assertGreater(self.read_from(survivor, "copy"), 0)
        self.assertGreater(self.read_from(spare, "checkpoint_dir"), 0)
        # The killed process leaves its own to its next incarnation.
        eventually(lambda: not self.copies(survivor) and not self.copies(spare), "no copies")

    def test_memory(self):
        self.check("memory")

    def test_rocksdb(self):
        self.check("rocksdb")

    def test_damaged_copies(self):
        def damage(survivor):
            damaged = 0
            for path in self.copies(survivor):
                try:
                    content = path.read_bytes()
                    # In its place: the file is immutable for all others.
                    with open(path, "r+b") as copy:
                        copy.write(bytes(255 - b for b in content))
                    damaged += 1
                except FileNotFoundError:
                    pass  # not needed any more
            self.assertGreater(damaged, 0)
        survivor, _ = self.run_and_kill("memory", damage)
        log = pathlib.Path(self.cluster.dir, "logs", f"{survivor}.out").read_text()
        self.assertRegex(log, r"a local copy of a checkpoint file is damaged.*/copies/")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
