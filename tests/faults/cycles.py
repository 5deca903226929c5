"""The cycles of a soak: what [mix] of a scenario draws, and what there is time for.

In three quarters of a cycle come faults of the kinds that its subset of [[fault]] has, several at
once; the last quarter is quiet (soak.py).
"""

import time

BUSY = 0.75  # the share of a cycle in which there are faults
SHORTEST_STEP_S = 4  # with the recovery from it; so many are drawn that they fill a cycle


def drawn_cycles(scenario, dice, draw_fault):
    """What scenario.py writes into a schedule."""
    mix = scenario["mix"]
    cycles = max(2, round(60 * mix["minutes"] / mix["cycle_s"]))
    for number in range(1, cycles + 1):
        subset = dice.sample(scenario["fault"], dice.randint(*mix["kinds"]))
        steps = []
        for _ in range(int(mix["cycle_s"] / SHORTEST_STEP_S)):
            count = min(len(subset), dice.randint(*mix["at_once"]))
            parts = [draw_fault(fault) for fault in dice.sample(subset, count)]
            steps.append({"kind": "mixed", "parts": parts, "seed": dice.getrandbits(32)})
        yield {"for_s": mix["cycle_s"], "steps": steps, "last": number == cycles}


def of_cycle(cycle):
    """The steps that there is time for, and the quiet that is left."""
    begun = time.monotonic()
    for step in cycle["steps"]:
        if time.monotonic() - begun >= BUSY * cycle["for_s"]:
            break
        yield step
    left_s = cycle["for_s"] - (time.monotonic() - begun)
    yield {"kind": "quiet", "for_s": max(round(left_s, 1), (1 - BUSY) * cycle["for_s"]),
           "last": cycle["last"], "seed": 0}
