"""Faults that ask for more than there is.

    brake     record_us, for_s, aligned
                                 an operator takes so long for each record
    freeze    record_us, for_s, frozen_s
                                 and then takes none at all for so long
    steady    for_s              nothing: what is sustained without a fault
    outgrow   for_s              ever new keys under a memory limit
    hostile   with = { what = [...] }, burst
                                 graphs that must be refused, and many of them at once
"""

import concurrent.futures
import pathlib
import re
import subprocess
import time

from cluster import eventually
from fault import Fault


def memory(pid, field="VmRSS"):
    """In bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    if found is None:  # what has ended has no memory
        raise AssertionError(f"process {pid} died by itself")
    return int(found.group(1)) << 10


class Brake(Fault):
    """An operator is too slow for its input for a while: back pressure up to the source. Once every
    channel is full and Kafka's client has read ahead, which takes it a third of the time at most,
    memory must not grow; and checkpoints must go on, unaligned; or, with
    `aligned`, one that waits for rows in flight is seen to wait for so long."""

    FULL_OVER_S = 3  # seen for so long: TaskManagers tell once a second
    GROWTH = 1.1
    SLACK = 8 << 20  # what an allocator keeps, in a process that is still small

    def begin(self):
        world = self.world
        self.attempt, self.count = world.attempt(), world.reader.count
        self.processes = {name: world.process(name).pid for name in world.cluster.names}
        self.full_peak, self.peak = (dict.fromkeys(self.processes, 0) for _ in range(2))
        self.settles = float("inf")
        self.file = world.dir / "brake"
        self.file.write_text(str(self.step["record_us"]))
        self.begun = time.monotonic()
        self.samples = []
        eventually(self.full, "there is no room for what sources read", 90)
        self.evidence["full_after_s"] = round(time.monotonic() - self.begun, 1)
        self.full_ms, self.completed = time.time() * 1000, len(world.observed)

    def full(self):
        """Of late sources have given no more than was taken: there is no room for it."""
        self.measure()
        details = self.world.check()
        if details is None:
            return False
        given = self.records(details, "in", "records_out")
        taken = self.records(details, "total", "records_in")
        self.samples.append((time.monotonic(), given, taken))
        now, *_ = self.samples[-1]
        old = [sample for sample in self.samples if now - sample[0] >= self.FULL_OVER_S]
        return old and 0 < taken - old[-1][2] and given - old[-1][1] <= taken - old[-1][2]

    @staticmethod
    def records(details, uid, metric):
        return sum(int(subtask.get("metrics", {}).get(metric, 0))
                   for vertex in details["vertices"] if vertex["uid"] == uid
                   for subtask in vertex["subtasks"])

    def measure(self):
        peak = self.peak if time.monotonic() > self.settles else self.full_peak
        for name, pid in self.processes.items():
            peak[name] = max(peak[name], memory(pid))

    def hold(self):
        world = self.world
        full = self.full_peak
        self.settles = time.monotonic() + self.step["for_s"] / 3
        if self.step.get("aligned"):
            eventually(self.waits, "a checkpoint waits", 2 * self.step["for_s"] + 30)
        else:
            self.hold_and_look(self.look, 0.5)
            self.measure_checkpoints()
        for_s = time.monotonic() - self.begun
        self.evidence |= {
            "checkpoints_meanwhile": len(world.observed) - self.completed,
            "results_per_s": round((world.reader.count - self.count) / for_s),
            "memory_mb": {name: [full[name] >> 20, self.peak[name] >> 20] for name in full},
            "attempts": [self.attempt, world.attempt()]}
        self.judge_memory()
        if self.evidence["checkpoints_meanwhile"] == 0 and not self.step.get("aligned"):
            raise AssertionError("no checkpoint completes under back pressure")
        if world.attempt() != self.attempt:
            raise AssertionError("the job was restarted because of back pressure")

    def judge_memory(self):
        full = self.full_peak
        if any(self.peak[name] > full[name] * self.GROWTH + self.SLACK for name in full):
            raise AssertionError(f"memory grows under back pressure: {self.evidence['memory_mb']}")

    def look(self):
        self.measure()
        self.world.check()

    def measure_checkpoints(self):
        """How long the longest took; one that is under way has taken that long at least. None: there
        is no figure."""
        took = [int(c["duration_ms"]) / 1000 if self.is_complete(c) else
                time.time() - int(c["triggered_ms"]) / 1000 for c in self.checkpoints()]
        failed = [c for c in self.checkpoints() if c.get("failure")]
        if failed:
            raise AssertionError(f"a checkpoint failed under back pressure: {failed}")
        if took:
            self.figures["unaligned_checkpoint_s"] = round(max(took), 3)

    def checkpoints(self):
        """Those that were triggered since every channel is full, newest first."""
        return [c for c in self.all_checkpoints() if int(c["triggered_ms"]) > self.full_ms]

    def all_checkpoints(self):
        return (self.world.check() or {}).get("checkpoints", [])

    @staticmethod
    def is_complete(checkpoint):
        return checkpoint["status"] in ("COMPLETED", "PUBLISHED")

    def waits(self):
        self.measure()
        seen = self.checkpoints()
        if any(map(self.is_complete, seen)):
            raise AssertionError(f"an aligned checkpoint is complete under back pressure: {seen}")
        # One that was triggered just before that waits for the same rows, and no other one begins.
        waited_s = max((time.time() - max(int(c["triggered_ms"]), self.full_ms) / 1000
                        for c in self.all_checkpoints() if c["status"] == "RUNNING"), default=0)
        self.figures["aligned_checkpoint_waits_s"] = round(waited_s, 1)
        return waited_s > self.step["for_s"]

    def end(self):
        self.file.write_text("0")
        self.landed = self.evidence["results_per_s"] < self.world.schedule["workload"]["rate"] / 2


class Freeze(Brake):
    """An operator that was too slow takes nothing at all any more: its thread is in the user's code.
    Nothing else may suffer from it, and it goes on where it stood."""

    def hold(self):
        super().hold()
        world = self.world
        self.file.write_text("frozen")
        self.samples = []
        eventually(self.is_frozen, "the operator takes no more records", 30)
        begun, taken = time.monotonic(), self.taken()
        while time.monotonic() - begun < self.step["frozen_s"]:
            self.look()
            time.sleep(0.5)
        self.evidence |= {
            "frozen_s": round(time.monotonic() - begun), "taken_meanwhile": self.taken() - taken,
            "memory_mb": {name: [full >> 20, self.peak[name] >> 20]
                          for name, full in self.full_peak.items()}}
        self.judge_memory()
        if world.attempt() != self.attempt:
            raise AssertionError("the job was restarted because an operator took nothing")

    def is_frozen(self):
        """It has taken nothing for so long."""
        self.look()
        self.samples.append((time.monotonic(), self.taken()))
        now, taken = self.samples[-1]
        old = [sample for sample in self.samples if now - sample[0] >= self.FULL_OVER_S]
        return old and old[-1][1] == taken

    def taken(self):
        details = eventually(self.world.check, "a JobManager answers", 30)
        return self.records(details, "total", "records_in")

    def end(self):
        super().end()
        self.landed = self.landed and self.evidence["taken_meanwhile"] == 0


class Steady(Fault):
    """Nothing happens; how many epochs are published, and how old results are when a read-committed
    reader has them."""

    OVER_S = 3

    def begin(self):
        self.rate = self.world.schedule["workload"]["rate"]
        self.samples = []
        eventually(self.has_caught_up, "the job has caught up with its input", 90)

    def has_caught_up(self):
        """Results come as fast as records do, and no faster."""
        self.world.check()
        self.samples.append((time.monotonic(), self.world.reader.count))
        now, count = self.samples[-1]
        old = [sample for sample in self.samples if now - sample[0] >= self.OVER_S]
        return old and abs((count - old[-1][1]) / (now - old[-1][0]) / self.rate - 1) < 0.05

    def hold(self):
        world = self.world
        begun, count, epochs = time.monotonic(), world.reader.count, len(world.published)
        world.reader.measure()
        self.hold_and_look(world.check)
        delays = world.reader.delays()
        took_s = time.monotonic() - begun
        self.evidence |= delays
        self.figures |= {"records_per_s": round((world.reader.count - count) / took_s),
                         "epochs_per_s": round((len(world.published) - epochs) / took_s, 2),
                         "output_delay_p99_s": delays["p99_ms"] / 1000}

    def end(self):
        self.landed = self.figures["records_per_s"] > 0.95 * self.rate


class Outgrow(Fault):
    """Keys that never end, in a process that the kernel lets have so much memory and no more."""

    def hold(self):
        world = self.world
        self.hold_and_look(world.check, 0.5)
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
        self.landed = self.evidence["state_mb"] << 20 > self.world.memory_limit


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


LOAD_KINDS = {"brake": Brake, "freeze": Freeze, "steady": Steady, "outgrow": Outgrow, "hostile": Hostile}
