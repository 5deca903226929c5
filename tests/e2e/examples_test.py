#!/usr/bin/env python3
"""The example jobs give the answers that others work out: run straight; and run at parallelism 2,
stopped with a savepoint in the middle, and resumed at parallelism 3; on both state backends.

    examples_test.py WEIR HOT_ITEMS WORD_COUNT ORDERS NEXMARK_ANSWERS
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

from cluster import Cluster, eventually
from daemons import Broker

WEIR = sys.argv[1]
LIBRARIES = dict(zip(("hot-items", "word-count", "orders"), sys.argv[2:5]))
ANSWERS = sys.argv[5]
EVENTS, EVENTS_PER_SECOND = 400_000, 20_000  # the second is the example's own
ORDERS, CUSTOMERS, WINDOW_MS = 4_000, 40, 10_000
# Now, and not 1970: rows reach Kafka with their event time, and it deletes what is old by that.
BEGIN_MS = int(time.time() * 1000) // WINDOW_MS * WINDOW_MS
WORDS = [f"word{i}" for i in range(60)]


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(WEIR, "-t", "2", "-s", "2")
        cls.addClassCleanup(cls.cluster.__exit__, None)
        cls.cluster.__enter__()
        cls.dir = pathlib.Path(cls.cluster.dir)

    def run_job(self, name, backend, parallelism, arguments, *options):
        """What a job that ends by itself has printed."""
        return self.cluster.run("run", LIBRARIES[name], "-p", parallelism, "--state-backend",
                                backend, *options, "--", *arguments).splitlines()

    def stopped(self, name, backend, arguments, under_way=lambda: True):
        """The savepoint of a job stopped in the middle, and what it has printed until then."""
        out = self.dir / f"{self.id()}.out"
        with open(out, "wb") as file, open(f"{out}.err", "wb") as err:
            attached = subprocess.Popen(
                [WEIR, "run", LIBRARIES[name], "-p", "2", "--name", self.id(), "--state-backend",
                 backend, "--checkpoint-interval", "100ms", "--", *map(str, arguments)],
                env=self.cluster.env, stdout=file, stderr=err)

        def checkpointed():
            self.assertIsNone(attached.poll(), pathlib.Path(f"{out}.err").read_text())
            listed = [job for job in self.cluster.json("list") if job["name"] == self.id()]
            return (listed and under_way() and
                    int(self.cluster.json("describe", listed[0]["job_id"])
                        .get("checkpoints_completed", 0)) >= 2)
        eventually(checkpointed, "it is under way and has checkpoints")
        savepoint = self.cluster.json("stop", self.id())["savepoint_path"]
        self.assertEqual(attached.wait(60), 0, pathlib.Path(f"{out}.err").read_text())
        return savepoint, out.read_text().splitlines()

    def resumed(self, name, backend, savepoint, arguments):
        return self.run_job(name, backend, 3, arguments, "--from-savepoint", savepoint)

    # hot_items: the auction with the most bids of each window, by the oracle's query 5.

    def check_hot_items(self, lines):
        hottest = {}
        for line in subprocess.run([ANSWERS, str(EVENTS), str(EVENTS_PER_SECOND)], check=True,
                                   text=True, capture_output=True).stdout.splitlines():
            until, auction, bids = map(int, line.split())
            hottest.setdefault(until, set()).add((auction, bids))
        rows = [json.loads(line.removeprefix("hot> ")) for line in lines]
        self.assertEqual(sorted(row["until"] for row in rows), sorted(hottest))
        for row in rows:  # of equal ones, the example gives any
            self.assertIn((row["auction"], row["bids"]), hottest[row["until"]])

    def hot_items_straight(self, backend):
        self.check_hot_items(self.run_job("hot-items", backend, 1,
                                          ("--events", EVENTS, "--rate", 0)))

    def hot_items_resumed(self, backend):
        arguments = ("--events", EVENTS, "--rate", EVENTS // 8)
        savepoint, before = self.stopped("hot-items", backend, arguments)
        after = self.resumed("hot-items", backend, savepoint, arguments)
        self.assertTrue(after, "it was not stopped in the middle")
        self.check_hot_items(before + after)

    # word_count: the last line of a word is the answer.

    def text(self, repeats):
        """Two files with every word `repeats` times in each."""
        paths = [self.dir / f"text-{repeats}-{i}" for i in range(2)]
        for path in paths:
            if not path.exists():
                path.write_text(("; ".join(WORDS[:30]) + "\n" + " ".join(WORDS[30:]).upper() +
                                 "\r\n") * repeats)
        return ("--files", ",".join(map(str, paths)))

    @staticmethod
    def counts(lines):
        """By word: every count printed."""
        counts = collections.defaultdict(list)
        for line in lines:
            row = json.loads(line)
            counts[row["word"]].append(row["count"])
        return counts

    def word_count_straight(self, backend):
        counts = self.counts(self.run_job("word-count", backend, 1, self.text(60)))
        self.assertEqual(counts, {word: list(range(1, 121)) for word in WORDS})

    def word_count_resumed(self, backend):
        repeats = 20_000
        savepoint, before = self.stopped("word-count", backend,
                                         (*self.text(repeats), "--rate", repeats // 5))
        after = self.resumed("word-count", backend, savepoint, self.text(repeats))
        self.assertTrue(after, "it was not stopped in the middle")
        before, after = self.counts(before), self.counts(after)
        # Of so many lines the terminal shows the newest ones.
        self.assertEqual({word: max(c) for word, c in after.items()},
                         {word: 2 * repeats for word in WORDS})
        for word, c in before.items():
            self.assertLess(max(c), min(after[word]), word)

    # orders: exactly once from Kafka to Kafka. Every test adds ORDERS rows to the topic, and its job
    # reads all that are there.

    produced = 0

    @classmethod
    def broker(cls):
        if not hasattr(cls, "address"):
            directory = tempfile.TemporaryDirectory(prefix="weir_examples_")
            cls.addClassCleanup(directory.cleanup)
            broker = Broker(directory.name)
            cls.enterClassContext(broker)
            for topic in ("orders", "totals", "window-totals"):
                broker.topic(topic, 4)
            cls.address = broker.address
        return cls.address

    @staticmethod
    def order(i):
        return {"customer": f"c{i * 7 % CUSTOMERS}", "cents": i, "at": BEGIN_MS + i * 10}

    def produce(self, count):
        rows = [self.order(Examples.produced + i) for i in range(count)]
        Examples.produced += count
        subprocess.run(["kcat", "-b", self.broker(), "-P", "-t", "orders", "-K:"], text=True,
                       input="".join(f"{o['customer']}:{json.dumps(o)}\n" for o in rows), check=True)

    def committed(self):
        """What a read-committed reader finds, in both topics."""
        found = collections.Counter()
        for topic in ("totals", "window-totals"):
            found.update(subprocess.run(
                ["kcat", "-b", self.broker(), "-C", "-t", topic, "-o", "beginning", "-e", "-q",
                 "-X", "isolation.level=read_committed"], check=True, text=True,
                capture_output=True).stdout.splitlines())
        return found

    def check_orders(self, already):
        rows, spent = [], collections.defaultdict(lambda: [0, 0])
        windows = collections.defaultdict(lambda: [0, 0])
        for o in map(self.order, range(Examples.produced)):
            until = o["at"] // WINDOW_MS * WINDOW_MS + WINDOW_MS
            for total in (spent[o["customer"]], windows[o["customer"], until]):
                total[0] += 1
                total[1] += o["cents"]
            orders, cents = spent[o["customer"]]
            rows.append({"customer": o["customer"], "orders": orders, "cents": cents})
        rows += [{"customer": customer, "until": until, "orders": orders, "cents": cents}
                 for (customer, until), (orders, cents) in windows.items()]
        want = collections.Counter(json.dumps(row, separators=(",", ":")) for row in rows)
        # Kafka answers a commit before all partitions show it.
        eventually(lambda: (self.committed() - already).total() >= want.total(), "all is visible")
        got = self.committed()
        got.subtract(already)
        wrong = [(row, got[row], want[row]) for row in got | want if got[row] != want[row]]
        self.assertFalse(wrong, f"{len(wrong)} rows: found, expected: {wrong[:5]}")

    def orders_straight(self, backend):
        already = self.committed()
        self.produce(ORDERS)
        self.run_job("orders", backend, 1, ("--brokers", self.broker(), "--bounded"))
        self.check_orders(already)

    def orders_resumed(self, backend):
        already = self.committed()
        self.produce(ORDERS // 2)
        arguments = ("--brokers", self.broker())
        savepoint, _ = self.stopped(
            "orders", backend, arguments,
            lambda: (self.committed() - already).total() >= Examples.produced)
        self.produce(ORDERS // 2)
        self.resumed("orders", backend, savepoint, (*arguments, "--bounded"))
        self.check_orders(already)


for example in ("hot_items", "word_count", "orders"):
    for how in ("straight", "resumed"):
        for backend_name in ("memory", "rocksdb"):
            def test(self, run=f"{example}_{how}", backend=backend_name):
                getattr(self, run)(backend)
            setattr(Examples, f"test_{example}_{how}_on_{backend_name}", test)

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[6:], verbosity=2)
