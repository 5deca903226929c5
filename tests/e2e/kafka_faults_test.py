#!/usr/bin/env python3
"""What a user sees when something is wrong with Kafka: brokers that are not there or die, topics
that are missing, records that nobody can read or that the broker refuses.

    kafka_faults_test.py WEIR LETTERS_JOB ROUNDS
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

from cluster import eventually
from daemons import Broker, Daemons

WEIR, JOB, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
CANCEL_LIMIT_S = 15  # the client has limits of half a minute and more of its own


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="weir_kafka_")
        cls.addClassCleanup(cls.directory.cleanup)
        cls.broker = Broker(cls.directory.name)
        cls.broker.start()
        cls.addClassCleanup(cls.broker.kill)
        cls.broker.wait()
        cls.cluster = Daemons(WEIR)
        cls.addClassCleanup(cls.cluster.__exit__, None)
        cls.cluster.__enter__()
        cls.topics = 0

    def setUp(self):
        type(self).topics += 1
        self.names = {kind: f"{kind}{self.topics}" for kind in ("in", "bad", "out")}
        for name in self.names.values():
            self.broker.topic(name, 2)
        self.processes = {name: process.pid for name, process in self.cluster.processes.items()}

    def tearDown(self):
        for name, process in self.cluster.processes.items():
            self.assertIsNone(process.poll(), f"{name} died")
        for job in self.cluster.json("list", "--running"):
            self.cluster.run("cancel", job["job_id"])

    def arguments(self, **topics):
        names = self.names | topics
        return ["--", "--brokers", self.broker.address,
                *(word for kind, name in names.items() for word in (f"--{kind}", name))]

    def start(self):
        return self.cluster.run("run", JOB, "-p", "2", "--detached", *self.arguments()).strip()

    def describe(self, job):
        return self.cluster.json("describe", job)

    def checkpoints(self, job):
        return int(self.describe(job).get("checkpoints_completed", 0))

    def progresses(self, job):
        before = self.checkpoints(job)
        try:
            eventually(lambda: self.checkpoints(job) > before + 1, "checkpoints are complete", 60)
        except AssertionError:
            print(json.dumps(self.describe(job), indent=1))
            raise

    def produce(self, *values):
        subprocess.run(["kcat", "-b", self.broker.address, "-P", "-t", self.names["in"]],
                       input="\n".join(values).encode(), check=True)

    def read(self, kind):
        done = subprocess.run(["kcat", "-b", self.broker.address, "-C", "-t", self.names[kind],
                               "-e", "-q", "-J", "-X", "isolation.level=read_committed"],
                              capture_output=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_what_is_missing_is_refused_where_the_job_is_submitted(self):
        for kind in ("in", "bad", "out"):
            self.cluster.run("run", JOB, *self.arguments(**{kind: "nowhere"}), code=2)
            for words in ("topic nowhere", self.broker.address, "create it"):
                self.assertIn(words, self.cluster.stderr)
        self.cluster.run("run", JOB, "--", "--brokers", "127.0.0.1:1", code=2)
        self.assertIn("no Kafka broker answers at 127.0.0.1:1", self.cluster.stderr)

    def test_a_record_that_the_broker_refuses_ends_the_job_by_name(self):
        job = self.start()
        self.progresses(job)
        self.produce('{"key":"ann","seq":1}', '{"key":"bob","seq":2,"ahead_ms":7200000}')
        eventually(lambda: self.describe(job)["status"]["state"] == "FAILED", "it fails", 60)
        status = self.describe(job)["status"]
        self.assertEqual(status.get("restarts", 0), 0)
        self.assertIn(f"kafka {self.names['out']}", status["failure"]["operator_name"])
        for words in (self.names["out"], "timestamp 20", "message.timestamp.after.max.ms"):
            self.assertIn(words, status["failure"]["message"])
        directory = self.describe(job)["checkpoint_directory"]
        self.assertIn(f"--from-savepoint {directory}`", self.cluster.run("describe", job))
        self.assertTrue(list(pathlib.Path(directory, "log").iterdir()))
        self.cluster.kill("jobmanager")
        self.cluster.start("jobmanager")
        eventually(self.cluster.ready_now, "the cluster is back", 60)
        self.assertIn(f"--from-savepoint {directory}`", self.cluster.run("describe", job))

    def test_bad_records_go_to_their_topic_once_through_a_kill(self):
        job = self.start()
        bad = 0
        for turn in range(3):
            self.produce(*(f'{{"key":"k","seq":{turn * 100 + i}}}' if i % 10 else f"no json {turn}.{i}"
                           for i in range(100)))
            bad += 10
            self.progresses(job)
            victim = f"tm-{turn % 2 + 1}"
            self.cluster.kill(victim)
            self.cluster.start(victim)
            self.progresses(job)
        eventually(lambda: len(self.read("out")) >= 27 * 10, "all rows are there", 60)
        eventually(lambda: len(self.read("bad")) >= bad, "all dead letters are there", 60)
        self.cluster.run("stop", job)
        letters = self.read("bad")
        self.assertEqual(sorted(letter["payload"] for letter in letters),
                         sorted(f"no json {turn}.{i}" for turn in range(3)
                                for i in range(0, 100, 10)))
        headers = dict(zip(letters[0]["headers"][::2], letters[0]["headers"][1::2]))
        self.assertEqual(headers["weir.topic"], self.names["in"])
        self.assertIn("weir.reason", headers)
        rows = self.read("out")
        self.assertEqual(len(rows), 27 * 10)
        self.assertEqual(len({row["payload"] for row in rows}), 27 * 10)
        self.assertEqual(rows[0]["headers"], ["from", self.names["in"]])

    def test_to_at_least_once_and_back_every_row_is_there_once(self):
        savepoint = None
        for turn, delivery in enumerate(((), ("--at-least-once",), ())):
            begin = ("--from-savepoint", savepoint) if savepoint else ()
            job = self.cluster.run("run", JOB, "-p", "2", "--detached", *begin, *self.arguments(),
                                   *delivery).strip()
            self.produce(*(f'{{"key":"k","seq":{turn * 100 + i}}}' for i in range(100)))
            eventually(lambda until=(turn + 1) * 100: len(self.read("out")) >= until,
                       "its rows are published", 60)
            savepoint = self.cluster.json("stop", job)["savepoint_path"]
            self.assertEqual(self.describe(job)["status"].get("restarts", 0), 0)
        self.assertEqual(sorted(json.loads(row["payload"])["seq"] for row in self.read("out")),
                         list(range(300)))

    def test_a_start_at_the_end_stays_where_it_was_through_a_kill(self):
        self.produce('{"key":"k","seq":1}')
        job = self.cluster.run("run", JOB, "-p", "2", "--detached", "--checkpoint-interval", "1h",
                               *self.arguments(), "--from-now").strip()
        eventually(lambda: self.checkpoints(job) >= 1, "a checkpoint holds the start", 60)
        self.produce(*(f'{{"key":"k","seq":{100 + i}}}' for i in range(100)))
        for victim in ("tm-1", "tm-2"):
            self.cluster.kill(victim)
            self.cluster.start(victim)

        def published():
            # Before all tasks run there is none to be had; the next look asks again.
            try:
                self.cluster.run("savepoint", job)
            except AssertionError:
                return False
            return len(self.read("out")) >= 100
        eventually(published, "all that came since the start is there", 60)
        self.assertEqual(sorted(json.loads(row["payload"])["seq"] for row in self.read("out")),
                         list(range(100, 200)))
        self.assertGreater(self.describe(job)["status"]["restarts"], 0)

    def test_brokers_that_die_under_running_and_cancelled_jobs(self):
        for number in range(ROUNDS):
            # Transactions of a job that is cancelled without its broker stay open there for a
            # minute, and now and then the broker forgets one while it starts: markers behind them
            # cannot be read. The next round shall not wait for that.
            self.names["markers"] = f"markers-{number}"
            self.broker.wait()
            job = self.start()
            self.produce(*(f'{{"key":"k","seq":{i}}}' for i in range(1000)))
            if number % 3:
                self.progresses(job)
            self.broker.kill()
            if number % 3 == 2:  # it only was away for a moment
                self.broker.start()
                self.broker.wait()
                self.progresses(job)
                self.assertEqual(self.describe(job)["status"].get("restarts", 0), 0)
            begin = time.monotonic()
            self.cluster.run("cancel", job)
            eventually(lambda: self.describe(job)["status"]["state"] == "CANCELED"
                       and all(tm["free_slots"] == tm["slots"]
                               for tm in self.cluster.task_managers().values()),
                       "it is cancelled, and its slots are free")
            took = time.monotonic() - begin
            print(f"round {number}: cancelled after {took:.2f} s", flush=True)
            self.assertLess(took, CANCEL_LIMIT_S)
            self.tearDown()
            if number % 3 != 2:
                self.broker.start()
        self.broker.wait()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
