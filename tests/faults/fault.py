"""What every fault is."""

import random
import time


class Fault:
    """begin() and end() are called once each; then `evidence` says what was seen of it, and
    `landed` whether that is enough."""

    def __init__(self, world, step):
        self.world, self.step = world, step
        self.evidence, self.landed = {}, False
        self.target = step.get("target")
        self.dice = random.Random(step["seed"])

    def hold(self):
        time.sleep(self.step.get("for_s", 0))

    def afterwards(self):
        """When the job is healthy again."""

    def describe(self):
        return " ".join([self.step["kind"]] + [str(self.step[key]) for key in
                        ("target", "other", "direction", "link", "mode", "set", "path", "step_s",
                         "of", "how", "to", "for_s")
                        if key in self.step])
