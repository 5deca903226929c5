#!/usr/bin/env python3
"""What is there before any job: a local cluster's start until both TaskManagers are registered, and
the resident memory of an idle TaskManager."""

import pathlib
import statistics
import sys
import time

import report

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "e2e"))
from cluster import Cluster  # noqa: E402

SETTLE_S = 2


def resident_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {pid} is gone")


def main():
    parser = report.arguments("Start of a local cluster, memory of an idle TaskManager")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    starts, memory = [], []
    for _ in range(options.runs):
        begun = time.monotonic()
        # It says so when all are registered, which the status must bear out.
        with Cluster(options.build / "bin" / "weir", "-t", "2") as cluster:
            starts.append(time.monotonic() - begun)
            pids = [tm["pid"] for tm in cluster.task_managers().values()]
            if len(pids) != 2:
                raise SystemExit(f"weir local said it was ready with {len(pids)} TaskManagers")
            time.sleep(SETTLE_S)  # heartbeats and metrics have begun
            memory.append(statistics.mean(map(resident_mb, pids)))
    report.show(report.measured("weir local to both TaskManagers registered", "s", starts, must=1),
                options.json)
    report.show(report.measured("resident memory of an idle TaskManager", "MB", memory, must=50),
                options.json)


if __name__ == "__main__":
    main()
