#!/usr/bin/env python3
"""What a run that did not pass has left is there when the next one has passed. Runs no processes."""

import json
import pathlib
import sys
import tempfile
import types
import unittest
from unittest import mock

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import run  # noqa: E402
import scenario as scenarios  # noqa: E402


class KeepsWhatFailed(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="weir_runner_test_")
        self.addCleanup(directory.cleanup)
        self.build = pathlib.Path(directory.name)
        (self.build / "lib").mkdir()
        (self.build / "lib" / "libweir.so").write_bytes(b"")
        # quick: the page of results is not touched.
        self.options = types.SimpleNamespace(build=self.build, quick=True, replay=None, again=True,
                                             missing=False, minutes=None, beside=1)
        self.schedule = scenarios.schedule(scenarios.load("kill-taskmanager"), 1)
        self.kept = self.build / "faults" / "kill-taskmanager-1.failed"

    def run_once(self, verdict, log):
        """One run that ends so, with this in its log."""
        def begin(words, **_):
            directory = pathlib.Path(words[-1])
            (directory / "logs").mkdir()
            (directory / "logs" / "tm-1.log").write_text(log)
            result = {"scenario": "kill-taskmanager", "seed": 1, "verdict": verdict, "why": "",
                      "judge": None}
            if verdict != "died":
                (directory / "result.json").write_text(json.dumps(result))
            return types.SimpleNamespace(communicate=lambda: (b"", None), returncode=1)
        with mock.patch.object(run, "spawn", begin):
            return run.Runner(self.options).all([(self.schedule, False)])

    def log_kept(self):
        return (self.kept / "logs" / "tm-1.log").read_text()

    def test_a_failure_outlives_a_pass(self):
        self.assertEqual(self.run_once("fail", "what went wrong"), 1)
        self.assertEqual(self.run_once("pass", "nothing"), 0)
        self.assertEqual(self.log_kept(), "what went wrong")
        self.assertEqual(json.loads((self.kept / "schedule.json").read_text()), self.schedule)

    def test_the_last_failure_is_kept(self):
        self.run_once("fail", "the first")
        self.run_once("inconclusive", "the second")
        self.run_once("pass", "nothing")
        self.assertEqual(self.log_kept(), "the second")

    def test_a_run_without_a_result_is_a_failure(self):
        self.run_once("died", "its last words")
        self.run_once("pass", "nothing")
        self.assertEqual(self.log_kept(), "its last words")

    def test_a_pass_keeps_nothing(self):
        self.run_once("pass", "nothing")
        self.assertFalse(self.kept.exists())


if __name__ == "__main__":
    unittest.main()
