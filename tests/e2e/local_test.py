#!/usr/bin/env python3
"""The local cluster: comes up, is found, starts its dead again, grows, and leaves nothing behind.

    local_test.py WEIR ROWS_JOB
"""

import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.request

from cluster import Cluster, alive, eventually

WEIR, JOB = sys.argv[1:3]


class Local(unittest.TestCase):
    def test_comes_up_is_found_and_goes(self):
        with Cluster(WEIR, "-t", "2") as cluster:
            status = cluster.json("status")
            self.assertEqual(status["rpc_address"], cluster.ready["address"])
            self.assertEqual(sorted(tm["tm_id"] for tm in status["task_managers"]),
                             ["tm-1", "tm-2"])
            with urllib.request.urlopen(cluster.ready["metrics"]) as answer:
                self.assertIn(b"process_resident_memory_bytes", answer.read())
            port = cluster.task_managers()["tm-1"]["metrics_port"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
                self.assertIn(b'"ready":true', answer.read())
            self.assertIn("TaskManager starts", cluster.run("logs", "tm-1"))
            pids = cluster.pids()
            self.assertEqual(len(pids), 3)
            self.assertEqual(cluster.stop(), 0)
            self.assertEqual([pid for pid in pids if alive(pid)], [])
            self.assertFalse(pathlib.Path(cluster.dir, "cluster.json").exists())
            self.assertEqual(os.listdir(os.path.join(cluster.dir, "taskmanagers")), [])
            cluster.run("status", "-m", cluster.ready["address"], code=3)

    def test_the_directory_is_taken_once_and_a_second_one_touches_nothing(self):
        with Cluster(WEIR, "-t", "1") as cluster:
            job = cluster.run("run", JOB, "--detached", "--checkpoint-interval", "100ms").strip()

            def checkpoints():
                return int(cluster.json("describe", job).get("checkpoints_completed", 0))
            eventually(checkpoints, "the job runs")
            files = {path for path in cluster.files() if path.startswith("taskmanagers/")}
            elsewhere = pathlib.Path(cluster.dir, "elsewhere")
            for options in ((), ("--fresh",), ("--set", f"checkpoint.dir={elsewhere}")):
                cluster.run("local", *options, code=1)
                self.assertIn(f"runs in '{cluster.dir}' already (pid {cluster.launcher.pid}",
                              cluster.stderr)
                self.assertNotIn("no effect", cluster.stderr)
                self.assertTrue(pathlib.Path(cluster.dir, "cluster.json").exists())
                # Of the running job new ones come and old ones go, but not all at once.
                left = files & set(cluster.files())
                self.assertTrue(any(path.endswith(".box") for path in left), left)
                before = checkpoints()
                eventually(lambda: checkpoints() > before + 1, "the job goes on")
            for key in ("id", "dir", "rpc-port", "cluster-id"):
                cluster.run("local", "--set", f"taskmanager.{key}=7", code=1)
                self.assertIn(f"taskmanager.{key} (--set) has no effect on `weir local`: ",
                              cluster.stderr)
            # A file is for all commands: those that it tells where the JobManager is need this.
            file = pathlib.Path(cluster.dir, "weir.yaml")
            file.write_text("jobmanager:\n  address: 127.0.0.1:6123\n")
            cluster.run("local", "--config", file, code=1)
            self.assertNotIn("no effect", cluster.stderr)
            cluster.run("local", "--set", "jobmanager.address=127.0.0.1:6123", code=1)
            self.assertIn("jobmanager.address (--set) has no effect", cluster.stderr)
            self.assertFalse(elsewhere.exists())
            self.assertEqual(cluster.json("describe", job)["status"]["attempt"], 1)

    def test_two_that_start_at_once_where_the_default_ports_are_get_ports_of_their_own(self):
        clusters = [Cluster(WEIR, "-t", "1") for _ in range(3)]
        for cluster in clusters:  # the defaults, as a user has them
            del cluster.env["WEIR_JOBMANAGER_RPC_PORT"], cluster.env["WEIR_METRICS_PORT"]
        with contextlib.ExitStack() as stack:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                for started in [pool.submit(stack.enter_context, c) for c in clusters]:
                    started.result()
            for what in ("address", "metrics"):
                self.assertEqual(len({c.ready[what] for c in clusters}), len(clusters), what)
            ids = {c.json("status")["cluster_id"] for c in clusters}
            self.assertEqual(len(ids), len(clusters), "each answers for itself")
            for cluster in clusters:
                self.assertEqual(list(cluster.task_managers()), ["tm-1"])
                pid = cluster.task_managers()["tm-1"]["pid"]
                self.assertIn(f"taskmanager.cluster-id={cluster.json('status')['cluster_id']}",
                              pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0"))
                self.assertEqual({tm["pid"] for tm in cluster.task_managers().values()} -
                                 set(cluster.pids()), set(), "its own TaskManagers")

    def test_another_clusters_job_manager_at_the_same_address_is_not_taken_for_its_own(self):
        with Cluster(WEIR, "-t", "1") as one, Cluster(WEIR, "-t", "1") as other:
            told = pathlib.Path(one.dir, "cluster.json")
            told.write_text(told.read_text().replace(one.ready["address"], other.ready["address"]))
            one.run("list", code=3)
            self.assertIn(one.dir, one.stderr)
            self.assertIn("another cluster", one.stderr)
            other.run("list")

    def test_a_port_that_was_asked_for_is_had_or_refused(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with tempfile.TemporaryDirectory(prefix="weir_e2e_") as directory:
                done = subprocess.run(
                    [WEIR, "local", "--set", f"jobmanager.rpc-port={port}", "--set",
                     f"local.dir={directory}", "--set", "metrics.port=0"],
                    text=True, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"cannot listen on 127.0.0.1:{port}", done.stderr)
        self.assertNotIn("gRPC:", done.stderr)

    def test_a_dead_task_manager_is_started_again(self):
        with Cluster(WEIR, "-t", "1") as cluster:
            before = cluster.task_managers()["tm-1"]["pid"]
            os.kill(before, signal.SIGKILL)
            after = eventually(
                lambda: {tm["pid"] for tm in cluster.task_managers().values()} - {before},
                "tm-1 is back")
            self.assertEqual(len(after), 1)

    def test_one_is_started_again_although_the_folder_of_logs_was_deleted(self):
        with Cluster(WEIR, "-t", "1") as cluster:
            before = cluster.task_managers()["tm-1"]["pid"]
            shutil.rmtree(pathlib.Path(cluster.dir, "logs"))
            os.kill(before, signal.SIGKILL)
            eventually(lambda: {tm["pid"] for tm in cluster.task_managers().values()} - {before},
                       "tm-1 is back")
            self.assertTrue(pathlib.Path(cluster.dir, "logs", "tm-1.out").exists())

    def test_a_dead_job_manager_is_started_again_at_the_same_place(self):
        with Cluster(WEIR, "-t", "1") as cluster:
            before = cluster.json("status")
            task_manager = cluster.task_managers()["tm-1"]["pid"]
            job_manager = (set(cluster.pids()) - {task_manager}).pop()
            os.kill(job_manager, signal.SIGKILL)
            eventually(lambda: set(cluster.pids()) - {task_manager, job_manager},
                       "a new JobManager")
            eventually(lambda: cluster.task_managers().get("tm-1"), "tm-1 is registered again")
            after = cluster.json("status")
            self.assertEqual(after["rpc_address"], before["rpc_address"])
            self.assertGreater(after["leader_epoch"], before["leader_epoch"])
            self.assertEqual(cluster.task_managers()["tm-1"]["pid"], task_manager)

    def test_nothing_survives_a_killed_launcher_and_the_next_one_works(self):
        cluster = Cluster(WEIR, "-t", "1")
        with cluster:
            pids = cluster.pids()
            cluster.launcher.kill()
            eventually(lambda: not any(alive(pid) for pid in pids), "the daemons die, too")
            cluster.launcher.wait()
            with Cluster(WEIR, "-t", "1", directory=cluster.dir) as again:
                self.assertEqual(list(again.task_managers()), ["tm-1"])

    def test_more_task_managers_come_when_a_job_needs_them(self):
        with Cluster(WEIR, "-t", "1", "-s", "1") as cluster:
            out = cluster.run("run", JOB, "--parallelism", "3", "--", "--count", "30")
            self.assertEqual(len(out.splitlines()), 30)
            self.assertEqual(len(cluster.task_managers()), 3)

    def test_one_that_stands_still_is_not_counted_on(self):
        with Cluster(WEIR, "-t", "2", "-s", "1", "--set",
                     "jobmanager.heartbeat-timeout=500ms", "--set",
                     "jobmanager.heartbeat-interval=100ms") as cluster:
            job = cluster.run("run", JOB, "-p", 2, "--detached", "--checkpoint-interval",
                              "200ms", "--", "--restart", "yes").strip()

            def running():
                details = cluster.json("describe", job)
                return details["status"]["state"] == "RUNNING" and details
            eventually(running, "the job runs")
            stopped = cluster.task_managers()["tm-1"]["pid"]
            os.kill(stopped, signal.SIGSTOP)
            try:
                eventually(lambda: "tm-3" in cluster.task_managers(), "another one has come")
                eventually(running, "the job runs again")
            finally:
                os.kill(stopped, signal.SIGCONT)

    def test_those_that_came_for_a_job_go_when_none_needs_them(self):
        with Cluster(WEIR, "-t", "1", "-s", "1", "--set", "taskmanager.idle-timeout=1s") as cluster:
            job = cluster.run("run", JOB, "--detached", "--parallelism", "3").strip()
            eventually(lambda: cluster.json("describe", job)["status"]["state"] == "RUNNING",
                       "it runs on three")
            cluster.run("cancel", job)
            eventually(lambda: list(cluster.task_managers()) == ["tm-1"], "two of them go")
            out = cluster.run("run", JOB, "--parallelism", "2", "--", "--count", "30")
            self.assertEqual(len(out.splitlines()), 30)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
