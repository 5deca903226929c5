#!/usr/bin/env python3
"""What `make demo` runs once everything is built: results move in a terminal, figures stand below
them, and Ctrl-C leaves nothing behind.

    demo_test.py WEIR DEMO_SCRIPT BUILD_DIR
"""

import json
import os
import pathlib
import pty
import re
import select
import signal
import sys
import tempfile
import time
import unittest
import urllib.request

from cluster import eventually

SCRIPT, BUILD = sys.argv[2:4]
LIMIT_S = 60


class Terminal:
    """demo.sh in a terminal of its own."""

    def __init__(self, directory):
        self.shown, self.code = "", None
        env = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
        env["TMPDIR"] = directory
        self.started = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execve(SCRIPT, [SCRIPT, BUILD], env)
            finally:
                os._exit(127)

    def read(self):
        """What has come until now; false after the end."""
        while select.select([self.fd], [], [], 0)[0]:
            try:
                self.shown += os.read(self.fd, 1 << 16).decode()
            except OSError:  # how a terminal says that nobody writes any more
                return False
        return True

    def until(self, pattern, what):
        """Reads on until the pattern is in what was shown; all of its matches."""
        def found():
            more = self.read()
            matches = re.findall(pattern, self.shown, re.M)
            if not matches and not more:
                raise AssertionError(f"demo.sh ended before {what}:\n{self.shown}")
            return matches
        try:
            return eventually(found, what, LIMIT_S)
        except AssertionError:
            print(self.shown)
            raise

    def ended(self):
        self.read()
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def close(self):
        if not self.ended():
            os.kill(self.pid, signal.SIGTERM)
            eventually(self.ended, "demo.sh ends")
        os.close(self.fd)


def processes(directory):
    """All that were started with the directory for temporary files."""
    found = []
    for environ in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={directory}".encode() in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
        except OSError:
            continue
    return found


class Demo(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory(prefix="weir_demo_test_")
        self.addCleanup(temp.cleanup)
        self.dir = temp.name
        self.terminal = Terminal(self.dir)
        self.addCleanup(self.terminal.close)

    def interrupt(self):
        """Ctrl-C as a terminal does it: SIGINT to the whole foreground group."""
        self.assertNotEqual(processes(self.dir), [])
        os.write(self.terminal.fd, b"\x03")
        eventually(self.terminal.ended, "Ctrl-C ends it", LIMIT_S)
        self.assertEqual(processes(self.dir), [], self.terminal.shown)
        self.assertEqual(os.listdir(self.dir), [])

    def test_results_and_figures_move_until_ctrl_c(self):
        terminal = self.terminal
        terminal.until(r"^.*hot> ", "the first result")
        print(f"first result {time.monotonic() - terminal.started:.2f} s after the start")
        eventually(lambda: len(terminal.until(r"hot> \{", "results")) >= 5, "results move", LIMIT_S)
        terminal.until(r"RUNNING .* [\d.]+ ?[kM]? records/s", "throughput")
        terminal.until(r" checkpoint \d+ \(", "checkpoints")
        rows = [json.loads(row) for row in re.findall(r"hot> (\{.*?\})", terminal.shown)]
        windows = [row["until"] for row in rows]
        self.assertEqual(windows, sorted(set(windows)))
        self.assertTrue(all(row["bids"] > 0 for row in rows), rows)
        metrics = terminal.until(r"http://\S+/metrics", "the address of the metrics")[0]
        with urllib.request.urlopen(metrics) as answer:
            self.assertIn(b"weir_", answer.read())
        self.interrupt()
        self.assertEqual(terminal.code, 0, terminal.shown)

    def test_ctrl_c_before_the_first_result_leaves_nothing_either(self):
        # Not before: until then the shell has no trap, and dies of it as any script.
        eventually(lambda: list(pathlib.Path(self.dir).glob("*/announcement")),
                   "the cluster was started", LIMIT_S)
        self.interrupt()
        self.assertIn(self.terminal.code, (0, 130), self.terminal.shown)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
