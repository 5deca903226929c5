"""Scenarios: what a file of scenarios/ says, and the schedule that a seed makes of it.

    row = "a TaskManager is killed"           # the row of the fault matrix, in words
    pace = "healthy"                          # a fault waits for results and checkpoints since the
                                              # last one; "clock": it does not
    build = "release"                         # beside the one that is tested; for figures
    alone = false                             # nothing runs beside it: it measures short times
    program = ["bench/x.py", "--kills", "20"] # in place of all below but [figures]: figures_of.py
    seeds = 3                                 # how many of them are wanted, from 1 on
    rounds = 5                                # how many times the faults below are gone through
    quick = [1, 2]                            # the seeds of `make test`, with one fault each
    phase_s = 15                              # and again, until all that has taken so long
    order = "shuffled"                        # or "as written"
    [job]      name = "totals"  parallelism = 2  backend = "memory"  interval_ms = 500
               args = { transaction-timeout = 6000 }    # of its own; {dir}: the run's directory
    [cluster]  task_managers = 2  slots = 2  network = false  relay = ["tm-*>broker"]
               power = false                  # it can be cut; clocks: they can be set wrong
               disks = { "weir/work/tm-1" = "96m" }     # file systems of their own
               settings = { "checkpoint.dir" = "{dir}/checkpoints" }    # {dir}: the run's weir/
               second_jobmanager = false      # a place for one; who starts it is a fault
               memory_mb = 0                  # what the kernel lets each daemon have
               broker = { name = "value" }    # settings of the broker
               neighbour = false              # a second job, which must not notice any fault
    [workload] keys = 200  rate = 8000  partitions = 4  pad = 20
               silent = 0                     # of the partitions; the last ones
    [limits]   healthy_s = 30                 # from the end of a fault to new results and checkpoints
    [figures]  replaced_s = "<= 10"           # what faults measure, and what that must reach
               restored_s = "<= 4, median <= 1.5"
    [expect]   restart = true                 # each fault restarts the job; false: none does
               aborted = true                 # transactions that held records were aborted
               progress = true                # results and checkpoints come during each fault, too
               failed = "words"               # the job must fail, and say so
               counts = "duplicate"           # of a planted bug: what the judge must count,
               seen = "words"                 # or why the run must fail
    [mix]      minutes = 60  cycle_s = 240  kinds = [2, 5]  at_once = [1, 3]     # a soak: cycles.py
    [[fault]]  kind = "kill"  target = "tm-*"  after_s = [0, 2]  for_s = [0, 1]

A list of texts is a choice, a pair of numbers [low, high] a range, "tm-*" any TaskManager: the seed
draws. "worker" and "other-worker" are TaskManagers that the job runs on when it comes to it. Kinds
of faults and what more they take: faults.py.
"""

import copy
import fnmatch
import pathlib
import random
import tomllib

from cycles import drawn_cycles

DIRECTORY = pathlib.Path(__file__).parent / "scenarios"
DEFAULTS = {
    "pace": "healthy", "build": "", "alone": False, "program": [],
    "seeds": 3, "rounds": 1, "phase_s": 0, "order": "as written",
    "fault": [], "expect": {}, "figures": {}, "planted": [], "quick": [],
    "job": {"name": "totals", "parallelism": 2, "backend": "memory", "interval_ms": 500,
            "timeout_ms": 10000, "aligned_timeout": "30s", "args": {}},
    "cluster": {"task_managers": 2, "slots": 2, "network": False, "relay": [], "settings": {},
                "broker": {}, "disks": {}, "power": False, "clocks": False, "neighbour": False,
                "memory_mb": 0, "second_jobmanager": False},
    "workload": {"keys": 200, "rate": 8000, "partitions": 4, "pad": 20, "silent": 0},
    "limits": {"healthy_s": 30},
    "mix": {},
}
# job: (how the verifier reads it, order of a key's records, input topics)
JOBS = {"echo": ("echo", "strict", ["in"]), "totals": ("totals", "strict", ["in"]),
        "union": ("totals", "topic", ["in", "in2"]), "chain": ("totals", "none", ["in"]),
        "windows": ("windows", "none", ["in"]), "behind": ("totals", "strict", ["in"]),
        "letters": ("echo", "strict", ["in"]), "brake": ("totals", "strict", ["in"]),
        "growing": ("echo", "none", ["in"]), "regions": ("echo", "topic", ["in", "in2"])}
