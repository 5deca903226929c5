#!/usr/bin/env python3
"""The Nexmark queries on a cluster give the oracle's answers: straight through, and with a `kill -9`
of the TaskManager in the middle.

    nexmark_test.py WEIR NEXMARK_JOB NEXMARK_ANSWERS
"""

import os
import pathlib
import signal
import subprocess
import sys
import unittest

from cluster import Cluster, eventually

WEIR, JOB, ANSWERS = sys.argv[1:4]
QUERIES = ("generator", "q0", "q1", "q2", "q5")
EVENTS = 400_000


def answers():
    """Rows and sum of hashes of each query, by the oracle."""
    lines = subprocess.run([ANSWERS, str(EVENTS)], check=True, text=True,
                           capture_output=True).stdout.splitlines()
    return {q: (int(rows), int(total)) for q, rows, total in (line.split() for line in lines)}


class Nexmark(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.answers = answers()
        cls.cluster = Cluster(WEIR, "-t", "1", "-s", "2")
        cls.addClassCleanup(cls.cluster.__exit__, None)
        cls.cluster.__enter__()

    def setUp(self):
        self.out = pathlib.Path(self.cluster.dir, self.id().rsplit(".")[-1])
        self.out.mkdir()

    def run_job(self, query, *options, arguments=()):
        return self.cluster.run("run", JOB, "--state-backend", "rocksdb", *options, "--",
                                "--query", query, "--events", EVENTS, "--out", self.out,
                                *arguments).strip()

    def check(self, query):
        digests = [tuple(map(int, p.read_text().split())) for p in self.out.iterdir()]
        got = (sum(rows for rows, _ in digests), sum(total for _, total in digests) % 2**64)
        self.assertGreater(got[0], 0)
        self.assertEqual(got, self.answers[query])

    def straight(self, query):
        self.run_job(query, arguments=("--checkpoint-ms", 200))
        self.check(query)

    def killed(self, query):
        job = self.run_job(query, "--detached", arguments=("--checkpoint-ms", 200, "--rate",
                                                           EVENTS // 12))

        def details():
            return self.cluster.json("describe", job)

        eventually(lambda: int(details().get("checkpoints_completed", 0)) >= 3,
                   f"{query} has checkpoints")
        os.kill(next(iter(self.cluster.task_managers().values()))["pid"], signal.SIGKILL)
        eventually(lambda: details()["status"]["state"] == "FINISHED", f"{query} finishes")
        self.assertGreaterEqual(len(details()["failures"]), 1, "it was not killed in the middle")
        self.check(query)


for name in QUERIES:
    def straight(self, query=name):
        self.straight(query)
    setattr(Nexmark, f"test_{name}", straight)
for name in ("q0", "q5"):
    def killed(self, query=name):
        self.killed(query)
    setattr(Nexmark, f"test_{name}_through_a_kill", killed)

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
