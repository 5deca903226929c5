#!/usr/bin/env python3
"""A JobManager that is killed while it writes a savepoint: the next one removes what is not whole,
and neither a whole savepoint nor anything else that lies there.

    savepoint_kill_test.py WEIR TOTALS_JOB
"""

import pathlib
import subprocess
import sys
import unittest

from cluster import completed_now, eventually
from daemons import Daemons

WEIR, JOB = sys.argv[1:3]


def content(directory):
    return {path.relative_to(directory): path.read_bytes()
            for path in directory.rglob("*") if path.is_file()}


class KilledInAnExport(unittest.TestCase):
    def setUp(self):
        self.cluster = Daemons(WEIR, task_managers=1, slots=4,
                               settings={"taskmanager.dedicated": "false"})
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None)
        self.job = self.run_job()
        self.running(self.job)

    def run_job(self, *options):
        return self.cluster.run("run", JOB, "--detached", "-p", 2, *options, "--", "--rate", 500,
                                "--count", 10_000_000, "--out", f"{self.cluster.dir}/lines").strip()

    def running(self, job):
        eventually(lambda: completed_now(self.cluster.json("describe", job)) >= 2,
                   "checkpoints are complete")

    def killed_at(self, point):
        """What lies in the place of a savepoint whose JobManager was killed at that point."""
        self.cluster.kill("jobmanager")
        self.cluster.start("jobmanager", env={"WEIR_FAILPOINTS": f"{point}=crash"})
        eventually(self.cluster.ready_now, "the JobManager is back")
        self.running(self.job)
        place = pathlib.Path(self.cluster.dir, point)
        # It would wait for the next JobManager, and ask that one.
        with subprocess.Popen([WEIR, "savepoint", self.job, "--directory", place],
                              env=self.cluster.env, stderr=subprocess.DEVNULL) as asked:
            try:
                self.assertEqual(self.cluster.processes["jobmanager"].wait(60), -9)
            finally:
                asked.kill()
        savepoint, = place.iterdir()
        self.assertTrue((savepoint / "exporting").exists())
        return savepoint

    def go_on(self):
        self.cluster.start("jobmanager")
        eventually(self.cluster.ready_now, "the JobManager is back")

    def test_what_is_not_whole_is_removed_and_all_else_stays(self):
        reported = pathlib.Path(self.cluster.json("savepoint", self.job)["savepoint_path"])
        before = content(reported)
        for point in ("savepoint.copied", "savepoint.before_commit"):
            with self.subTest(point=point):
                partial = self.killed_at(point)
                neighbour = partial.parent / (partial.name + "0") / "data"
                neighbour.mkdir(parents=True)
                (neighbour / "file").write_text("of somebody else")
                self.go_on()
                eventually(lambda partial=partial: not partial.exists(), "it is removed")
                self.assertEqual((neighbour / "file").read_text(), "of somebody else")
        self.assertEqual(content(reported), before)
        self.running(self.job)

    def test_a_whole_one_that_nobody_was_told_of_stays(self):
        whole = self.killed_at("savepoint.after_commit")
        self.go_on()
        eventually(lambda: not (whole / "exporting").exists(), "it is looked at")
        self.running(self.run_job("--from-savepoint", whole))

    def test_a_directory_of_another_job_in_its_place_stays(self):
        partial = self.killed_at("savepoint.copied")
        (partial / "exporting").write_text("another-job 1\n")
        before = content(partial)
        told = self.killed_at("savepoint.before_commit")  # swept by the same JobManager, and after
        self.go_on()
        eventually(lambda: not told.exists(), "exports are swept")
        self.assertEqual(content(partial), before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
