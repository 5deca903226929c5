#!/usr/bin/env python3
"""A JobManager that hangs: its process is stopped, so that its connections stand and nothing comes.
What it could not hear meanwhile it holds against nobody. And a machine that hangs with all that it
runs.

    hung_test.py WEIR BACKLOG_JOB
"""

import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest

from cluster import eventually
from daemons import Daemons

WEIR, JOB = sys.argv[1:3]
KEYS, PER_KEY = 100, 6_000


class OnDaemons(unittest.TestCase):
    """A cluster and a job with a backlog."""

    SETTINGS = {}
    # Aligned barriers wait behind the backlog, a savepoint's with them.
    OPTIONS = ("--aligned-timeout", "never")

    def setUp(self):
        self.cluster = Daemons(WEIR, settings=self.SETTINGS)
        self.addCleanup(self.cluster.__exit__, None)
        self.cluster.__enter__()
        self.slow = pathlib.Path(self.cluster.dir, "slow")
        self.slow.touch()
        self.job = self.cluster.run(
            "run", JOB, "--detached", "-p", "2", *self.OPTIONS, "--", "--keys", KEYS, "--per-key",
            PER_KEY, "--slow", self.slow, "--out", f"{self.cluster.dir}/out").strip()
        eventually(lambda: self.state() == "RUNNING", "the job runs")

    def state(self):
        return self.describe()["status"]["state"]

    def describe(self):
        return self.cluster.json("describe", self.job)

    def hang(self, name="jobmanager"):
        self.cluster.processes[name].send_signal(signal.SIGSTOP)

    def go_on(self, name="jobmanager"):
        self.cluster.processes[name].send_signal(signal.SIGCONT)

    def until_noticed(self, *names):
        """That is after more than the heartbeat's time-out."""
        for name in names:
            log = self.log(name)
            eventually(lambda log=log: "the JobManager is silent" in log(), f"{name} notices")

    def ends(self):
        self.slow.unlink()
        eventually(lambda: self.state() == "FINISHED", "the job ends", limit_s=180)
        lines = pathlib.Path(self.cluster.dir, "out").read_text().splitlines()
        self.assertEqual(sorted(lines), sorted(f"done k{k}" for k in range(KEYS)))

    def begin(self, *arguments):
        """A command whose standard error is told by `said`."""
        path = pathlib.Path(self.cluster.dir, f"{arguments[0]}.err")
        with open(path, "wb") as out:
            process = subprocess.Popen([WEIR, *map(str, arguments)], env=self.cluster.env,
                                       stdout=subprocess.DEVNULL, stderr=out)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, path

    def log(self, name):
        def read():
            files = pathlib.Path(self.cluster.dir, "logs").glob(f"*{name}*")
            return "".join(file.read_text(errors="replace") for file in files)
        return read


class Hung(OnDaemons):
    def test_who_waits_is_told_and_the_job_goes_on(self):
        savepoint, said = self.begin("savepoint", self.job, "--directory", f"{self.cluster.dir}/sp")
        eventually(lambda: "taking a savepoint" in said.read_text(), "a savepoint is under way")
        began = time.monotonic()
        self.hang()
        eventually(lambda: re.search(r"has not answered for \d+ s", said.read_text()),
                   "silence is told", limit_s=30)
        print(f"told after {time.monotonic() - began:.1f} s: {said.read_text()!r}", flush=True)
        began = time.monotonic()
        listed = subprocess.run([WEIR, "list"], env=self.cluster.env, capture_output=True,
                                text=True, timeout=60, check=False)
        print(f"list ended with {listed.returncode} after {time.monotonic() - began:.1f} s: "
              f"{listed.stderr!r}", flush=True)
        self.assertIn(listed.returncode, (1, 3))
        self.assertIn(f"something listens at {self.cluster.address}, but no JobManager has answered",
                      listed.stderr)
        self.assertIn("kill -CONT", listed.stderr)
        self.until_noticed("tm-1", "tm-2")
        self.go_on()
        eventually(lambda: "answers again" in said.read_text() or savepoint.poll() is not None,
                   "that it answers is told")
        for name in ("tm-1", "tm-2"):
            log = self.log(name)
            eventually(lambda log=log: "the JobManager answers again" in log(), f"{name} goes on")
        self.ends()
        self.assertEqual(savepoint.wait(60), 0, said.read_text())
        details = self.describe()
        status = details["status"]
        self.assertEqual((status["attempt"], int(status.get("restarts", 0))), (1, 0), details)
        self.assertEqual(details.get("failures", []), [])
        self.assertIn("this JobManager stood still", self.log("jobmanager")())

    def test_a_task_manager_that_hangs_from_then_on_is_found_after_it(self):
        self.hang()
        self.hang("tm-2")
        self.until_noticed("tm-1")
        self.go_on()
        try:
            # Not when it wakes, but by a silence of its own.
            lost = eventually(lambda: self.describe().get("failures"), "it is lost")[-1]
            self.assertIn("TaskManager 'tm-2' was lost: no heartbeat for 5000 ms",
                          lost["failure"]["message"])
            self.assertEqual(lost["tm_id"], "tm-2")
        finally:
            self.go_on("tm-2")
        self.ends()
        self.assertEqual({f["tm_id"] for f in self.describe()["failures"] if not
                          f["failure"].get("secondary")}, {"tm-2"}, "nobody else was")

    def test_a_machine_that_was_suspended_goes_on(self):
        began = time.monotonic()
        for name in self.cluster.names:
            self.hang(name)
        eventually(lambda: time.monotonic() > began + 7, "longer than the heartbeat's time-out")
        # Whoever wakes first finds the others silent still.
        for name in self.cluster.names:
            self.go_on(name)
        eventually(lambda: "this JobManager stood still" in self.log("jobmanager")(), "it is told")
        self.ends()
        details = self.describe()
        status = details["status"]
        self.assertEqual((status["attempt"], int(status.get("restarts", 0))), (1, 0), details)


