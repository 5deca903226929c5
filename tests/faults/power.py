"""Power cuts: of the run's files, what was synced is left, and of the rest what a seed draws.

shims/synced.cc, loaded into every process of the cluster, copies what is synced at the moment when
it is. `Power.cut` builds the files again from those copies; the processes must be dead by then.
"""

import ctypes
import os
import pathlib
import shutil

# What of it survives that was not synced: nothing; every name, but no bytes (what a journal of
# metadata gives); or for each directory and file one or the other, bytes torn in the middle too.
SURVIVES = ("nothing", "names", "some")
PAGE = 4096


class Power:
    def __init__(self, library, root, kept, spared):
        """`root`: the folder whose power can be cut, but for the folders `spared` right in it."""
        self.library = ctypes.CDLL(str(library))
        self.root, self.kept, self.spared = pathlib.Path(root), pathlib.Path(kept), spared
        self.kept.mkdir()
        os.environ["FAULTS_SYNCED_ROOT"] = str(self.root)
        os.environ["FAULTS_SYNCED"] = str(self.kept)
        # ctypes reads the environment of C, which os.environ sets too.
        self.env = {"LD_PRELOAD": str(library), "FAULTS_SYNCED_ROOT": str(self.root),
                    "FAULTS_SYNCED": str(self.kept)}
        self.library.FaultsKeep(str(self.root).encode())

    def _name(self, path):
        """What synced.cc calls it: ("d" or "f", its name)."""
        out = ctypes.create_string_buffer(64)
        self.library.FaultsNameOf(str(path).encode(), out, len(out))
        kind, _, name = out.value.decode().partition(" ")
        return kind, name

    def cut(self, dice, survives):
        """Takes away what was not synced; gives what has gone."""
        self.dice, self.survives = dice, survives
        self.gone = {"names": 0, "bytes": 0, "back": 0}
        self.here = {}  # what lies where now, by its name
        for folder, folders, files in os.walk(self.root):
            for path in [folder] + [f"{folder}/{name}" for name in files]:
                self.here[self._name(path)] = pathlib.Path(path)
        before = self.root.with_name(".before-the-cut")
        self._directory(self._name(self.root), self.root.with_name(".after-the-cut"))
        self.root.rename(before)
        self.root.with_name(".after-the-cut").rename(self.root)
        for name in self.spared:
            shutil.rmtree(self.root / name, ignore_errors=True)
            if (before / name).exists():
                (before / name).rename(self.root / name)
        shutil.rmtree(before)
        shutil.rmtree(self.kept)
        self.kept.mkdir()
        # What is on the disk now stays there.
        for folder, _, files in os.walk(self.root):
            for path in [folder] + [f"{folder}/{name}" for name in files]:
                if os.path.isfile(path) or os.path.isdir(path):
                    self.library.FaultsKeep(path.encode())
        return self.gone

    def _choose(self, *choices):
        return {"nothing": choices[0], "names": choices[1]}.get(self.survives) or \
            self.dice.choice(choices)

    def _entries(self, what):
        """The names in a directory after the cut, and what each stands for."""
        synced, now = {}, {}
        copy = self.kept / what[1]
        if copy.exists():
            for line in copy.read_text().splitlines():
                kind, key, name = line.split(" ", 2)
                synced[name] = (kind, key)
        if what in self.here:
            now = {path.name: self._name(path) for path in self.here[what].iterdir()}
        left = {}
        for name in sorted(synced.keys() | now.keys()):
            old, new = synced.get(name), now.get(name)
            entry = old if old == new or self._choose("old", "new") == "old" else new
            if entry is not None and entry[0] in "df":
                left[name] = entry
            if old != new and entry == old:
                self.gone["names" if new else "back"] += 1
        return left

    def _directory(self, what, target):
        target.mkdir()
        for name, entry in self._entries(what).items():
            if what == self._name(self.root) and name in self.spared:
                continue
            if entry[0] == "d":
                self._directory(entry, target / name)
            else:
                (target / name).write_bytes(self._content(entry))

    def _content(self, what):
        copy = self.kept / what[1]
        synced = copy.read_bytes() if copy.exists() else b""
        now = self.here[what].read_bytes() if what in self.here else synced
        if now == synced:
            return now
        how = self._choose("synced", "synced", "all", "torn", "holes") \
            if self.survives == "some" else "synced"
        left = synced
        if how == "all":
            left = now
        elif how == "torn":
            left = synced + now[len(synced):self.dice.randint(len(synced),
                                                             max(len(now), len(synced)))]
        elif how == "holes":  # as long as it was, with pages that were never written
            pages = bytearray(now)
            for at in range(len(synced) // PAGE * PAGE, len(now), PAGE):
                if self.dice.random() < 0.5:
                    end = min(at + PAGE, len(now))
                    begin = min(max(at, len(synced)), end)
                    pages[begin:end] = bytes(end - begin)
            left = bytes(pages)
        if left != now:
            self.gone["bytes"] += len(now) - len(os.path.commonprefix([left, now]))
        return left
