#!/usr/bin/env python3
"""The command line on a cluster of real processes.

    run_test.py WEIR ROWS_JOB
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

from cluster import Cluster, eventually

WEIR, JOB = sys.argv[1:3]


def open_files(pid):
    """What a running process has open; it opens and closes others meanwhile."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    return found


class Run(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(WEIR, "-t", "2", "-s", "2")
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None)

    def state(self, job):
        return self.cluster.json("describe", job)["status"]["state"]

    def start(self, *arguments):
        """A detached job; its id."""
        return self.cluster.run("run", JOB, "--detached", *arguments).strip()

    def test_printed_rows_come_on_standard_output_and_nothing_else(self):
        out = self.cluster.run("run", JOB, "-p", "2", "--", "--count", "1000", "--text", "hello")
        self.assertEqual(sorted(out.splitlines()), sorted(f"{i} hello" for i in range(1000)))

    def test_json_is_one_value_a_line(self):
        out = self.cluster.run("run", JOB, "--json", "--", "--count", "3")
        values = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(sorted(v["printed"] for v in values if "printed" in v),
                         ["0 row", "1 row", "2 row"])
        self.assertEqual(values[-1]["state"], "FINISHED")

    def test_a_detached_job_is_listed_described_and_cancelled(self):
        job = self.start("--name", "endless")
        eventually(lambda: self.state(job) == "RUNNING", "it runs")
        self.assertIn("endless", self.cluster.run("list", "--running"))
        self.assertIn("label", self.cluster.run("describe", "endless"))
        self.assertIn("CANCELED", self.cluster.run("cancel", job[:6]))
        self.assertEqual(self.state(job), "CANCELED")

    def test_ctrl_c_cancels_an_attached_job(self):
        attached = subprocess.Popen([WEIR, "run", JOB, "--name", "attached"], text=True,
                                    env=self.cluster.env, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
        self.assertIn(" row", attached.stdout.readline())
        attached.send_signal(signal.SIGINT)
        out, err = attached.communicate(timeout=60)
        self.assertEqual(attached.returncode, 5, err)
        self.assertIn("CANCELED", err)

    def test_a_failing_job_names_operator_and_reason(self):
        self.cluster.run("run", JOB, "--", "--count", "100", "--fail-at", "50", code=1)
        self.assertIn("label", self.cluster.stderr)
        self.assertIn("row 50 is bad", self.cluster.stderr)

    def test_a_savepoint_is_taken_resumed_from_and_disposed_of(self):
        job = self.start()
        eventually(lambda: self.state(job) == "RUNNING", "it runs")
        path = self.cluster.json("savepoint", job)["savepoint_path"]
        self.assertEqual(self.state(job), "RUNNING")
        stopped = self.cluster.json("stop", job)["savepoint_path"]
        self.assertEqual(self.state(job), "FINISHED")
        resumed = self.start("--from-savepoint", stopped, "-p", "2")
        eventually(lambda: self.state(resumed) == "RUNNING", "it runs again")
        self.cluster.run("cancel", resumed)
        self.cluster.run("dispose", path)
        self.cluster.run("dispose", path, code=4)

    def test_in_process_the_subtasks_run_in_the_command_itself(self):
        out = self.cluster.run("run", JOB, "--in-process", "-p", "3", "--", "--count", "100")
        self.assertEqual(sorted(out.splitlines()), sorted(f"{i} row" for i in range(100)))
        self.cluster.run("run", "--in-process", JOB, "--", "--count", "100", "--fail-at", "50",
                         code=1)
        self.assertIn("row 50 is bad", self.cluster.stderr)

    def test_sigterm_is_not_taken_for_the_end_of_the_job(self):
        for how in ((), ("--in-process",)):
            attached = subprocess.Popen([WEIR, "run", JOB, *how, "--name", "terminated"], text=True,
                                        env=self.cluster.env, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
            self.assertIn(" row", attached.stdout.readline())
            attached.terminate()
            _, err = attached.communicate(timeout=60)
            self.assertEqual(attached.returncode, 143, err)
            if how:
                self.assertIn("has ended with this process", err)
            else:
                self.assertIn("Let go of job", err)
                self.cluster.run("cancel", "terminated")

    def test_ctrl_c_in_process_cancels_the_job(self):
        attached = subprocess.Popen([WEIR, "run", JOB, "--in-process"], text=True,
                                    env=self.cluster.env, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
        self.assertIn(" row", attached.stdout.readline())
        attached.send_signal(signal.SIGINT)
        _, err = attached.communicate(timeout=60)
        self.assertEqual(attached.returncode, 5, err)

    def test_in_process_nothing_is_warned_of_and_what_dead_ones_left_is_swept(self):
        for _ in range(3):
            self.cluster.run("run", JOB, "--in-process", "--", "--count", "10")
            self.assertNotIn("JobManager cannot be reached", self.cluster.stderr)
        killed = subprocess.Popen([WEIR, "run", JOB, "--in-process"], env=self.cluster.env,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        killed.stdout.readline()
        scratch = {pathlib.Path(*pathlib.Path(file).parts[:3]) for file in open_files(killed.pid)
                   if file.startswith("/tmp/weir-run-")}
        killed.kill()
        killed.communicate()
        self.assertEqual(len(scratch), 1)
        self.cluster.run("run", JOB, "--in-process", "--", "--count", "10")
        self.assertFalse(scratch.pop().exists(), "it was swept")

    def test_parameters_that_the_job_does_not_read_are_refused_by_name(self):
        before = self.cluster.json("list")
        for how in ((), ("--in-process",), ("--detached",)):
            self.cluster.run("run", JOB, *how, "--", "--cuont", "5", code=2)
            self.assertIn("does not read the parameter --cuont (did you mean --count?)",
                          self.cluster.stderr)
        self.cluster.run("run", JOB, "--json", "--", "--cuont", "5", code=2)
        refused = json.loads(self.cluster.stderr)
        self.assertIn("--cuont", refused["error"])
        self.assertEqual(self.cluster.json("list"), before)

    def test_what_does_not_exist_is_told(self):
        self.cluster.run("describe", "no-such-job", code=4)
        self.cluster.run("run", JOB, "--from-savepoint", "/no/such", "--", "--count", "1", code=4)
        self.assertIn("/no/such", self.cluster.stderr)
        self.cluster.run("run", JOB, "--parallelism", "0", code=2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
