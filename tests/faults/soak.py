"""Many faults over a long time: the soak. cycles.py says when they come.

    mixed      parts             faults that overlap: each begins at once and ends when its own time
                                 is over; what cannot begin beside another one is left out
    quiet      for_s, last       nothing, and how much memory each process has meanwhile; the last
                                 one says by how much it grew over the second half of all
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

    def afterwards(self):
        for _, fault in self.parts:
            fault.afterwards()

    def end(self):
        self.landed = any(fault.landed for _, fault in self.parts)
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
            self.samples.setdefault(name, []).append(memory(world.process(name).pid))

    def end(self):
        self.evidence["memory_mb"] = {name: round(statistics.median(values) / (1 << 20), 1)
                                      for name, values in self.samples.items()}
        self.landed = bool(self.samples)
        self.world.quiet_memory.append(self.evidence["memory_mb"])
        if self.step["last"]:
            self.figures["memory_growth"] = max(self.growth().values())
            self.evidence["growth"] = self.growth()

    def growth(self):
        """Of each process, over the second half of all quiet times: the median of its later half by
        that of its earlier one."""
        of_half = self.world.quiet_memory[len(self.world.quiet_memory) // 2:]
        middle = len(of_half) // 2
        return {name: round(statistics.median(at[name] for at in of_half[middle:]) /
                            statistics.median(at[name] for at in of_half[:middle]), 3)
                for name in of_half[0]} if middle else {"nothing": 0}


KINDS = SINGLE_KINDS | {"mixed": Mixed, "quiet": Quiet}
