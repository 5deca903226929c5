"""Faults that aim at Kafka's transactions and records.

    stall_broker  how, for_s     SIGSTOP of the broker for longer than a transaction may take, with
                                 one about to be committed: how = "soon" | "late", before or after
                                 the broker has aborted it for its age
    steal         times, for_s   another producer takes transactional ids of the job
    restore_twice how, wide      a second start from one retained checkpoint: how = "running" |
                                 "after" the first one published past it | "unpublished": before
                                 | "together": both begin, and none has published | "narrower":
                                 after the first one ran at parallelism `wide`
    rescale       to, in_flight  everything is killed with transactions open, and the job goes on
                                 with another parallelism; from a checkpoint with rows in flight
    exhaust                      the producer epochs of one transactional id are used up
    transactions  count          so many transactions of a lane of its own, beside the job
    poison        count, mb      records that are none come in, or such that are so large
    grow          more           the input topic gets so many more partitions, with keys of their own
    oversized                    a record that the output topic does not take
"""

import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import time

from cluster import eventually
from daemons import stopped
from fault import Fault
from world import JobEnded, TERMINAL

TIMED_OUT = "due to timeout"  # what the broker says of a transaction that it aborted
FENCED = "Fencing broker"  # and it says this when its session is over
TAKEN = "another producer took our transactional id"
OPEN = "kafka.publish.commit"  # a transaction is open, and everything is written


class Publication(Fault):
    """What begins with a publication that is under way."""

    def keep_open(self, begin=lambda: None):
        """Transactions are not committed until end_keeping(), nor those of what `begin` starts; waits
        until each TaskManager that the job runs on has one open, and gives their names. (Each of its
        slots has a subtask of each vertex, the sink's too.)"""
        world = self.world
        names = [name for name in world.cluster.names if name != "jobmanager"]
        before = {name: world.said(name).count(f"failpoint {OPEN}:") for name in names}
        for name in names:
            world.failpoint(name, f"{OPEN}=hold")
        begin()

        def reached():
            open_on = [name for name in names
                       if world.said(name).count(f"failpoint {OPEN}:") > before[name]]
            return open_on if open_on and set(world.workers()) <= set(open_on) else None
        return eventually(reached, "transactions are open wherever the job runs", 60)

    def end_keeping(self):
        for name in self.world.cluster.names:
            self.world.failpoint(name, "")

    def kill_task_managers(self):
        for name in self.world.cluster.names:
            if name != "jobmanager" and not self.world.kill(name):
                raise AssertionError(f"{name} had died by itself")

    def start_task_managers(self):
        for name in self.world.cluster.names:
            if name != "jobmanager":
                self.world.start(name)
        eventually(self.world.cluster.ready_now, "all TaskManagers are registered", 60)

    def cancel(self):
        """Ends the job; gives the directory of the checkpoint that it leaves."""
        world = self.world
        details = eventually(world.check, "a JobManager answers", 30)
        world.cluster.run("cancel", world.job)

        def over():
            now = world.describe()
            return now and now["status"]["state"] in TERMINAL
        eventually(over, "it is cancelled", 60)
        return details["checkpoint_directory"]


class StallBroker(Publication):
    def begin(self):
        world = self.world
        self.attempt = world.attempt()
        self.timeouts = world.broker_said().count(TIMED_OUT)
        self.fenced = world.broker_said().count(FENCED)
        self.late = self.step["how"] == "late"
        self.evidence["open_on"] = self.keep_open()
        self.completed = len(world.observed)
        self.pid = world.process("broker").pid
        os.kill(self.pid, signal.SIGSTOP)
        eventually(lambda: stopped(self.pid), "the broker is stopped", 5)
        if not self.late:
            self.end_keeping()

    def hold(self):
        self.hold_and_look(self.world.check)  # sees the checkpoints that complete meanwhile

    def timed_out(self):
        return self.world.broker_said().count(TIMED_OUT) - self.timeouts

    def end(self):
        self.landed = stopped(self.pid)
        self.evidence["stopped_s"] = self.step["for_s"] if self.landed else 0
        self.evidence["checkpoints_meanwhile"] = len(self.world.observed) - self.completed
        os.kill(self.pid, signal.SIGCONT)
        if self.late:  # what is committed now, the broker has aborted
            eventually(self.timed_out, "the broker aborts what is open for its age", 30)
            self.end_keeping()

    def afterwards(self):
        fenced = self.world.broker_said().count(FENCED) - self.fenced
        self.evidence |= {"timed_out_at_the_broker": self.timed_out(), "fenced": fenced,
                          "attempts": [self.attempt, self.world.attempt()]}
        # One that has lost its partitions meanwhile is another fault: Kafka may lose the transaction.
        self.landed = self.landed and fenced == 0


