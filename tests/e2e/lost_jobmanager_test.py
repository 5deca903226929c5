#!/usr/bin/env python3
"""A JobManager that is killed (kill -9), or shut down, under `weir stop` and `weir savepoint`: the
command waits for the next one and tells what came of it, and `describe` names the savepoint of a
stop for good.

    lost_jobmanager_test.py WEIR TOTALS_JOB
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

from cluster import Cluster, completed_now, eventually
from daemons import Daemons

WEIR, JOB = sys.argv[1:3]


class Lost(unittest.TestCase):
    def enter(self, cluster):
        cluster.__enter__()
        self.addCleanup(cluster.__exit__, None)
        self.cluster = cluster
        self.savepoints = pathlib.Path(cluster.dir, "of-its-own")
        self.points = pathlib.Path(cluster.dir, "failpoints")

    def held_at(self, point):
        """From now on; "": nothing is held."""
        self.points.with_suffix(".new").write_text(f"{point}=hold" if point else "")
        self.points.with_suffix(".new").rename(self.points)

    def daemons(self, held_at):
        """A JobManager that is held there, and one TaskManager with a job."""
        self.enter(Daemons(WEIR, task_managers=1, slots=2))
        self.cluster.kill("jobmanager")
        self.cluster.start("jobmanager", env={"WEIR_FAILPOINTS": f"@{self.points}"})
        eventually(self.cluster.ready_now, "the JobManager is back")
        self.start()
        self.held_at(held_at)

    def start(self):
        self.job = self.cluster.run("run", JOB, "--detached", "-p", 2, "--", "--rate", 500,
                                    "--count", 10_000_000, "--out",
                                    f"{self.cluster.dir}/lines").strip()
        eventually(lambda: completed_now(self.describe()) >= 2, "checkpoints are complete")

    def describe(self):
        return self.cluster.json("describe", self.job)

    def begin(self, *arguments):
        command = subprocess.Popen([WEIR, *map(str, arguments)], env=self.cluster.env, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(command.wait)
        self.addCleanup(command.kill)
        return command

    def stopping(self, *options):
        return self.begin("stop", "--json", self.job, "--directory", self.savepoints, *options)

    def exporting(self):
        eventually(lambda: list(self.savepoints.glob("*/exporting")), "the savepoint is exported")

    def kill_and_start_again(self):
        self.assertTrue(self.cluster.kill("jobmanager"))
        self.cluster.start("jobmanager")

    def gave(self, command):
        """The savepoint that it came to, which is the one that was asked for."""
        out, said = command.communicate(timeout=120)
        self.assertEqual(command.returncode, 0, said)
        path = json.loads(out)["savepoint_path"]
        self.assertEqual(pathlib.Path(path).parent, self.savepoints)
        self.assertTrue(pathlib.Path(path, "log").is_dir())
        return path

    def is_named(self, path):
        status = self.describe()["status"]
        self.assertEqual((status["state"], status["stop"]["savepoint_path"]), ("FINISHED", path))
        listed, = (job for job in self.cluster.json("list") if job["job_id"] == self.job)
        self.assertEqual(listed["stop"]["savepoint_path"], path)
        told = self.cluster.run("describe", self.job)
        self.assertIn(f"\nSavepoint    {path}\n", told)
        self.assertIn(f"weir run LIB --from-savepoint {path}`", told)

    def test_a_stop_that_is_decided_is_followed_to_its_end(self):
        for drain in ((), ("--drain",)):
            with self.subTest(drain=drain):
                self.daemons(held_at="savepoint.before_commit")
                stop = self.stopping(*drain)
                self.exporting()
                self.kill_and_start_again()
                path = self.gave(stop)
                self.is_named(path)
                self.kill_and_start_again()
                eventually(self.cluster.ready_now, "the JobManager is back")
                self.is_named(path)
                self.assertEqual(self.gave(self.stopping(*drain)), path, "asked for once more")

    def test_under_weir_local(self):
        cluster = Cluster(WEIR, "-t", "1", "-s", "2")
        cluster.env["WEIR_FAILPOINTS"] = f"@{cluster.dir}/failpoints"
        self.enter(cluster)
        self.start()
        self.held_at("savepoint.before_commit")
        stop = self.stopping()
        self.exporting()
        victim, = (pid for pid in cluster.pids()
                   if b"jobmanager" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in cluster.pids(), "the JobManager is dead")
        self.held_at("")
        self.is_named(self.gave(stop))

    def test_a_stop_that_was_not_recorded_is_asked_for_again(self):
        self.daemons(held_at="jobmanager.before_commit")
        stop = self.begin("stop", self.job)
        eventually(lambda: "stop" in self.describe()["status"], "the stop was asked for")
        self.kill_and_start_again()
        out, said = stop.communicate(timeout=120)
        self.assertEqual(stop.returncode, 0, said)
        self.assertIn("lost before the stop was recorded", said)
        self.is_named(out.split()[-1])

    def test_a_jobmanager_may_be_shut_down_under_a_stop(self):
        for point in ("jobmanager.before_commit", "savepoint.before_commit"):
            with self.subTest(point=point):
                self.daemons(held_at=point)
                stop = self.stopping()
                eventually(lambda: "stop" in self.describe()["status"], "the stop was asked for")
                self.cluster.processes["jobmanager"].terminate()
                self.held_at("")  # it waits for what it writes
                self.assertEqual(self.cluster.processes["jobmanager"].wait(60), 0)
                self.cluster.start("jobmanager")
                self.is_named(self.gave(stop))

    def test_a_savepoint_is_asked_for_again(self):
        self.daemons(held_at="savepoint.before_commit")
        savepoint = self.begin("savepoint", "--json", self.job, "--directory", self.savepoints)
        self.exporting()
        self.kill_and_start_again()
        self.gave(savepoint)
        self.assertEqual(self.describe()["status"]["state"], "RUNNING")

    def test_a_second_stop_joins_the_first_if_it_asks_for_the_same(self):
        self.daemons(held_at="savepoint.before_commit")
        first = self.stopping()
        self.exporting()
        second = self.stopping()
        another = self.stopping("--drain")
        _, said = another.communicate(timeout=60)
        self.assertEqual(another.returncode, 1, said)
        self.assertIn("is being stopped already, without --drain", json.loads(said)["error"])
        self.assertEqual((first.poll(), second.poll()), (None, None))
        self.held_at("")
        self.assertEqual(self.gave(first), self.gave(second))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
