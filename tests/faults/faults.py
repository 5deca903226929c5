"""The faults. Each begins, ends, and says by what evidence it took effect. What is done to Kafka's
transactions and records stands in kafka_faults.py, what overloads in load_faults.py.

    kill       target               SIGKILL; started again after for_s
    kill_region target, for_s       kill, of a job of several regions: the others must not notice
    kill_all   for_s, again         everything but the broker; started again in the drawn order
    pause      target, for_s        SIGSTOP, then SIGCONT
    cut        target, other, for_s, direction = "both" | "to" | "from", share = 1.0
               packets between the two are dropped, or that share of them; with until = "healthy"
               the job must go on elsewhere within that time, and the cut ends only then
    failpoint  target, set, for_s   e.g. set = "kafka.publish.committed=crash"; a process that it
                                    kills is started again; kill = "worker": that is killed first
    relay      link, mode, with     what relay.py does to the link "tm-1>broker" for for_s, or to
                                    several, "tm-1>broker+tm-2>broker"
    fill       path, for_s          the file system of that directory of the run is filled;
                                    kill = true: a TaskManager is killed meanwhile
    power_cut  survives, for_s      everything but the broker is killed in one moment, and what was
                                    not synced is gone (power.py says what survives of it)
    split_brain for_s               two JobManagers that both lead; split_brain.py
    clock      target, step_s, for_s    the wall clock is wrong by so much
    damage     of, how, in_flight   everything is killed, a file is damaged, everything is started;
                                    of = "segment" | "base" | "epoch" | "manifest" | "record" |
                                    "fence", how = "flip" | "zero" | "truncate" |
                                    "swap" | "remove"; in_flight: with rows in flight, and in the
                                    largest part that is needed
"""

import errno
import os
import pathlib
import re
import signal
import time

import manifests
from cluster import alive, eventually
from daemons import stopped
from fault import Fault
from kafka_faults import KAFKA_KINDS
from load_faults import LOAD_KINDS
from power import SURVIVES
from split_brain import SplitBrain
from world import JobEnded


class Kill(Fault):
    def begin(self):
        targets = self.target if isinstance(self.target, list) else self.target.split("+")
        self.targets = targets
        self.attempt = self.world.attempt()
        for name in targets:
            process = self.world.process(name)
            if process.poll() is not None:
                raise AssertionError(f"{name} had died by itself, code {process.returncode}")
        self.world.may_be_dead.update(targets)
        self.strike()
        codes = {name: self.world.process(name).wait() for name in targets}
        self.evidence["exit_codes"] = codes
        self.landed = all(code == -signal.SIGKILL for code in codes.values())

    def strike(self):
        for name in self.targets:
            self.world.process(name).kill()

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

    def hold(self):
        self.begun = time.monotonic()
        self.hold_and_look(self.look, 0.05)

    def look(self):
        """Whether others do its work already."""
        details = self.world.check()
        if details and "replaced_s" not in self.figures and \
                self.target not in self.world.workers(details):
            status = details["status"]
            if status["state"] == "RUNNING" and status["attempt"] > self.attempt and \
                    status["subtasks_running"] == status["subtasks_total"]:
                self.figures["replaced_s"] = round(time.monotonic() - self.begun, 2)

    def end(self):
        self.landed = stopped(self.pid)
        self.evidence["stopped_s"] = self.step["for_s"] if self.landed else 0
        os.kill(self.pid, signal.SIGCONT)

    def afterwards(self):
        self.evidence["attempts"] = [self.attempt, self.world.attempt()]


