#!/usr/bin/env python3
"""A submission that cannot work is refused by name, with the mend, and leaves nothing behind.

    refused_submission_test.py WEIR BAD_JOB OTHER_ABI_JOB SEQUENCES_JOB
"""

import os
import pathlib
import shutil
import sys
import unittest

from cluster import Cluster, OneCluster, eventually

OneCluster.WEIR, JOB, OTHER_ABI_JOB, KAFKA_JOB = sys.argv[1:5]


class Refusals(OneCluster):
    """What `refused` says of a submission it has checked."""

    def refused(self, *arguments, says, code=2, cluster=None):
        cluster = cluster or self.cluster
        # What earlier jobs leave is removed behind their backs.
        eventually(lambda: not [f for f in cluster.files() if "attempts/" in f],
                   "the directories of earlier attempts are gone")
        jobs, files = len(cluster.json("list")), set(cluster.files())
        cluster.run("run", *arguments, code=code)
        for words in says:
            self.assertIn(words, cluster.stderr)
        self.assertNotIn("is submitted", cluster.stderr)
        self.assertEqual(len(cluster.json("list")), jobs, "a job was left behind")

        def left_behind():
            # A black box is the process's own, for as long as it lives.
            return [f for f in cluster.files() if f not in files and "/blackbox/" not in f]
        eventually(lambda: not left_behind(), f"files were left behind: {left_behind()}")


