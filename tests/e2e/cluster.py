"""A local cluster for a test: `weir local` in a directory of its own, and the command line on it."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

LIMIT_S = 30


def eventually(condition, what, limit_s=LIMIT_S):
    """Polls until the condition gives something true, and returns that."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit_s} s: {what}")
        time.sleep(0.02)


def completed_now(details):
    """Checkpoints of a job that were complete under the JobManager that leads now, of the last few:
    what `checkpoints_completed` counts goes on over its restarts."""
    return sum(checkpoint["status"] in ("COMPLETED", "PUBLISHED")
               for checkpoint in details.get("checkpoints", []))


def alive(pid):
    """True while the process runs; a zombie does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Cluster:
    """Use as a context manager; `ready` is what `weir local --json` printed."""

    def __init__(self, weir, *options, directory=None):
        self.weir = weir
        self.options = options
        self.temp = None if directory else tempfile.TemporaryDirectory(prefix="weir_e2e_")
        self.dir = directory or self.temp.name
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
        self.env["WEIR_LOCAL_DIR"] = self.dir
        # No default port may be counted on: other tests run beside this one.
        self.env["WEIR_JOBMANAGER_RPC_PORT"] = "0"
        self.env["WEIR_METRICS_PORT"] = "0"
        self.launcher = None
        self.ready = None

    def __enter__(self):
        self.launcher = subprocess.Popen([self.weir, "local", "--json", *self.options], text=True,
                                         env=self.env, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE)
        line = self.launcher.stdout.readline()
        if not line:
            raise AssertionError(f"weir local: {self.launcher.stderr.read()}")
        self.ready = json.loads(line)
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if kind is not None:
            for log in sorted(pathlib.Path(self.dir, "logs").glob("*")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")
        if self.temp:
            self.temp.cleanup()

    def stop(self):
        """Ctrl-C; returns the launcher's exit code."""
        if self.launcher.poll() is None:
            self.launcher.send_signal(signal.SIGINT)
        code = self.launcher.wait(LIMIT_S)
        self.launcher.stdout.close()
        self.launcher.stderr.close()
        return code

    def run(self, *arguments, code=0, limit_s=120):
        """Standard output of a command that must end with `code`."""
        done = subprocess.run([self.weir, *map(str, arguments)], text=True, env=self.env,
                              capture_output=True, timeout=limit_s)
        if done.returncode != code:
            raise AssertionError(f"weir {' '.join(map(str, arguments))} ended with "
                                 f"{done.returncode}, not {code}:\n{done.stdout}\n{done.stderr}")
        self.stderr = done.stderr
        return done.stdout

    def json(self, *arguments, code=0):
        return json.loads(self.run(*arguments, "--json", code=code))

    def task_managers(self):
        return {tm["tm_id"]: tm for tm in self.json("status")["task_managers"]}

    def pids(self):
        """Every process of the cluster but the launcher."""
        children = pathlib.Path(f"/proc/{self.launcher.pid}/task/{self.launcher.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def files(self):
        """All that lies in the cluster's directory but the logs.

        os.walk, not rglob: the cluster removes folders while they are looked at.
        """
        found = []
        for folder, folders, files in os.walk(self.dir):
            folders[:] = [name for name in folders if name != "logs"]
            found += [os.path.relpath(os.path.join(folder, name), self.dir)
                      for name in folders + files]
        return sorted(found)


class OneCluster(unittest.TestCase):
    """Tests that share a cluster of two TaskManagers, and leave it as they found it."""

    WEIR = None  # set by the test script
    OPTIONS = ("-t", "2", "-s", "2")

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(cls.WEIR, *cls.OPTIONS)
        cls.addClassCleanup(cls.cluster.__exit__, None)
        cls.cluster.__enter__()
        cls.epoch = cls.cluster.json("status")["leader_epoch"]

    def tearDown(self):
        self.assertEqual(self.cluster.json("status")["leader_epoch"], self.epoch,
                         "the JobManager died")
        for job in self.cluster.json("list", "--running"):
            self.cluster.run("cancel", job["job_id"])

    def describe(self, job):
        return self.cluster.json("describe", job)

    def state(self, job):
        return self.describe(job)["status"]["state"]

    def checkpoints(self, job):
        return int(self.describe(job).get("checkpoints_completed", 0))

    def start(self, *arguments, checkpoints=1):
        """A detached job that has taken some checkpoints; its id."""
        job = self.cluster.run("run", "--detached", *arguments).strip()
        eventually(lambda: self.checkpoints(job) >= checkpoints, "checkpoints are complete")
        return job
