#!/usr/bin/env python3
"""A checkpoint of which a file is damaged is not restored: the job fails and the file is named. No
older checkpoint is taken in its place, no wrong result is given, and other jobs do not notice.

    damaged_checkpoint_test.py WEIR TOTALS_JOB
"""

import itertools
import json
import pathlib
import shutil
import subprocess
import sys
import unittest

import manifests
from cluster import Cluster, completed_now, eventually
from daemons import Daemons

WEIR, JOB = sys.argv[1:3]
# Enough that the RocksDB backend has taken a base and deltas upon it.
CHECKPOINTS = 20


# Each is given the file, a place in it that is needed, and the bytes of another one.
def truncate(path, place, _):
    path.write_bytes(path.read_bytes()[:place])


def empty(path, *_):
    path.write_bytes(b"")


def flip(path, place, _):
    whole = bytearray(path.read_bytes())
    whole[place] ^= 4
    path.write_bytes(whole)


def remove(path, *_):
    path.unlink()


def swap(path, _, other):
    path.write_bytes(other)


DAMAGES = (truncate, empty, flip, remove, swap)


class Checkpoint:
    """The newest checkpoint in a job's directory."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        # The manifest of the highest slot, and what it needs of which files. Of a file that holds
        # state of several operators an older part may be needed by nobody any more.
        self.manifest = max(e for e in (self.dir / "log").iterdir() if self.needs(e))
        self.needed = {self.dir / file: spans for file, spans in self.needs(self.manifest).items()}
        self.files = sorted(self.needed)

    @staticmethod
    def needs(entry):
        return manifests.extents(entry.read_bytes())

    def place(self, path):
        """The middle of the largest part that is needed."""
        if path == self.manifest:
            return path.stat().st_size // 2
        offset, length = max(self.needed[path], key=lambda span: span[1])
        return offset + length // 2

    def damage(self, damage, manifest):
        """Damages the manifest or a state file; gives the damaged path."""
        path = self.manifest if manifest else self.files[-1]
        # Another checkpoint's: an older one, or, of state, one with other bytes.
        others = [p for p in path.parent.iterdir() if p != path]
        other = max(others, key=lambda p: p.stat().st_size).read_bytes() if others else b""
        damage(path, self.place(path), other)
        return path


class Retained(unittest.TestCase):
    """What `weir run --from-savepoint` is given."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(WEIR, "-t", "2", "-s", "2")
        cls.addClassCleanup(cls.cluster.__exit__, None)
        cls.cluster.__enter__()
        cls.neighbour = cls.run_detached("neighbour", "memory", "--count", 10_000_000)

    @classmethod
    def run_detached(cls, name, backend, *arguments):
        return cls.cluster.run("run", JOB, "--detached", "--state-backend", backend, "--", "--out",
                               f"{cls.cluster.dir}/{name}.lines", "--rate", 500,
                               *arguments).strip()

    def retained(self, backend):
        """The checkpoints that a cancelled job left."""
        job = self.run_detached("first", backend, "--count", 10_000_000, "--retain",
                                "--retained", 2)
        eventually(lambda: int(self.cluster.json("describe", job).get("checkpoints_completed", 0))
                   >= CHECKPOINTS, "checkpoints are complete")
        self.cluster.run("cancel", job)
        return pathlib.Path(self.cluster.json("describe", job)["checkpoint_directory"])

    def resume(self, directory, backend):
        out = pathlib.Path(self.cluster.dir, "second.lines")
        out.unlink(missing_ok=True)
        done = subprocess.run(
            [WEIR, "run", JOB, "--state-backend", backend, "--from-savepoint", directory, "--",
             "--out", out, "--count", "1"],  # all of it was given before: it ends at once
            env=self.cluster.env, capture_output=True, text=True, timeout=60, check=False)
        return done, out.read_text() if out.exists() else ""

    def damaged(self, backend):
        whole = self.retained(backend)
        done, _ = self.resume(whole, backend)
        self.assertEqual(done.returncode, 0, done.stderr)
        files = len(Checkpoint(whole).files)
        self.assertGreaterEqual(files, 2, "a base and deltas upon it")
        # Every file of state and the manifest, each damaged in each way.
        for which, damage in itertools.product(range(-1, files), DAMAGES):
            copy = pathlib.Path(self.cluster.dir, "copy")
            shutil.copytree(whole, copy)
            checkpoint = Checkpoint(copy)
            checkpoint.files = checkpoint.files[:which + 1]
            path = checkpoint.damage(damage, which < 0)
            with self.subTest(file=path.name, damage=damage.__name__):
                done, out = self.resume(copy, backend)
                self.assertEqual(out, "", "it gave results")
                self.assertNotIn(done.returncode, (0, 5), done.stderr)
                self.assertIn(path.name, done.stderr)
                # An older one is there, and is taken when it is named.
                if which < 0:
                    older = sorted(p for p in (copy / "log").iterdir() if p != path)[-1]
                    done, _ = self.resume(older, backend)
                    self.assertEqual(done.returncode, 0, done.stderr)
            shutil.rmtree(copy)
        status = self.cluster.json("describe", self.neighbour)["status"]
        self.assertEqual((status["state"], status["attempt"]), ("RUNNING", 1), status)

    def test_of_the_memory_backend(self):
        self.damaged("memory")

    def test_of_the_rocksdb_backend(self):
        self.damaged("rocksdb")