MOST_ROUNDS = 16
EXPECTATIONS = {"restart", "aborted", "progress", "failed", "counts", "seen"}
OUTPUTS = {"letters": "out:3,bad:2", "echo": "out:3,lane:1"}  # others have "out" alone


def names():
    return sorted(path.stem for path in DIRECTORY.glob("*.toml"))


def load(name):
    path = DIRECTORY / f"{name}.toml"
    if not path.exists():
        raise SystemExit(f"no scenario {name}; there are: {', '.join(names())}")
    text = tomllib.loads(path.read_text())
    unknown = set(text) - set(DEFAULTS) - {"row"}
    if unknown:
        raise SystemExit(f"{path}: unknown {', '.join(sorted(unknown))}")
    result = copy.deepcopy(DEFAULTS) | text
    for table in ("job", "cluster", "workload", "limits"):
        extra = set(text.get(table, {})) - set(DEFAULTS[table])
        if extra:
            raise SystemExit(f"{path}: unknown in [{table}]: {', '.join(sorted(extra))}")
        result[table] = DEFAULTS[table] | text.get(table, {})
    extra = set(result["expect"]) - EXPECTATIONS
    if extra:
        raise SystemExit(f"{path}: unknown in [expect]: {', '.join(sorted(extra))}")
    result["name"] = name
    return result


def one_fault_of(scenario, seed):
    """The scenario with one of its faults, once: as short as it can be. Other seeds, other faults."""
    faults = scenario["fault"]
    expect = {key: value for key, value in scenario["expect"].items() if key != "aborted"}
    return scenario | {"rounds": 1, "phase_s": 0, "expect": expect,
                       "fault": [faults[(seed - 1) % len(faults)]]}


def schedule(scenario, seed):
    """The scenario with everything drawn; a plain value that JSON holds."""
    dice = random.Random(f"{scenario['name']} {seed}")
    task_managers = [f"tm-{i + 1}" for i in range(scenario["cluster"]["task_managers"])]

    def draw(value):
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            value = dice.choice(value)
        if isinstance(value, list) and len(value) == 2 and \
                all(isinstance(v, (int, float)) for v in value):
            low, high = value
            if isinstance(low, int) and isinstance(high, int):
                return dice.randint(low, high)
            return round(dice.uniform(low, high), 3)
        return value

    def draw_fault(fault):
        drawn = {key: draw(value) if key != "with" else value
                 for key, value in fault.items()}
        taken = []
        for key in ("target", "other"):
            if "*" in str(drawn.get(key, "")):
                fitting = [tm for tm in task_managers
                           if fnmatch.fnmatch(tm, drawn[key]) and tm not in taken]
                drawn[key] = dice.choice(fitting)
            taken.append(drawn.get(key))
        drawn["seed"] = dice.getrandbits(32)
        return drawn

    def draw_round():
        faults = [draw_fault(fault) for fault in scenario["fault"]]
        if scenario["order"] == "shuffled":
            dice.shuffle(faults)
        return faults

    cycles = list(drawn_cycles(scenario, dice, draw_fault)) if scenario["mix"] else []
    steps = [] if cycles else [step for _ in range(scenario["rounds"]) for step in draw_round()]
    drawn = {"scenario": scenario["name"], "seed": seed, "row": scenario["row"],
             "pace": scenario["pace"], "build": scenario["build"], "planted": scenario["planted"],
             "program": scenario["program"], "alone": scenario["alone"],
             "job": {key: draw(value) for key, value in scenario["job"].items()} |
                    {"args": {key: draw(value) for key, value in scenario["job"]["args"].items()}},
             "cluster": scenario["cluster"], "workload": scenario["workload"],
             "limits": scenario["limits"], "expect": scenario["expect"],
             "figures": scenario["figures"], "input_seed": dice.getrandbits(32), "faults": steps}
    # Rounds that are gone through while the phase of faults is shorter than it should be.
    more = MOST_ROUNDS - scenario["rounds"] if scenario["phase_s"] else 0
    return drawn | {"phase_s": scenario["phase_s"], "more": [draw_round() for _ in range(more)],
                    "cycles": cycles}
