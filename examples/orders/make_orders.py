#!/usr/bin/env python3
"""make_orders.py [--count N] [--per-second R] [--customers C]: orders for the topic `orders`.

Writes lines "customer:{json}" for `kcat -P -K :`, so many a second. Their times begin now and are
10 ms apart, with some up to a second late; all else is the same in every run. (Results are written
with event time as Kafka's timestamp, and Kafka deletes what is older than a topic's retention.)
"""
import argparse
import json
import random
import sys
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--per-second", type=float, default=1000)
    parser.add_argument("--customers", type=int, default=20)
    options = parser.parse_args()

    draw = random.Random(1)
    begin = time.monotonic()
    first = int(time.time() * 1000)
    for i in range(options.count):
        ahead = i / options.per_second - (time.monotonic() - begin)
        if ahead > 0.02:
            sys.stdout.flush()
            time.sleep(ahead)
        customer = "customer-%02d" % draw.randrange(options.customers)
        late = draw.randrange(1000) if draw.random() < 0.1 else 0
        print(customer + ":" + json.dumps({"customer": customer, "cents": draw.randrange(100, 10_000),
                                           "at": first + i * 10 - late}))


if __name__ == "__main__":
    main()
