#!/usr/bin/env python3
"""A job that takes its process down, or does not come back, is named and harms no other.

    crash_test.py WEIR BAD_JOB
"""

import json
import os
import pathlib
import signal
import sys
import tempfile
import unittest

from cluster import Cluster, eventually
from daemons import Daemons

WEIR, JOB = sys.argv[1:3]


class Crash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # No more TaskManagers than these: each of two jobs has one.
        cls.cluster = Cluster(WEIR, "-t", "2", "-s", "2", "--set", "taskmanager.max-instances=2",
                              "--set", "task.cancellation.timeout=2s",
                              "--set", "task.watchdog.timeout=500ms")
        cls.addClassCleanup(cls.cluster.__exit__, None)
        cls.cluster.__enter__()
        cls.leader_epoch = cls.cluster.json("status")["leader_epoch"]

    def setUp(self):
        eventually(lambda: len(self.cluster.task_managers()) == 2, "both TaskManagers are there")
        self.other = self.start("--name", "other")
        self.other_pid = self.task_manager_of(self.other)["pid"]

    def tearDown(self):
        details = self.cluster.json("describe", self.other)
        self.assertEqual(details["status"]["state"], "RUNNING", "the other job was touched")
        self.assertEqual(details["status"]["attempt"], 1)
        self.assertEqual(self.task_manager_of(self.other)["pid"], self.other_pid)
        self.assertEqual(self.cluster.json("status")["leader_epoch"], self.leader_epoch)
        for job in self.cluster.json("list", "--running"):
            self.cluster.run("cancel", job["job_id"])

    def start(self, *arguments):
        job = self.cluster.run("run", JOB, "--detached", *arguments).strip()
        eventually(lambda: int(self.details(job).get("checkpoints_completed", 0)),
                   "a checkpoint is complete")
        return job

    def details(self, job):
        return self.cluster.json("describe", job)

    def task_manager_of(self, job):
        task_managers = {subtask["tm_id"] for vertex in self.details(job)["vertices"]
                         for subtask in vertex["subtasks"]}
        self.assertEqual(len(task_managers), 1)
        return self.cluster.task_managers()[task_managers.pop()]

    def boxes(self):
        return [name for _, _, names in os.walk(os.path.join(self.cluster.dir, "taskmanagers"))
                for name in names if name.endswith(".box")]

    def test_a_null_pointer_at_some_record_ends_the_job_by_its_restart_policy(self):
        self.cluster.run("run", JOB, "--", "--wrong", "null", code=1)
        self.assertIn("operator 'map (mapped)' (subtask 0) crashed its TaskManager", self.cluster.stderr)
        self.assertIn("SIGSEGV at address 0x0", self.cluster.stderr)
        self.assertIn("; at the job's library+0x", self.cluster.stderr)
        # Both deaths are there, by name; the boxes are swept when they have been reported.
        job = self.cluster.json("list")[0]["job_id"]
        reason = self.details(job)["status"]["reason"]
        self.assertIn("all 1 restarts are used up; last: operator 'map (mapped)' (subtask 0)", reason)
        crashes = [f for f in self.details(job)["failures"] if "SIGSEGV" in f["failure"]["message"]]
        self.assertEqual(sorted(f["attempt"] for f in crashes), [1, 2])
        eventually(lambda: len(self.cluster.task_managers()) == 2, "it is started again")
        eventually(lambda: len(self.boxes()) == 2, "one box for each TaskManager that lives")

    def test_an_operator_that_crashes_every_time_ends_the_job_though_its_policy_never_would(self):
        self.cluster.run("run", JOB, "--", "--wrong", "abort", "--restart", "exponential", code=1)
        self.assertIn("took its process down 3 times", self.cluster.stderr)
        self.assertIn("operator 'map (mapped)' (subtask 0) crashed its TaskManager", self.cluster.stderr)
        self.assertIn("SIGABRT", self.cluster.stderr)

    def test_a_job_without_restarts_still_names_the_operator(self):
        self.cluster.run("run", JOB, "--", "--wrong", "null", "--restart", "none", code=1)
        self.assertIn("operator 'map (mapped)' (subtask 0) crashed its TaskManager", self.cluster.stderr)

    def test_an_operator_that_ends_the_process_is_named(self):
        for way, code in (("exit", 0), ("_exit", 3)):
            self.cluster.run("run", JOB, "--", "--wrong", way, code=1)
            self.assertIn("operator 'map (mapped)' (subtask 0) ended the process of its TaskManager",
                          self.cluster.stderr)
            self.assertIn(f"with exit code {code}", self.cluster.stderr)
            eventually(lambda: len(self.cluster.task_managers()) == 2, "it is started again")
        for way, code in (("exit", 0), ("_exit", 3)):
            told = (f"the job failed: operator 'map (mapped)' (subtask 0) ended the process: it called "
                    f"exit or _exit, with exit code {code}")
            self.cluster.run("run", JOB, "--in-process", "--", "--wrong", way, code=1)
            self.assertIn(f"weir: {told}", self.cluster.stderr)
            self.cluster.run("run", JOB, "--in-process", "--json", "--", "--wrong", way, code=1)
            errors = [json.loads(line) for line in self.cluster.stderr.splitlines()]
            self.assertTrue([e for e in errors if told in e.get("error", "")], errors)

    def test_in_process_nobody_is_sent_to_a_job_manager_that_has_gone(self):
        self.cluster.run("run", JOB, "--in-process", "--", "--wrong", "exception", code=1)
        self.assertIn("row 500", self.cluster.stderr)
        self.assertNotIn("weir describe", self.cluster.stderr)

    def test_a_thread_of_user_code_that_throws_is_told(self):
        self.cluster.run("run", JOB, "--", "--wrong", "thread", code=1)
        self.assertIn("a thread that is not Weir's (started by user code or a library) crashed its "
                      "TaskManager", self.cluster.stderr)
        self.assertNotIn("slot-", self.cluster.stderr)
        self.assertIn("SIGABRT, uncaught: row 500", self.cluster.stderr)

    def test_a_thread_of_user_code_that_throws_every_time_ends_the_job(self):
        self.cluster.run("run", JOB, "--", "--wrong", "thread", "--restart", "exponential", code=1)
        self.assertIn("code that ran in no operator", self.cluster.stderr)
        self.assertIn("took its process down 3 times; last: a thread that is not Weir's",
                      self.cluster.stderr)

    def test_an_exception_ends_the_job_and_no_process(self):
        pids = sorted(tm["pid"] for tm in self.cluster.task_managers().values())
        self.cluster.run("run", JOB, "--", "--wrong", "exception", code=1)
        self.assertIn("row 500", self.cluster.stderr)
        self.assertEqual(sorted(tm["pid"] for tm in self.cluster.task_managers().values()), pids)

    def test_a_killed_process_accuses_no_operator(self):
        job = self.start("--name", "victim")
        os.kill(self.task_manager_of(job)["pid"], signal.SIGKILL)
        eventually(lambda: self.details(job)["status"]["attempt"] == 2, "it is restarted")
        eventually(lambda: len(self.cluster.task_managers()) == 2, "its TaskManager is back")
        details = self.details(job)
        for failure in details["failures"]:
            self.assertEqual(failure["failure"]["operator_uid"], "")
            self.assertNotIn("crashed", failure["failure"]["message"])

    def test_a_subtask_that_does_not_return_is_named_and_a_cancel_ends_its_process(self):
        job = self.cluster.run("run", JOB, "--detached", "--", "--wrong", "hang").strip()

        def stuck():
            return [subtask["metrics"] for vertex in self.details(job)["vertices"]
                    for subtask in vertex["subtasks"]
                    if int(subtask.get("metrics", {}).get("stuck_ms", 0)) > 0]
        metrics = eventually(stuck, "it is named")
        self.assertEqual(metrics[0]["stuck_operator"], "map (mapped)")
        self.assertIn("in 'map (mapped)'", self.cluster.run("describe", job))
        task_manager = self.task_manager_of(job)
        self.assertIn("does not return", self.cluster.run("logs", task_manager["tm_id"]))
        self.cluster.run("cancel", job)
        self.assertEqual(self.details(job)["status"]["state"], "CANCELED")
        eventually(lambda: {tm["pid"] for tm in self.cluster.task_managers().values()} -
                   {task_manager["pid"], self.other_pid}, "another process has its place")
        logs = self.cluster.run("logs", task_manager["tm_id"])
        self.assertIn("operator 'map (mapped)' (subtask 0) made TaskManager", logs)
        self.assertIn("task.cancellation.timeout", logs)