class Steal(Fault):
    def begin(self):
        world = self.world
        self.attempt, self.told = world.attempt(), world.logged(TAKEN)
        ids = world.transactional_ids()
        taken = self.dice.sample(ids, self.dice.randint(1, len(ids)))
        self.thief = world.meddle("steal", ids=",".join(taken), topic="out",
                                  times=self.step.get("times", 1), **{"pause-ms": 1500})
        if self.thief.line() != "taken":
            raise AssertionError("the transactional ids could not be taken")
        self.evidence["taken"] = len(taken)

    def end(self):
        self.landed = True

    def afterwards(self):
        """The job has its ids back: what the thief has written must not be committed."""
        self.thief.process.stdin.close()
        said = json.loads(self.thief.line())
        self.thief.process.wait(60)
        self.evidence |= {"commits": said, "attempts": [self.attempt, self.world.attempt()],
                          "told": self.world.logged(TAKEN) - self.told}
        self.landed = said["refused"] > 0 and self.evidence["told"] > 0
        if said["committed"]:
            raise AssertionError(f"the thief could commit: {said}")


class RestoreTwice(Publication):
    def begin(self):
        world, how = self.world, self.step["how"]
        first = self.cancel()
        self.evidence["from"] = os.path.basename(first)
        if how == "unpublished":
            def start():
                world.job = world.submit("--from-savepoint", first)
            self.evidence["open_on"] = self.keep_open(start)
            self.kill_task_managers()
            self.cancel()
            self.end_keeping()
            self.start_task_managers()
            world.job = world.submit("--from-savepoint", first)
            return
        if how == "together":
            self.evidence["refused"] = self.together(first)
            return
        narrow = world.schedule["job"]["parallelism"]
        if how == "narrower":
            world.schedule["job"]["parallelism"] = self.step["wide"]
        world.job = world.submit("--from-savepoint", first)
        world.await_healthy(world.mark(), "the first restore")
        # The results seen so far may be those that the checkpoint brought along.
        eventually(self.publishes, "it publishes a checkpoint of its own", 60)
        self.attempt = world.attempt()
        newest = self.cancel() if how in ("after", "narrower") else None
        world.schedule["job"]["parallelism"] = narrow
        self.taken = world.logged(TAKEN)
        self.evidence["refused"] = self.refused(first)
        if newest:
            world.job = world.submit("--from-savepoint", newest)

    def together(self, directory):
        """Two with transactions open at once, of which one goes on, or none: why they ended. Who
        does what the reasons say goes on without loss."""
        world, jobs = self.world, []

        def start():
            jobs.extend(world.submit("--from-savepoint", directory) for _ in range(2))
            world.job = jobs[0]
        self.keep_open(start)
        self.end_keeping()
        eventually(lambda: any(map(self.over, jobs)), "one of them ends", 60)
        said = []
        while True:
            goes_on = [job for job in jobs if not self.fails(job, said)]
            if len(goes_on) == 1:
                world.job = goes_on[0]
                return said
            if goes_on or len(said) > 4:
                raise AssertionError(f"{len(goes_on)} go on; said: {said}")
            directory = self.named(said[-1], directory)
            jobs = [world.submit("--from-savepoint", directory)]

    def fails(self, job, said):
        """The job has ended, or does, and not gone on: why is added to `said`."""
        def completed():
            return int(self.world.cluster.json("describe", job).get("checkpoints_completed", 0))
        before = completed()
        eventually(lambda: self.over(job) or completed() > before + 2, "it goes on, or ends", 60)
        if reason := self.over(job):
            said.append(reason)
        return bool(reason)

    @staticmethod
    def named(reason, directory):
        """Where the reason says to start from: the checkpoints of a job, or, if it names none, where
        they started from."""
        job = re.search(r"(?:Start from checkpoint \d+|newest checkpoint) of job ([0-9a-f]{16})", reason)
        found = os.path.join(os.path.dirname(directory), job[1]) if job else directory
        return found if os.path.isdir(os.path.join(found, "log")) else directory

    def publishes(self):
        details = self.world.check() or {}
        return any(c["status"] == "PUBLISHED" for c in details.get("checkpoints", []))

    def over(self, job):
        """Why it has ended, or nothing."""
        status = self.world.cluster.json("describe", job)["status"]
        return f"{status['state']}: {status.get('reason', '')}" if status["state"] in TERMINAL \
            else None

    def refused(self, directory):
        """A start that must not go on: why."""
        world = self.world
        try:
            job = world.submit("--from-savepoint", directory)
        except AssertionError as refusal:
            said = str(refusal)
        else:
            said = eventually(lambda: self.over(job), "the second restore ends", 60)
        if "already published up to checkpoint" not in said:
            raise AssertionError(f"restored a second time from {directory}: {said}")
        return said

    def end(self):
        self.landed = True

    def afterwards(self):
        if self.step["how"] == "running":
            self.evidence["attempts"] = [self.attempt, self.world.attempt()]
            if self.world.logged(TAKEN) > self.taken:
                raise AssertionError("the start that was refused took lanes of the job that runs")


