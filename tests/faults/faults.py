"""The faults. Each begins, ends, and says by what evidence it took effect.

    kill       target               SIGKILL; started again after for_s
    kill_all   for_s                everything but the broker; started again in the drawn order
"""

import random
import signal
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
                        ("target", "for_s")
                        if key in self.step])


class Kill(Fault):
    def begin(self):
        targets = self.target if isinstance(self.target, list) else self.target.split("+")
        self.targets = targets
        self.attempt = self.world.attempt()
        for name in targets:
            process = self.world.process(name)
            if process.poll() is not None:
                raise AssertionError(f"{name} had died by itself, code {process.returncode}")
            process.kill()
        codes = {name: self.world.process(name).wait() for name in targets}
        self.evidence["exit_codes"] = codes
        self.landed = all(code == -signal.SIGKILL for code in codes.values())

    def end(self):
        for name in self.targets:
            self.world.start(name)
        if "broker" in self.targets:
            self.world.broker.wait()


    def afterwards(self):
        if set(self.targets) != {"broker"}:
            self.evidence["attempts"] = [self.attempt, self.world.attempt()]
            self.landed = self.landed and self.world.attempt() > self.attempt


class KillAll(Kill):
    def begin(self):
        self.target = list(self.world.cluster.names)
        super().begin()
        self.dice.shuffle(self.targets)


KINDS = {"kill": Kill, "kill_all": KillAll}
