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
import tempfile
import time
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

    def test_closed_standard_streams_take_nothing_from_a_command(self):
        def close():
            for fd in range(3):
                os.close(fd)
        for how in ((), ("--in-process",)):
            ran = subprocess.run([WEIR, "run", JOB, *how, "--", "--count", "3"],
                                 env=self.cluster.env, preexec_fn=close, timeout=60)
            self.assertEqual(ran.returncode, 0)

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

    def test_what_the_job_function_prints_goes_to_standard_error_once(self):
        for how in ((), ("--json",), ("--detached", "--json")):
            out = self.cluster.run("run", JOB, *how, "--", "--count", "1", "--say", "well")
            self.assertEqual(self.cluster.stderr.splitlines().count("well"), 1, self.cluster.stderr)
            self.assertNotIn("well", out)
            if how:
                for line in out.splitlines():
                    json.loads(line)
        # There the subtasks' own copy of it is built in the process, too.
        out = self.cluster.run("run", JOB, "--in-process", "--", "--count", "1", "--say", "well")
        self.assertEqual(self.cluster.stderr.splitlines().count("well"), 2, self.cluster.stderr)
        self.assertEqual(out, "0 row\n")

    def begin_in_process(self, *arguments):
        """A job in a process whose standard output and error are files."""
        folder = tempfile.TemporaryDirectory(prefix="weir_e2e_")
        self.addCleanup(folder.cleanup)
        out, err = pathlib.Path(folder.name, "out"), pathlib.Path(folder.name, "err")
        with open(out, "wb") as to_out, open(err, "wb") as to_err:
            process = subprocess.Popen([WEIR, *arguments], env=self.cluster.env, stdout=to_out,
                                       stderr=to_err)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, out, err

    def test_a_terminal_that_goes_away_ends_an_in_process_job_with_a_word(self):
        process, out, err = self.begin_in_process("run", JOB, "--in-process")
        eventually(lambda: " row" in out.read_text(), "it prints")
        process.send_signal(signal.SIGHUP)
        self.assertEqual(process.wait(60), 129, err.read_text())
        self.assertIn("has ended with this process, unfinished", err.read_text())

    def test_a_function_that_hangs_in_process_is_waited_for_with_a_word_and_not_by_force(self):
        hangs = ("run", JOB, "--in-process", "--", "--hang-at", "500")
        process, _, err = self.begin_in_process(*hangs)
        eventually(lambda: "hangs\n" in err.read_text(), "it hangs")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        eventually(lambda: "Ctrl-C again ends it at once" in err.read_text(), "a cancel is told")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(20), 5, err.read_text())
        self.assertIn("has ended with this process, unfinished", err.read_text())
        print(f"two Ctrl-C: {time.monotonic() - began:.1f} s", flush=True)

        process, _, err = self.begin_in_process(*hangs)
        eventually(lambda: "hangs\n" in err.read_text(), "it hangs")
        process.terminate()
        eventually(lambda: "waiting for functions of the job that have not returned" in
                   err.read_text(), "what is waited for is told")
        self.assertIn("s at most (task.cancellation.timeout); Ctrl-C ends", err.read_text())
        self.assertIsNone(process.poll(), "it waits")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(20), 143, err.read_text())

        process, _, err = self.begin_in_process("run", "--set", "task.cancellation.timeout=2s",
                                                *hangs[1:])
        eventually(lambda: "hangs\n" in err.read_text(), "it hangs")
        process.terminate()
        self.assertEqual(process.wait(20), 143, err.read_text())
        self.assertIn("operator=label", err.read_text(), "who did not return is named")

    def test_json_in_process_logs_json(self):
        self.cluster.run("run", JOB, "--in-process", "--json", "--", "--count", "100", "--fail-at",
                         "50", code=1)
        lines = [json.loads(line) for line in self.cluster.stderr.splitlines()]
        self.assertTrue(any("row 50 is bad" in str(line) for line in lines), lines)
        self.assertTrue(any("level" in line for line in lines), "the log is among them")

    def test_in_process_settings_reach_its_job_manager(self):
        checkpoints = pathlib.Path(self.cluster.dir, "checkpoints of one process")
        self.cluster.run("run", JOB, "--in-process", "--set", f"checkpoint.dir={checkpoints}", "--",
                         "--count", "10")
        self.assertTrue(checkpoints.is_dir())
        self.cluster.run("run", JOB, "--in-process", "--set", "taskmanager.dir=/fast", "--",
                         "--count", "10")
        self.assertIn("taskmanager.dir (--set) has no effect on `weir run --in-process`",
                      self.cluster.stderr)

    def test_the_cluster_of_a_process_is_its_own_whatever_addresses_are_configured(self):
        for key, host in (("jobmanager.bind-host", "127.0.0.2"), ("taskmanager.host", "elsewhere"),
                          ("taskmanager.bind-host", "127.0.0.2")):
            out = self.cluster.run("run", JOB, "--in-process", "--set", f"{key}={host}", "--",
                                   "--count", "10")
            self.assertEqual(len(out.splitlines()), 10)
            self.assertIn(f"{key} (--set) has no effect on `weir run --in-process`",
                          self.cluster.stderr)

    def test_a_setting_without_effect_is_told_to_machines_too(self):
        self.cluster.run("run", JOB, "--in-process", "--json", "--set", "taskmanager.id=mine", "--",
                         "--count", "10")
        told = [json.loads(line) for line in self.cluster.stderr.splitlines()]
        self.assertTrue(any("taskmanager.id (--set) has no effect" in line.get("warning", "")
                            for line in told), told)

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
