#!/usr/bin/env python3
"""A TaskManager that is started again where one died goes on under its name, with what that left,
while its job runs; one that starts afresh for another job keeps its own; and none works for another
cluster than its own.

    identity_test.py WEIR TOTALS_JOB ROWS_JOB
"""

import os
import pathlib
import signal
import sys
import unittest

from cluster import Cluster, eventually
from daemons import Daemons

WEIR, TOTALS, ROWS = sys.argv[1:4]
COUNT = 30_000
RATE = 300  # until everything has been killed that is to be killed


def finals(lines):
    """What the last rows of every key carry: where attempts repeat rows, they repeat these."""
    got = {}
    for line in lines:
        kind, key, count, total, *_ = line.split()
        if int(count) == COUNT // 100:
            got.setdefault((kind, key), set()).add(int(total))
    return got


def expected():
    return {(kind, f"k{k}"): {sum(range(k, COUNT, 100))}
            for kind in ("agg", "own") for k in range(100)}


class Job:
    """A job on two slots, each of a TaskManager of its own."""

    def __init__(self, cluster, backend):
        self.cluster = cluster
        self.out = pathlib.Path(cluster.dir, "lines")
        self.id = cluster.run("run", TOTALS, "--detached", "-p", 2, "--state-backend", backend,
                              "--", "--count", COUNT, "--rate", RATE, "--out", self.out).strip()
        self.progresses(1)

    def describe(self):
        return self.cluster.json("describe", self.id)

    def progresses(self, attempt):
        """Runs under this attempt or a later one, and has a checkpoint of it."""
        def checkpoint():
            details = self.describe()
            status = details["status"]
            return (status["state"] == "RUNNING" and int(status["attempt"]) >= attempt and
                    int(status.get("last_checkpoint_id", 0)))
        before = eventually(checkpoint, f"attempt {attempt} runs")
        eventually(lambda: (checkpoint() or 0) > before, "it takes checkpoints")

    def runs_on(self):
        return {s["tm_id"] for v in self.describe()["vertices"] for s in v["subtasks"]}

    def finishes(self, test):
        self.cluster.run("rate", self.id, "rows", "unlimited")
        eventually(lambda: self.describe()["status"]["state"] == "FINISHED", "it finishes", 60)
        test.assertEqual(finals(self.out.read_text().splitlines()), expected())


class Respawned(unittest.TestCase):
    """By `weir local`, which names them itself."""

    def respawned(self, backend):
        with Cluster(WEIR, "-t", "2", "-s", "1") as cluster:
            job = Job(cluster, backend)
            before = cluster.task_managers()
            os.kill(before["tm-1"]["pid"], signal.SIGKILL)

            def again():
                now = cluster.task_managers()
                return now.get("tm-1", before["tm-1"])["pid"] != before["tm-1"]["pid"] and now
            now = eventually(again, "tm-1 is back")
            self.assertEqual(sorted(now), ["tm-1", "tm-2"])
            self.assertEqual(now["tm-2"]["pid"], before["tm-2"]["pid"])
            job.progresses(2)
            self.assertEqual(job.runs_on(), {"tm-1", "tm-2"})
            self.assertEqual(sorted(os.listdir(f"{cluster.dir}/taskmanagers")), ["tm-1", "tm-2"])
            job.finishes(self)

    def test_with_state_in_memory(self):
        self.respawned("memory")

    def test_with_state_on_its_disk(self):
        self.respawned("rocksdb")


