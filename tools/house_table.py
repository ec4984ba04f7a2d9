"""How the code is divided, counted for checkouts side by side: python -m tools.house_table NAME=FOLDER ..."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from reports.render import render
from reports.table import Column, Table, Value
from tools.module_imports import PACKAGES, between_modules, is_in, modules

COMMANDS = {
    "estimate": "estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024",
    "run": "run --model linreg-1d",
    "plan": "plan --model llama-2-7b --hardware h100-sxm5-80gb --gpus 64",
}
"""One way through the code each: a prediction, a measurement, a search."""

FOLLOWED = """
import json, sys, threading
files = set()
def see(frame, event, _):
    if event == "call" and frame.f_code.co_flags & 1:
        files.add(frame.f_code.co_filename)
threading.setprofile(see)
sys.setprofile(see)
from bench.cli.main import main
try:
    code = main(sys.argv[2:])
finally:
    sys.setprofile(None)
    open(sys.argv[1], "w").write(json.dumps(sorted(files)))
sys.exit(code)
"""
"""Answers a command as the command line does and writes the file of every function that ran. Bit 1 of a code's flags,
CO_OPTIMIZED, is set for functions and comprehensions alone, so that bodies of modules and classes do not count."""


def room(module: str) -> str:
    """The folder or file right below the package: `bench.cli` of `bench.cli.main`."""
    return ".".join(module.split(".")[:2])


def num_one_reader(graph: dict[str, set[str]], packages: set[str]) -> int:
    """Modules that exactly one other imports; packages aside."""
    readers = Counter(other for others in graph.values() for other in others)
    return sum(readers[name] == 1 for name in graph if name not in packages)


def num_rooms(graph: dict[str, set[str]], package: str) -> tuple[int, int]:
    """Rooms of a package, and ordered pairs of them of which the first imports the second."""
    inside = {name for name in graph if name != package and is_in(name, package)}
    pairs = {(room(name), room(other)) for name in inside for other in graph[name] & inside}
    return len({room(name) for name in inside}), sum(importer != read for importer, read in pairs)


def num_entered(checkout: Path, command: str) -> int:
    """Files that ship of which a function runs while a command is answered, by a user who has calibrated nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "files.json"
        environment = os.environ | {"PYTHONPATH": str(checkout), "XDG_DATA_HOME": scratch}
        done = subprocess.run(
            [sys.executable, "-P", "-c", FOLLOWED, str(out), *command.split()],
            cwd=scratch,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return len({str(path) for _, path in modules(checkout)} & set(json.loads(out.read_text())))


def measures(checkout: Path) -> dict[str, int]:
    """What is counted of a checkout, by the words that the table's rows have."""
    paths = dict(modules(checkout))
    sources = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    graph = between_modules(sources)
    packages = {name for name, path in paths.items() if path.name == "__init__.py"}
    counted = {
        "files that ship": len(paths),
        "their lines": sum(len(source.splitlines()) for source in sources.values()),
        "files that one other imports": num_one_reader(graph, packages),
    }
    for package in PACKAGES:
        counted[f"rooms of {package}"], counted[f"imports between rooms of {package}"] = num_rooms(graph, package)
    for verb, command in COMMANDS.items():
        counted[f"files that `{verb}` enters"] = num_entered(checkout, command)
    return counted


def table(checkouts: dict[str, Path]) -> Table:
    """A column for every checkout."""
    by_name = {name: measures(path) for name, path in checkouts.items()}
    first, *_ = by_name.values()
    rows: list[dict[str, Value]] = [{"what": what, **{name: counted[what] for name, counted in by_name.items()}} for what in first]
    columns = [Column(key="what", header="counted")]
    columns += [Column(key=name, header=name, format="{:,}".format, align="right") for name in checkouts]
    notes = [f"{verb}: `{command}`" for verb, command in COMMANDS.items()]
    return Table(title="How the code is divided", columns=columns, rows=rows, notes=notes)


if __name__ == "__main__":
    named = (word.partition("=") for word in sys.argv[1:])
    print(render([table({name: Path(folder).resolve() for name, _, folder in named})], "md"))
