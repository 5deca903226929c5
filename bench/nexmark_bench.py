#!/usr/bin/env python3
"""Nexmark on a cluster of processes: events per CPU second of all TaskManagers, generator included.

One TaskManager of two slots, parallelism 2, RocksDB, exactly-once checkpoints each 10 s; 100,000 events
per second of event time, made whole and taken as fast as they can be; a sink that digests every field.
First every query's answer over 1 M events is compared with the oracle's. Then each is run for at
least --seconds and 5 checkpoints, --runs times. The CPU seconds are those that /proc says between the
job's submission and its end, which holds loading the job, restoring nothing, and all checkpoints.
"""

import os
import pathlib
import subprocess
import sys
import time

import report

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "e2e"))
from cluster import Cluster  # noqa: E402

GOALS = {"generator": None, "q0": 2.5, "q1": 2.5, "q2": 2.5, "q5": 0.6}  # M events per CPU second
MIN_CHECKPOINTS = 5
TRIAL = 20_000_000  # events
CHECKED = 1_000_000


def cpu_seconds(pid):
    """User and system time of a process with all its threads, ended ones too."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0


class Run:
    """One run of a query, from submission to its end."""

    def __init__(self, cluster, job, query, events, number):
        self.events = events
        out = pathlib.Path(cluster.dir, f"{query}-{number}")
        out.mkdir()
        pids = [tm["pid"] for tm in cluster.task_managers().values()]
        before = [cpu_seconds(pid) for pid in pids]
        begun = time.monotonic()
        cluster.run("run", job, "--name", f"{query}-{number}", "-p", 2, "--state-backend",
                    "rocksdb", "--checkpoint-interval", "10s", "--checkpoint-mode",
                    "exactly-once", "--", "--query", query, "--events", events, "--out", out,
                    limit_s=900)
        self.wall = time.monotonic() - begun
        if pids != [tm["pid"] for tm in cluster.task_managers().values()]:
            raise SystemExit(f"{query}: a TaskManager died; see {cluster.dir}/logs")
        self.cpu = sum(cpu_seconds(pid) for pid in pids) - sum(before)
        self.peak_mb = sum(map(peak_mb, pids))
        job_id = next(j["job_id"] for j in cluster.json("list")
                      if j["name"] == f"{query}-{number}")
        self.checkpoints = int(cluster.json("describe", job_id)["checkpoints_completed"])
        digests = [tuple(map(int, p.read_text().split())) for p in out.iterdir()]
        self.answer = (sum(rows for rows, _ in digests), sum(s for _, s in digests) % 2**64)
        # Of 50 events 46 are bids; q0 and q1 give a row for each.
        rows = {"generator": events, "q0": events // 50 * 46, "q1": events // 50 * 46}
        if self.answer[0] != rows.get(query, self.answer[0]):
            raise SystemExit(f"{query}: {self.answer[0]} rows instead of {rows[query]}")

    def millions_per_cpu_second(self):
        return self.events / self.cpu / 1e6


def check_answers(cluster, job, answers, queries):
    """Every query's answer over 1 M events is the oracle's."""
    lines = subprocess.run([answers, str(CHECKED)], check=True, text=True,
                           capture_output=True).stdout.splitlines()
    expected = {q: (int(rows), int(total)) for q, rows, total in (line.split() for line in lines)}
    for query in queries:
        got = Run(cluster, job, query, CHECKED, "checked").answer
        if got != expected[query]:
            raise SystemExit(f"{query} over {CHECKED} events gives {got}, the oracle "
                             f"{expected[query]}")
    print(f"{', '.join(queries)}: {CHECKED:,} events give the oracle's answers", flush=True)


def measure(cluster, job, query, options):
    trial = Run(cluster, job, query, TRIAL, "trial")
    events = int(TRIAL / trial.wall * options.seconds * 1.08) // 50 * 50
    runs = []
    number = 0
    while len(runs) < options.runs:
        number += 1
        run = Run(cluster, job, query, events, number)
        short = run.wall < options.seconds or (options.seconds >= 60 and
                                               run.checkpoints < MIN_CHECKPOINTS)
        print(f"  {query} {run.events / 1e6:.0f} M events: {run.cpu:.1f} CPU s in "
              f"{run.wall:.1f} s, {run.checkpoints} checkpoints, peak {run.peak_mb:.0f} MB, "
              f"{run.answer[0]:,} rows, sum {run.answer[1]:016x}"
              f"{'; too short, not counted' if short else ''}", flush=True)
        if short:
            events = int(events * max(1.3, 1.2 * options.seconds / run.wall)) // 50 * 50
        else:
            runs.append(run)
    name = ("generator alone, with the digest" if query == "generator" else f"Nexmark {query}")
    report.show(report.measured(name, "M events/CPU s", [r.millions_per_cpu_second() for r in runs],
                                "higher", goal=GOALS[query]), options.json)


def main():
    parser = report.arguments("Nexmark: events per CPU second")
    parser.add_argument("--queries", default=",".join(GOALS), help="of generator,q0,q1,q2,q5")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60, help="a run's least wall time")
    options = parser.parse_args()
    queries = options.queries.split(",")
    job = options.build / "tests" / "e2e" / "libnexmark_job.so"
    answers = options.build / "tests" / "connectors" / "nexmark" / "nexmark_answers"
    with Cluster(options.build / "bin" / "weir", "-t", "1", "-s", "2") as cluster:
        check_answers(cluster, job, answers, queries)
        for query in queries:
            measure(cluster, job, query, options)


if __name__ == "__main__":
    main()
