#!/usr/bin/env python3
"""Bytes that no proper client sends, on every port of every process, while a job runs: the job goes
on and its results are exact, the processes stay, their memory and their logs are bounded.

    malformed_test.py WEIR WINDOWS_JOB
"""

import collections
import pathlib
import random
import re
import resource
import socket
import sys
import unittest
import urllib.request

import http2
from answers import windows
from cluster import Cluster, eventually

WEIR, JOB = sys.argv[1:3]
PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
RATE = 2000
COUNT = 300_000  # more than is given while bytes are sent
CONNECTIONS = 1000
GROWTH_LIMIT = 200 << 20  # of a process, with a thousand connections open
LOG_LIMIT = 256 << 10     # of a process


def methods():
    """Every gRPC method that the contracts know."""
    found = []
    for path in sorted(PROTO.glob("*.proto")):
        text = path.read_text()
        package = re.search(r"^package ([\w.]+);", text, re.M).group(1)
        for service, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.M | re.S):
            found += [f"/{package}.{service}/{name}" for name in re.findall(r"rpc (\w+)", body)]
    return found


def resident(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


class Malformed(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(WEIR, "-t", "2", "-s", "2")
        self.addCleanup(self.cluster.__exit__, None)
        self.cluster.__enter__()
        eventually(lambda: len(self.cluster.task_managers()) == 2, "both TaskManagers are there")
        status = self.cluster.json("status")
        tms = self.cluster.task_managers().values()
        self.grpc = [int(self.cluster.ready["address"].split(":")[1])]
        self.grpc += [tm[port] for tm in tms for port in ("data_port", "rpc_port")]
        self.http = [status["metrics_port"]] + [tm["metrics_port"] for tm in tms]
        self.out = pathlib.Path(self.cluster.dir, "out.lines")
        # A subtask of every operator on each TaskManager: rows cross the data ports.
        self.job = self.cluster.run(
            "run", JOB, "--detached", "-p", "4", "--", "--rate", RATE, "--count", COUNT, "--out",
            self.out).strip()
        self.checkpoints_go_on()
        self.pids = self.cluster.pids()
        self.before = {pid: resident(pid) for pid in self.pids}

    def describe(self):
        return self.cluster.json("describe", self.job)

    def checkpoints_go_on(self):
        seen = int(self.describe().get("checkpoints_completed", 0))
        eventually(lambda: int(self.describe().get("checkpoints_completed", 0)) > seen + 1,
                   "checkpoints go on")

    def scrape(self, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return answer.read()

    def judge(self):
        """All is as before, and what the job gives in the end is exact."""
        self.checkpoints_go_on()
        details = self.describe()
        self.assertEqual(details["status"]["state"], "RUNNING")
        self.assertEqual(details["status"]["attempt"], 1, details.get("failures"))
        self.assertEqual(self.cluster.pids(), self.pids, "a process died")
        for pid in self.pids:
            self.assertLess(resident(pid), self.before[pid] + GROWTH_LIMIT)
        for log in pathlib.Path(self.cluster.dir, "logs").iterdir():
            self.assertLess(log.stat().st_size, LOG_LIMIT, f"{log.name}: a flood")
        for port in self.http:
            self.assertIn(b"process_resident_memory_bytes", self.scrape(port))
        # The rest comes as fast as it can.
        savepoint = self.cluster.json("stop", self.job)["savepoint_path"]
        self.cluster.run("run", JOB, "-p", "4", "--from-savepoint", savepoint, "--", "--count",
                         COUNT, "--out", self.out)
        got = collections.Counter(self.out.read_text().splitlines())
        self.assertTrue(got == windows(COUNT), "it gives another answer")

    def test_noise(self):
        random.seed(7)
        settings = http2.frame(http2.SETTINGS, 0, 0)
        cases = [
            b"", b"GET / HTTP/1.1\r\n\r\n", random.randbytes(100_000), b"\0" * 70_000,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(500),
            http2.PREFACE[:10], http2.PREFACE, http2.PREFACE + random.randbytes(5000),
            # A frame of 16 MiB less one byte that never comes; one beyond what was agreed.
            http2.PREFACE + settings + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 70_000,
            # Frames of unknown kinds, on streams that were never opened, settings of odd length.
            http2.PREFACE + settings + http2.frame(0x77, 0xff, 0x7fffffff, b"?" * 100),
            http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0, b"odd"),
            http2.PREFACE + settings + http2.frame(http2.DATA, 0, 5, b"lost"),
            http2.PREFACE + settings + http2.frame(http2.HEADERS, http2.END_HEADERS, 1,
                                                   random.randbytes(300)),
            http2.PREFACE + settings + http2.frame(http2.PING, 0, 0, b"8 bytes!") * 10_000,
        ]
        for port in self.grpc + self.http:
            for case in cases:
                http2.send(port, case)
        self.judge()

    def test_garbage_in_every_method(self):
        random.seed(8)
        known = methods()
        self.assertGreaterEqual(len(known), 12)
        opening = http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0)
        ends = ["/weir.proto.JobService/NoSuchMethod", "/no.such.Service/X", "/", "x" * 100]
        for port in self.grpc:
            for method in [*known, "/weir.Exchange/Stream", *ends]:
                answer = http2.send(port, opening + http2.call(method, random.randbytes(200)), 0.1)
                self.assertTrue(answer, f"{method} on {port}: no answer at all")
                http2.send(port, opening + http2.call(method, b""), 0.05)
                http2.send(port, opening + http2.call(method, b"short", length=1 << 31), 0.05)
                http2.send(port, opening + http2.call(method, b"squeezed", compressed=1), 0.05)
        self.assertEqual(self.describe()["status"]["state"], "RUNNING")
        # More than any message may have, as far as the flow window lets it.
        for port in self.grpc:
            for method in (known[0], "/weir.Exchange/Stream"):
                http2.send(port, opening + http2.call(method, b"\x0a" * (8 << 20)), 0.05)
        self.judge()

    def test_a_thousand_connections_that_say_next_to_nothing(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        for port in self.grpc + self.http:
            with self.subTest(port=port):
                opened = []
                for i in range(CONNECTIONS):
                    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
                    try:
                        connection.send(http2.PREFACE[:i % 25] if port in self.grpc
                                        else b"GET /met"[:i % 9])
                    except OSError:
                        pass  # it made room for another one already
                    opened.append(connection)
                # Others are served beside them, and the job goes on.
                self.checkpoints_go_on()
                for http in self.http:
                    self.scrape(http)
                for connection in opened:
                    connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.judge()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
