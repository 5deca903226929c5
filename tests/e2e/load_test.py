#!/usr/bin/env python3
"""The load simulator gives the rate, the skew and the size that it is asked for.

    load_test.py WEIR LOAD_JOB
"""

import json
import sys
import time
import unittest

from cluster import OneCluster, eventually

OneCluster.WEIR, LOAD = sys.argv[1:3]
RATE, SECONDS, KEYS, SIZE = 10_000, 3, 100, 50


class Load(OneCluster):
    OPTIONS = ("-t", "1", "-s", "2")

    def seconds(self, *options):
        begun = time.monotonic()
        lines = self.cluster.run("run", LOAD, "-p", 2, "--", "--rate", RATE, "--keys", KEYS,
                                 "--size", SIZE, "--count", RATE * SECONDS, *options).splitlines()
        self.assertGreater(time.monotonic() - begun, SECONDS - 1.2, "faster than the rate")
        seconds = [json.loads(line.removeprefix("load> ")) for line in lines]
        self.assertEqual([s["second"] for s in seconds], list(range(SECONDS)))
        for second in seconds:
            self.assertEqual(second["rows"], RATE)
            self.assertEqual(second["bytes"], RATE * SIZE)
            self.assertEqual(second["keys"], KEYS)
        return seconds

    def test_even_keys(self):
        for second in self.seconds():
            self.assertLess(second["rows_of_hottest"], 2 * RATE / KEYS)

    def test_uneven_keys(self):
        hottest = RATE / sum(k ** -1.2 for k in range(1, KEYS + 1))
        for second in self.seconds("--skew", 1.2):
            self.assertLess(abs(second["rows_of_hottest"] - hottest), 0.1 * hottest)

    def test_the_pace_is_changed_while_it_runs(self):
        job = self.start(LOAD, "--", "--rate", "100")
        self.cluster.run("rate", job, "rows", "unlimited")

        def rows():
            vertex = next(v for v in self.describe(job)["vertices"] if v["uid"] == "rows")
            return sum(int(s.get("metrics", {}).get("records_in", 0)) for s in vertex["subtasks"])
        eventually(lambda: rows() > 20_000, "it goes faster")

    def test_what_it_cannot_do_is_refused(self):
        for option, value in (("--skew", "-1"), ("--keys", "0"), ("--size", "-5"), ("--rate", "0")):
            self.cluster.run("run", LOAD, "--", option, value, code=2)
            self.assertIn(option, self.cluster.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