class Library(Refusals):
    def test_missing(self):
        self.refused("/no/such/libjob.so", says=["'/no/such/libjob.so'", "No such file"])

    def test_of_another_abi_is_not_even_loaded(self):
        # Its static constructor would write this file.
        loaded = pathlib.Path(self.cluster.dir, "logs", "loaded")
        self.cluster.env["OTHER_ABI_LOADED"] = str(loaded)
        self.refused(OTHER_ABI_JOB, says=[OTHER_ABI_JOB, "job abi 999", "this is ", "rebuild"])
        self.assertFalse(loaded.exists(), "it was loaded")

    def test_that_is_something_else(self):
        path = pathlib.Path(self.cluster.dir, "logs", "libother.so")
        path.write_text("not a library")
        self.refused(path, says=[str(path), "not a shared library"])
        whole = pathlib.Path(JOB).read_bytes()
        for length in (0, 64, 1000):
            path.write_bytes(whole[:length])
            self.refused(path, says=[str(path)])
        for length in (100_000, len(whole) // 2, len(whole) - 1):  # amid what is loaded, and behind
            path.write_bytes(whole[:length])
            self.refused(path, says=[str(path), f"is cut short: it has {length} bytes"])
        self.refused(self.cluster.dir, says=[self.cluster.dir])
        shutil.copy(pathlib.Path(OneCluster.WEIR), path)  # a program; not of Weir's jobs
        self.refused(path, says=[str(path), "not a Weir job"])

    def test_that_throws(self):
        self.refused(JOB, "--", "--wrong", "throws", says=[JOB, "threw: no such luck"])
        self.refused(JOB, "--", "--wrong", "throws a number", says=[JOB, "not a std::exception"])

    def test_that_ends_the_process(self):
        self.refused(JOB, "--", "--wrong", "crashes", says=[JOB, "crashed: Aborted"])
        self.refused(JOB, "--", "--wrong", "exits", says=[JOB, "exit code 7"])

    def test_that_gives_two_graphs_in_two_runs(self):
        self.refused(JOB, "--", "--wrong", "graphs", says=[
            "two different graphs", "uid 'mapped'), number 2 of the job: its name is 'map ",
            "in the first run and 'map ", "must depend on its arguments alone"])


class Graph(Refusals):
    def test_without_operators(self):
        self.refused(JOB, "--", "--wrong", "empty", says=["no operators", "env.From"])

    def test_with_a_cycle(self):
        self.refused(JOB, "--", "--wrong", "cycle", says=["operator 'map (mapped)'", "cycle"])

    def test_with_duplicate_uids(self):
        self.refused(JOB, "--", "--wrong", "uids", says=["uid 'rows'", "'generator'", "'map (rows)'"])

    def test_with_parallelism_0(self):
        self.refused(JOB, "--", "--wrong", "parallelism", says=["parallelism", "'map (mapped)'", "is 0"])
        self.refused(JOB, "-p", "0", says=["is no whole number from 1 to 32768"])

    def test_with_parallelism_above_the_maximum(self):
        self.refused(JOB, "-p", "5", "--max-parallelism", "4", says=[
            "parallelism 5", "'generator'", "max parallelism 4"])
        self.refused(JOB, "-p", "5", "--max-parallelism", "40000", says=["40000", "32768"])


class Checkpoints(Refusals):
    def test_a_directory_that_has_gone_for_good(self):
        place = pathlib.Path(self.cluster.dir, "logs", "place")
        directory = place / "checkpoints"
        with Cluster(OneCluster.WEIR, "-t", "0", "--set", f"checkpoint.dir={directory}") as cluster:
            shutil.rmtree(place)
            place.write_text("")  # a file takes no directory, not even from root
            self.refused(JOB, says=[str(directory), "cannot be written to",
                                    "; choose one that this process can write\n"], cluster=cluster)

    def test_no_cluster_comes_up_with_one_that_cannot_be_written_to(self):
        file = pathlib.Path(self.cluster.dir, "logs", "a-file")
        file.write_text("")
        read_only = pathlib.Path(self.cluster.dir, "logs", "read-only")
        read_only.mkdir(mode=0o555)
        refused = {f"{file}/checkpoints", "/proc/checkpoints"}
        if os.getuid() != 0:  # who may write everywhere
            refused.add(str(read_only))
        for directory in refused:
            other = Cluster(OneCluster.WEIR, "--set", f"checkpoint.dir={directory}")
            with self.assertRaisesRegex(AssertionError, f"checkpoint.dir '{directory}' cannot"):
                other.__enter__()
            self.assertEqual(other.stop(), 2)
            other.temp.cleanup()

    def test_no_cluster_comes_up_with_one_that_depends_on_where_it_was_started(self):
        for key in ("checkpoint.dir", "savepoint.dir"):
            other = Cluster(OneCluster.WEIR, "--set", f"{key}=here")
            with self.assertRaisesRegex(AssertionError, f"'{key}' is 'here': it must be an absolute"):
                other.__enter__()
            self.assertEqual(other.stop(), 2)
            other.temp.cleanup()


class Savepoints(Refusals):
    def savepoint(self, *arguments):
        return self.cluster.json("stop", self.start(JOB, *arguments))["savepoint_path"]

    def test_that_is_not_there(self):
        self.refused(JOB, "--from-savepoint", "/no/such", says=["/no/such"], code=4)
        nothing = pathlib.Path(self.cluster.dir, "logs", "nothing")
        nothing.mkdir()
        self.refused(JOB, "--from-savepoint", nothing, says=[str(nothing)], code=4)

    def test_that_does_not_fit_is_listed_by_uid_unless_allowed(self):
        savepoint = self.savepoint()
        self.refused(JOB, "--from-savepoint", savepoint, "--", "--count-uid", "other",
                     says=["uids that the job does not have: count;", "--allow-non-restored-state"])
        job = self.cluster.run("run", "--detached", "--from-savepoint", savepoint,
                               "--allow-non-restored-state", JOB, "--", "--count-uid",
                               "other").strip()
        self.assertIn("is dropped: count", self.cluster.stderr)
        eventually(lambda: self.checkpoints(job), "it runs")

    def test_of_another_max_parallelism(self):
        savepoint = self.savepoint("--max-parallelism", "64")
        self.refused(JOB, "--from-savepoint", savepoint, "--max-parallelism", "128",
                     says=["max parallelism 64", "the job has 128", "--max-parallelism 64"])
        # No max parallelism helps a job that is wider than the state can be spread.
        self.refused(JOB, "--from-savepoint", savepoint, "-p", "100",
                     says=["over 64 subtasks at most", "has 100: start it with -p 64 or less"])


class Kafka(Refusals):
    def test_a_broker_that_is_not_there(self):
        self.refused(KAFKA_JOB, "--", "--brokers", "127.0.0.1:1", says=["127.0.0.1:1"])


class AfterSubmission(OneCluster):
    def test_a_graph_that_depends_on_the_machine_fails_with_the_operator(self):
        # The same in both runs on the command line, another one on the TaskManagers.
        self.cluster.env["SUBMITTED_HERE"] = "yes"
        self.cluster.run("run", JOB, "--", "--wrong", "environment", code=1)
        del self.cluster.env["SUBMITTED_HERE"]
        for words in ("another graph", "uid 'mapped'", "'map here' in the submitted graph",
                      "'map (mapped)' in the one built here", "arguments alone"):
            self.assertIn(words, self.cluster.stderr)

    def test_a_savepoint_into_a_directory_that_cannot_be_written_to(self):
        job = self.start(JOB)
        for command in ("savepoint", "stop"):
            self.cluster.run(command, job, "--directory", "/proc/savepoints", code=1)
            self.assertIn("/proc/savepoints", self.cluster.stderr)
            self.assertEqual((self.state(job), self.describe(job)["status"]["restarts"]),
                             ("RUNNING", 0))
        before = self.checkpoints(job)
        eventually(lambda: self.checkpoints(job) > before, "the job goes on")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[5:], verbosity=2)
