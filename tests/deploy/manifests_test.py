#!/usr/bin/env python3
"""manifests_test.py WEIR: both roles start with the commands and the environment that the manifests
in deploy/k8s give them (directories and addresses put in place of the pod's), and report ready where
the probes look. Manifests, Dockerfile and pages name the same image, and its second stage installs
the libraries that the program loads.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from daemons import free_port  # noqa: E402

MANIFESTS = ROOT / "deploy" / "k8s"
LIMIT_SECONDS = 60


def container(role):
    """The command and the environment of a role's container; values from the pod are None."""
    text = (MANIFESTS / (role + ".yaml")).read_text(encoding="utf-8")
    command = re.search(r"^ *command: \[(.*)\]$", text, re.MULTILINE).group(1).split(", ")
    environment = {}
    for name, value in re.findall(r"- \{name: (WEIR_\w+), value: \"?([^}\"]*)\"?\}", text):
        environment[name] = value
    for name in re.findall(r"- name: (WEIR_\w+)\n *valueFrom:", text):
        environment[name] = None
    probes = re.findall(r"httpGet: \{path: ([^,]+), port: (\w+)\}", text)
    assert environment and probes, role
    return command, environment, probes


def start(weir, role, directory, places):
    command, environment, probes = container(role)
    for name, value in places.items():
        assert name in environment or name.endswith("_PORT"), name + " is not in the manifest"
        environment[name] = value
    assert None not in environment.values(), environment
    log = open(directory / (role + ".out"), "w", encoding="utf-8")
    process = subprocess.Popen([weir] + command[1:], env=dict(os.environ, **environment),
                               stdout=log, stderr=log)
    return process, probes


def wait_for_probe(port, path):
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            with urllib.request.urlopen("http://127.0.0.1:%s%s" % (port, path)) as answer:
                return answer.status
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, path + " does not answer"
            time.sleep(0.02)


def check_image():
    """A tag of its own: the standard tag, latest, would be pulled from a registry that lacks it."""
    version = re.search(r'WEIR_VERSION "(\d+\.\d+)', (ROOT / "src/base/version.h").read_text()).group(1)
    image = "weir:" + version
    for role in ("jobmanager", "taskmanager"):
        text = (MANIFESTS / (role + ".yaml")).read_text(encoding="utf-8")
        assert re.findall(r"image: (\S+)", text) == [image], role
        assert re.findall(r"imagePullPolicy: (\S+)", text) == ["IfNotPresent"], role
    build = "docker build -f deploy/Dockerfile -t %s ." % image
    for page in (MANIFESTS / "README.md", ROOT / "deploy" / "Dockerfile"):
        assert build in page.read_text(encoding="utf-8"), page


def check_libraries(weir):
    """tools/install-deps.sh --run has every library that the program and libweir.so ask for."""
    script = (ROOT / "tools" / "install-deps.sh").read_text(encoding="utf-8")
    listed = set(re.search(r"^run=\(([^)]*)\)", script, re.MULTILINE).group(1).split())
    libweir = pathlib.Path(weir).resolve().parents[1] / "lib" / "libweir.so"
    dynamic = subprocess.run(["readelf", "-d", weir, libweir], check=True, text=True,
                             capture_output=True).stdout
    wanted = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)) - {"libweir.so"}
    packages = set()
    for name in wanted:
        found = subprocess.run(["dpkg-query", "-S", "*/" + name], check=True, text=True,
                               capture_output=True).stdout.splitlines()
        packages.add(found[0].split(":")[0])
    # Every Debian has, or gets with the others, what the compiler itself links.
    packages -= {"libc6", "libgcc-s1", "libstdc++6"}
    assert packages == listed, "install-deps.sh --run differs: %s" % sorted(packages ^ listed)


def main():
    weir = sys.argv[1]
    check_image()
    check_libraries(weir)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="weir-manifests-"))
    processes = []
    try:
        rpc = str(free_port())
        metrics = {role: str(free_port()) for role in ("jobmanager", "taskmanager")}
        jobmanager, probes = start(weir, "jobmanager", directory, {
            "WEIR_JOBMANAGER_DIR": str(directory / "jm"),
            "WEIR_CHECKPOINT_DIR": str(directory / "checkpoints"),
            "WEIR_JOBMANAGER_RPC_PORT": rpc, "WEIR_METRICS_PORT": metrics["jobmanager"]})
        processes.append(jobmanager)
        for path, _ in probes:
            assert wait_for_probe(metrics["jobmanager"], path) == 200
        taskmanager, probes = start(weir, "taskmanager", directory, {
            "WEIR_JOBMANAGER_ADDRESS": "127.0.0.1:" + rpc, "WEIR_TASKMANAGER_HOST": "127.0.0.1",
            "WEIR_TASKMANAGER_ID": "pod-1", "WEIR_TASKMANAGER_DIR": str(directory / "tm"),
            "WEIR_TASKMANAGER_RPC_PORT": "0", "WEIR_TASKMANAGER_DATA_PORT": "0",
            "WEIR_METRICS_PORT": metrics["taskmanager"]})
        processes.append(taskmanager)
        for path, _ in probes:
            assert wait_for_probe(metrics["taskmanager"], path) == 200
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_SECONDS) == 0
        print("both roles start as the manifests say")
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
