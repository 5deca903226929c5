#!/usr/bin/env python3
"""Installs the build, compiles a job and its operator test in a project of its own against the
package, and runs both: the test, and the job in-process and on a cluster of the installed program.

    install_test.py BUILD_DIR
"""

import collections
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from cluster import Cluster  # noqa: E402  (needs the path above)

COUNT = 700


def run(*command, code=0, env=None):
    """The output of a command that must end with `code`."""
    done = subprocess.run([str(word) for word in command], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=env)
    if done.returncode != code:
        sys.exit(f"{' '.join(map(str, command))}\nended with {done.returncode}, not {code}:\n"
                 f"{done.stdout}")
    return done.stdout


def expect(text, what):
    if what not in text:
        sys.exit(f"expected {what!r} in:\n{text}")


def expect_rows(text, how):
    """Each order of tests/install/project/shop.cc must have raised its customer's total once."""
    totals = collections.defaultdict(list)
    for line in text.splitlines():
        customer, total = line.removeprefix("spent> ").split()
        totals[customer].append(int(total))
    orders = {customer: sorted(after - before for before, after in zip([0, *t], t))
              for customer, t in totals.items()}
    if orders != {f"customer-{c}": list(range(c, COUNT, 7)) for c in range(7)}:
        sys.exit(f"the job gives other rows {how}:\n{text[-2000:]}")


def main():
    build = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="weir_install_") as temp:
        temp = pathlib.Path(temp)
        prefix = temp / "prefix"
        run("cmake", "--install", build, "--prefix", prefix)
        # Moved after it was installed: nothing may depend on where that was.
        prefix = prefix.rename(temp / "elsewhere")
        project = temp / "shop"
        shutil.copytree(HERE / "project", project)
        run("cmake", "-S", project, "-B", temp / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
        run("cmake", "--build", temp / "build")
        job = temp / "build" / "libshop.so"
        weir = prefix / "bin" / "weir"
        expect(run(weir, "version"), "weir ")

        env = {key: value for key, value in os.environ.items() if not key.startswith("WEIR_")}
        env["WEIR_LOCAL_DIR"] = str(temp / "local")
        # The graph is built, twice, before anybody looks for a cluster.
        expect(run(weir, "run", job, "-m", "127.0.0.1:1", code=3, env=env), "no JobManager answers")
        expect(run(weir, "run", job, "--", "--count", "many", code=2, env=env), "count")
        undefined = run("nm", "-D", "--undefined-only", "-C", job)
        for library in ("absl::", "grpc::", "google::protobuf", "rocksdb::", "spdlog::"):
            if library in undefined:
                sys.exit(f"the job library needs {library}, so public headers let it through")

        tested = run("ctest", "--test-dir", temp / "build", "--verbose")
        expect(tested, "[  PASSED  ] 2 tests")
        job_args = ("-p", "2", "--", "--count", str(COUNT))
        with Cluster(weir, "-t", "2", "-s", "2", directory=str(temp / "cluster")) as cluster:
            expect_rows(cluster.run("run", "--in-process", job, *job_args), "in-process")
            if cluster.json("list"):
                sys.exit("run --in-process has gone to the cluster")
            expect_rows(cluster.run("run", job, *job_args), "on a cluster")
            if [row["state"] for row in cluster.json("list")] != ["FINISHED"]:
                sys.exit(f"not one finished job: {cluster.json('list')}")
            if (code := cluster.stop()) != 0:
                sys.exit(f"weir local ended with {code}")


if __name__ == "__main__":
    main()
