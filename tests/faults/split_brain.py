"""Two JobManagers that both believe to lead.

The leader stands still. Another process takes its place: the lock that should keep it out keeps
nobody out, as on a file system whose locks are known to one machine alone. TaskManagers lose the
first one and come to the second. Then the first wakes, holds what it takes for the lock, and, as its
disk is slow, does not learn for a while that another has written; and TaskManagers are led to it.
They have to refuse it: in the log of a TaskManager the leader's epoch never goes down.
"""

import json
import os
import pathlib
import signal

from cluster import eventually
from daemons import stopped
from fault import Fault

SECOND = "jobmanager-2"


class SplitBrain(Fault):
    def begin(self):
        world = self.world
        self.first = world.process("jobmanager")
        os.kill(self.first.pid, signal.SIGSTOP)
        eventually(lambda: stopped(self.first.pid), "the JobManager is stopped", 5)
        self.task_managers = [name for name in world.cluster.names if name != "jobmanager"]
        self.lead_to(SECOND)
        self.start_second()
        world.await_healthy(world.mark(), "under the second JobManager", 60)
        self.evidence["epochs"] = [1, world.cluster.json("status")["leader_epoch"]]

    def lead_to(self, name):
        relay = self.world.relay
        relay.route("jobmanager", name)
        for task_manager in self.task_managers:
            relay.reset(f"{task_manager}>jobmanager")

    def start_second(self):
        world = self.world
        lock = pathlib.Path(world.cluster.dir, "jobmanager", "leader", "leader.lock")
        other = world.dir / "other.lock"
        other.touch()
        cluster = world.cluster
        cluster.address = cluster.address.replace(world.network.ip("jobmanager"),
                                                  world.network.ip(SECOND))
        cluster.env["WEIR_JOBMANAGER_ADDRESS"] = cluster.address
        world.failpoint(SECOND, "")
        cluster.start(SECOND, env={"WEIR_FAILPOINTS": f"@{world.dir}/failpoints/{SECOND}"},
                      within=("unshare", "--mount", "sh", "-c",
                              f'mount --bind {other} {lock} && exec "$@"', "sh"))
        eventually(cluster.ready_now, "all TaskManagers have come to the second JobManager", 60)

    def epochs(self, name):
        """Those under which the TaskManager wrote its log, one after another."""
        found = []
        for path in sorted(pathlib.Path(self.world.cluster.dir, "logs").glob(f"{name}.log*")):
            for line in path.read_text(errors="replace").splitlines(keepends=True):
                if line.startswith("{") and line.endswith("\n"):
                    epoch = json.loads(line).get("leader_epoch", 0)
                    if epoch and (not found or found[-1] != epoch):
                        found.append(epoch)
        return found

    def obeyed(self):
        """TaskManagers whose epoch went down, and all of its values."""
        epochs = {name: self.epochs(name) for name in self.task_managers}
        return {name: found for name, found in epochs.items() if found != sorted(found)}

    def refusals(self):
        return self.world.logged("has seen leader epoch") + \
            self.world.logged("refused a message of an earlier leader")

    def hold(self):
        """The first one wakes, and is the only one whom TaskManagers reach."""
        world = self.world
        before = self.refusals()
        world.may_be_dead.add("jobmanager")  # it may find out, and end
        # It must not learn from its disk that it is too late.
        world.failpoint("jobmanager", "metadata.begin=hold,storage.create=hold")
        self.lead_to(None)
        os.kill(self.first.pid, signal.SIGCONT)
        eventually(lambda: self.refusals() > before or self.obeyed(),
                   "a TaskManager hears of the first one", 30)
        super().hold()
        self.evidence |= {"refused": self.refusals() - before,
                          "first_one_alive": self.first.poll() is None,
                          "epochs_of_task_managers": [self.epochs(name)
                                                      for name in self.task_managers]}

    def end(self):
        world = self.world
        self.lead_to(SECOND)
        self.landed = self.evidence["refused"] > 0
        for name, epochs in self.obeyed().items():
            raise AssertionError(f"{name} obeyed an earlier leader: epochs {epochs}")
        world.failpoint("jobmanager", "")

    def afterwards(self):
        """The job goes on under the second one; the first has gone, or leads nothing."""
        self.evidence["first_one_ended"] = self.first.poll()
        self.first.kill()
