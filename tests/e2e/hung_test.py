#!/usr/bin/env python3
"""A JobManager that hangs: its process is stopped, so that its connections stand and nothing comes.

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


class Hung(unittest.TestCase):
    def setUp(self):
        self.cluster = Daemons(WEIR)
        self.addCleanup(self.cluster.__exit__, None)
        self.cluster.__enter__()
        self.slow = pathlib.Path(self.cluster.dir, "slow")
        self.slow.touch()
        # Aligned barriers wait behind the backlog, a savepoint's with them.
        self.job = self.cluster.run(
            "run", JOB, "--detached", "-p", "2", "--aligned-timeout", "never", "--", "--keys", KEYS,
            "--per-key", PER_KEY, "--slow", self.slow, "--out", f"{self.cluster.dir}/out").strip()
        eventually(lambda: self.state() == "RUNNING", "the job runs")

    def state(self):
        return self.cluster.json("describe", self.job)["status"]["state"]

    def hang(self):
        self.cluster.processes["jobmanager"].send_signal(signal.SIGSTOP)

    def go_on(self):
        self.cluster.processes["jobmanager"].send_signal(signal.SIGCONT)

    def begin(self, *arguments):
        """A command whose standard error is told by `said`."""
        path = pathlib.Path(self.cluster.dir, f"{arguments[0]}.err")
        with open(path, "wb") as out:
            process = subprocess.Popen([WEIR, *map(str, arguments)], env=self.cluster.env,
                                       stdout=subprocess.DEVNULL, stderr=out)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, path

    def test_who_waits_is_told_and_task_managers_come_back(self):
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
        self.assertIn(self.cluster.address, listed.stderr)
        for name in ("tm-1", "tm-2"):
            log = self.log(name)
            eventually(lambda log=log: "the JobManager is silent" in log(), f"{name} notices")
        self.go_on()
        eventually(lambda: "answers again" in said.read_text() or savepoint.poll() is not None,
                   "that it answers is told")
        eventually(self.cluster.ready_now, "TaskManagers are registered again", limit_s=60)
        self.slow.unlink()
        eventually(lambda: self.state() == "FINISHED", "the job ends", limit_s=180)
        lines = set(pathlib.Path(self.cluster.dir, "out").read_text().splitlines())
        self.assertEqual(lines, {f"done k{k}" for k in range(KEYS)})

    def log(self, name):
        def read():
            files = pathlib.Path(self.cluster.dir, "logs").glob(f"*{name}*")
            return "".join(file.read_text(errors="replace") for file in files)
        return read


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