class KillRegion(Kill):
    """Of a job of several regions, one loses its TaskManager: the others run on where they are, and
    read on while it is dead."""

    def begin(self):
        self.before, self.read = self.regions()
        super().begin()

    def regions(self):
        """Of each region: the attempt and the TaskManagers of its subtasks; and what it has read."""
        placed, read = {}, {}
        for vertex in eventually(self.world.check, "a JobManager answers", 30)["vertices"]:
            region = vertex.get("region", 0)
            placed.setdefault(region, set()).update(
                (subtask.get("attempt"), subtask.get("tm_id")) for subtask in vertex["subtasks"])
            read[region] = read.get(region, 0) + sum(
                int(subtask.get("metrics", {}).get("records_out", 0))
                for subtask in vertex["subtasks"])
        return placed, read

    def hit(self):
        return [region for region, placed in self.before.items()
                if any(name in self.targets for _, name in placed)]

    def hold(self):
        others = self.before.keys() - self.hit()
        if not others or not self.hit():
            raise AssertionError(f"{self.targets} killed: no region ran elsewhere: {self.before}")
        super().hold()
        # What is told first may be of before; what comes on top of that is not.
        for _ in range(2):
            told = self.regions()[1]

            def reads_on():
                now = self.regions()[1]
                return all(now[region] > told[region] for region in others)
            eventually(reads_on, "the other regions read on", 10)

    def afterwards(self):
        now, read = self.regions()
        self.evidence |= {"hit": self.hit(), "attempts": {
            region: [sorted({attempt for attempt, _ in placed[region]})
                     for placed in (self.before, now)] for region in now},
                          "others_read": {region: read[region] - self.read[region]
                                          for region in now if region not in self.hit()}}
        for region, placed in self.before.items():
            if region in self.hit():
                self.landed = self.landed and not placed & now[region]
            elif now[region] != placed:
                raise AssertionError(f"region {region} was touched: {self.evidence['attempts']}")


class Cut(Fault):
    def begin(self):
        a, b = self.target, self.step["other"]
        ways = {"both": [(a, b), (b, a)], "to": [(a, b)], "from": [(b, a)]}
        self.rules = [self.world.network.cut(*way, share=self.step.get("share", 1.0))
                      for way in ways[self.step.get("direction", "both")]]
        self.begun = time.monotonic()

    def hold(self):
        if self.step.get("until") != "healthy":
            super().hold()
            return
        attempt = self.world.attempt()
        eventually(lambda: self.world.attempt() > attempt, "the cut is noticed", self.step["for_s"])
        left_s = self.step["for_s"] - (time.monotonic() - self.begun)
        self.world.await_healthy(self.world.mark(), "elsewhere", left_s)
        self.evidence["elsewhere_after_s"] = round(time.monotonic() - self.begun, 1)

    def end(self):
        self.evidence["packets_dropped"] = [self.world.network.dropped(r) for r in self.rules]
        self.landed = sum(self.evidence["packets_dropped"]) > 0
        for rule in self.rules:
            self.world.network.heal(rule)


class Failpoint(Fault):
    def begin(self):
        self.name = self.step["set"].split("=")[0]
        if "=crash" in self.step["set"]:
            self.world.may_be_dead.add(self.target)
        self.before = self.world.said(self.target).count(f"failpoint {self.name}:")
        self.world.failpoint(self.target, self.step["set"])
        if "kill" in self.step:  # what is written at the start of an attempt
            self.world.kill(self.step["kill"])
            self.world.start(self.step["kill"])

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
        self.world.may_be_dead.discard(self.target)


class RelayRule(Fault):
    def begin(self):
        self.rules = [self.world.relay.add(link, self.step["mode"], self.step["seed"],
                                           **self.step.get("with", {}))
                      for link in self.step["link"].split("+")]

    def end(self):
        for rule in self.rules:
            self.world.relay.remove(rule)
        self.evidence["pieces"] = sum(rule.pieces for rule in self.rules)
        self.landed = self.evidence["pieces"] > 0