class OfADirectory(unittest.TestCase):
    """Processes that were given no names, beside each other in one directory."""

    def setUp(self):
        self.cluster = Daemons(WEIR, task_managers=2, slots=1, settings={"taskmanager.id": ""})
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None)

    def names(self):
        """The name of each registered process."""
        return {tm["pid"]: name for name, tm in self.cluster.task_managers().items()}

    def pid(self, daemon):
        return self.cluster.processes[daemon].pid

    def registered(self, *daemons):
        return eventually(lambda: (n := self.names()) and
                          all(self.pid(d) in n for d in daemons) and n, "they are registered")

    def test_whoever_comes_next_is_the_one_that_died(self):
        job = Job(self.cluster, "rocksdb")
        names = self.registered("tm-1", "tm-2")
        first, second = names[self.pid("tm-1")], names[self.pid("tm-2")]
        self.assertNotEqual(first, second)

        self.cluster.kill("tm-1")
        self.cluster.start("tm-1")
        names = self.registered("tm-1", "tm-2")
        self.assertEqual((names[self.pid("tm-1")], names[self.pid("tm-2")]), (first, second))
        job.progresses(2)
        self.assertEqual(job.runs_on(), {first, second})

        for daemon in ("tm-1", "tm-2"):
            self.cluster.kill(daemon)
        for daemon in ("tm-2", "tm-1"):
            self.cluster.start(daemon)
        self.assertEqual(set(self.registered("tm-1", "tm-2").values()), {first, second})
        job.progresses(3)
        job.finishes(self)
        kept = sorted(os.listdir(f"{self.cluster.dir}/work"))
        self.assertEqual(kept, sorted(["identities", first, second]))

    def test_who_starts_afresh_for_another_job_keeps_its_name(self):
        before = self.registered("tm-1", "tm-2")
        Job(self.cluster, "memory").finishes(self)
        out = self.cluster.run("run", ROWS, "--parallelism", "2", "--", "--count", "30")
        self.assertEqual(len(out.splitlines()), 30)
        self.assertEqual(self.registered("tm-1", "tm-2"), before)
        for daemon in ("tm-1", "tm-2"):
            log = pathlib.Path(self.cluster.dir, "logs", f"{before[self.pid(daemon)]}.log")
            self.assertEqual(log.read_text().count("TaskManager starts"), 2, "it is the same still")


class OfAnotherCluster(unittest.TestCase):
    """Another cluster's JobManager comes up where that of the TaskManager was."""

    def setUp(self):
        self.cluster = Daemons(WEIR, task_managers=1, slots=2)
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None)

    def swap_job_manager(self, kept, came):
        """The one that runs dies, and another one starts on its address, with what `came` keeps."""
        directory = pathlib.Path(self.cluster.dir, "jobmanager")
        self.cluster.kill("jobmanager")
        directory.rename(kept)
        if came.exists():
            came.rename(directory)
        self.cluster.start("jobmanager")

    def is_refused(self, own):
        process = self.cluster.processes["tm-1"]
        eventually(lambda: process.poll() is not None, "the TaskManager ends")
        self.assertEqual(process.returncode, 1)
        status = self.cluster.json("status")
        self.assertEqual(status.get("task_managers", []), [])
        self.assertNotEqual(status["cluster_id"], own)
        last = pathlib.Path(self.cluster.dir, "logs", "tm-1.log").read_text().splitlines()[-5:]
        for words in (f"'tm-1' belongs to cluster {own}",
                      f"{self.cluster.address} is that of cluster {status['cluster_id']}",
                      "taskmanager.cluster-id"):
            self.assertIn(words, "\n".join(last))

    def test_a_task_manager_keeps_to_its_own(self):
        own = self.cluster.json("status")["cluster_id"]
        job = Job(self.cluster, "memory")
        mine, others = (pathlib.Path(self.cluster.dir, name) for name in ("mine", "others"))
        self.swap_job_manager(kept=mine, came=others)
        self.is_refused(own)
        self.assertEqual(self.cluster.json("list"), [])

        # A new process knows no cluster yet.
        self.cluster.start("tm-1")
        eventually(self.cluster.ready_now, "it works for whom it finds")
        self.cluster.kill("tm-1")

        # Unless it is told its own.
        self.cluster.settings["taskmanager.cluster-id"] = own
        self.cluster.start("tm-1")
        self.is_refused(own)

        self.swap_job_manager(kept=others, came=mine)
        self.cluster.start("tm-1")
        job.progresses(2)
        job.finishes(self)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
