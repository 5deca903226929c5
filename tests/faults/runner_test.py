#!/usr/bin/env python3
"""When a run passes, and what one that did not says and leaves: it is there when the next one has
passed, and names what Kafka lost. Runs no processes."""

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
from kafka_faults import RestoreTwice  # noqa: E402
from results import Results  # noqa: E402
from verdict import of_planted, verdict  # noqa: E402
from world import World  # noqa: E402


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


# As Kafka 4.3.1 wrote them.
BROKER_LOG = """\
2026-11-22 19:49:24,977 INFO TransactionCoordinator [TransactionCoordinator id=1] Completed rollback \
of ongoing transaction for transactionalId weir-2f64-out-0 due to timeout
2026-11-22 19:49:24,993 INFO TransactionMarkerChannelManager [Transaction Marker Channel Manager 1]: \
Couldn't find leader endpoint for partitions Set(out-2, weir-output-markers-13) while trying to send \
transaction markers for weir-2f64-out-0, these partitions are likely deleted already and hence can be \
skipped
"""


class TellsWhatKafkaLost(unittest.TestCase):
    def world(self, broker_log):
        """One whose job runs and never gives a result."""
        directory = tempfile.TemporaryDirectory(prefix="weir_runner_test_")
        self.addCleanup(directory.cleanup)
        world = World(".", {"job": {"name": "echo"}, "limits": {"healthy_s": 0}}, directory.name,
                      print)
        (world.dir / "broker").mkdir()
        (world.dir / "broker" / "server.log").write_text(broker_log)
        world.cluster = types.SimpleNamespace(names=[])
        world.reader = types.SimpleNamespace(count=0)
        world.describe = lambda: {"status": {"state": "RUNNING"}}
        return world

    def reason(self, broker_log):
        with self.assertRaises(AssertionError) as raised:
            self.world(broker_log).await_healthy((0, 0), "stall")
        return str(raised.exception)

    def test_names_the_transaction_that_was_left_open(self):
        self.assertIn("the broker says (1 times): 2026-11-22 19:49:24,993", self.reason(BROKER_LOG))
        self.assertIn("weir-2f64-out-0, these partitions", self.reason(BROKER_LOG))

    def test_blames_no_broker_that_lost_none(self):
        self.assertNotIn("broker", self.reason(BROKER_LOG.splitlines()[0]))


GOOD = {"ok": True, "judged": True, "lost": 0, "duplicate": 0, "aborted": 7, "examples": []}
FAULT = {"what": "kill", "landed": True, "attempts": [1, 2], "meanwhile": [10, 2]}


class Verdicts(unittest.TestCase):
    def of(self, judge=None, fault=None, expect=None, wanted=None, figures=None):
        schedule = {"expect": expect or {}, "figures": wanted or {}}
        return verdict(schedule, GOOD | (judge or {}), [FAULT | (fault or {})], figures or {})[0]

    def test_all_is_well(self):
        self.assertEqual(self.of(expect={"restart": True, "aborted": True, "progress": True}), "pass")

    def test_what_was_not_judged_to_the_end_fails_by_what_was_seen(self):
        self.assertEqual(self.of({"ok": False, "judged": False}), "inconclusive")
        for bad in ("lost", "duplicate", "out_of_order", "readers_disagree"):
            self.assertEqual(self.of({"ok": False, "judged": False, bad: 1}), "fail")
        self.assertEqual(self.of({"ok": False, "judged": False, "open_transactions": ["out-1"]}),
                         "fail")

    def test_a_fault_without_effect_says_nothing(self):
        self.assertEqual(self.of(fault={"landed": False}), "inconclusive")
        self.assertEqual(self.of(fault={"attempts": [2, 2]}, expect={"restart": True}),
                         "inconclusive")
        self.assertEqual(self.of({"aborted": 0}, expect={"aborted": True}), "inconclusive")

    def test_what_must_not_happen_fails(self):
        self.assertEqual(self.of(expect={"restart": False}), "fail")
        self.assertEqual(self.of(fault={"meanwhile": [10, 0]}, expect={"progress": True}), "fail")

    def test_figures_are_measured_and_reached(self):
        wanted = {"replaced_s": "<= 10"}
        self.assertEqual(self.of(wanted=wanted), "inconclusive")
        self.assertEqual(self.of(wanted=wanted, figures={"replaced_s": [9.0, 10.1]}), "fail")
        self.assertEqual(self.of(wanted=wanted, figures={"replaced_s": [9.0, 10.0]}), "pass")
        wanted = {"restored_s": "<= 4, median <= 1.5"}
        self.assertEqual(self.of(wanted=wanted, figures={"restored_s": [1, 1.4, 4.0]}), "pass")
        self.assertEqual(self.of(wanted=wanted, figures={"restored_s": [1, 1.6, 1.6]}), "fail")
        self.assertEqual(self.of(wanted=wanted, figures={"restored_s": [1, 1.4, 4.1]}), "fail")

    def test_a_planted_bug_is_caught_by_the_count_that_it_spoils(self):
        def result(verdict_is, **judge):
            return {"verdict": verdict_is, "why": "", "judge": GOOD | judge}
        expect = {"counts": "duplicate"}
        self.assertEqual(of_planted(expect, result("fail", duplicate=3)), "pass")
        self.assertEqual(of_planted(expect, result("fail", lost=3)), "inconclusive")
        self.assertEqual(of_planted(expect, result("pass")), "fail")


class StartsWhereTheReasonSays(unittest.TestCase):
    def setUp(self):
        self.jobs = tempfile.TemporaryDirectory()
        self.addCleanup(self.jobs.cleanup)
        self.first = self.job("0123456789abcdef")

    def job(self, name):
        pathlib.Path(self.jobs.name, name, "log").mkdir(parents=True)
        return str(pathlib.Path(self.jobs.name, name))

    def test_from_the_job_that_has_published(self):
        other = self.job("fedcba9876543210")
        for reason in ("Start from checkpoint 33 of job fedcba9876543210 or later, or with",
                       "start again from the newest checkpoint of job fedcba9876543210; if it"):
            self.assertEqual(RestoreTwice.named(reason, self.first), other)

    def test_from_the_same_where_none_has_a_checkpoint(self):
        self.assertEqual(RestoreTwice.named("it ended", self.first), self.first)
        self.assertEqual(RestoreTwice.named("newest checkpoint of job fedcba9876543210", self.first),
                         self.first)


class RemembersFailures(unittest.TestCase):
    def test_a_pass_does_not_hide_them(self):
        with tempfile.TemporaryDirectory(prefix="weir_runner_test_") as directory:
            results = Results(pathlib.Path(directory) / "none")
            for ended in ("fail", "inconclusive", "pass", "pass"):
                results.add({"scenario": "s", "seed": 1, "verdict": ended, "why": "", "judge": None,
                             "landed": 0, "first_result_s": [], "figures": {}, "took_s": 1,
                             "date": "2000-01-01"}, "build", {})
            self.assertEqual(results.failures(results.runs["s", 1]), 2)


if __name__ == "__main__":
    unittest.main()