class Fill(Fault):
    """No room is left on the disk, and what becomes free is taken at once. With `kill`, the job
    loses a TaskManager meanwhile: it has to go on from a checkpoint that was complete before."""

    def begin(self):
        world = self.world
        self.path = world.dir / self.step["path"].format(target=self.target) / ".taken"
        self.attempt, (self.failures, _) = world.attempt(), world.failed_checkpoints()
        self.file = open(self.path, "wb", buffering=0)  # pylint: disable=consider-using-with
        self.fill()
        self.evidence["filled_bytes"] = self.file.tell()
        self.evidence["free_bytes"] = os.statvfs(self.path.parent).f_bavail

    def fill(self):
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    self.file.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def hold(self):
        begun = time.monotonic()
        self.to_kill = self.step.get("kill")

        def look():
            self.fill()
            if self.to_kill and time.monotonic() > begun + self.step["for_s"] / 3:
                self.to_kill = False
                self.restart()
        self.hold_and_look(look, 0.05)
        failures, reasons = self.world.failed_checkpoints()
        self.evidence |= {"failed_checkpoints": failures - self.failures,
                          "told": next((why for why in reasons if "No space left" in why), ""),
                          "attempts": [self.attempt, self.world.attempt()]}

    def restart(self):
        # Between two attempts it runs nowhere.
        name = eventually(self.world.workers, "the job runs somewhere", 30)[0]
        attempt = self.world.attempt()
        self.world.kill(name)
        self.world.start(name)

        def runs():
            self.fill()
            details = self.world.check()
            return details and details["status"]["state"] == "RUNNING" and \
                details["status"]["attempt"] > attempt and details["restored_from"]
        self.evidence["restored_while_full"] = \
            os.path.basename(eventually(runs, "it runs again while the disk is full", 30))

    def end(self):
        self.file.close()
        self.path.unlink()
        # Where a TaskManager was killed, a new attempt says nothing.
        self.landed = self.evidence["free_bytes"] == 0 and \
            (self.evidence["failed_checkpoints"] > 0 and self.evidence["told"] != ""
             if self.step.get("kill") else
             self.evidence["failed_checkpoints"] > 0 or
             self.evidence["attempts"][1] > self.attempt)
        for name in self.world.cluster.names:
            code = self.world.process(name).poll()
            if code is not None:
                raise AssertionError(f"{name} died of a full disk, code {code}")


