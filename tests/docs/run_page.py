#!/usr/bin/env python3
"""Runs the `sh` blocks of a page, in order, as one shell script from the repository's root.

    run_page.py PAGE BUILD_DIR

The page passes when every command does (set -e, pipefail). Whatever the page started and did not end
itself is killed, and its temporary files are removed.
"""

import ctypes
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PR_SET_CHILD_SUBREAPER = 36


def children():
    """Processes whose parent is this one: all that is left of the page, however it was started."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.append(int(stat.parent.name))
    return found


def main():
    page, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    if not blocks:
        sys.exit(f"{page} has no sh blocks")
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # CTest ends a test that takes too long with SIGTERM or SIGKILL; the first leaves time to clean.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))

    with tempfile.TemporaryDirectory(prefix="weir_page_") as temp:
        env = {key: value for key, value in os.environ.items() if not key.startswith("WEIR_")}
        env.update(BUILD=os.path.relpath(build, ROOT), TMPDIR=temp)
        script = pathlib.Path(temp) / "page.sh"
        script.write_text("set -euvo pipefail\n" + "\n".join(blocks), encoding="utf-8")
        try:
            page_run = subprocess.Popen(["bash", script], cwd=ROOT, env=env,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
            # Orphans that end are ours to bury: a page may wait for one to be gone.
            ended = status = None
            while ended != page_run.pid:
                ended, status = os.waitpid(-1, 0)
            code = os.waitstatus_to_exitcode(status)
            if code != 0:
                for log in sorted(pathlib.Path(temp).glob("**/logs/*.log")):
                    print(f"--- {log}\n" + "\n".join(log.read_text().splitlines()[-30:]))
        finally:
            while left := children():
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
    if code != 0:
        sys.exit(f"{page}: a command ended with {code}; it is the last one above")


if __name__ == "__main__":
    main()
