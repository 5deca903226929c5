"""What every fault is."""

import random
import time


class Fault:
    """begin() and end() are called once each; then `evidence` says what was seen of it, and
    `landed` whether that is enough, `figures` what was measured ([figures] of the scenario)."""

    def __init__(self, world, step):
        self.world, self.step = world, step
        self.evidence, self.landed, self.figures = {}, False, {}
        self.target = step.get("target")
        self.dice = random.Random(step["seed"])

    def hold(self):
        time.sleep(self.step.get("for_s", 0))

    def hold_and_look(self, look, every_s=0.3):
        """Holds for as long as the step says, and looks meanwhile."""
        end = time.monotonic() + self.step["for_s"]
        while time.monotonic() < end:
            look()
            time.sleep(every_s)

    def afterwards(self):
        """When the job is healthy again."""

    def describe(self):
        return " ".join([self.step["kind"]] + [str(self.step[key]) for key in
                        ("target", "other", "direction", "link", "mode", "set", "path", "step_s",
                         "of", "how", "to", "for_s")
                        if key in self.step])
