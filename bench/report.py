"""The Python side of report.h: what a benchmark tells run.py, and how it is shown."""

import argparse
import json
import pathlib
import statistics
import sys


def arguments(description):
    """A parser with what every benchmark script takes; --build is the directory with bin/weir."""
    root = pathlib.Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="a JSON object per quantity, too")
    parser.add_argument("--build", type=pathlib.Path, default=root / "build" / "release",
                        help="the build measured (default: build/release)")
    return parser


def measured(name, unit, values, better="lower", must=None, goal=None):
    """One quantity, a value per repetition; must and goal are bounds in the direction of better."""
    result = {"bench": pathlib.Path(sys.argv[0]).stem, "name": name, "unit": unit,
              "runs": len(values), "median": statistics.median(values), "min": min(values),
              "max": max(values), "better": better}
    return result | {k: v for k, v in (("must", must), ("goal", goal)) if v is not None}


def show(result, as_json):
    """The line for people and, if asked for, the line for run.py."""
    print(f"{result['name']:<44} {number(result['median']):>8} {result['unit']}  "
          f"({number(result['min'])} .. {number(result['max'])}, {result['runs']} runs)")
    if as_json:
        print(json.dumps(result))
    sys.stdout.flush()


def number(value):
    """Three significant digits, and no exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - int(f"{abs(value):e}".split("e")[1]))
    return f"{value:,.{digits}f}"


def limit(result, which):
    if which not in result:
        return "-"
    return ("<= " if result["better"] == "lower" else ">= ") + number(result[which])


def reached(result, which):
    """None where there is no such bound."""
    if which not in result:
        return None
    if result["better"] == "lower":
        return result["median"] <= result[which]
    return result["median"] >= result[which]


def verdict(result):
    must, goal = reached(result, "must"), reached(result, "goal")
    if must is False:
        return "NO"
    if goal is False:
        return "below goal"
    return "" if must is None and goal is None else "yes"


def table(results):
    """The table of several benchmarks' results, as lines of Markdown."""
    rows = [("what", "must", "goal", "measured: median (min .. max, runs)", "ok")]
    for r in results:
        rows.append((f"{r['bench']}: {r['name']}", limit(r, "must"), limit(r, "goal"),
                     f"{number(r['median'])} {r['unit']} ({number(r['min'])} .. {number(r['max'])}, "
                     f"{r['runs']})", verdict(r)))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |"
             for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return lines
