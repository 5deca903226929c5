"""Faults that ask for more than there is.

    brake     record_us, for_s   an operator takes so long for each record
    outgrow   for_s              ever new keys under a memory limit
    hostile   with = { what = [...] }, burst
                                 graphs that must be refused, and many of them at once
"""

import concurrent.futures
import pathlib
import re
import subprocess
import time

from fault import Fault


def memory(pid, field="VmRSS"):
    """In bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status).group(1)) << 10


class Brake(Fault):
    """An operator is too slow for its input for a while: back pressure up to the source. Memory must
    not grow, and checkpoints must go on, unaligned."""

    SETTLE_SHARE = 0.4  # of the time, until every channel is full
    GROWTH = 1.1
    SLACK = 32 << 20  # what an allocator keeps, in a process that is still small

    def begin(self):
        world = self.world
        self.attempt, self.completed = world.attempt(), len(world.observed)
        self.count = world.reader.count
        self.processes = {name: world.process(name).pid for name in world.cluster.names}
        self.file = world.dir / "brake"
        self.file.write_text(str(self.step["record_us"]))

    def hold(self):
        world, for_s = self.world, self.step["for_s"]
        begun, full = time.monotonic(), {}
        peak = dict.fromkeys(self.processes, 0)
        while (passed := time.monotonic() - begun) < for_s:
            time.sleep(0.5)
            world.check()
            for name, pid in self.processes.items():
                peak[name] = max(peak[name], memory(pid))
            if not full and passed > for_s * self.SETTLE_SHARE:
                full = peak
                peak = dict.fromkeys(self.processes, 0)
        self.evidence |= {
            "checkpoints_meanwhile": len(world.observed) - self.completed,
            "results_per_s": round((world.reader.count - self.count) / for_s),
            "memory_mb": {name: [full[name] >> 20, peak[name] >> 20] for name in full},
            "attempts": [self.attempt, world.attempt()]}
        grown = [name for name in full if peak[name] > full[name] * self.GROWTH + self.SLACK]
        if grown:
            raise AssertionError(f"memory grows under back pressure: {self.evidence['memory_mb']}")
        if self.evidence["checkpoints_meanwhile"] == 0:
            raise AssertionError("no checkpoint completes under back pressure")
        if world.attempt() != self.attempt:
            raise AssertionError("the job was restarted because of back pressure")

    def end(self):
        self.file.write_text("0")
        self.landed = self.evidence["results_per_s"] < self.world.schedule["workload"]["rate"] / 2


class Outgrow(Fault):
    """Keys that never end, in a process that the kernel lets have so much memory and no more."""

    def hold(self):
        world = self.world
        end = time.monotonic() + self.step["for_s"]
        while time.monotonic() < end:
            world.check()
            time.sleep(0.5)
        limit = world.memory_limit
        peaks = {name: memory(world.process(name).pid, "VmHWM") for name in world.cluster.names}
        state = world.reader.count * world.schedule["workload"]["pad"]
        self.evidence |= {"limit_mb": limit >> 20, "state_mb": state >> 20,
                          "peak_mb": {name: peak >> 20 for name, peak in peaks.items()},
                          "refused_by_the_kernel": world.memory_refusals(),
                          "attempts": [self.attempt, world.attempt()]}

    def begin(self):
        self.attempt = self.world.attempt()

    def end(self):
        for name in self.world.cluster.names:
            if self.world.process(name).poll() is not None:
                raise AssertionError(f"{name} died: {self.evidence}")
        if self.evidence["attempts"][1] != self.attempt:
            raise AssertionError(f"the job was restarted: {self.evidence}")
        self.landed = self.evidence["state_mb"] << 20 > self.world.memory_limit / 4


class Hostile(Fault):
    LIMIT_S = 20  # a command that builds 10,000 vertices twice, in a build with assertions

    def begin(self):
        world = self.world
        self.attempt = world.attempt()
        manager = world.process("jobmanager").pid
        before = memory(manager)
        self.evidence["refused"] = {}
        for what in self.step["with"]["what"]:
            begun = time.monotonic()
            code, said = self.submit(what)
            took = time.monotonic() - begun
            self.evidence["refused"][what] = [round(took, 1), said[-160:]]
            if code != 2 or took > self.LIMIT_S:
                raise AssertionError(f"{what}: code {code} after {took:.1f} s: {said}")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            codes = set(pool.map(lambda _: self.submit("cycle")[0], range(self.step["burst"])))
        self.evidence |= {"codes_of_the_burst": sorted(codes),
                          "jobmanager_mb": [before >> 20, memory(manager) >> 20]}
        if codes != {2}:
            raise AssertionError(f"a burst of submissions: {codes}")
        if memory(manager) > before + (64 << 20):
            raise AssertionError(f"the JobManager keeps what it refused: {self.evidence}")

    def submit(self, what):
        world = self.world
        done = subprocess.run(
            [world.cluster.weir, "run", world.library("hostile"), "--detached", "--", "--what", what],
            env=world.cluster.env, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stderr.strip()

    def end(self):
        jobs = self.world.cluster.json("list", "--running")
        self.landed = len(jobs) == 1
        self.evidence["jobs"] = len(jobs)

    def afterwards(self):
        if self.world.attempt() != self.attempt:
            raise AssertionError("a job that runs was restarted by what was refused")


LOAD_KINDS = {"brake": Brake, "outgrow": Outgrow, "hostile": Hostile}
