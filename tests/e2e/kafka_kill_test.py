#!/usr/bin/env python3
"""Kafka to Kafka exactly once, with processes killed at random moments, judged by a reader that
shares no code with Weir.

    kafka_kill_test.py WEIR SEQUENCES_JOB ROUNDS [--overlapping] [SEED]

--overlapping: the storage takes longer for a checkpoint than the interval is, and several of them
are under way.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import unittest

from cluster import eventually
from daemons import KAFKA, Broker, Daemons, Sequences, SlowStorage, Witness, overlaps

WEIR, JOB, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
OVERLAPPING = "--overlapping" in sys.argv
SEEDS = [word for word in sys.argv[4:] if word != "--overlapping"]
SEED = int(SEEDS[0]) if SEEDS else int.from_bytes(os.urandom(4), "little")
KEYS = 100
RATE = 20_000
LIMIT_S = 60


class Kills(unittest.TestCase):
    def overlapped(self, cluster, job, since):
        """Pairs of which the newer is newer than the checkpoint `since`."""
        try:
            return [pair for pair in overlaps(cluster.json("describe", job)) if pair[1] > since]
        except AssertionError:
            return []

    def newest(self, cluster, job):
        try:
            found = cluster.json("describe", job).get("checkpoints", [])
        except AssertionError:
            return 0
        return max((int(checkpoint["id"]) for checkpoint in found), default=0)

    def checkpoints(self, cluster, job):
        """Completed ones; a JobManager that is not there (yet) knows none."""
        try:
            return int(cluster.json("describe", job).get("checkpoints_completed", 0))
        except AssertionError:
            return 0

    def verdicts(self, broker, fields, last):
        """The reader's exit code, and what it says by each of the fields."""
        done = subprocess.run(
            [KAFKA / "verify_reader.py", broker.address, "out", "--sequences",
             *(word for field in fields for word in ("--sequence-field", field)),
             "--keys", str(KEYS), "--last", str(last)], capture_output=True, text=True,
            check=False)
        print(f"verdicts by {', '.join(fields)}: {done.stdout.strip()} {done.stderr.strip()}",
              flush=True)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def test_every_key_counts_on_without_a_gap(self):
        dice = random.Random(SEED)
        print(f"seed {SEED}, {ROUNDS} rounds", flush=True)
        victims = (["tm-1"], ["tm-2"], ["jobmanager"], ["jobmanager", "tm-1"],
                   ["tm-2", "jobmanager"])
        order = [victims[i % len(victims)] for i in range(ROUNDS)]
        dice.shuffle(order)
        with tempfile.TemporaryDirectory(prefix="weir_kafka_") as directory, \
                Broker(directory) as broker, \
                (SlowStorage if OVERLAPPING else Daemons)(WEIR) as cluster:
            broker.topic("in", 4)
            broker.topic("out", 3)
            options = ["--checkpoint-interval", "100ms", "--max-concurrent-checkpoints",
                       "3"] if OVERLAPPING else []
            job = cluster.run("run", JOB, "-p", "2", "--detached", *options, "--", "--brokers",
                              broker.address).strip()
            source = Sequences(broker, "in", KEYS, RATE)
            witness = Witness(broker, "out")
            self.addCleanup(witness.close)
            self.addCleanup(source.stopping.set)
            before = newest = 0
            for number, names in enumerate(order):
                seen = witness.count
                # Work is under way again: new results and new checkpoints since the last kill.
                eventually(lambda: witness.count > seen and
                           self.checkpoints(cluster, job) >= before + 2,
                           f"round {number}: results and checkpoints", LIMIT_S)
                if OVERLAPPING:
                    eventually(lambda: self.overlapped(cluster, job, newest),
                               f"round {number}: checkpoints that overlap", LIMIT_S)
                time.sleep(dice.uniform(0, 1.5))  # the random moment
                before = self.checkpoints(cluster, job)
                newest = max(newest, self.newest(cluster, job))
                for name in names:
                    self.assertTrue(cluster.kill(name), f"{name} had died by itself")
                killed, seen = time.monotonic(), witness.count
                for name in names:
                    cluster.start(name)
                eventually(lambda: witness.count > seen, f"round {number}: results", LIMIT_S)
                print(f"round {number}: killed {' and '.join(names)}; next result after "
                      f"{time.monotonic() - killed:.2f} s", flush=True)
            written = source.finish()
            eventually(lambda: witness.count >= written, f"all {written} records are there",
                       2 * LIMIT_S)
            self.assertIn("savepoint_path", cluster.json("stop", job))
            code, verdicts = self.verdicts(broker, ("seq", "count"), source.last)
            self.assertEqual(code, 0)
            self.assertEqual([verdict["records"] for verdict in verdicts], [written, written])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
