"""Network namespaces for the processes of a run, and rules that part them.

Every process has a namespace of its own, joined by a pair of interfaces to ours, which is the
router between all of them: each packet passes here, so one rule parts any two, in one direction or
both, and a connection can be led through the relay (relay.py) without either side knowing.
Ours is a namespace, too (run.py sees to that), so nothing here touches the machine.
"""

import ctypes
import itertools
import json
import os
import pathlib
import subprocess

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def _run(*words, namespace=None):
    from daemons import spawn
    process = spawn(words, namespace=namespace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = process.communicate()
    if process.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}: {output.decode().strip()}")
    return output


def _new_namespace():
    """The file descriptor of a new namespace, which lives as long as that is open."""
    told, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        ok = _LIBC.unshare(_CLONE_NEWNET) == 0
        os.write(told[1], b"y" if ok else b"n")
        os.read(done[0], 1)
        os._exit(0)
    try:
        if os.read(told[0], 1) != b"y":
            raise AssertionError("a network namespace cannot be made here")
        return os.open(f"/proc/{child}/ns/net", os.O_RDONLY)
    finally:
        os.write(done[1], b"x")
        os.waitpid(child, 0)
        for end in told + done:
            os.close(end)


class Network:
    """The place of each named process: see ThisMachine in tests/e2e/daemons.py."""

    def __init__(self, names):
        self.names = list(names)
        self.fds = {name: _new_namespace() for name in self.names}
        self.numbers = itertools.count(1)
        pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for i, name in enumerate(self.names, 1):
            fd = self.fds[name]
            # The peer is made here and moved: `ip` takes a process or a path, and we have /proc.
            _run("ip", "link", "add", f"w{i}", "type", "veth", "peer", "name", f"p{i}")
            self._move(f"p{i}", fd)
            _run("ip", "addr", "add", f"10.77.{i}.1/24", "dev", f"w{i}")
            _run("ip", "link", "set", f"w{i}", "up")
            _run("ip", "link", "set", "lo", "up", namespace=fd)
            _run("ip", "addr", "add", f"10.77.{i}.2/24", "dev", f"p{i}", namespace=fd)
            _run("ip", "link", "set", f"p{i}", "up", namespace=fd)
            _run("ip", "route", "add", "default", "via", f"10.77.{i}.1", namespace=fd)
        _run("nft", "add table ip faults; "
             "add chain ip faults cut { type filter hook prerouting priority -300; }; "
             "add chain ip faults lead { type nat hook prerouting priority -100; }")

    @staticmethod
    def _move(interface, fd):
        told, done = os.pipe(), os.pipe()
        holder = os.fork()
        if holder == 0:
            entered = _LIBC.setns(fd, _CLONE_NEWNET) == 0
            os.write(told[1], b"y" if entered else b"n")
            os.read(done[0], 1)
            os._exit(0)
        try:
            # Before it has entered, the interface would be moved to where it is.
            if os.read(told[0], 1) != b"y":
                raise AssertionError("a network namespace cannot be entered here")
            _run("ip", "link", "set", interface, "netns", holder)
        finally:
            os.write(done[1], b"x")
            os.waitpid(holder, 0)
            for end in told + done:
                os.close(end)

    def close(self):
        _run("nft", "delete", "table", "ip", "faults")
        for i in range(1, len(self.names) + 1):
            _run("ip", "link", "del", f"w{i}")
        for fd in self.fds.values():
            os.close(fd)

    def namespace(self, name):
        return self.fds[name]

    def ip(self, name):
        return f"10.77.{self.names.index(name) + 1}.2"

    def name_of(self, ip):
        return next((name for name in self.names if self.ip(name) == ip), ip)

    def cut(self, source, target, share=1.0):
        """Drops what goes from one to the other, or a share of it; returns the rule's name."""
        rule = f"cut{next(self.numbers)}"
        dice = f"numgen random mod 1000 < {round(share * 1000)} " if share < 1 else ""
        _run("nft", f"add rule ip faults cut ip saddr {self.ip(source)} ip daddr {self.ip(target)} "
             f'{dice}counter drop comment "{rule}"')
        return rule

    def lead(self, source, target, port):
        """Connections begun from now on by one to the other come to this port of ours instead."""
        _run("nft", f"add rule ip faults lead ip saddr {self.ip(source)} ip daddr "
             f"{self.ip(target)} meta l4proto tcp redirect to :{port}")

    def _rule(self, name):
        listed = json.loads(_run("nft", "-j", "list", "chain", "ip", "faults", "cut"))["nftables"]
        return next(entry["rule"] for entry in listed
                    if entry.get("rule", {}).get("comment") == name)

    def dropped(self, rule):
        return next(part["counter"]["packets"] for part in self._rule(rule)["expr"]
                    if "counter" in part)

    def heal(self, rule):
        _run("nft", "delete", "rule", "ip", "faults", "cut", "handle", self._rule(rule)["handle"])
