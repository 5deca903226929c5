#!/usr/bin/env python3
"""Checkpoints under full back-pressure: aligned barriers wait behind rows that nobody takes, those
that turn unaligned pass them, and what was in flight is neither lost nor repeated when a
TaskManager dies; nor when the job begins from such a checkpoint at another parallelism.

    unaligned_test.py WEIR BACKLOG_JOB
"""

import pathlib
import sys
import time
import unittest

from cluster import eventually
from daemons import Daemons, SlowStorage, overlaps

WEIR, JOB = sys.argv[1:3]
KEYS, PER_KEY = 100, 6_000
# For so long no aligned checkpoint gets through.
STUCK_S = 12


class Backlog(unittest.TestCase):
    KIND = Daemons

    def setUp(self):
        self.cluster = self.KIND(WEIR, task_managers=2, slots=4)
        self.addCleanup(self.cluster.__exit__, None)
        self.cluster.__enter__()
        self.slow = pathlib.Path(self.cluster.dir, "slow")
        self.slow.touch()
        self.out = pathlib.Path(self.cluster.dir, "out")

    def start(self, *options, per_key=PER_KEY, interval="1s"):
        return self.cluster.run("run", JOB, "--detached", "--checkpoint-interval", interval,
                                *options, "--", "--keys", KEYS, "--per-key", per_key, "--slow",
                                self.slow, "--out", self.out, limit_s=120).strip()

    def checkpoints(self, job):
        return self.cluster.json("describe", job).get("checkpoints", [])

    def unaligned(self, job):
        return [c for c in self.checkpoints(job)
                if c.get("unaligned") and c["status"] in ("COMPLETED", "PUBLISHED")
                and int(c.get("in_flight_bytes", 0)) > 100_000]

    def at_its_end(self, job, limit_s=120):
        self.slow.unlink()
        eventually(lambda: self.cluster.json("describe", job)["status"]["state"] == "FINISHED",
                   "the job ends", limit_s)
        lines = set(self.out.read_text().splitlines())
        self.assertEqual(lines, {f"done k{k}" for k in range(KEYS)})


class Unaligned(Backlog):
    def test_aligned_barriers_wait_and_the_job_is_none_the_worse(self):
        job = self.start("-p", "4", "--aligned-timeout", "never")

        def stuck():
            newest = next(iter(self.checkpoints(job)), None)
            return newest and newest["status"] == "RUNNING" and \
                time.time() * 1000 - int(newest["triggered_ms"]) > STUCK_S * 1000
        eventually(stuck, "a checkpoint is under way for long", limit_s=60)
        self.at_its_end(job)

    def test_unaligned_barriers_pass_and_every_row_is_there_once_after_a_kill(self):
        job = self.start("-p", "4", "--aligned-timeout", "1s")
        done = eventually(lambda: self.unaligned(job), "unaligned checkpoints", limit_s=60)
        for c in done:
            print(f"checkpoint {c['id']}: {c['duration_ms']} ms, {c['in_flight_bytes']} bytes in "
                  "flight", file=sys.stderr)
            self.assertLess(int(c["duration_ms"]), STUCK_S * 1000)
        for victim in ("tm-1", "tm-2"):
            newest = int(self.unaligned(job)[0]["id"])
            self.cluster.kill(victim)
            self.cluster.start(victim)
            # From what was in flight: the next such checkpoint holds the rest of it.
            eventually(lambda: any(int(c["id"]) > newest + 1 for c in self.unaligned(job)),
                       "another one behind the restart", limit_s=90)
        self.at_its_end(job)

    def test_rows_in_flight_find_their_subtasks_at_another_parallelism(self):
        job = self.start("-p", "4", "--aligned-timeout", "0s")
        eventually(lambda: self.unaligned(job), "unaligned checkpoints", limit_s=60)
        directory = self.cluster.json("describe", job)["checkpoint_directory"]
        self.cluster.run("cancel", job)
        for parallelism in ("3", "4"):
            job = self.start("-p", parallelism, "--aligned-timeout", "0s", "--from-savepoint",
                             directory)
            eventually(lambda: self.unaligned(job), "unaligned checkpoints", limit_s=60)
            directory = self.cluster.json("describe", job)["checkpoint_directory"]
            if parallelism == "3":
                self.cluster.run("cancel", job)
        self.at_its_end(job)


class Overlapping(Backlog):
    KIND = SlowStorage

    def test_those_that_overlap_each_hold_what_is_in_flight(self):
        job = self.start("-p", "4", "--aligned-timeout", "0s", "--max-concurrent-checkpoints", "3",
                         interval="200ms")

        def overlapping(newest):
            unaligned = {int(c["id"]) for c in self.unaligned(job)}
            return [pair for pair in overlaps(self.cluster.json("describe", job))
                    if pair[0] > newest and unaligned.issuperset(pair)]
        for victim in ("tm-1", "tm-2"):
            newest = max((int(c["id"]) for c in self.checkpoints(job)), default=0)
            pairs = eventually(lambda newest=newest: overlapping(newest),
                               "unaligned checkpoints that overlap", limit_s=90)
            print(f"killing {victim} behind checkpoints {pairs}", file=sys.stderr)
            self.cluster.kill(victim)
            self.cluster.start(victim)
        eventually(lambda: len(self.unaligned(job)) > 0, "another one behind the restart", 90)
        self.at_its_end(job)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
