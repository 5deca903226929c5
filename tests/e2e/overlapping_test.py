#!/usr/bin/env python3
"""Checkpoints that overlap, because the storage takes longer for each than the interval is: every
key has its exact total whatever is killed, on both state backends, with barriers that wait and
with barriers that overtake rows.

    overlapping_test.py WEIR TOTALS_JOB [--all] [SEED]

--all: each backend with each kind of barriers; without it, each of these once.
"""

import os
import pathlib
import random
import sys
import time
import unittest

from answers import expected_totals, totals
from cluster import eventually
from daemons import SlowStorage, overlaps

WEIR, JOB = sys.argv[1:3]
ALL = "--all" in sys.argv
SEEDS = [word for word in sys.argv[3:] if word != "--all"]
SEED = int(SEEDS[0]) if SEEDS else int.from_bytes(os.urandom(4), "little")
COUNT = 40_000
RATE = 500  # so long as processes are killed
ROUNDS = 3


class Overlapping(unittest.TestCase):
    def setUp(self):
        self.cluster = SlowStorage(WEIR, task_managers=2, slots=2)
        self.addCleanup(self.cluster.__exit__, None)
        self.cluster.__enter__()
        self.out = pathlib.Path(self.cluster.dir, "out")

    def start(self, *options):
        return self.cluster.run("run", JOB, "-p", 4, "--detached", "--checkpoint-interval", "100ms",
                                *options, "--", "--count", COUNT, "--limit", RATE, "--out",
                                self.out).strip()

    def details(self, job):
        """A JobManager that is not there (yet) knows none."""
        try:
            return self.cluster.json("describe", job)
        except AssertionError:
            return {}

    def exact(self, backend, aligned_timeout):
        dice = random.Random(SEED)
        print(f"seed {SEED}", flush=True)
        job = self.start("--state-backend", backend, "--aligned-timeout", aligned_timeout,
                         "--max-concurrent-checkpoints", "3")
        newest, most, unaligned = 0, 0, 0
        victims = ["tm-1", "tm-2", "jobmanager"]
        dice.shuffle(victims)
        for victim in victims[:ROUNDS]:
            def overlapped(newest=newest):
                return [pair for pair in overlaps(self.details(job)) if pair[0] > newest]
            pairs = eventually(overlapped, "checkpoints that overlap are complete", limit_s=60)
            newest, most = max(pair[1] for pair in pairs), most + len(pairs)
            unaligned += sum(c.get("unaligned", False) for c in self.details(job)["checkpoints"])
            time.sleep(dice.uniform(0, 0.5))  # the random moment
            self.assertTrue(self.cluster.kill(victim), f"{victim} had died by itself")
            self.cluster.start(victim)
            eventually(self.cluster.ready_now, f"{victim} is back")
            print(f"killed {victim} behind checkpoint {newest}", flush=True)
        self.cluster.run("rate", job, "rows", "unlimited")
        eventually(lambda: self.details(job).get("status", {}).get("state") == "FINISHED",
                   "the job ends", limit_s=120)
        print(f"{most} pairs of overlapping checkpoints, {unaligned} unaligned ones", flush=True)
        self.assertEqual(unaligned > 0, aligned_timeout == "0s")
        seen, finals = totals(self.out.read_text().splitlines(), COUNT)
        all_seen, all_finals = expected_totals(COUNT)
        self.assertEqual(set(seen), set(all_seen))
        self.assertEqual(finals, all_finals)

    def test_in_memory_aligned(self):
        self.exact("memory", "never")

    @unittest.skipUnless(ALL, "only with --all")
    def test_in_memory_unaligned(self):
        self.exact("memory", "0s")

    @unittest.skipUnless(ALL, "only with --all")
    def test_on_rocksdb_aligned(self):
        self.exact("rocksdb", "never")

    def test_on_rocksdb_unaligned(self):
        self.exact("rocksdb", "0s")

    def test_one_at_a_time_they_do_not(self):
        job = self.start()
        eventually(lambda: int(self.details(job).get("checkpoints_completed", 0)) >= 5,
                   "checkpoints are complete", limit_s=60)
        self.assertEqual(overlaps(self.details(job)), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
