#!/usr/bin/env python3
"""A job is cancelled while its TaskManager still fetches the state that it begins from.

    restore_cancel_test.py WEIR TOTALS_JOB
"""

import os
import pathlib
import sys
import time
import unittest

from cluster import eventually
from daemons import Daemons

WEIR, JOB = sys.argv[1:3]
# Every read waits for so long, and a restore takes many.
READ_S = 2
# Of a cancel: one read, and the rest of the way on a busy machine.
CANCEL_LIMIT_S = 12


class RestoreCancel(unittest.TestCase):
    def setUp(self):
        self.cluster = Daemons(WEIR, task_managers=1, slots=4,
                               settings={"taskmanager.dedicated": "false"})
        points = self.points = pathlib.Path(self.cluster.dir, "failpoints")
        points.write_text("")
        self.cluster.env["WEIR_FAILPOINTS"] = f"@{points}"
        self.addCleanup(self.cluster.__exit__, None)
        self.cluster.__enter__()

    def start(self, name, *options):
        return self.cluster.run("run", JOB, "--detached", "-p", 2, *options, "--", "--rate", 500,
                                "--count", 10_000_000, "--out", f"{self.cluster.dir}/{name}",
                                limit_s=300).strip()

    def slow_reads(self, action):
        other = self.points.with_suffix(".new")
        other.write_text(action)
        os.replace(other, self.points)

    def cancel(self, job):
        begun = time.monotonic()
        self.cluster.run("cancel", job)
        self.assertEqual(self.cluster.json("describe", job)["status"]["state"], "CANCELED")
        self.assertLess(time.monotonic() - begun, CANCEL_LIMIT_S)

    def test_both_the_one_that_fetches_and_the_one_behind_it_end_at_once(self):
        before = self.cluster.task_managers()["tm-1"]["pid"]
        job = self.start("first")
        eventually(lambda: int(self.cluster.json("describe", job).get("checkpoints_completed", 0))
                   >= 12, "checkpoints are complete")
        savepoint = self.cluster.json("stop", job)["savepoint_path"]
        self.slow_reads(f"storage.read=sleep:{READ_S * 1000}")
        fetching = self.start("second", "--from-savepoint", savepoint)
        log = pathlib.Path(self.cluster.dir, "logs", "tm-1.out")
        eventually(lambda: "failpoint storage.read" in log.read_text(), "the TaskManager fetches")
        behind = self.start("third")
        self.cancel(behind)
        self.assertNotIn("subtasks_running",
                         {k for k, v in self.cluster.json("describe", fetching)["status"].items()
                          if v})
        self.cancel(fetching)
        self.slow_reads("")
        after = self.cluster.json("status")
        self.assertEqual(self.cluster.task_managers()["tm-1"]["pid"], before)
        self.assertEqual(after["slots_free"], 4, after)
        again = self.start("fourth", "--from-savepoint", savepoint)
        eventually(lambda: self.cluster.json("describe", again)["status"].get("subtasks_running"),
                   "another one begins from the same savepoint")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
