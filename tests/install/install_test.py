#!/usr/bin/env python3
"""Installs the build, compiles a job in a project of its own against the package, and submits it.

    install_test.py BUILD_DIR
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


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


if __name__ == "__main__":
    main()
