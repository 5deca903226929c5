#!/usr/bin/env python3
"""User code that throws, or takes its process down, wherever it is called from: the job fails with
the operator's name and the reason; the JobManager and other jobs are untouched.

    user_code_test.py WEIR BAD_JOB THROWING_JOB
"""

import sys
import unittest

from cluster import OneCluster, eventually

OneCluster.WEIR, GOOD_JOB, JOB = sys.argv[1:4]

# Where it throws, and the operator that is to be named.
PLACES = {
    "source": "the source",
    "map": "the map",
    "filter": "the filter",
    "open": "the rich function",
    "process": "the timers",
    "timer": "the timers",
    "window": "the window",
    "source-make": "the source",
    "sink-make": "the sink",
    "sink-open": "the sink",
    "sink-write": "the sink",
    "sink-snapshot": "the sink",
}


class UserCode(OneCluster):
    def setUp(self):
        self.other = self.start(GOOD_JOB, "--name", "other")

    def tearDown(self):
        before = self.checkpoints(self.other)
        eventually(lambda: self.checkpoints(self.other) > before, "the other job goes on")
        self.assertEqual(self.describe(self.other)["status"]["restarts"], 0)
        super().tearDown()

    def test_an_exception_without_a_text_is_told_by_its_type(self):
        self.cluster.run("run", GOOD_JOB, "--", "--wrong", "silent exception", code=1)
        self.assertIn("(mapped): threw std::out_of_range without a text", self.cluster.stderr)

    def test_what_a_job_function_throws_is_indented_and_utf8(self):
        self.cluster.run("run", GOOD_JOB, "--", "--wrong", "throws lines", code=2)
        self.assertIn("no such luck\n  Job made up \ufffd\n", self.cluster.stderr)

    def test_a_number_that_is_thrown(self):
        self.cluster.run("run", JOB, "--", "--at", "number", code=1)
        self.assertIn("the map: threw something that is not a std::exception", self.cluster.stderr)

    def test_a_close_that_throws_is_told_of_a_job_that_has_finished(self):
        # Its results are durable and published by then: the job is what it is.
        self.cluster.run("run", JOB, "--name", "close", "--", "--at", "close")
        job = self.cluster.json("list")[0]
        self.assertEqual((job["name"], job["state"]), ("close", "FINISHED"))
        # Tasks are closed behind the job's end; `run` warns if it has come by then.
        eventually(lambda: "the rich function: close failed: close threw"
                   in self.cluster.run("describe", job["job_id"]).replace("\n", " "), "it is told")

    def test_words_that_are_not_utf8(self):
        self.cluster.run("run", JOB, "--", "--at", "bytes", code=1)
        self.assertIn("the map: bad row \ufffd\ufffd", self.cluster.stderr)

    def test_words_of_several_lines_are_seen_to_belong_together(self):
        self.cluster.run("run", JOB, "--name", "two\nlines", "--", "--at", "lines", code=1)
        self.assertIn("(two\\x0alines) is submitted", self.cluster.stderr)
        said = "the map: bad row:\n{0}Job  made up\n{0}\\x1b[2Jcolumn 3\n"
        self.assertIn("weir: the job failed: " + said.format("  "), self.cluster.stderr)
        job = self.cluster.json("list")[0]
        self.assertEqual(job["name"], "two\nlines")
        words = "the map: bad row:\nJob  made up\n\x1b[2Jcolumn 3"
        self.assertTrue(job["reason"].endswith(words), job["reason"])
        described = self.cluster.run("describe", job["job_id"])
        self.assertIn("  two\\x0alines\n", described)
        self.assertIn(said.format(13 * " "), described, "the state")
        self.assertIn(said.format(4 * " "), described, "failures")
        self.assertIn("the map: bad row:…\n", self.cluster.run("list"))

    def test_key_throws(self):
        # With more than one subtask it is called behind the operator before, too, to send the row.
        for parallelism in ("1", "2"):
            self.cluster.run("run", JOB, "-p", parallelism, "--name", "key", "--", "--at", "key",
                             code=1)
            self.assertIn("the job failed: the timers: its key selector failed: key threw",
                          self.cluster.stderr)

    def test_a_crash(self):
        for signal in ("abort", "segfault"):
            self.cluster.run("run", JOB, "--", "--at", signal, code=1)
            self.assertIn("operator 'the map'", self.cluster.stderr)
            self.assertIn("SIG" + ("ABRT" if signal == "abort" else "SEGV"), self.cluster.stderr)


def throws(place, operator):
    def test(self):
        self.cluster.run("run", JOB, "--name", place, "--", "--at", place, code=1)
        self.assertIn(f"the job failed: {operator}: {place} threw", self.cluster.stderr)
        failures = self.describe(self.cluster.json("list")[0]["job_id"])["failures"]
        self.assertEqual(len(failures), 2, "one restart is allowed")
        for failure in failures:
            self.assertEqual(failure["failure"]["operator_name"], operator)
            self.assertEqual(failure["failure"]["message"], f"{place} threw")
    return test


for at, name in PLACES.items():
    setattr(UserCode, f"test_{at.replace('-', '_')}_throws", throws(at, name))

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