class Rescale(Publication):
    def begin(self):
        world = self.world
        self.evidence["open_on"] = self.keep_open()
        self.kill_task_managers()
        complete = [c for c in eventually(world.check, "a JobManager answers", 30)["checkpoints"]
                    if c["status"] in ("COMPLETED", "PUBLISHED")]
        self.evidence["in_flight_bytes"] = int(complete[0].get("in_flight_bytes", 0))
        directory = self.cancel()
        self.end_keeping()
        self.start_task_managers()
        job = world.schedule["job"]
        self.evidence["parallelism"] = [job["parallelism"], self.step["to"]]
        job["parallelism"] = self.step["to"]
        world.job = world.submit("--from-savepoint", directory)
        self.landed = len(self.evidence["open_on"]) > 0 and \
            (self.evidence["in_flight_bytes"] > 0 or not self.step.get("in_flight"))

    def end(self):
        pass


class Grow(Fault):
    """That the job reads what is written there, the judge sees."""

    def begin(self):
        generator = self.world.generator
        generator.process.stdin.write(f"{self.step['more']}\n".encode())
        generator.process.stdin.flush()
        self.evidence["partitions"] = int(generator.line())

    def end(self):
        self.landed = self.evidence["partitions"] > self.world.schedule["workload"]["partitions"]


