"""How a run ended: what the judge says of the output, whether each fault took effect, and what
[expect] and [figures] of the scenario ask for beyond that."""

import json
import statistics

COUNTS = ("lost", "duplicate", "out_of_order", "wrong", "corrupt", "readers_disagree")


def verdict(schedule, judge, faults, figures):
    """("pass" | "fail" | "inconclusive", why)."""
    expect = schedule["expect"]
    said = {key: value for key, value in judge.items() if value is not True and value not in (0, [])}
    examples = "; ".join(said.pop("examples", [])[:2]) or json.dumps(said)
    if not judge["judged"]:
        bad = any(judge.get(name) for name in COUNTS) or judge.get("open_transactions")
        return "fail" if bad else "inconclusive", json.dumps(said)
    if not judge["ok"]:
        return "fail", examples
    missed = [fault["what"] for fault in faults if not fault["landed"]]
    if missed:
        return "inconclusive", f"took no effect: {', '.join(missed)}"
    if expect.get("aborted") and not judge["aborted"]:
        return "inconclusive", "no transaction was aborted that held records"
    if "restart" in expect:
        for fault in faults:
            before, after = fault["attempts"]
            if expect["restart"] and after <= before:
                return "inconclusive", f"no restart because of {fault['what']}"
            if not expect["restart"] and after != before:
                return "fail", f"the job was restarted because of {fault['what']}"
    if expect.get("progress"):
        for fault in faults:
            if min(fault["meanwhile"]) == 0:
                return "fail", f"during {fault['what']}: results, checkpoints {fault['meanwhile']}"
    for name, wanted in schedule["figures"].items():
        if not figures.get(name):
            return "inconclusive", f"{name} was not measured"
        missed = [bound for bound in wanted.split(",") if not reaches(figures[name], bound)]
        if missed:
            return "fail", f"{name} is {figures[name]}, and must be {','.join(missed).strip()}"
    return "pass", ""


def reaches(values, bound):
    """ "<= 10" and ">= 1" are for each of them, "median <= 10" for the one in their middle."""
    *of, how, limit = bound.split()
    if of == ["median"]:
        values = [statistics.median(values)]
    return all(value <= float(limit) if how == "<=" else value >= float(limit)
               for value in values)


def of_planted(expect, result):
    """Caught means that the damage was seen, not that the run got stuck: in the judge's counts that
    the scenario names, or in the words of what went wrong."""
    if expect.get("failed"):
        return result["verdict"]
    if expect.get("seen"):
        seen = expect["seen"] in result["why"]
    else:
        seen = result["judge"] is not None and result["judge"].get(expect["counts"], 0) > 0
    return {"fail": "pass" if seen else "inconclusive", "pass": "fail"}.get(
        result["verdict"], result["verdict"])
