#!/usr/bin/env python3
"""kill -9 of a TaskManager with 1 GB of state: how long until every restored task gives results?

A cluster of processes with one spare slot, a keyed job at parallelism 2 whose state is 1 GB (--keys
profiles of --value-bytes), everything else as it is by default: checkpoints each 1 s into a local
directory. Each kill hits one of the two TaskManagers that the job runs on, at a random moment, after some
checkpoints. The other one's subtask is restored where it was, the lost one in the spare slot. Measured is
the time from the kill to the first row of the subtask that gives its first one last; what it is made from
is checked. Both backends.
"""

import json
import pathlib
import random
import sys
import time

import report

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from cluster import eventually  # noqa: E402
from daemons import Daemons  # noqa: E402

PARALLELISM = 2
RATE = 5000       # rows a second, once the state is there
FILL_S = 20       # to fill it


class Bench:
    def __init__(self, options, backend, cluster):
        self.options, self.cluster = options, cluster
        self.first_rows = pathlib.Path(cluster.dir, "first_rows")
        self.job = cluster.run(
            "run", options.build / "bench" / "librecovery_job.so", "-p", PARALLELISM,
            "--state-backend", backend, "--detached", "--", "--keys", options.keys,
            "--value-bytes", options.value_bytes, "--rate", options.keys // FILL_S,
            "--out", self.first_rows).strip()
        self.fill()

    def describe(self):
        return self.cluster.json("describe", self.job)

    def fill(self):
        wanted = self.options.keys * self.options.value_bytes

        def filled():
            of = self.describe().get("checkpoints", [])
            return any(int(c.get("full_state_bytes", 0)) >= wanted for c in of)
        eventually(filled, f"{wanted:,} bytes of state", 20 * FILL_S)
        self.cluster.run("rate", self.job, "rows", RATE)
        # Until what the filling has left to be merged is merged.
        self.wait_for_checkpoints(10)

    def wait_for_checkpoints(self, count):
        before = int(self.describe().get("checkpoints_completed", 0))
        eventually(lambda: int(self.describe().get("checkpoints_completed", 0)) >= before + count,
                   f"{count} checkpoints", 120)

    def used(self):
        """The TaskManagers that the job runs on."""
        return sorted({s["tm_id"] for v in self.describe()["vertices"] for s in v["subtasks"]})

    def firsts(self):
        """When each subtask gave its first row, by attempt: seconds of time.monotonic."""
        attempts = {}
        for line in self.first_rows.read_text().splitlines():
            attempt, subtask, at = map(int, line.split())
            attempts.setdefault(attempt, {})[subtask] = at / 1e9
        return attempts

    def round(self, number):
        victim = random.choice(self.used())
        before = max(self.firsts())
        time.sleep(random.uniform(0, 1))
        killed = time.monotonic()
        self.cluster.kill(victim)

        def restored():
            whole = [a for a, of in self.firsts().items() if a > before and len(of) == PARALLELISM]
            return min(whole, default=None)
        attempt = eventually(restored, "rows of all subtasks after the kill", 120)
        outages = sorted(at - killed for at in self.firsts()[attempt].values())
        print(f"kill {number}: {victim}; first rows after "
              f"{', '.join(f'{o:.2f}' for o in outages)} s", flush=True)
        self.cluster.start(victim)
        eventually(self.cluster.ready_now, "the TaskManager is back")
        self.wait_for_checkpoints(3)
        return outages[-1]


def main():
    parser = report.arguments(__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of each backend")
    parser.add_argument("--backends", default="memory,rocksdb")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value-bytes", type=int, default=1000)
    parser.add_argument("--seed", type=int, help="of whom the kills hit, and when")
    parser.add_argument("--figures", type=pathlib.Path, metavar="FILE",
                        help="write there the seconds of every kill")
    parser.add_argument("--keep-logs", metavar="DIR", help="keep the cluster's files there")
    options = parser.parse_args()
    random.seed(options.seed)
    figures = {}
    for backend in options.backends.split(","):
        directory = options.keep_logs and f"{options.keep_logs}/{backend}"
        with Daemons(options.build / "bin" / "weir", PARALLELISM + 1, 1,
                     directory=directory) as cluster:
            bench = Bench(options, backend, cluster)
            outages = [bench.round(number + 1) for number in range(options.kills)]
        figures[f"restored_{backend}_s"] = [round(outage, 3) for outage in outages]
        name = (f"{backend}, {options.keys * options.value_bytes / 1e9:.2g} GB in "
                f"{options.value_bytes} byte values: kill to first rows")
        report.show(report.measured(f"{name}, median", "s", outages, must=1.5), options.json)
        report.show(report.measured(f"{name}, worst", "s", [max(outages)], must=4), options.json)
    if options.figures:
        options.figures.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
