#!/usr/bin/env python3
"""check.py BROKERS [--window SECONDS]: is everything in `totals` and `window-totals` right?

Reads the three topics with kcat, works out from `orders` what the job must have written, and compares
with what a read-committed reader sees: each result once, none missing, none other. Shares no code
with Weir. Exit code 0: as it should be; 1: it is not.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys

READER = pathlib.Path(__file__).resolve().parents[2] / "tools" / "kafka" / "verify_reader.py"


def read(brokers, topic):
    """The payloads of a topic, in the order of offsets within a partition."""
    lines = subprocess.run([READER, brokers, topic], stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(json.loads(line)["payload"]) for line in lines.splitlines()]


def compare(topic, expected, seen):
    """Both are multisets. Prints the verdict; true if they are the same."""
    missing, extra = expected - seen, seen - expected
    print("%s: %d results, %d missing, %d wrong or repeated" %
          (topic, seen.total(), missing.total(), extra.total()))
    for what, some in (("missing", missing), ("wrong or repeated", extra)):
        for result in list(some)[:3]:
            print("  %s: %s" % (what, result))
    return not missing and not extra


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("brokers")
    parser.add_argument("--window", type=int, default=10)
    options = parser.parse_args()

    orders = read(options.brokers, "orders")
    size = options.window * 1000
    totals, windows = collections.Counter(), collections.Counter()
    so_far = collections.defaultdict(lambda: (0, 0))
    in_window = collections.defaultdict(lambda: (0, 0))
    for order in orders:
        # A customer's orders lie in one partition, so they are read in the order that counts.
        who, until = order["customer"], order["at"] // size * size + size
        so_far[who] = (so_far[who][0] + 1, so_far[who][1] + order["cents"])
        totals[(who, *so_far[who])] += 1
        sums = in_window[who, until]
        in_window[who, until] = (sums[0] + 1, sums[1] + order["cents"])
    for (who, until), sums in in_window.items():
        windows[(who, until, *sums)] += 1

    print("orders: %d of %d customers" % (len(orders), len(so_far)))
    right = [
        compare("totals", totals, collections.Counter(
            (t["customer"], t["orders"], t["cents"]) for t in read(options.brokers, "totals"))),
        compare("window-totals", windows, collections.Counter(
            (t["customer"], t["until"], t["orders"], t["cents"])
            for t in read(options.brokers, "window-totals"))),
    ]
    return 0 if orders and all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
