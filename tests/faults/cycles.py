"""The cycles of a soak: what [mix] of a scenario draws, and what there is time for.

In three quarters of a cycle come faults of the kinds that its subset of [[fault]] has, several at
once; the last quarter is quiet (soak.py). In the second half of the cycles nobody dies but one
TaskManager and the broker: whether memory grows can be seen of those that live.
"""

import time

BUSY = 0.75  # the share of a cycle in which there are faults
SHORTEST_STEP_S = 4  # with the recovery from it; so many are drawn that they fill a cycle


MORTAL = "tm-2"


def spares_lives(faults):
    """Those of the second half."""
    for fault in faults:
        deadly = fault["kind"] == "kill" or "=crash" in str(fault.get("set"))
        if fault["kind"] == "kill_all" or (deadly and fault["target"] == "jobmanager"):
            continue
        yield fault | {"target": MORTAL} if deadly and fault["target"] == "worker" else fault


def drawn_cycles(scenario, dice, draw_fault):
    """What scenario.py writes into a schedule."""
    mix = scenario["mix"]
    cycles = max(2, round(60 * mix["minutes"] / mix["cycle_s"]))
    for number in range(1, cycles + 1):
        late = number > cycles // 2
        pool = list(spares_lives(scenario["fault"]) if late else scenario["fault"])
        subset = dice.sample(pool, dice.randint(*mix["kinds"]))
        steps = []
        for _ in range(int(mix["cycle_s"] / SHORTEST_STEP_S)):
            count = min(len(subset), dice.randint(*mix["at_once"]))
            parts = [draw_fault(fault) for fault in dice.sample(subset, count)]
            steps.append({"kind": "mixed", "parts": parts, "seed": dice.getrandbits(32)})
        yield {"for_s": mix["cycle_s"], "steps": steps, "late": late, "last": number == cycles}


def of_cycle(cycle):
    """The steps that there is time for, and the quiet that is left."""
    begun = time.monotonic()
    for step in cycle["steps"]:
        if time.monotonic() - begun >= BUSY * cycle["for_s"]:
            break
        yield step
    left_s = cycle["for_s"] - (time.monotonic() - begun)
    yield {"kind": "quiet", "for_s": max(round(left_s, 1), (1 - BUSY) * cycle["for_s"]),
           "late": cycle["late"], "last": cycle["last"], "seed": 0}