class HungForLong(OnDaemons):
    """Twelve time-outs: of such a connection nobody knows whether it leads anywhere."""

    SETTINGS = {"jobmanager.heartbeat-timeout": "1s", "jobmanager.heartbeat-interval": "200ms"}

    def test_task_managers_come_back_and_the_job_restarts(self):
        self.hang()
        for name in ("tm-1", "tm-2"):
            log = self.log(name)
            eventually(lambda log=log: "the JobManager stays silent" in log(), f"{name} gives up")
        self.go_on()
        eventually(lambda: self.describe()["status"]["attempt"] > 1, "the job restarts", limit_s=60)
        eventually(self.cluster.ready_now, "TaskManagers are registered again", limit_s=60)
        self.ends()


class OnHeldStorage(OnDaemons):
    """What the JobManager writes to the checkpoints' storage can be held."""

    def setUp(self):
        super().setUp()
        self.points = pathlib.Path(self.cluster.dir, "failpoints")
        self.storage("")
        self.cluster.kill("jobmanager")
        self.cluster.start("jobmanager", env={"WEIR_FAILPOINTS": f"@{self.points}"})
        eventually(lambda: self.state() == "RUNNING", "the job runs")

    def storage(self, action):
        self.points.with_suffix(".new").write_text(action)
        self.points.with_suffix(".new").rename(self.points)


class HungForSubmissions(OnHeldStorage):
    """What a submission looks at hangs. One job runs, and has nothing to write there itself."""

    OPTIONS = ("--checkpoint-interval", "1h")

    def test_a_submission_is_given_up_by_a_signal_and_other_jobs_can_be_cancelled(self):
        self.storage("storage.create=hold")
        held = self.log("jobmanager")
        for number, (sign, code) in enumerate(((signal.SIGTERM, 143), (signal.SIGINT, 5)) * 3):
            run, said = self.begin("run", JOB, "-p", "1", "--", "--keys", 1, "--per-key", 1,
                                   "--slow", f"{self.cluster.dir}/no", "--out",
                                   f"{self.cluster.dir}/out-{number}")
            eventually(lambda count=number + 1: held().count("failpoint storage.create") >= 1 and
                       "submitting" in said.read_text(), "it is being submitted")
            run.send_signal(sign)
            self.assertEqual(run.wait(15), code, said.read_text())
            self.assertIn("was given up; the job may run all the same", said.read_text())
        self.cluster.run("cancel", self.job)
        self.storage("")
        eventually(lambda: self.state() == "CANCELED", "what was cancelled ends")


class HungForCheckpoints(OnHeldStorage):
    """The JobManager's commit of a checkpoint hangs."""

    OPTIONS = ("--checkpoint-interval", "100ms", "--aligned-timeout", "0s")

    def wait_ms(self):
        return self.describe()["status"]["storage_wait_ms"]

    def test_who_waits_for_the_job_is_told_what_it_waits_for(self):
        eventually(lambda: self.describe()["checkpoints_completed"], "checkpoints complete")
        self.assertEqual(self.wait_ms(), 0)
        self.storage("storage.create=hold")
        eventually(lambda: self.wait_ms() >= 5_000, "the wait is told")
        self.assertIn("the job waits for its checkpoint directory", self.log("jobmanager")())
        told = "storage has kept the JobManager waiting for "
        for command in (["list"], ["describe", self.job]):
            self.assertIn(told, self.cluster.run(*command))
        self.storage("")
        eventually(lambda: self.wait_ms() == 0, "it is over")
        self.assertEqual(self.state(), "RUNNING")
        self.storage("storage.create=hold")
        eventually(lambda: self.wait_ms() >= 5_000, "the wait is told again")
        cancel, said = self.begin("cancel", self.job)
        eventually(lambda: told in said.read_text(), "who waits for the end is told")
        self.assertIn(f"Job {self.job} has not ended yet: ", said.read_text())
        self.assertEqual(self.state(), "CANCELLING")
        self.storage("")
        self.assertEqual(cancel.wait(30), 0, said.read_text())
        self.assertEqual(self.state(), "CANCELED")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