class ComeForAJob(unittest.TestCase):
    """A TaskManager that was started because a job needed slots may die of that very job, before the
    launcher has seen it registered."""

    def test_a_crash_in_open_on_a_new_task_manager_leaves_the_cluster_and_other_jobs(self):
        with Cluster(WEIR, "-t", "1", "-s", "2") as cluster:
            other = cluster.run("run", JOB, "--detached", "-p", "2").strip()

            def details():
                return cluster.json("describe", other)
            eventually(lambda: int(details().get("checkpoints_completed", 0)), "it runs")
            epoch = cluster.json("status")["leader_epoch"]
            pid = cluster.task_managers()["tm-1"]["pid"]
            cluster.run("run", JOB, "-p", "2", "--", "--wrong", "open", "--restart", "exponential",
                        code=1)
            self.assertIn("took its process down 3 times", cluster.stderr)
            self.assertIn("operator 'map (mapped)'", cluster.stderr)
            self.assertIsNone(cluster.launcher.poll())
            eventually(lambda: "tm-2" in cluster.task_managers(), "tm-2 is started again")
            self.assertEqual(cluster.json("status")["leader_epoch"], epoch)
            self.assertEqual(cluster.task_managers()["tm-1"]["pid"], pid)
            self.assertEqual(details()["status"]["state"], "RUNNING")
            self.assertEqual(details()["status"]["attempt"], 1)


