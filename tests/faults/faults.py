"""The faults. Each begins, ends, and says by what evidence it took effect.

    kill       target               SIGKILL; started again after for_s
    kill_all   for_s, again         everything but the broker; started again in the drawn order
    pause      target, for_s        SIGSTOP, then SIGCONT
    cut        target, other, for_s, direction = "both" | "to" | "from", share = 1.0
               packets between the two are dropped, or that share of them
    failpoint  target, set, for_s   e.g. set = "kafka.publish.committed=crash"; a process that it
                                    kills is started again
    relay      link, mode, with     what relay.py does to the link "tm-1>broker" for for_s
    fill       target, for_s        the file system below that directory of the run is filled
"""

import errno
import os
import random
import signal
import time

from cluster import eventually
from daemons import stopped


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
                        ("target", "other", "direction", "link", "mode", "set", "for_s")
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


class Pause(Fault):
    def begin(self):
        self.attempt = self.world.attempt()
        self.pid = self.world.process(self.target).pid
        os.kill(self.pid, signal.SIGSTOP)
        eventually(lambda: stopped(self.pid), "the process is stopped", 5)

    def end(self):
        self.landed = stopped(self.pid)
        self.evidence["stopped_s"] = self.step["for_s"] if self.landed else 0
        os.kill(self.pid, signal.SIGCONT)

    def afterwards(self):
        self.evidence["attempts"] = [self.attempt, self.world.attempt()]


class Cut(Fault):
    def begin(self):
        a, b = self.target, self.step["other"]
        ways = {"both": [(a, b), (b, a)], "to": [(a, b)], "from": [(b, a)]}
        self.rules = [self.world.network.cut(*way, share=self.step.get("share", 1.0))
                      for way in ways[self.step.get("direction", "both")]]

    def end(self):
        self.evidence["packets_dropped"] = [self.world.network.dropped(r) for r in self.rules]
        self.landed = sum(self.evidence["packets_dropped"]) > 0
        for rule in self.rules:
            self.world.network.heal(rule)


class Failpoint(Fault):
    def begin(self):
        self.name = self.step["set"].split("=")[0]
        self.before = self.world.said(self.target).count(f"failpoint {self.name}:")
        self.world.failpoint(self.target, self.step["set"])

    def fired(self):
        return self.world.said(self.target).count(f"failpoint {self.name}:") > self.before

    def hold(self):
        end = time.monotonic() + self.step.get("for_s", 10)
        while time.monotonic() < end and not (self.fired() and "sleep" not in self.step["set"]):
            time.sleep(0.02)

    def end(self):
        self.world.failpoint(self.target, "")
        process = self.world.process(self.target)
        self.evidence["reached"] = self.landed = self.fired()
        if self.landed and "=crash" in self.step["set"]:
            eventually(lambda: process.poll() is not None, f"{self.target} is dead", 5)
            self.evidence["exit_code"] = process.returncode
            self.world.start(self.target)


class RelayRule(Fault):
    def begin(self):
        self.rule = self.world.relay.add(self.step["link"], self.step["mode"], self.step["seed"],
                                         **self.step.get("with", {}))

    def end(self):
        self.world.relay.remove(self.rule)
        self.evidence["pieces"] = self.rule.pieces
        self.landed = self.rule.pieces > 0


class Fill(Fault):
    def begin(self):
        self.path = self.world.dir / self.target / ".filled-by-a-fault"
        with open(self.path, "wb", buffering=0) as file:
            try:
                for size in (1 << 20, 1 << 12, 1):
                    while True:
                        try:
                            file.write(b"x" * size)
                        except OSError as error:
                            if error.errno != errno.ENOSPC:
                                raise
                            break
            finally:
                self.evidence["filled_bytes"] = file.tell()
        self.evidence["free_bytes"] = os.statvfs(self.path.parent).f_bavail
        self.landed = self.evidence["free_bytes"] == 0

    def end(self):
        self.path.unlink()


KINDS = {"kill": Kill, "kill_all": KillAll, "pause": Pause, "cut": Cut, "failpoint": Failpoint,
         "relay": RelayRule, "fill": Fill}
