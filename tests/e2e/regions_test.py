#!/usr/bin/env python3
"""A job of two pipelines that nothing connects, each in slots of its own: one fails, by an exception
or with its TaskManager, and restarts; the other runs on, and gives every result once.

    regions_test.py WEIR PIPELINES_JOB
"""

import collections
import os
import pathlib
import signal
import sys
import unittest

from cluster import OneCluster, eventually

OneCluster.WEIR, JOB = sys.argv[1:3]
COUNT = 40_000
RATE = 500  # until both pipelines have gone on


class Regions(OneCluster):
    OPTIONS = ("-t", "3", "-s", "1")

    def setUp(self):
        self.out = pathlib.Path(self.cluster.dir, self.id().rsplit(".")[-1])
        self.throw = pathlib.Path(f"{self.out}.throw")
        self.job = self.start(JOB, "-p", 1, "--", "--count", COUNT, "--rate", RATE, "--out",
                              self.out, "--throw", self.throw, checkpoints=2)

    def vertices(self, pipeline):
        return [v for v in self.describe(self.job)["vertices"] if v["slot_sharing_group"] == pipeline]

    def placed(self, pipeline):
        """(region, attempt, TaskManager) of the pipeline's subtasks."""
        found = {(v["region"], s.get("attempt"), s.get("tm_id"))
                 for v in self.vertices(pipeline) for s in v["subtasks"]}
        self.assertEqual(len(found), 1, "one region, one attempt, one slot")
        return found.pop()

    def counts(self, pipeline):
        lines = pathlib.Path(f"{self.out}.{pipeline}").read_text().splitlines()
        return collections.Counter(lines)

    def check_after(self, fail):
        clicks, orders = self.placed("clicks"), self.placed("orders")
        self.assertNotEqual(clicks[0], orders[0])
        self.assertEqual(self.describe(self.job)["slots"], 2)
        fail(orders[2])

        def restarted():
            status = self.describe(self.job)["status"]
            return status["restarts"] == 1 and status["state"] == "RUNNING"

        eventually(restarted, "the orders run again")
        self.assertEqual(self.placed("clicks"), clicks, "they were not touched")
        self.assertGreater(self.placed("orders")[1], orders[1])
        before = self.checkpoints(self.job)
        eventually(lambda: self.checkpoints(self.job) > before, "a checkpoint of both")
        for uid in ("orders", "clicks"):
            self.cluster.run("rate", self.job, uid, "unlimited")
        eventually(lambda: self.state(self.job) == "FINISHED", "the job ends", 60)
        every = {f"{{}} k{k} {n + 1}" for k in range(10) for n in range(COUNT // 10)}
        self.assertEqual(self.counts("clicks"),
                         collections.Counter(line.format("clicks") for line in every))
        self.assertEqual(set(self.counts("orders")), {line.format("orders") for line in every},
                         "its state is exact: none is lost, and none counts further")

    def test_an_exception(self):
        self.check_after(lambda _: self.throw.write_text(""))

    def test_a_killed_taskmanager(self):
        self.check_after(lambda tm: os.kill(self.cluster.task_managers()[tm]["pid"],
                                            signal.SIGKILL))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