class Wire:
    """As much of Kafka's protocol as it takes to ask for a producer id."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)

    def init_producer_id(self, transactional_id):
        name = transactional_id.encode()
        request = struct.pack("!hhih", 22, 0, 1, -1) + \
            struct.pack("!h", len(name)) + name + struct.pack("!i", 60000)
        while True:
            self.socket.sendall(struct.pack("!i", len(request)) + request)
            answer = self.read(struct.unpack("!i", self.read(4))[0])
            error, producer, epoch = struct.unpack("!hqh", answer[8:20])
            if error == 0:
                return producer, epoch
            if error not in (14, 15, 16, 51):  # the coordinator loads; the last one is being ended
                raise AssertionError(f"InitProducerId: error {error}")
            time.sleep(0.005)

    def read(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise AssertionError("the broker closed the connection")
            data += piece
        return data


class Exhaust(Publication):
    NEAR_THE_END = 32_763

    def begin(self):
        world = self.world
        name = self.dice.choice(world.transactional_ids())
        directory = self.cancel()
        wire = Wire(world.broker.address)
        begun = time.monotonic()
        first, epoch = wire.init_producer_id(name)
        producer = first
        while producer == first and epoch < self.NEAR_THE_END:
            producer, epoch = wire.init_producer_id(name)
        self.evidence |= {"id": name, "epoch": epoch, "took_s": round(time.monotonic() - begun, 1)}
        world.job = world.submit("--from-savepoint", directory)
        # Each attempt takes one epoch, and the foreign request another.
        for _ in range(3):
            world.await_healthy(world.mark(), "near the last epoch")
            victim = eventually(world.workers, "the job runs somewhere", 30)[0]
            world.kill(victim)
            world.start(victim)
            world.await_healthy(world.mark(), "past the last epoch")
        second, epoch = wire.init_producer_id(name)
        self.evidence |= {"producer_ids": [first, second], "epoch_then": epoch}
        self.landed = producer == first and second != first

    def end(self):
        pass


class Transactions(Fault):
    def begin(self):
        world, count = self.world, self.step["count"]
        directory = world.dir / "lane"
        directory.mkdir()
        done = subprocess.run(
            [world.program("transactions"), "--brokers", world.broker.address, "--topic", "lane",
             "--count", str(count), "--attempts", "4", "--directory", directory],
            capture_output=True, text=True, timeout=1500, check=False)
        if done.returncode != 0:
            raise AssertionError(f"transactions: {done.stderr[-600:]}")
        self.evidence |= json.loads(done.stdout)
        read = world.read("lane")
        self.evidence["read"] = len(read)
        if [int(text) for text in read] != list(range(1, count + 1)):
            raise AssertionError(f"of {count} transactions {len(read)} records are there, "
                                 f"{len(set(read))} different ones")
        self.landed = self.evidence["transactions"] >= count

    def end(self):
        pass


def record(key, seq, pad):
    """A record as the generator makes them."""
    def fnv(data, value=14695981039346656037):
        for byte in data:
            value = ((value ^ byte) * 1099511628211) & 0xFFFFFFFFFFFFFFFF
        return value
    at = int(time.time() * 1000) - 100
    value = fnv(key.encode())
    for number in (seq, 7, at):
        value = fnv(struct.pack("<q", number), value)
    value = fnv(pad.encode(), value)
    return (f'{{"key":"{key}","seq":{seq},"value":7,"at":{at},"pad":"{pad}",'
            f'"hash":"{value:016x}"}}').encode()


def write(world, records):
    """Gives where each of (partition, key, value) was written."""
    writer = world.meddle("write", topic="in")
    for partition, key, value in records:
        text = "-" if value is None else value.hex() or "00"
        writer.process.stdin.write(f"{partition} {key.encode().hex()} {text}\n".encode())
    writer.process.stdin.close()
    told = [line.decode().split() for line in writer.process.stdout]
    if writer.process.wait(60) != 0 or len(told) != len(records):
        raise AssertionError(f"{len(told)} of {len(records)} records were written")
    return [(int(partition), int(offset)) for partition, offset in told]


POISON = [b"no record", b'{"key":"k1","seq":', b'{"key":5,"seq":"x"}', b"[1,2", b"\xff\xfe\x00\x01",
          b'{"key":"\xc3\x28","seq":1}', b"{" * 20_000, b"[" * 200_000, b'"' + b"x" * 900_000, None,
          b"\x00"]


def why_it_ended(world):
    """Waits until the job has failed; the reason that it gives."""
    def ended():
        try:
            world.check()
        except JobEnded as over:
            return str(over)
        return None
    return eventually(ended, "the job fails", 200)


class Poison(Fault):
    def begin(self):
        world = self.world
        self.policy = world.schedule["job"]["args"]["bad-record"]
        count = 1 if self.policy == "fail" else self.step["count"]
        partitions = world.schedule["workload"]["partitions"]
        poison = POISON if "mb" not in self.step else \
            [b'"' + b"x" * (self.step["mb"] << 20)]
        self.where = write(world, [(self.dice.randrange(partitions), f"p{i}",
                                    self.dice.choice(poison)) for i in range(count)])
        self.evidence |= {"policy": self.policy, "records": count}
        self.landed = True

    def hold(self):
        if self.policy != "fail":
            return super().hold()
        world = self.world
        partition, offset = self.where[0]
        said = why_it_ended(world)
        self.evidence["told"] = said[:300]
        if f"record at offset {offset} of in-{partition} cannot be decoded" not in said:
            raise AssertionError(f"poison at offset {offset} of partition {partition}: {said}")
        directory = world.describe()["checkpoint_directory"]
        world.schedule["job"]["args"]["bad-record"] = "skip"
        world.job = world.submit("--from-savepoint", directory)
        return None

    def end(self):
        pass


class Oversized(Fault):
    """The sink's client takes the record, its topic does not."""

    KEEP = "retention.ms=-1"

    def begin(self):
        world = self.world
        self.set("out", f"{self.KEEP},max.message.bytes=400000")
        world.await_healthy(world.mark(), "with a lower limit")  # all else passes
        self.where = write(world, [(0, "big", record("big", 1, "y" * 600_000))])
        self.evidence["written"] = self.where

    def set(self, topic, settings):
        program = self.world.meddle("set", topic=topic, settings=settings)
        if program.line() != "set":
            raise AssertionError(f"{topic} could not be given {settings}")
        program.finish()

    def hold(self):
        world = self.world
        said = why_it_ended(world)
        self.evidence["told"] = said[:600]
        for words in ("topic out", "larger than allowed", "max.message.bytes", "big"):
            if words not in said:
                raise AssertionError(f"not told, {words}: {said}")
        self.landed = True

    def end(self):
        world = self.world
        directory = pathlib.Path(world.describe()["checkpoint_directory"])
        self.set("out", f"{self.KEEP},max.message.bytes=1000000")
        world.job = world.submit("--from-savepoint", directory)


KAFKA_KINDS = {"stall_broker": StallBroker, "steal": Steal, "restore_twice": RestoreTwice,
               "rescale": Rescale, "exhaust": Exhaust, "transactions": Transactions,
               "poison": Poison, "oversized": Oversized, "grow": Grow}