class Restarted(unittest.TestCase):
    """A JobManager that is killed, and has to go on from damaged checkpoints."""

    def victims(self, cluster, backend):
        """A running job for each way of damage, to the manifest and to state; and one to spare."""
        jobs = {}
        for case in [*itertools.product(DAMAGES, (True, False)), "spared"]:
            jobs[case] = cluster.run(
                "run", JOB, "--detached", "--state-backend", backend, "--", "--rate", 100,
                "--count", 10_000_000, "--out", f"{cluster.dir}/{len(jobs)}.lines").strip()
        for job in jobs.values():
            eventually(lambda job=job: int(cluster.json("describe", job).get(
                "checkpoints_completed", 0)) >= 3, "checkpoints are complete", limit_s=60)
        return jobs

    def restarted(self, backend):
        with Daemons(WEIR, task_managers=2, slots=6,
                     settings={"taskmanager.dedicated": "false"}) as cluster:
            jobs = self.victims(cluster, backend)
            directories = {job: cluster.json("describe", job)["checkpoint_directory"]
                           for job in jobs.values()}
            cluster.kill("jobmanager")
            damaged = {case: Checkpoint(directories[job]).damage(*case)
                       for case, job in jobs.items() if case != "spared"}
            # The manifest before it goes right after a commit, unless the kill came in between.
            for entry in (damaged[remove, True].parent).iterdir():
                if Checkpoint.needs(entry):
                    entry.unlink()
            cluster.start("jobmanager")

            def state(job):
                return cluster.json("describe", job)["status"]
            eventually(cluster.ready_now, "the JobManager is back")
            for case, path in damaged.items():
                with self.subTest(damage=case[0].__name__, file=path.name):
                    status = eventually(lambda case=case: (s := state(jobs[case]))["state"] in
                                        ("FAILED", "RUNNING") and int(s["attempt"]) > 0 and
                                        (s["state"] == "FAILED" or s.get("subtasks_running"))
                                        and s, "it fails, or it goes on")
                    self.assertEqual(status["state"], "FAILED", status)
                    if case == (remove, True):
                        self.assertIn("its manifest is missing", status["reason"])
                        self.assertIn(directories[jobs[case]], status["reason"])
                    else:
                        self.assertIn(path.name, status["reason"])
                    # What is left is what a user repairs it with.
                    self.assertTrue(any(pathlib.Path(directories[jobs[case]], "data").iterdir()))
            spared = jobs["spared"]
            eventually(lambda: completed_now(cluster.json("describe", spared)) >= 1,
                       "the spared job goes on")
            self.assertEqual(state(spared)["state"], "RUNNING")

    def test_onto_the_memory_backend(self):
        self.restarted("memory")

    def test_onto_the_rocksdb_backend(self):
        self.restarted("rocksdb")


def without(directory):
    """A command to run another in, which finds an empty directory in that place: what a machine
    has that came up without a mount."""
    return ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', directory]


class Unmounted(unittest.TestCase):
    """A TaskManager that comes back without the directory of the checkpoints."""

    def test_is_named_and_ends_no_job(self):
        cluster = Daemons(WEIR, task_managers=2, slots=1)
        shared = pathlib.Path(cluster.dir, "shared")
        shared.mkdir()
        if subprocess.run([*without(shared), "true"], capture_output=True, check=False).returncode:
            self.skipTest("this user may not mount")
        cluster.settings["checkpoint.dir"] = shared
        with cluster:
            job = cluster.run("run", JOB, "--detached", "-p", 2, "--", "--rate", 100, "--count",
                              10_000_000, "--out", f"{cluster.dir}/lines").strip()

            def describe():
                return cluster.json("describe", job)

            def checkpoints():
                return int(describe().get("checkpoints_completed", 0))
            eventually(lambda: checkpoints() >= 3, "checkpoints are complete")
            cluster.kill("tm-2")
            cluster.start("tm-2", within=without(shared))
            told = f"TaskManager 'tm-2' does not see in {shared}/{job} what the JobManager has"
            eventually(lambda: told in json.dumps(describe()), "what is missing is told")
            self.assertNotEqual(describe()["status"]["state"], "FAILED", describe())
            cluster.kill("tm-2")
            cluster.start("tm-2")
            eventually(lambda: describe()["status"]["state"] == "RUNNING", "it runs again")
            before = checkpoints()
            eventually(lambda: checkpoints() > before, "it goes on")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
