#!/usr/bin/env python3
"""Kafka to Kafka, exactly once, on a cluster of processes: what Weir costs above librdkafka.

A real broker holds a topic of records of 100 bytes. In turn: librdkafka copies it in transactions of
1 s (kafka_client copy), Weir copies it, and Weir counts and sums it per key in RocksDB; parallelism 2,
two TaskManagers of one slot, checkpoints each 1 s. The CPU time is that of the client: user and
system of all TaskManagers, or of kafka_client. What was written is compared with what was read.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import report

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from daemons import Broker, Daemons  # noqa: E402

PARTITIONS = 4
TICKS = os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, options, broker, cluster):
        self.options, self.broker, self.cluster = options, broker, cluster
        self.job = options.build / "bench" / "libkafka_bench_job.so"

    def client(self, verb, *arguments):
        done = subprocess.run([self.options.build / "bench" / "kafka_client", verb,
                               self.broker.address, *map(str, arguments)],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"kafka_client {verb} {arguments}: {done.stdout} {done.stderr}")
        return json.loads(done.stdout) if done.stdout else {}

    def cpu(self):
        total = 0
        for name, process in self.cluster.processes.items():
            if name != "jobmanager":
                fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1]
                total += sum(map(int, fields.split()[11:13]))
        return total / TICKS

    def weir(self, job):
        """One run to the end of the topic; CPU and wall seconds."""
        self.client("topic", "out", PARTITIONS)
        cpu, begun = self.cpu(), time.monotonic()
        self.cluster.run("run", self.job, "-p", 2, "--", "--job", job, "--brokers",
                         self.broker.address, "--in", "in", "--out", "out", "--bounded")
        return self.cpu() - cpu, time.monotonic() - begun

    def librdkafka(self):
        self.client("topic", "out", PARTITIONS)
        done = self.client("copy", "in", "out")
        return done["cpu_s"], done["wall_s"]


def main():
    parser = report.arguments(__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=8_000_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["librdkafka", "copy", "keyed"], help="one of the three")
    options = parser.parse_args()
    weir = options.build / "bin" / "weir"

    with tempfile.TemporaryDirectory(prefix="weir_bench_") as directory, \
            Broker(directory) as broker, Daemons(weir, 2, 1) as cluster:
        bench = Bench(options, broker, cluster)
        bench.client("topic", "in", PARTITIONS)
        bench.client("load", "in", options.records, options.keys)
        wanted = bench.client("digest", "in")
        print(f"{options.records} records of 100 bytes, {options.keys} keys, uniform, in "
              f"{PARTITIONS} partitions", flush=True)
        rates = {"librdkafka": [], "copy": [], "keyed": []}
        for run in range(options.runs):
            for what in [options.only] if options.only else rates:
                cpu, wall = bench.librdkafka() if what == "librdkafka" else bench.weir(what)
                if what == "keyed":
                    bench.client("judge", "out", options.records)
                elif run == 0 and bench.client("digest", "out") != wanted:
                    sys.exit(f"{what}: the output is not the input")
                rates[what].append(options.records / cpu)
                print(f"{what}: {cpu:.2f} CPU s, {wall:.1f} s; {rates[what][-1]:,.0f} records per "
                      f"CPU second", flush=True)

    def show(name, unit, values, **limits):
        if values:
            report.show(report.measured(name, unit, values, better="higher", **limits),
                        options.json)

    def quotients(a, b):
        return [x / y for x, y in zip(rates[a], rates[b])]

    for what, name in (("librdkafka", "librdkafka's own copy"), ("copy", "copy"),
                       ("keyed", f"keyed count and sum, {options.keys} keys")):
        show(name, "records/CPU s", rates[what])
    show("copy / librdkafka's own copy", "", quotients("copy", "librdkafka"), must=0.6, goal=0.85)
    show("keyed / copy", "", quotients("keyed", "copy"), must=0.4)


if __name__ == "__main__":
    main()
