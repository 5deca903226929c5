#!/usr/bin/env python3
"""What is wrong is refused, or fails, by name and with a reason; nothing else is touched.

    bad_input_test.py WEIR BAD_JOB
"""

import pathlib
import socket
import subprocess
import sys
import tempfile
import unittest

from cluster import Cluster, eventually

WEIR, JOB = sys.argv[1:3]


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

    def start(self, *arguments):
        job = self.cluster.run("run", JOB, "--detached", *arguments).strip()
        eventually(lambda: int(self.cluster.json("describe", job).get("checkpoints_completed", 0)),
                   "a checkpoint is complete")
        return job

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

    def test_a_local_cluster_that_does_not_come_up_tells_its_own_words_alone(self):
        with tempfile.TemporaryDirectory() as directory, socket.socket() as one, \
                socket.socket() as other:
            env = self.cluster.env | {"WEIR_LOCAL_DIR": directory}
            said = []
            for taken in (one, other):
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                env["WEIR_JOBMANAGER_RPC_PORT"] = str(taken.getsockname()[1])
                done = subprocess.run([WEIR, "local"], env=env, text=True, capture_output=True)
                self.assertNotEqual(done.returncode, 0)
                said.append((env["WEIR_JOBMANAGER_RPC_PORT"], done.stderr))
            (before, first), (port, second) = said
            self.assertIn(before, first)
            self.assertIn(port, second)
            self.assertNotIn(before, second)

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


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
