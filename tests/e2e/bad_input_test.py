#!/usr/bin/env python3
"""What is wrong is refused, or fails, by name and with a reason; nothing else is touched.

    bad_input_test.py WEIR BAD_JOB SEQUENCES_JOB
"""

import pathlib
import socket
import subprocess
import sys
import unittest

from cluster import Cluster, eventually

WEIR, JOB, KAFKA_JOB = sys.argv[1:4]


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(WEIR, "-t", "2", "-s", "2")
        cls.addClassCleanup(cls.cluster.__exit__, None)
        cls.cluster.__enter__()
        cls.job_manager = cls.cluster.json("status")["leader_epoch"]

    def tearDown(self):
        self.assertEqual(self.cluster.json("status")["leader_epoch"], self.job_manager,
                         "the JobManager died")
        for job in self.cluster.json("list", "--running"):
            self.cluster.run("cancel", job["job_id"])

    def refused(self, *arguments, says, code=2):
        before = len(self.cluster.json("list"))
        self.cluster.run("run", *arguments, code=code)
        for word in says:
            self.assertIn(word, self.cluster.stderr)
        self.assertEqual(len(self.cluster.json("list")), before, "a job was left behind")

    def state(self, job):
        return self.cluster.json("describe", job)["status"]["state"]

    def start(self, *arguments):
        job = self.cluster.run("run", JOB, "--detached", *arguments).strip()
        eventually(lambda: int(self.cluster.json("describe", job).get("checkpoints_completed", 0)),
                   "a checkpoint is complete")
        return job

    def test_a_library_that_is_missing(self):
        self.refused("/no/such/libjob.so", says=["/no/such/libjob.so"])

    def test_a_library_of_another_abi(self):
        path = pathlib.Path(self.cluster.dir, "libother.so")
        path.write_text("not a library")
        self.refused(path, says=[str(path)])

    def test_a_job_function_that_throws(self):
        self.refused(JOB, "--", "--wrong", "throws", says=["no such luck"])

    def test_two_runs_that_give_two_graphs(self):
        self.refused(JOB, "--", "--wrong", "graphs", says=["two different graphs"])

    def test_duplicate_uids(self):
        self.refused(JOB, "--", "--wrong", "uids", says=["uid", "rows"])

    def test_parallelism_above_the_maximum(self):
        self.refused(JOB, "-p", "5", "--max-parallelism", "4", says=["5", "4", "parallelism"])

    def test_a_broker_that_is_not_there(self):
        self.refused(KAFKA_JOB, "--", "--brokers", "127.0.0.1:1", says=["127.0.0.1:1"])

    def test_an_unknown_configuration_key(self):
        self.cluster.run("list", "--set", "taskmanager.slot=2", code=2)
        self.assertIn("taskmanager.slots", self.cluster.stderr)

    def test_a_taken_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            self.cluster.run("jobmanager", "--set", f"jobmanager.rpc-port={port}", "--set",
                             f"jobmanager.dir={self.cluster.dir}/other", code=1)
            self.assertIn(port, self.cluster.stderr)

    def test_malformed_bytes_on_the_ports(self):
        eventually(lambda: len(self.cluster.task_managers()) == 2, "both TaskManagers are there")
        ports = [int(self.cluster.ready["address"].split(":")[1])]
        ports += [tm["data_port"] for tm in self.cluster.task_managers().values()]
        for port in ports:
            for noise in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 64,
                          b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 4096):
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    try:
                        connection.sendall(noise)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(4096):
                            pass
                    except OSError:
                        pass  # it may hang up on us
        self.assertEqual(len(self.cluster.task_managers()), 2)

    def test_a_savepoint_that_does_not_fit(self):
        savepoint = self.cluster.json("stop", self.start())["savepoint_path"]
        self.refused(JOB, "--from-savepoint", savepoint, "--detached", "--", "--count-uid",
                     "other", says=["count"], code=1)
        job = self.start("--from-savepoint", savepoint, "--allow-non-restored-state", "--",
                         "--count-uid", "other")
        self.assertEqual(self.state(job), "RUNNING")

    def test_a_flipped_bit_in_a_savepoint_is_named(self):
        savepoint = self.cluster.json("stop", self.start())["savepoint_path"]
        for path in sorted(p for p in pathlib.Path(savepoint).rglob("*") if p.is_file()):
            if path.stat().st_size == 0:
                continue
            whole = path.read_bytes()
            middle = len(whole) // 2
            path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1:])
            done = subprocess.run([WEIR, "run", JOB, "--from-savepoint", savepoint],
                                  env=self.cluster.env, capture_output=True, text=True, timeout=60,
                                  check=False)
            self.assertNotIn(done.returncode, (0, 5), f"{path} was believed")
            self.assertIn(path.name, done.stderr)
            path.write_bytes(whole)

    def test_an_exception_in_user_code_names_the_operator(self):
        other = self.start("--name", "other")
        self.cluster.run("run", JOB, "--", "--wrong", "exception", code=1)
        self.assertIn("map", self.cluster.stderr)
        self.assertIn("row 500", self.cluster.stderr)
        self.assertEqual(self.state(other), "RUNNING")

    def test_a_crash_in_user_code_ends_its_job_alone(self):
        other = self.start("--name", "other")
        for wrong in ("abort", "segfault"):
            self.cluster.run("run", JOB, "--", "--wrong", wrong, code=1)
            self.assertEqual(self.state(other), "RUNNING")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
