#!/usr/bin/env python3
"""A TaskManager whose JobManager is not there yet: it says so, goes on trying, and finds it.

    away_test.py WEIR
"""

import os
import pathlib
import socket
import sys
import unittest

from cluster import eventually
from daemons import Daemons

WEIR = sys.argv[1]


class Away(unittest.TestCase):
    def alone(self, wait):
        """tm-1 with nothing behind the JobManager's address until `wait` has seen its log."""
        cluster = Daemons(WEIR, task_managers=1)
        # A proxy of the environment is for the world outside: no use is made of it.
        cluster.env |= {"http_proxy": "http://127.0.0.1:1", "grpc_proxy": "http://127.0.0.1:1"}
        log = pathlib.Path(cluster.dir, "logs", "tm-1.out")
        os.makedirs(log.parent, exist_ok=True)
        try:
            wait(cluster, lambda words: eventually(
                lambda: words in log.read_text() and cluster.address in log.read_text(),
                f"the TaskManager says \"{words}\""))
            cluster.start("jobmanager")
            eventually(cluster.ready_now, "the TaskManager is registered")
        finally:
            cluster.stop()
            cluster.temp.cleanup()

    def test_nobody_listens(self):
        def wait(cluster, says):
            cluster.start("tm-1")
            says("cannot be reached")
        self.alone(wait)

    def test_somebody_listens_and_says_nothing(self):
        def wait(cluster, says):
            host, port = cluster.address.split(":")
            with socket.create_server((host, int(port))) as silent:
                cluster.start("tm-1")
                held = silent.accept()[0]
                says("cannot be reached")
                held.close()
        self.alone(wait)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
