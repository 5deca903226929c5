"""RESULTS.md: what was run, by row and seed. The page is its own store: its last part has a line for
the newest run of each scenario and seed, from which the table above it is made."""

import collections
import pathlib

PAGE = pathlib.Path(__file__).parent / "RESULTS.md"
HEAD = """# What the fault harness found

Written by `make faults`. *First result*: from the end of a fault to the next record that a
read-committed reader sees. The numbers are sums over the runs; of a run that was made again with a
newer build, the newest counts.

"""
RUNS = "## Runs\n\n```\n"
COUNTS = ("landed", "output", "lost", "duplicate", "out_of_order", "wrong", "aborted")


class Results:
    def __init__(self, page=PAGE):
        self.page = page
        self.runs = {}  # (scenario, seed): {field: text}
        if page.exists() and RUNS in page.read_text():
            for line in page.read_text().split(RUNS)[1].splitlines():
                fields = dict(word.partition("=")[::2] for word in line.split())
                if "seed" in fields:
                    self.runs[fields["scenario"], int(fields["seed"])] = fields

    def passed(self, scenario, seed, build):
        run = self.runs.get((scenario, seed), {})
        return run.get("verdict") == "pass" and run.get("build") == build

    def add(self, result, build):
        judge = (result["judge"] or {}) | {"landed": result["landed"]}
        fields = {"scenario": result["scenario"], "seed": result["seed"],
                  "verdict": result["verdict"]}
        fields |= {name: judge.get(name, 0) for name in COUNTS}
        fields |= {"first_result_s": ",".join(f"{f:.1f}" for f in result["first_result_s"]),
                   "date": result["date"], "build": build}
        self.runs[result["scenario"], result["seed"]] = {k: str(v) for k, v in fields.items()}

    def write(self, rows):
        """`rows`: what the file of each scenario says that it is about."""
        names = [name for name in rows if any(scenario == name for scenario, _ in self.runs)]
        lines = ["| what happens | scenario | seeds | passed | failed | inconclusive | faults | "
                 "records out | aborted | lost | repeated | out of order | wrong | first result, "
                 "median and worst | newest |",
                 "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
        for name in sorted(names, key=lambda name: (rows[name], name)):
            runs = [run for (scenario, _), run in self.runs.items() if scenario == name]
            verdicts = collections.Counter(run["verdict"] for run in runs)
            total = {key: sum(int(run[key]) for run in runs) for key in COUNTS}
            firsts = sorted(float(f) for run in runs for f in run["first_result_s"].split(",") if f)
            cells = [rows[name], name, self.ranges(int(run["seed"]) for run in runs),
                     verdicts["pass"], verdicts["fail"], verdicts["inconclusive"], total["landed"],
                     total["output"], total["aborted"], total["lost"], total["duplicate"],
                     total["out_of_order"], total["wrong"],
                     f"{firsts[len(firsts) // 2]} s, {firsts[-1]} s" if firsts else "",
                     max(run["date"] for run in runs)]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        runs = [" ".join(f"{key}={value}" for key, value in run.items())
                for (name, _), run in sorted(self.runs.items()) if name in rows]
        self.page.write_text(HEAD + "\n".join(lines) + "\n\n" + RUNS + "\n".join(runs) + "\n```\n")

    @staticmethod
    def ranges(seeds):
        parts = []
        for seed in sorted(seeds):
            if parts and parts[-1][1] == seed - 1:
                parts[-1][1] = seed
            else:
                parts.append([seed, seed])
        return ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in parts)
