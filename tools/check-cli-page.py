#!/usr/bin/env python3
"""docs/cli.md names every command and option of `weir`, and no page shows one that is not there."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cli.md"
# One statement: Command("name", ...) or x->add_option("-n,--name", ...) up to its end.
COMMAND = re.compile(r'\bCommand\(\s*"([a-z]+)",\s*"(.)')
OPTION = re.compile(r'add_(?:option|flag)\(\s*"(-[^"]*)"(.*?);\n', re.S)
NAME = re.compile(r"(?<![\w-])(?:--[a-z][a-z-]*|-[a-z])(?![\w-])")


def real():
    """Commands and options that --help shows, each option by all of its names; and hidden ones."""
    code = (ROOT / "src" / "cli" / "cli.cc").read_text(encoding="utf-8")
    shown, hidden = {frozenset({"-h", "--help"})}, set()
    for names, rest in OPTION.findall(code):
        (hidden if '->group("")' in rest else shown).add(frozenset(names.split(",")))
    # One without a word of help is for other processes of ours.
    return {name for name, help in COMMAND.findall(code) if help != '"'}, shown - hidden, hidden


def own(line):
    """The line without what stands behind ` -- `, which is the job's, and without the debugger's."""
    return line.split(" -- ")[0].replace("gdb --args", "")


def lines_for_weir(path):
    """What a page says about weir's command line: all of docs/cli.md, commands on other pages."""
    shell = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            shell = not shell
        elif path == PAGE or re.match(r"\s*(?:\$ )?(?:\S*/)?weir [a-z]", line) and shell:
            yield number, own(line)


def main():
    commands, shown, hidden = real()
    page = PAGE.read_text(encoding="utf-8")
    told = set().union(*(NAME.findall(own(line)) for line in page.splitlines()))
    faults = [f"docs/cli.md does not tell of the option {','.join(sorted(names))}; add it"
              for names in sorted(shown, key=sorted) if not names & told]
    known = frozenset().union(*shown, *hidden)
    faults += [f"docs/cli.md does not tell of the command `weir {name}`; add it"
               for name in sorted(commands) if not re.search(rf"`(?:weir )?{name}\b", page)]
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for number, line in lines_for_weir(path):
            where = f"{path.relative_to(ROOT)}:{number}"
            faults += [f"{where} names {name}, which weir does not have"
                       for name in NAME.findall(line) if name not in known]
            faults += [f"{where} names weir {name}, which is no command"
                       for name in re.findall(r"(?:^|`|\$ )weir ([a-z]+)", line)
                       if name not in commands]
    if len(commands) < 10 or len(shown) < 20:
        faults.append(f"only {len(commands)} commands and {len(shown)} options found in the code; "
                      "this check no longer reads it")
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
