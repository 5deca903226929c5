"""All processes of one run: broker, cluster, generator, reader, and what is known of them."""

import json
import os
import pathlib
import queue
import random
import struct
import subprocess
import threading
import time

from cluster import eventually
from daemons import Broker, Daemons, ThisMachine, spawn
from network import Network
from power import Power
from relay import Relay
from scenario import JOBS, OUTPUTS

LOOK_S = 0.2  # each look at the job starts a process
TERMINAL = ("FAILED", "CANCELED", "CANCELLED", "FINISHED")


# The broker's log when it counts a transaction as ended and leaves these partitions out.
UNTOLD = "while trying to send transaction markers for"


class JobEnded(AssertionError):
    """The job is over although nobody asked for it; the text is the reason that it gave."""


class Program:
    """One of the judge's programs; ends when its standard input does."""

    def __init__(self, path, *words, **options):
        words = [path, *words] + [word for key, value in options.items()
                                  for word in (f"--{key}", value)]
        self.process = spawn(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def line(self):
        return self.process.stdout.readline().decode().strip()

    def finish(self, limit_s=150):
        self.process.stdin.close()
        code = self.process.wait(limit_s)
        if code != 0:
            raise AssertionError(f"{self.process.args[0]} ended with {code}")


class Reader(Program):
    """The read-committed reader beside the faults; `count` is what it has seen."""

    LIMIT_S = 30

    def __init__(self, path, **options):
        super().__init__(path, **options)
        self.count = 0
        self.told = queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith(b"{"):
                self.told.put(json.loads(line))
            else:
                self.count = int(line)

    def measure(self):
        """From now on, until delays(): how long it takes from a record's time until it is read."""
        self._say(b"measure\n")

    def delays(self):
        self._say(b"tell\n")
        return self.told.get(timeout=self.LIMIT_S)

    def _say(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()


class World:
    def __init__(self, build, schedule, directory, log):
        self.build = pathlib.Path(build)
        self.schedule = schedule
        self.dir = pathlib.Path(directory)
        self.log = log
        self.job_name = schedule["job"]["name"]
        self.job = self.generator = self.reader = self.network = self.relay = self.power = None
        self.neighbour = None
        self.disks = []
        self.groups = {}  # by the name of a process: its control group
        self.observed = []  # ids of completed checkpoints as they were seen, each once
        self.published = set()  # ids of those whose output was seen to be published
        self.newest_slot = {}  # by checkpoint directory: of the newest complete one that was seen
        self.attempt_seen = None  # that directory, and the job's newest attempt
        self.restores = 0  # that were seen to begin from the newest checkpoint or a later one
        self.may_be_dead = set()  # names of processes that a fault has killed, or is about to
        self.landed_kinds = {}  # of a soak: how often faults of a kind took effect
        self.late_memory = []  # of a soak's second half: megabytes by (name, pid), by quiet time

    # ------------------------------------------------------------------ life

    def __enter__(self):
        schedule, cluster = self.schedule, self.schedule["cluster"]
        names = ["broker", "jobmanager"] + [f"tm-{i + 1}" for i in range(cluster["task_managers"])]
        if cluster["second_jobmanager"]:
            names.append("jobmanager-2")
        place = ThisMachine()
        if cluster["network"] or cluster["relay"]:
            place = self.network = Network(names)
        for name in ("broker", "weir", "failpoints"):
            (self.dir / name).mkdir()
        self.broker = Broker(str(self.dir / "broker"), place=place, options="".join(
            f"{key}={value}\n" for key, value in cluster["broker"].items()))
        self.broker.start()
        self.cluster = Daemons(self.build / "bin" / "weir", task_managers=cluster["task_managers"],
                               slots=cluster["slots"], place=place, settings={
                                   key: value.format(dir=self.dir / "weir")
                                   for key, value in cluster["settings"].items()},
                               directory=str(self.dir / "weir"))
        os.makedirs(f"{self.cluster.dir}/logs", exist_ok=True)
        for disk, size in cluster["disks"].items():
            self._mount(self.dir / disk, size)
        if cluster["power"]:
            self.power = Power(self._shim("synced"), self.cluster.dir, self.dir / "synced",
                               spared=["logs"])
        self._lead()
        for name in self.cluster.names:
            if cluster["memory_mb"]:
                self._limit(name)
            self.failpoint(name, "")
            self.step_clock(name, 0)
            self.start(name)
        self.broker.wait()
        kind, _, inputs = JOBS[self.job_name]
        work = schedule["workload"]
        self.generator = Program(
            self.program("generate"), brokers=self.broker.address, topics=",".join(inputs),
            partitions=work["partitions"],
            outputs=OUTPUTS.get(self.job_name, "out:3"), keys=work["keys"], rate=work["rate"],
            pad=work["pad"], silent=work["silent"], seed=schedule["input_seed"],
            ledger=self.dir / "ledger")
        if self.generator.line() != "ready":
            raise AssertionError("the generator did not start")
        self.reader = Reader(self.program("follow"), brokers=self.broker.address, topic="out",
                             seen=self.dir / "seen")
        eventually(self.cluster.ready_now, "all TaskManagers are registered", 60)
        if cluster["neighbour"]:
            self.neighbour = self.cluster.run("run", self.library("neighbour"), "--detached").strip()
        self.job = self.submit()
        return self

    def submit(self, *options):
        """Starts the job; gives its id."""
        job = self.schedule["job"]
        own = [word for key, value in job["args"].items()
               for word in (f"--{key}", str(value).format(dir=self.dir))]
        return self.cluster.run(
            "run", self.library(self.job_name), "-p", job["parallelism"], "--state-backend",
            job["backend"], "--aligned-timeout", job.get("aligned_timeout", "30s"), "--detached",
            *options, "--", "--brokers", self.broker.address,
            "--interval", job["interval_ms"], "--timeout", job["timeout_ms"], *own).strip()

    def library(self, name):
        return self.build / "tests" / "faults" / f"libfaults_{name}_job.so"

    def _shim(self, name):
        return self.build / "tests" / "faults" / f"libfaults_{name}.so"

    def _mount(self, path, size):
        """A file system of its own, in this run's namespace alone."""
        path.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)
        self.disks.append(path)

    @property
    def memory_limit(self):
        """Of each daemon, in bytes."""
        return self.schedule["cluster"]["memory_mb"] << 20

    def _limit(self, name):
        """A control group for the process that it starts as, inside ours."""
        own = next(line.split(":", 2)[2] for line in
                   pathlib.Path("/proc/self/cgroup").read_text().splitlines()
                   if ":memory:" in line)
        top = pathlib.Path("/sys/fs/cgroup/memory")
        group = (top / own.lstrip("/") if (top / own.lstrip("/")).exists() else top) / \
            f"{self.dir.name}-{name}"
        group.mkdir()
        self.groups[name] = group
        (group / "memory.limit_in_bytes").write_text(str(self.memory_limit))

    def memory_refusals(self):
        """How many processes the kernel killed because a group had no memory left."""
        return sum(int(line.split()[1]) for group in self.groups.values()
                   for line in (group / "memory.oom_control").read_text().splitlines()
                   if line.startswith("oom_kill "))

    def __exit__(self, *_):
        for program in (self.generator, self.reader):
            if program is not None:
                program.process.kill()
                program.process.wait()
        self.cluster.stop()
        self.broker.kill()
        for disk in self.disks:
            subprocess.run(["umount", "--lazy", disk], check=True)
        for group in self.groups.values():
            group.rmdir()
        if self.network is not None:
            self.network.close()

    def program(self, name):
        return self.build / "tests" / "faults" / f"faults_{name}"

    def _lead(self):
        """Leads the links that the scenario names through the relay, before any is used."""
        if not self.schedule["cluster"]["relay"]:
            return
        self.relay = Relay(self.network)
        for link in self.schedule["cluster"]["relay"]:
            source, target = link.split(">")
            for name in self.network.names:
                if name == source or (source == "tm-*" and name.startswith("tm-")):
                    self.network.lead(name, target, self.relay.port)

    # ------------------------------------------------------------------ processes

    def process(self, name):
        return self.broker.process if name == "broker" else self.cluster.processes[name]

    def kill(self, name):
        """SIGKILL; false when it had died before."""
        self.may_be_dead.add(name)
        return self.cluster.kill(name)

    def nobody_died(self):
        for name in self.cluster.names:
            process = self.process(name)
            if name not in self.may_be_dead and process.poll() is not None:
                last = self.said(name).strip().splitlines()[-1:]
                raise AssertionError(f"{name} died by itself, code {process.returncode}: {last}")

    def start(self, name):
        self.may_be_dead.discard(name)
        if name == "broker":
            self.broker.start()
        else:
            env = {"WEIR_FAILPOINTS": f"@{self.dir}/failpoints/{name}"}
            if self.power is not None:
                env |= self.power.env
            if self.schedule["cluster"]["clocks"]:
                env |= {"LD_PRELOAD": str(self._shim("clock")),
                        "FAULTS_CLOCK": str(self._clock(name))}
            within = ()
            if name in self.groups:
                within = ("sh", "-c", f'echo 0 > {self.groups[name]}/cgroup.procs && exec "$@"',
                          "sh")
            self.cluster.start(name, env=env, within=within)

    def family(self, name):
        """The ids of the process and of all that it started."""
        parents = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(stat.parent.name)] = int(fields[1])
        found = [self.process(name).pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def _clock(self, name):
        return self.dir / "clocks" / name

    def step_clock(self, name, nanoseconds):
        """By how much the wall clock of the process is wrong from now on; gives how often it was
        looked at since the last step."""
        path = self._clock(name)
        path.parent.mkdir(exist_ok=True)
        asked = struct.unpack("=qq", path.read_bytes())[1] if path.exists() else 0
        with open(path, "r+b" if path.exists() else "wb") as file:
            file.write(struct.pack("=qq", nanoseconds, 0))
        return asked

    def failpoint(self, name, setting):
        """What is set in the process from now on, beside the planted bugs."""
        settings = [f"planted.{bug}" + ("" if "=" in bug else "=error")
                    for bug in self.schedule["planted"]]
        text = ",".join(settings + ([setting] if setting else []))
        fresh = self.dir / "failpoints" / f".{name}"
        fresh.write_text(text)
        fresh.rename(self.dir / "failpoints" / name)

    def said(self, name):
        """What the process wrote to standard error and output so far."""
        return pathlib.Path(self.cluster.dir, "logs", f"{name}.out").read_text(errors="replace")

    def broker_said(self):
        return (self.dir / "broker" / "server.log").read_text(errors="replace")

    def untold(self):
        """What the broker says of transactions whose end it has not told to their partitions, in
        words to append: readers of these may wait for ever, unless it tells them later."""
        lines = [line for line in self.broker_said().splitlines() if UNTOLD in line]
        return f"; the broker says ({len(lines)} times): {lines[-1]}" if lines else ""

    def logged(self, words):
        """How often any process of the cluster wrote these words into its log."""
        return sum(path.read_text(errors="replace").count(words)
                   for path in pathlib.Path(self.cluster.dir, "logs").glob("*"))

    # ------------------------------------------------------------------ Kafka

    def meddle(self, what, **options):
        return Program(self.program("meddle"), what, brokers=self.broker.address, **options)

    def read(self, topic, isolation="committed"):
        """The values of all its records, as text."""
        reader = self.meddle("read", topic=topic, isolation=f"read_{isolation}")
        lines = [line.decode().rstrip("\n") for line in reader.process.stdout]
        if reader.process.wait(60) != 0:
            raise AssertionError(f"the end of topic {topic} could not be reached")
        return lines

    def transactional_ids(self):
        """Those of the job's sinks, by the markers of the newest writer."""
        markers = [json.loads(line) for line in self.read("weir-output-markers", "uncommitted")]
        return sorted({f"weir-{m['lineage']}-{m['sink']}-{m['subtask']}" for m in markers
                       if m["run"] == self.job})

    # ------------------------------------------------------------------ the job

    def describe(self):
        """The job as the JobManager sees it; nothing while none answers."""
        try:
            details = self.cluster.json("describe", self.job)
        except (AssertionError, subprocess.TimeoutExpired):
            return None
        status = details["status"]
        newest = int(status.get("last_checkpoint_id", 0))
        if newest and newest not in self.observed:
            self.observed.append(newest)
        self.published |= {int(c["id"]) for c in details.get("checkpoints", [])
                           if c["status"] == "PUBLISHED"}
        self._look_where_it_began(details)
        return details

    def _look_where_it_began(self, details):
        """A later attempt begins from the newest checkpoint that anybody was told of, or a later one.
        The judge may not see it when it does not: replayed results can be those that were lost."""
        if details["status"]["state"] not in ("RUNNING", "FINISHING"):
            return  # it may not be known yet from what
        own = pathlib.Path(details["checkpoint_directory"])
        known = self.newest_slot.get(own, 0)
        attempt = max((subtask.get("attempt", 0) for vertex in details["vertices"]
                       for subtask in vertex["subtasks"]), default=0)
        if (own, attempt) != self.attempt_seen and attempt and known:
            began = pathlib.Path(details.get("restored_from") or "nothing")
            slot = int(began.name) if own in began.parents else 0
            if slot < known:
                raise AssertionError(f"attempt {attempt} began from {began}, and checkpoint "
                                     f"{own}/log/{known} was complete")
            self.restores += 1
        self.attempt_seen = (own, attempt)
        self.newest_slot[own] = max([known] + [
            int(pathlib.Path(c["path"]).name) for c in details.get("checkpoints", [])
            if c["status"] in ("COMPLETED", "PUBLISHED") and
            pathlib.Path(c.get("path", "")).parent.name == "log"])

    def check(self):
        """As describe; raises when the job has ended, or a process by itself."""
        self.nobody_died()
        details = self.describe()
        if details and details["status"]["state"] in TERMINAL:
            status = details["status"]
            raise JobEnded(f"{status['state']}: {status.get('reason', '')}")
        return details

    def failed_checkpoints(self):
        """How many, and why the newest of them failed, newest first."""
        details = eventually(self.check, "a JobManager answers", 30)
        reasons = [c["failure"] for c in details.get("checkpoints", []) if c.get("failure")]
        return int(details.get("checkpoints_failed", 0)), reasons

    def attempt(self):
        """The number of the job's attempt; waits for a JobManager."""
        return eventually(self.check, "a JobManager answers", 30)["status"]["attempt"]

    def workers(self, details=None):
        """The TaskManagers that the job runs on now."""
        details = details or eventually(self.check, "a JobManager answers", 30)
        return sorted({subtask["tm_id"] for vertex in details["vertices"]
                       for subtask in vertex["subtasks"] if subtask.get("tm_id")})

    def aimed(self, step, taken=()):
        """The step with "worker" and "other-worker" replaced by TaskManagers that have work, and are
        not taken by another fault."""
        dice = random.Random(step["seed"])
        step = dict(step)
        for key in ("target", "other", "kill"):
            if step.get(key) in ("worker", "other-worker"):
                fitting = [name for name in self.workers()
                           if name != step.get("target") and name not in taken]
                if not fitting:
                    raise AssertionError(f"no {step[key]} for {step['kind']}: the job runs on "
                                         f"{self.workers()}")
                step[key] = dice.choice(fitting)
        if "link" in step:
            step["link"] = step["link"].replace("worker", step.get("target", "worker"))
        return step

    def check_neighbour(self):
        """A job that shares the cluster has noticed nothing, and takes checkpoints."""
        if self.neighbour is None:
            return
        before = self.cluster.json("describe", self.neighbour)

        def goes_on():
            now = self.cluster.json("describe", self.neighbour)
            return now.get("checkpoints_completed", 0) != before.get("checkpoints_completed", 0)
        eventually(goes_on, "the neighbour takes checkpoints", 10)
        status = before["status"]
        if (status["state"], status["attempt"], int(before.get("checkpoints_failed", 0))) != \
                ("RUNNING", 1, 0):
            raise AssertionError(f"the job beside it was affected: {before}")

    def mark(self):
        self.check()
        if self.reader.process.poll() is not None:
            raise AssertionError("the reader beside the faults died")
        return len(self.observed), self.reader.count

    def healthy(self, since):
        """New results and two new checkpoints since the mark."""
        details = self.check()
        return (details is not None and details["status"]["state"] == "RUNNING" and
                self.reader.count > since[1] and len(self.observed) >= since[0] + 2)

    def await_healthy(self, since, what, limit_s=None):
        limit_s = limit_s or self.schedule["limits"]["healthy_s"]
        begun, first = time.monotonic(), None
        while True:
            well = self.healthy(since)
            if first is None and self.reader.count > since[1]:
                first = time.monotonic() - begun
            if well:
                return first, time.monotonic() - begun
            if time.monotonic() - begun > limit_s:
                details = self.describe() or {"status": {"state": "no JobManager answers"}}
                raise AssertionError(
                    f"{what}: not healthy within {limit_s} s; results {self.reader.count} (were "
                    f"{since[1]}), checkpoints {len(self.observed)} (were {since[0]}), job "
                    f"{json.dumps(details['status'])}{self.untold()}")
            time.sleep(LOOK_S)

    def drain(self, limit_s):
        """Ends the input and waits until every record has its result. What is not there after long is
        lost, and the judge says so; and how many windows there are, nobody counts here: of them it
        is enough that for a while no more come. The limit is for one tenth of what is left: a job
        that is slower than its input on purpose has much, the more the busier the machine is."""
        self.generator.process.stdin.close()
        self.generated = json.loads(self.generator.line())
        if self.generator.process.wait(150) != 0 or self.generated["failed"]:
            raise AssertionError(f"the generator could not write: {self.generated}")
        end = time.monotonic() + limit_s
        count, checkpoints, since = self.reader.count, len(self.observed), time.monotonic()
        step = count + (self.generated["acknowledged"] - count) / 10
        while True:
            self.check()
            if self.reader.count != count:
                count, checkpoints, since = self.reader.count, len(self.observed), time.monotonic()
            quiet_s = time.monotonic() - since
            if self.all_out():
                return
            if len(self.observed) >= checkpoints + 4 and quiet_s > self._last_words_s():
                return
            if self.job_name != "windows" and count >= step:
                end, step = time.monotonic() + limit_s, \
                    count + (self.generated["acknowledged"] - count) / 10
            if time.monotonic() > end:
                raise AssertionError(f"the backlog is not worked off within {limit_s} s; "
                                     f"{count} results so far")
            time.sleep(LOOK_S)

    def _last_words_s(self):
        """For how long nothing comes when nothing more will."""
        if self.job_name == "windows":
            return 3
        if not self.once:
            return 6
        # Of a planted bug nobody waits for a transaction that the broker may yet end.
        return 6 if self.schedule["planted"] else 25

    def all_out(self):
        """Each record of the input has its result, as far as a count can tell."""
        return (self.once and self.job_name != "windows" and
                self.reader.count >= self.generated["acknowledged"])

    def stop_job(self):
        """Ends it with a last checkpoint, and publishes what that holds."""
        self.cluster.json("stop", self.job)

    @property
    def once(self):
        """Each result comes out once, so that they can be counted."""
        return self.schedule["job"]["args"].get("delivery") != "at-least-once"

    def _terms(self):
        """What else the job was asked for, for the judge."""
        args = self.schedule["job"]["args"]
        return [word for name, key in (("poison", "bad-record"), ("delivery", "delivery"))
                if key in args for word in (f"--{name}", args[key])]

    def verify(self):
        """The verdict of the verifier, a program that shares no code with Weir."""
        kind, order, inputs = JOBS[self.job_name]
        self.reader.finish()
        done = subprocess.run(
            [self.program("verify"), "--brokers", self.broker.address, "--job", kind, "--order",
             order, "--inputs", ",".join(inputs), "--output", "out", "--ledger",
             self.dir / "ledger", "--seen", self.dir / "seen", *self._terms()],
            capture_output=True, text=True, timeout=300 + self.generated["acknowledged"] / 10_000,
            check=False)
        if not done.stdout:
            return {"ok": False, "judged": False, "examples": [done.stderr.strip()]}
        return json.loads(done.stdout)