class PowerCut(KillAll):
    """Everything but the broker stops in one moment, and what was not synced is gone."""

    def strike(self):
        self.family = [pid for name in self.targets for pid in self.world.family(name)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in self.family:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass

    def begin(self):
        super().begin()
        eventually(lambda: not any(alive(pid) for pid in self.family), "all are dead", 10)
        survives = self.step.get("survives") or self.dice.choice(SURVIVES)
        gone = self.world.power.cut(self.dice, survives)
        self.evidence |= {"survives": survives, "gone": gone}
        self.landed = self.landed and sum(gone.values()) > 0


class Clock(Fault):
    """The wall clock of a process is wrong for a while."""

    def begin(self):
        self.attempt = self.world.attempt()
        self.world.step_clock(self.target, round(float(self.step["step_s"]) * 1e9))

    def end(self):
        self.evidence["asked"] = self.world.step_clock(self.target, 0)
        self.landed = self.evidence["asked"] > 0

    def afterwards(self):
        self.evidence["attempts"] = [self.attempt, self.world.attempt()]
        if self.world.attempt() != self.attempt:
            raise AssertionError(f"{self.describe()}: the job was restarted because of the time of "
                                 "day")


def flip(content, span, dice):
    spot = dice.randrange(*span)
    return content[:spot] + bytes([content[spot] ^ (1 << dice.randrange(8))]) + content[spot + 1:]


def zero(content, span, dice):
    """A block that was never written; a flipped bit where it is zero already."""
    at = dice.randrange(*span) // 4096 * 4096
    zeroed = content[:at] + bytes(len(content[at:at + 4096])) + content[at + 4096:]
    return zeroed if zeroed != content else flip(content, span, dice)


def truncate(content, span, dice):
    return content[:dice.randrange(*span)]


DAMAGES = {"flip": flip, "zero": zero, "truncate": truncate, "swap": None, "remove": None}


class Damage(Fault):
    """Everything is killed, one file is damaged, everything is started. What needs the file says
    its name and does nothing else; with the file put back it goes on."""

    def begin(self):
        world = self.world
        self.attempt = world.attempt()
        details = eventually(world.check, "a JobManager answers", 30)
        self.directory = pathlib.Path(details["checkpoint_directory"])
        if self.step.get("in_flight"):
            self.evidence["in_flight_bytes"] = eventually(
                self.has_rows_in_flight, "a checkpoint has rows in flight", 60)
        for name in world.cluster.names:
            if not world.kill(name):
                raise AssertionError(f"{name} had died by itself")
        self.path, others = self.find()
        self.whole = self.path.read_bytes()
        how = self.step["how"]
        if how == "swap":  # the other one of two that were exchanged is in no use
            other = max(others, key=lambda path: path.stat().st_mtime, default=None)
            self.path.write_bytes(other.read_bytes() if other else self.whole[::-1])
        elif how == "remove":
            self.path.unlink()
        else:
            self.path.write_bytes(DAMAGES[how](self.whole, self.span or (0, len(self.whole)),
                                               self.dice))
        self.evidence |= {"file": self.path.name, "bytes": len(self.whole)}
        self.said = len(world.said("jobmanager"))
        for name in world.cluster.names:
            world.start(name)

    def has_rows_in_flight(self):
        """How many bytes of them in the newest checkpoint, which the next one resembles."""
        details = self.world.check() or {}
        return next((int(c.get("in_flight_bytes", 0)) for c in details.get("checkpoints", [])
                     if c["status"] in ("COMPLETED", "PUBLISHED")), 0)

    def find(self):
        """The file, and others of its kind."""
        of = self.step["of"]
        self.span = None  # of its bytes, where it matters which
        if of in ("record", "fence"):
            metadata = pathlib.Path(self.world.cluster.dir, "jobmanager")
            pattern = {"record": f"*{self.world.job}*", "fence": "fence"}[of]
            path = next(path for path in metadata.rglob(pattern) if path.is_file())
            return path, [p for p in path.parent.iterdir() if p != path and p.is_file()]
        for entry in sorted((self.directory / "log").iterdir(), reverse=True):
            names = {name.decode() for name in re.findall(rb"data/[-.\w/]+", entry.read_bytes())}
            files = [self.directory / name for name in sorted(names)
                     if (self.directory / name).exists()]
            if not files:
                continue
            if of == "manifest":
                return entry, [p for p in entry.parent.iterdir() if p != entry]
            kinds = {"segment": lambda n: not re.search(r"\.(base|delta|epoch)-", n),
                     "base": lambda n: ".base-" in n, "epoch": lambda n: ".epoch-" in n}
            # There is no merged base while the state is small.
            chosen = [path for path in files if kinds[of](path.name)] or files
            path = self.dice.choice(chosen)
            if self.step.get("in_flight"):
                # What an older file has besides is needed by nobody any more.
                needed = manifests.extents(entry.read_bytes())
                path, (at, length) = max(
                    ((path, span) for path in chosen
                     for span in needed.get(str(path.relative_to(self.directory)), [])),
                    key=lambda one: one[1][1])
                self.span = (at, at + length)
            return path, [p for p in path.parent.iterdir() if p != path]
        raise AssertionError(f"no checkpoint in {self.directory}")

    def hold(self):
        """Until it is told."""
        self.ended = None

        def told():
            try:
                self.world.check()
            except JobEnded as ended:
                self.ended = str(ended)
                return True
            return self.step["of"] in ("record", "fence") and \
                str(self.path) in self.world.said("jobmanager")[self.said:]
        eventually(told, f"the damage to {self.path} is told", self.world.schedule["limits"]
                   ["healthy_s"])
        self.evidence["told"] = self.ended or "by the JobManager's log"

    def end(self):
        world = self.world
        self.landed = True
        if self.ended is not None and self.path.name not in self.ended:
            raise AssertionError(f"{self.path.name} was damaged, and not named: {self.ended}")
        self.path.write_bytes(self.whole)
        if self.ended is None:
            world.kill("jobmanager")
            world.start("jobmanager")
            return
        eventually(world.cluster.ready_now, "all TaskManagers are registered", 60)
        world.job = world.submit("--from-savepoint", self.directory)


KINDS = {"kill": Kill, "kill_all": KillAll, "kill_region": KillRegion, "pause": Pause, "cut": Cut,
         "failpoint": Failpoint, "relay": RelayRule, "fill": Fill, "power_cut": PowerCut,
         "clock": Clock, "damage": Damage, "split_brain": SplitBrain, **KAFKA_KINDS, **LOAD_KINDS}
