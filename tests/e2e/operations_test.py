#!/usr/bin/env python3
"""What whoever runs a cluster is shown, and may throw away.

    operations_test.py WEIR BAD_JOB
"""

import pathlib
import sys
import unittest
import urllib.request

from cluster import OneCluster, eventually

OneCluster.WEIR, JOB = sys.argv[1:3]

JOB_METRICS = [
    "restarts", "failures", "running", "checkpoints_completed", "checkpoints_failed",
    "last_checkpoint_id", "last_checkpoint_duration_seconds", "last_checkpoint_bytes",
    "last_checkpoint_full_bytes", "checkpoint_duration_seconds_bucket", "checkpoint_bytes_bucket",
    "checkpoint_alignment_seconds_bucket"]
TASK_METRICS = [
    "records_in_total", "records_out_total", "busy_seconds_total", "idle_seconds_total",
    "back_pressured_seconds_total", "waiting_for_slot_seconds_total", "input_queued_elements",
    "state_entries", "state_memory_bytes", "state_snapshot_bytes_total", "state_store_reads_total"]
TM_METRICS = [
    "weir_network_buffers", "weir_network_buffers_used", "weir_network_buffers_exclusive",
    "weir_network_overdraft_bytes", "weir_memory_budget_bytes", "weir_memory_plan_bytes",
    "weir_slot_stuck_seconds",
    "weir_rocksdb_cache_used_bytes", "weir_rocksdb_memtable_bytes",
    "weir_rocksdb_bytes_compaction_written_total"]
PROCESS_METRICS = ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_threads",
                   "process_open_fds", "weir_build_info"]


class Operations(OneCluster):
    OPTIONS = ("-t", "2", "-s", "2", "--set", "metrics.scope.taskmanager=acme_worker",
               "--set", "metrics.interval=1s")

    def lines(self, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return [line for line in lines if not line.startswith("#")]

    def names(self, port):
        return {line.split("{")[0].split(" ")[0] for line in self.lines(port)}

    def sum_of(self, port, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.lines(port)
                   if line.startswith(name + "{"))

    def test_retained_checkpoints_are_disposed_of_when_no_job_uses_them(self):
        job = self.start(JOB, "--", "--retain")
        directory = pathlib.Path(self.describe(job)["checkpoint_directory"])
        self.cluster.run("dispose", directory, code=1)
        self.assertIn(job, self.cluster.stderr)
        self.cluster.run("cancel", job)
        # Nor while a job that began from them, and has no checkpoint yet, could have to again.
        second = self.start(JOB, "--from-savepoint", directory, "--checkpoint-interval", "1h",
                            checkpoints=0)
        self.cluster.run("dispose", directory, code=1)
        self.assertIn(second, self.cluster.stderr)
        self.cluster.run("cancel", second)
        self.cluster.run("dispose", directory)
        self.assertFalse(directory.exists() and list(directory.rglob("*")))
        self.cluster.run("dispose", directory, code=4)

    def test_every_process_tells_its_figures(self):
        job = self.start(JOB, "-p", "4", "--state-backend", "rocksdb", checkpoints=2)
        status = self.cluster.json("status")
        want = {f"flink_jobmanager_job_{name}" for name in JOB_METRICS} | set(PROCESS_METRICS)
        self.assertEqual(want - self.names(status["metrics_port"]), set())
        want = {f"weir_task_{name}" for name in TASK_METRICS} | set(TM_METRICS)
        want |= set(PROCESS_METRICS) | {"acme_worker_buffer_pool_usage",
                                        "acme_worker_job_task_records_in_per_second",
                                        "acme_worker_job_task_records_out_per_second"}
        want |= {"weir_task_latency_seconds_bucket", "weir_task_latency_seconds_count"}
        for tm in status["task_managers"]:
            got = self.names(tm["metrics_port"])
            self.assertEqual(want - got, set())
            self.assertNotIn("weir_task_watermark_seconds", got)  # the job has no event time
            self.assertFalse([name for name in got if name.startswith("flink_taskmanager")])
        for tm in status["task_managers"]:
            eventually(lambda port=tm["metrics_port"]:
                       self.sum_of(port, "weir_task_latency_seconds_count") > 0,
                       "markers have come to its sinks")
            took = self.sum_of(tm["metrics_port"], "weir_task_latency_seconds_sum")
            self.assertLess(took / self.sum_of(tm["metrics_port"],
                                               "weir_task_latency_seconds_count"), 30)
        eventually(lambda: any(tm.get("cpu_usage", 0) > 0
                               for tm in self.cluster.json("status")["task_managers"]),
                   "the CPU in use is told")
        self.cluster.run("cancel", job)

    def test_what_others_reach_is_opened_on_demand_only(self):
        anywhere = ("taskmanager", "--set", "taskmanager.bind-host=0.0.0.0", "--set",
                    "taskmanager.memory=1mb", "--set", f"taskmanager.dir={self.cluster.dir}/open")
        self.cluster.run(*anywhere, code=2)
        self.assertIn("--insecure", self.cluster.stderr)
        # The flag is taken; now it is the memory that will not do.
        self.cluster.run(*anywhere, "--insecure", code=1)
        self.assertIn("taskmanager.memory is 1mb", self.cluster.stderr)

    def test_text_of_jobs_is_shown_and_not_obeyed(self):
        job = self.cluster.run("run", JOB, "--detached", "--", "--wrong", "loud exception").strip()
        eventually(lambda: self.state(job) == "FAILED", "it fails")
        listed = self.cluster.run("list")
        self.assertEqual(len([line for line in listed.splitlines() if job in line]), 1)
        self.assertNotIn("the second line", listed)
        described = self.cluster.run("describe", job)
        self.assertIn("the second line", described)
        self.assertIn("\\x1b[31m", described)
        for text in (listed, described):
            self.assertFalse([c for c in text if ord(c) < 32 and c not in "\n\t"])
        # Machines get what was said.
        self.assertIn("\x1b[31m", self.describe(job)["status"]["reason"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