class HungStorage(unittest.TestCase):
    """A disk that does not come back from a write holds up the end of an attempt: the TaskManager
    stays a member all the while, ends itself in time, and accuses nobody."""

    def test_a_write_that_hangs_at_a_cancel_ends_the_process_and_blames_no_operator(self):
        with tempfile.TemporaryDirectory(prefix="weir_e2e_") as places, \
                Daemons(WEIR, task_managers=0, settings={
                    # Longer than a heartbeat's time-out (5 s): it has to be heard beside the hang.
                    "task.cancellation.timeout": "8s"}) as cluster:
            points = pathlib.Path(places, "failpoints")
            points.write_text("")
            # Of the TaskManager alone: the JobManager writes to the same storage, its manifests, and
            # if it were the one that hangs, the cancel would wait behind that.
            cluster.names.append("tm-1")
            cluster.start("tm-1", env={"WEIR_FAILPOINTS": f"@{points}"})
            eventually(cluster.ready_now, "the TaskManager is registered")
            job = cluster.run("run", JOB, "--detached").strip()

            def details():
                return cluster.json("describe", job)
            eventually(lambda: int(details().get("checkpoints_completed", 0)), "it runs")
            fresh = pathlib.Path(places, "fresh")
            fresh.write_text("storage.write=sleep:600000")
            fresh.replace(points)
            began = int(details()["checkpoints_completed"])
            eventually(lambda: "failpoint storage.write" in self.said(cluster),
                       f"a write hangs after checkpoint {began}")
            cluster.run("cancel", job)
            eventually(lambda: cluster.processes["tm-1"].poll() is not None, "it ends itself")
            # What it died of it would tell now.
            cluster.start("tm-1")
            eventually(lambda: {tm["pid"] for tm in cluster.task_managers().values()} ==
                       {cluster.processes["tm-1"].pid}, "another process has its place")
            said = self.said(cluster)
            self.assertIn("did not end within 8000 ms of a cancel", said)
            self.assertNotIn("made TaskManager", said)
            self.assertNotIn("no heartbeat for", said)

    @staticmethod
    def said(cluster):
        return "".join(log.read_text(errors="replace")
                       for log in sorted(pathlib.Path(cluster.dir, "logs").glob("*")))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
