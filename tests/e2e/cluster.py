"""A local cluster for a test: `weir local` in a directory of its own, and the command line on it."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

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
