"""A cluster for tests that kill: a JobManager and TaskManagers started one by one, and a broker.

Everything started here dies with the test, however that ends.
"""

import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

from cluster import Cluster, eventually

KAFKA = pathlib.Path(__file__).resolve().parents[2] / "tools" / "kafka"
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNET = 0x40000000


def spawn(command, namespace=None, **options):
    """A process that the kernel kills when the test's main thread ends. `namespace`: the file
    descriptor of the network namespace that it lives in."""
    def prepare():
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if namespace is not None and _LIBC.setns(namespace, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    return subprocess.Popen([str(word) for word in command], preexec_fn=prepare, **options)


def create_topic(address, name, partitions):
    """A broker on a busy machine that was late to greet its controller takes no topic for a moment."""
    def created():
        try:
            ask_for_topic(address, name, partitions)
        except AssertionError as error:
            if "fenced" not in str(error):
                raise
            return False
        return True
    eventually(created, f"the broker takes topic {name}", 60)


def ask_for_topic(address, name, partitions):
    """By librdkafka: Kafka's own tool takes a Java machine 1.5 s of CPU time for each topic."""
    kafka = ctypes.CDLL("librdkafka.so.1")
    for function in ("conf_new", "new", "NewTopic_new", "queue_new", "queue_poll",
                     "event_CreateTopics_result", "CreateTopics_result_topics",
                     "topic_result_error_string"):
        getattr(kafka, "rd_kafka_" + function).restype = ctypes.c_void_p
    pointer, error = ctypes.c_void_p, ctypes.create_string_buffer(512)

    config = pointer(kafka.rd_kafka_conf_new())
    if kafka.rd_kafka_conf_set(config, b"bootstrap.servers", address.encode(), error, 512) != 0:
        raise AssertionError(error.value.decode())
    client = pointer(kafka.rd_kafka_new(0, config, error, 512))  # 0: a producer
    topic = pointer(kafka.rd_kafka_NewTopic_new(name.encode(), partitions, 1, error, 512))
    queue = pointer(kafka.rd_kafka_queue_new(client))
    kafka.rd_kafka_CreateTopics(client, ctypes.byref(topic), ctypes.c_size_t(1), None, queue)
    event = pointer(kafka.rd_kafka_queue_poll(queue, 60_000))
    try:
        if not event:
            raise AssertionError(f"{address} does not answer that topic {name} be created")
        count = ctypes.c_size_t()
        answer = pointer(kafka.rd_kafka_event_CreateTopics_result(event))
        answers = ctypes.cast(
            kafka.rd_kafka_CreateTopics_result_topics(answer, ctypes.byref(count)),
            ctypes.POINTER(pointer))
        if count.value != 1:
            raise AssertionError(f"topic {name}: error {kafka.rd_kafka_event_error(event)}")
        if kafka.rd_kafka_topic_result_error(pointer(answers[0])) != 0:
            why = kafka.rd_kafka_topic_result_error_string(pointer(answers[0]))
            raise AssertionError(f"topic {name}: {ctypes.string_at(why).decode()}")
    finally:
        kafka.rd_kafka_event_destroy(event)
        kafka.rd_kafka_queue_destroy(queue)
        kafka.rd_kafka_NewTopic_destroy(topic)
        kafka.rd_kafka_destroy(client)
    # The broker answers before its own view of the cluster knows the topic's leaders.
    eventually(lambda: _leaders(address, name) == partitions, f"topic {name} has its leaders")


def _leaders(address, name):
    listed = subprocess.run(["kcat", "-b", address, "-L", "-J", "-t", name, "-m", "10"],
                            capture_output=True, check=False)
    if listed.returncode != 0:
        return 0
    return sum(partition.get("leader", -1) >= 0 and "error" not in partition
               for topic in json.loads(listed.stdout)["topics"] if topic["topic"] == name
               for partition in topic["partitions"])


def stopped(pid):
    """True while the process is held by SIGSTOP."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    except OSError:
        return False


def overlaps(details):
    """Pairs of durable checkpoints, older and newer, of which the newer began before the older was
    durable; of what `describe` says of a job."""
    durable = [(int(c["id"]), int(c["triggered_ms"]), int(c.get("duration_ms", 0)))
               for c in details.get("checkpoints", []) if c["status"] in ("COMPLETED", "PUBLISHED")]
    return [(older, newer) for older, began, took in durable for newer, next_began, _ in durable
            if older < newer and next_began < began + took]


class ThisMachine:
    """Where processes run when no test wants to part them: see tests/faults/network.py."""

    def namespace(self, _name):
        return None

    def ip(self, _name):
        return "127.0.0.1"


def free_port():
    # Below the ephemeral range, so that no client's own port takes it while its daemon is dead.
    while True:
        port = 10000 + int.from_bytes(os.urandom(2), "little") % 20000
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Daemons(Cluster):
    """`weir jobmanager` and `weir taskmanager` processes, each killed and started by itself."""

    def __init__(self, weir, task_managers=2, slots=2, place=None, settings=None, directory=None):
        super().__init__(weir, directory=directory)
        self.names = ["jobmanager"] + [f"tm-{i + 1}" for i in range(task_managers)]
        self.slots = slots
        self.place = place or ThisMachine()
        self.settings = settings or {}
        self.address = f"{self.place.ip('jobmanager')}:{free_port()}"
        self.env["WEIR_JOBMANAGER_ADDRESS"] = self.address
        self.processes = {}

    def start(self, name, env=None, within=()):
        """`within`: a command that runs the one which is appended to it."""
        ip = self.place.ip(name)
        settings = {"metrics.port": 0, "log.dir": f"{self.dir}/logs"}
        leads = name.startswith("jobmanager")
        if leads:
            settings |= {"jobmanager.rpc-port": self.address.split(":")[1],
                         "jobmanager.dir": f"{self.dir}/jobmanager"}
        else:
            settings |= {"taskmanager.id": name, "taskmanager.dir": f"{self.dir}/work",
                         "taskmanager.slots": self.slots, "taskmanager.rpc-port": 0,
                         "taskmanager.data-port": 0}
        if ip != "127.0.0.1":
            role = "jobmanager" if leads else "taskmanager"
            settings |= {f"{role}.bind-host": ip, "security.insecure": "true"}
        settings |= self.settings
        command = [*within, self.weir, "jobmanager" if leads else "taskmanager"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        with open(f"{self.dir}/logs/{name}.out", "ab") as out:
            self.processes[name] = spawn(command, namespace=self.place.namespace(name),
                                         env=self.env | (env or {}), stdout=out, stderr=out)

    def kill(self, name):
        """kill -9; false when it was dead already."""
        process = self.processes[name]
        if process.poll() is not None:
            return False
        process.kill()
        process.wait()
        return True

    def __enter__(self):
        os.makedirs(f"{self.dir}/logs", exist_ok=True)
        for name in self.names:
            self.start(name)
        eventually(self.ready_now, "all TaskManagers are registered")
        return self

    def ready_now(self):
        try:
            return len(self.task_managers()) == len(self.names) - 1
        except AssertionError:
            return False

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        for process in self.processes.values():
            process.wait()
        return 0


class SlowStorage(Daemons):
    """TaskManagers that take a while for each file of a checkpoint."""

    def start(self, name, env=None, within=()):
        if not name.startswith("jobmanager"):
            env = (env or {}) | {"WEIR_FAILPOINTS": "storage.sync=sleep:150"}
        super().start(name, env, within)


class Broker:
    """A real broker in a directory of its own, which may be killed and started again on it."""

    def __init__(self, directory, place=None, options=""):
        self.dir = directory
        self.place = place or ThisMachine()
        self.ip = self.place.ip("broker")
        self.options = options
        self.port = None
        self.starts_before = 0

    def starts(self):
        """How often a broker in this directory came through its start."""
        log = pathlib.Path(self.dir, "server.log")
        return log.read_bytes().count(b"Kafka Server started") if log.exists() else 0

    def start(self):
        self.starts_before = self.starts()
        env, words, own = dict(os.environ), [KAFKA / "start.sh", self.dir, "--foreground"], ""
        if self.ip != "127.0.0.1":
            self.port = self.port or free_port()
            words += ["--port", self.port]
            # The last one of a name counts; the controller stays on the loopback interface.
            own = (f"listeners=CLIENTS://{self.ip}:{self.port},"
                   f"CONTROLLER://127.0.0.1:{self.port + 1}\n"
                   f"advertised.listeners=CLIENTS://{self.ip}:{self.port}\n")
        env["WEIR_KAFKA_OPTIONS"] = self.options + own
        self.process = spawn(words, namespace=self.place.namespace("broker"), env=env)

    def wait(self):
        port = pathlib.Path(self.dir, "port")

        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"the broker died; see {self.dir}/server.log")
            if not port.exists() or not port.read_text().strip():
                return False
            self.address = f"{self.ip}:{port.read_text().strip()}"
            # One that was killed answers at first by what it remembers, then leads nothing until
            # its old session is over.
            if self.starts() == self.starts_before:
                return False
            listed = subprocess.run(["kcat", "-b", self.address, "-L", "-J", "-m", "1"],
                                    capture_output=True, check=False)
            return b'"brokers":[{"id":1' in listed.stdout
        eventually(answers, "the broker answers", limit_s=120)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        self.start()
        self.wait()
        return self

    def __exit__(self, *_):
        self.kill()

    def topic(self, name, partitions):
        create_topic(self.address, name, partitions)


class Sequences:
    """Writes {"key", "seq"} records at a steady rate from a thread, each key counting from 1."""

    def __init__(self, broker, topic, keys, rate):
        self.keys, self.rate, self.last = keys, rate, 0
        self.stopping = threading.Event()
        self.kcat = spawn(["kcat", "-b", broker.address, "-P", "-t", topic, "-K:",
                           "-X", "enable.idempotence=true"], stdin=subprocess.PIPE)
        self.thread = threading.Thread(target=self.produce)
        self.thread.start()

    def produce(self):
        begun = time.monotonic()
        while True:
            self.last += 1
            self.kcat.stdin.write("".join(
                f'k{k}:{{"key":"k{k}","seq":{self.last}}}\n' for k in range(self.keys)).encode())
            ahead = begun + self.last * self.keys / self.rate - time.monotonic()
            if self.stopping.wait(max(0, ahead)):
                return

    def finish(self):
        """Ends the stream; returns how many records were written."""
        self.stopping.set()
        self.thread.join()
        self.kcat.stdin.close()
        if self.kcat.wait() != 0:
            raise AssertionError(f"kcat -P ended with {self.kcat.returncode}")
        return self.last * self.keys


class Witness:
    """Counts what a read-committed reader sees, as it sees it."""

    def __init__(self, broker, topic):
        self.count = 0
        self.kcat = spawn(["kcat", "-b", broker.address, "-C", "-t", topic, "-o", "beginning", "-u",
                           "-q", "-f", "\n", "-X", "isolation.level=read_committed"],
                          stdout=subprocess.PIPE)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while chunk := os.read(self.kcat.stdout.fileno(), 1 << 16):
            self.count += chunk.count(b"\n")

    def close(self):
        self.kcat.kill()
        self.kcat.wait()
        self.thread.join()
        self.kcat.stdout.close()
