"""Many faults over a long time: the soak. cycles.py says when they come.

    mixed      parts             faults that overlap: each begins at once and ends when its own time
                                 is over; what cannot begin beside another one is left out
    quiet      for_s, late, last nothing, and how much memory each process has meanwhile; the last
                                 one says by how much it grew over the late ones
"""

import statistics
import time

from fault import Fault
from faults import KINDS as SINGLE_KINDS
from load_faults import memory


class Mixed(Fault):
    def begin(self):
        self.parts, self.left_out = [], []
        steps, taken = [], set()
        for part in self.step["parts"]:
            whole = part["kind"] == "kill_all"
            if (whole and steps) or "all" in taken:
                self.left_out.append(part["kind"])
                continue
            try:
                step = self.world.aimed(part, taken)
            except AssertionError:  # the job does not run on so many TaskManagers
                self.left_out.append(part["kind"])
                continue
            touched = {step[key] for key in ("target", "other", "kill") if key in step}
            if touched & taken:
                self.left_out.append(part["kind"])
                continue
            taken |= touched | ({"all"} if whole else set())
            steps.append(step)
        # Others ask the JobManager something before they begin.
        steps.sort(key=lambda step: step.get("target") == "jobmanager")
        for step in steps:
            fault = SINGLE_KINDS[step["kind"]](self.world, step)
            fault.begin()
            self.parts.append((time.monotonic() + step.get("for_s", 0), fault))
        self.parts.sort(key=lambda part: part[0])

    def hold(self):
        for end, fault in self.parts:
            time.sleep(max(0, end - time.monotonic()))
            fault.end()

    def end(self):
        pass

    def afterwards(self):
        """A part may find nothing to do: a link without a word. How often each kind of fault took
        effect is judged at the last quiet time."""
        for _, fault in self.parts:
            fault.afterwards()
            kinds = self.world.landed_kinds
            kinds[fault.step["kind"]] = kinds.get(fault.step["kind"], 0) + fault.landed
        self.landed = True
        self.evidence = {fault.describe(): fault.evidence if fault.landed else "took no effect"
                         for _, fault in self.parts}

    def describe(self):
        return " + ".join(fault.step["kind"] for _, fault in self.parts)


class Quiet(Fault):
    SETTLED = 0.5  # the share of its time after which a process has what it needs

    def begin(self):
        self.samples = {}
        self.begun = time.monotonic()

    def hold(self):
        self.hold_and_look(self.look, 1)

    def look(self):
        world = self.world
        world.check()
        if time.monotonic() - self.begun < self.SETTLED * self.step["for_s"]:
            return
        for name in world.cluster.names:
            pid = world.process(name).pid
            self.samples.setdefault((name, pid), []).append(memory(pid))

    def end(self):
        medians = {process: round(statistics.median(values) / (1 << 20), 1)
                   for process, values in self.samples.items()}
        self.evidence["memory_mb"] = {f"{name} ({pid})": mb for (name, pid), mb in medians.items()}
        self.landed = bool(medians)
        if self.step["late"]:
            self.world.late_memory.append(medians)
        if self.step["last"]:
            self.evidence["growth"] = growth(self.world.late_memory)
            self.figures["memory_growth"] = max(self.evidence["growth"].values())
            self.evidence["landed"] = self.world.landed_kinds
            self.figures["faults_landed"] = sum(self.world.landed_kinds.values())
            self.landed = all(self.world.landed_kinds.values())


def growth(samples):
    """Of each name, from the first half of the samples to the second: of a process that lived through
    all, of its median; where several had the name, of the most that any of them had."""
    earlier, later = samples[:len(samples) // 2], samples[len(samples) // 2:]
    found = {}
    for name in sorted({name for name, _ in samples[-1]}):
        whole = len({pid for sample in samples for n, pid in sample if n == name}) == 1
        typical = statistics.median if whole else max
        of_halves = [typical([mb for sample in half for (n, _), mb in sample.items() if n == name])
                     for half in (earlier, later)]
        found[name + ("" if whole else ", again and again")] = round(of_halves[1] / of_halves[0], 3)
    if all("again" in name for name in found):
        raise AssertionError(f"nobody lived through the second half: {samples}")
    return found


KINDS = SINGLE_KINDS | {"mixed": Mixed, "quiet": Quiet}
