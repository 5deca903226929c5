#!/usr/bin/env python3
"""`weir local --broker`: a real broker beside the cluster, which ends with it.

    local_broker_test.py WEIR
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from cluster import Cluster, alive, eventually

WEIR = sys.argv[1]
CREATE_TOPIC = pathlib.Path(__file__).resolve().parents[2] / "tools" / "kafka" / "create-topic.sh"


def topics(address):
    listed = subprocess.run(["kcat", "-b", address, "-L", "-m", "10"], text=True,
                            capture_output=True, check=False)
    return listed.stdout


class LocalBroker(unittest.TestCase):
    def test_runs_beside_the_cluster_and_ends_with_it_however_that_ends(self):
        cluster = Cluster(WEIR, "-t", "1", "--broker")
        with cluster:
            address = cluster.ready["broker"]
            eventually(lambda: "1 brokers" in topics(address), "it answers")
            subprocess.run([CREATE_TOPIC, address, "orders", "2"], check=True, capture_output=True)
            broker = int(pathlib.Path(cluster.dir, "broker", "pid").read_text())
            self.assertIn(broker, cluster.pids())
            os.kill(broker, signal.SIGKILL)
            eventually(lambda: '"orders" with 2' in topics(address),
                       "it is started again where it was, with its topics", limit_s=60)
            broker = int(pathlib.Path(cluster.dir, "broker", "pid").read_text())
            self.assertTrue(alive(broker))
            self.assertEqual(cluster.stop(), 0)
            self.assertFalse(alive(broker))

            with Cluster(WEIR, "-t", "1", "--broker", directory=cluster.dir) as again:
                self.assertEqual(again.ready["broker"], address)
                broker = int(pathlib.Path(cluster.dir, "broker", "pid").read_text())
                again.launcher.kill()
                eventually(lambda: not alive(broker), "it dies with a killed launcher")

    def test_moves_when_another_has_its_port_and_says_where_to(self):
        with Cluster(WEIR, "-t", "1", "--broker") as cluster, socket.socket() as other:
            first = cluster.ready["broker"]
            subprocess.run([CREATE_TOPIC, first, "orders", "2"], check=True, capture_output=True)
            broker = int(pathlib.Path(cluster.dir, "broker", "pid").read_text())
            cluster.launcher.send_signal(signal.SIGSTOP)  # or it would be quicker than this test
            self.addCleanup(cluster.launcher.send_signal, signal.SIGCONT)
            os.kill(broker, signal.SIGKILL)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

            def taken():
                try:
                    other.bind(("127.0.0.1", int(first.split(":")[1])))
                except OSError:
                    return False  # threads of the dead broker are on their way out
                other.listen()
                return True
            eventually(taken, "its port is free")
            cluster.launcher.send_signal(signal.SIGCONT)

            def address():
                return json.loads(pathlib.Path(cluster.dir, "cluster.json").read_text())["broker"]
            eventually(lambda: address() != first, "the new address is known", limit_s=60)
            eventually(lambda: '"orders" with 2' in topics(address()), "it has its topics",
                       limit_s=60)

    def test_without_the_source_tree_the_refusal_says_what_is_missing(self):
        with tempfile.TemporaryDirectory(prefix="weir_e2e_") as away:
            shutil.copy(WEIR, away)
            library = pathlib.Path(WEIR).resolve().parent.parent / "lib"
            done = subprocess.run([f"{away}/weir", "local", "--broker"], cwd=away, text=True,
                                  env=os.environ | {"LD_LIBRARY_PATH": str(library),
                                                    "WEIR_LOCAL_DIR": f"{away}/cluster"},
                                  capture_output=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("needs tools/kafka/start.sh of Weir's source tree", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
