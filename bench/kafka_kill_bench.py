#!/usr/bin/env python3
"""kill -9 of a TaskManager: how long until a read-committed reader sees the next result?

A real broker, a cluster of processes with one spare slot, 50,000 records a second of 100 bytes, Kafka
to Kafka exactly once, keyed counts and sums in RocksDB, parallelism 2, everything else as it is by
default: checkpoints each 1 s, the first restart at once. Each kill hits a new job, after it has
completed some checkpoints, at a random moment. In the end every result must be there once.
"""

import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

import report

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from cluster import eventually  # noqa: E402
from daemons import Broker, Daemons, spawn  # noqa: E402

PARTITIONS = 4
KEYS = 1000
SILENCE_S = 0.5


class Watcher:
    """When a read-committed reader saw records: (seconds of time.monotonic, how many)."""

    def __init__(self, client, broker, topic):
        self.seen, self.count = [], 0
        self.process = spawn([client, "watch", broker.address, topic], stdout=subprocess.PIPE,
                             text=True)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            at, records = map(int, line.split())
            self.count += records
            self.seen.append((at / 1e9, records))

    def close(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()


class Bench:
    def __init__(self, options, broker, cluster):
        self.options, self.broker, self.cluster = options, broker, cluster
        self.client = options.build / "bench" / "kafka_client"

    def ask(self, verb, *arguments):
        done = subprocess.run([self.client, verb, self.broker.address, *map(str, arguments)],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"kafka_client {verb} {arguments}: {done.stdout} {done.stderr}")
        return json.loads(done.stdout) if done.stdout else {}

    def used(self, job):
        """The TaskManagers that the job runs on."""
        subtasks = [s for v in self.cluster.json("describe", job)["vertices"]
                    for s in v["subtasks"]]
        return sorted({s["tm_id"] for s in subtasks})

    def completed(self, job):
        return int(self.cluster.json("describe", job).get("checkpoints_completed", 0))

    @staticmethod
    def next_result(watcher, killed):
        """What was committed before the kill may still be on its way to the reader; what counts is
        the first result after a silence."""
        before = killed
        for at, _ in watcher.seen:
            if at > before + SILENCE_S:
                return at
            before = max(before, at)
        return None

    def round(self, number):
        """Seconds from the kill to the next result."""
        source, sink = f"in-{number}", f"out-{number}"
        for topic in (source, sink):
            self.ask("topic", topic, PARTITIONS)
        feed = spawn([self.client, "feed", self.broker.address, source, str(self.options.rate),
                      str(KEYS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        watcher = Watcher(self.client, self.broker, sink)
        try:
            job = self.cluster.run("run", self.options.build / "bench" / "libkafka_bench_job.so",
                                   "-p", 2, "--detached", "--", "--job", "keyed", "--brokers",
                                   self.broker.address, "--in", source, "--out", sink).strip()
            eventually(lambda: self.completed(job) >= 5 and watcher.count > 0, "checkpoints", 60)
            victim = random.choice(self.used(job))
            time.sleep(random.uniform(0, 1))
            self.cluster.kill(victim)
            killed = time.monotonic()
            wall = time.strftime("%H:%M:%S", time.gmtime()) + f".{int(time.time() % 1 * 1000):03d}"
            eventually(lambda: self.next_result(watcher, killed), "results after the kill", 60)
            outage = self.next_result(watcher, killed) - killed
            print(f"kill {number}: {victim} at {wall}; next result after {outage:.2f} s",
                  flush=True)
            self.cluster.start(victim)
            feed.stdin.close()
            fed = json.loads(feed.stdout.read())["records"]
            feed.wait()
            eventually(lambda: watcher.count >= fed, f"all {fed} results", 60)
            self.cluster.json("stop", job)
            verdict = self.ask("judge", sink, fed)
            print(f"kill {number}: {json.dumps(verdict)}", flush=True)
            return outage
        finally:
            feed.kill()
            watcher.close()


def main():
    parser = report.arguments(__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--keep-logs", metavar="DIR", help="copy the daemons' logs there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weir_bench_") as directory, \
            Broker(directory) as broker, \
            Daemons(options.build / "bin" / "weir", 3, 1) as cluster:
        bench = Bench(options, broker, cluster)
        try:
            outages = [bench.round(number + 1) for number in range(options.kills)]
        finally:
            if options.keep_logs:
                subprocess.run(["cp", "-r", f"{cluster.dir}/logs", options.keep_logs], check=False)
    report.show(report.measured("kill to next result, median", "s", outages, must=3),
                options.json)
    report.show(report.measured("kill to next result, worst", "s", [max(outages)], must=5),
                options.json)


if __name__ == "__main__":
    main()
