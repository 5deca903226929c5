"""RESULTS.md: what was run, by row and seed. The page is its own store: its last part has a line for
the newest run of each scenario and seed, from which the tables above it are made."""

import collections
import datetime
import pathlib
import statistics

PAGE = pathlib.Path(__file__).parent / "RESULTS.md"
HEAD = """# What the fault harness found

Written by `make faults`. Of a run that was made again the newest counts; *not before*: how many earlier
runs of the same seeds, of any build, did not pass (counted since 2026-11-23). *When*: the date, the commit
that was built ("+": with changes), and the seeds that ran then; the oldest runs did not note the
commit. *First result*: from the end of a fault to the next record that a read-committed reader sees.
Numbers are sums over the runs; *lost* and so on of planted bugs are what the judge has to find. In the
last part `src` is the tree of that folder (`git rev-parse COMMIT:src`), which says what was tested
whatever became of the commit.

"""
RUNS = "## Runs\n\n```\n"
COUNTS = ("landed", "output", "lost", "duplicate", "out_of_order", "wrong", "aborted")
COLUMNS = ("what happens", "scenario", "seeds", "wanted", "passed", "failed", "inconclusive",
           "not before", "when", "faults", "records out", "aborted", "lost", "repeated", "out of order", "wrong",
           "first result, median and worst")
FIGURE_COLUMNS = ("what is measured", "scenario", "must be", "seeds", "times", "median", "from",
                  "to", "when")
FIGURE = "figure."  # how the fields of figures begin
TYPICAL_S = 60
WHY = 200  # characters of it


def result_of(schedule, verdict, why, faults=(), **more):
    """What result.json says of a run; of one that came to no result, that much."""
    return {"scenario": schedule["scenario"], "seed": schedule["seed"], "row": schedule["row"],
            "planted": schedule["planted"], "verdict": verdict, "why": why,
            "faults": list(faults), "landed": sum(fault["landed"] for fault in faults),
            "first_result_s": [], "figures": {}, "judge": None, "took_s": 0,
            "date": datetime.date.today().isoformat()} | more


def table(columns, rows):
    return "\n".join("| " + " | ".join(map(str, cells)) + " |"
                     for cells in (columns, ["---"] * len(columns), *rows)) + "\n"


def median(values):
    return round(statistics.median(values), 3)


class Results:
    def __init__(self, page=PAGE):
        self.page = page
        self.runs = {}  # (scenario, seed): {field: text}
        if page.exists() and RUNS in page.read_text():
            for line in page.read_text().split(RUNS)[1].splitlines():
                fields = dict(word.partition("=")[::2] for word in line.split())
                if "seed" in fields:
                    self.runs[fields["scenario"], int(fields["seed"])] = fields

    def passed(self, scenario, seed, build=None):
        """With this build, or with any."""
        run = self.runs.get((scenario, seed), {})
        return run.get("verdict") == "pass" and build in (None, run.get("build"))

    def took_s(self, scenario):
        """How long its runs take."""
        known = [float(run["took_s"]) for run in self.of(scenario) if "took_s" in run]
        return median(known) if known else TYPICAL_S

    def of(self, scenario):
        return [run for (name, _), run in sorted(self.runs.items()) if name == scenario]

    def add(self, result, build, commit):
        """`commit`: fields that say what was built."""
        judge = (result["judge"] or {}) | {"landed": result["landed"]}
        fields = {"scenario": result["scenario"], "seed": result["seed"],
                  "verdict": result["verdict"]}
        fields |= {name: judge.get(name, 0) for name in COUNTS}
        fields |= {"first_result_s": ",".join(f"{f:.1f}" for f in result["first_result_s"])}
        fields |= {FIGURE + name: ",".join(map(str, values))
                   for name, values in result["figures"].items()}
        fields |= {"took_s": result["took_s"], "date": result["date"], **commit, "build": build}
        before = self.runs.get((result["scenario"], result["seed"]))
        if before and (failures := self.failures(before) + (before["verdict"] != "pass")):
            fields["failures"] = failures
        if result["verdict"] != "pass":
            fields["why"] = "_".join(result["why"].split())[:WHY]
        self.runs[result["scenario"], result["seed"]] = {k: str(v) for k, v in fields.items()}

    def write(self, scenarios):
        """`scenarios`: what their files say."""
        names = sorted((name for name in scenarios if self.of(name)),
                       key=lambda name: (scenarios[name]["row"], name))
        lines = [" ".join(f"{key}={value}" for key, value in run.items())
                 for (name, _), run in sorted(self.runs.items()) if name in scenarios]
        figures = list(self.figures(scenarios, names))
        never = sorted(name for name in scenarios if not self.of(name))
        self.page.write_text(
            HEAD + table(COLUMNS, [self.row(name, scenarios[name]) for name in names]) + "\n" +
            (f"Never run: {', '.join(never)}.\n\n" if never else "") +
            ("## Figures\n\n" + table(FIGURE_COLUMNS, figures) + "\n" if figures else "") +
            RUNS + "\n".join(lines) + "\n```\n")

    def row(self, name, scenario):
        runs = self.of(name)
        verdicts = collections.Counter(run["verdict"] for run in runs)
        total = {key: sum(int(run[key]) for run in runs) for key in COUNTS}
        firsts = [float(f) for run in runs for f in run["first_result_s"].split(",") if f]
        return [scenario["row"], name, self.seeds(runs), scenario["seeds"], verdicts["pass"],
                verdicts["fail"], verdicts["inconclusive"], sum(map(self.failures, runs)),
                self.when(runs), total["landed"],
                total["output"], total["aborted"], total["lost"], total["duplicate"],
                total["out_of_order"], total["wrong"],
                f"{median(firsts)} s, {max(firsts)} s" if firsts else ""]

    def figures(self, scenarios, names):
        for name in names:
            runs = self.of(name)
            measured = sorted({key for run in runs for key in run if key.startswith(FIGURE)})
            for key in measured:
                those = [run for run in runs if key in run]
                values = [float(value) for run in those for value in run[key].split(",")]
                figure = key.removeprefix(FIGURE)
                yield [figure, name, scenarios[name]["figures"].get(figure, ""), self.seeds(those),
                       len(values), median(values), min(values), max(values), self.when(those)]

    @staticmethod
    def failures(run):
        """How many runs before this one did not pass."""
        return int(run.get("failures", 0))

    def when(self, runs):
        groups = collections.defaultdict(list)
        for run in runs:
            groups[run["date"], run.get("commit", "")].append(run)
        return "; ".join(f"{' '.join(filter(None, when))}: {self.seeds(group)}"
                         for when, group in sorted(groups.items()))

    @staticmethod
    def seeds(runs):
        parts = []
        for seed in sorted(int(run["seed"]) for run in runs):
            if parts and parts[-1][1] == seed - 1:
                parts[-1][1] = seed
            else:
                parts.append([seed, seed])
        return ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in parts)
