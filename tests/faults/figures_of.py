"""A run that is a program of its own: a benchmark that kills what it measures.

It is given --build, --seed and --figures FILE, where it leaves {"name": [a value for each kill]}.
[figures] of the scenario says what these must reach; whether the job's output was right is for the
program to judge, which fails if it was not."""

import json
import pathlib
import subprocess
import sys
import time

from results import result_of
from verdict import verdict

ROOT = pathlib.Path(__file__).resolve().parents[2]
RIGHT = {"judged": True, "ok": True}


class FiguresOf:
    def __init__(self, build, schedule, directory):
        self.build, self.schedule, self.file = build, schedule, directory / "figures.json"

    def execute(self):
        begun = time.monotonic()
        program, *arguments = self.schedule["program"]
        code = subprocess.run([sys.executable, ROOT / program, *arguments, "--build", self.build,
                               "--seed", str(self.schedule["seed"]), "--figures", self.file],
                              check=False).returncode
        figures = json.loads(self.file.read_text()) if self.file.exists() else {}
        ended, why = verdict(self.schedule, RIGHT, [], figures)
        if code != 0:
            ended, why = "fail", f"{program} ended with {code}"
        return result_of(self.schedule, ended, why, figures=figures,
                         landed=sum(map(len, figures.values())),
                         took_s=round(time.monotonic() - begun, 1))
