"""The table of how the code is divided, counted by hand on a checkout of six files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tools.house_table import COMMANDS, num_entered, num_one_reader, num_rooms
from tools.module_imports import between_modules, modules

SOURCES = {
    "estimators": "from estimators.spec import Op\n",
    "estimators.spec": "",
    "estimators.cost": "",
    "estimators.cost.matmul": "from estimators.spec import Op\nfrom estimators.cost import launch\n",
    "estimators.cost.launch": "def f() -> None:\n    import estimators.units\n",
    "estimators.units": "",
}


def test_files_with_one_reader_are_counted_by_hand() -> None:
    """launch is read by matmul alone, units by launch alone; spec has two readers, matmul none, and packages are left out."""
    assert num_one_reader(between_modules(SOURCES), {"estimators", "estimators.cost"}) == 2


def test_rooms_and_imports_between_them_are_counted_by_hand() -> None:
    """spec, cost and units; cost imports the other two, twice or not, and what the package itself imports is no room's."""
    assert num_rooms(between_modules(SOURCES), "estimators") == (3, 2)


def test_a_file_is_entered_where_a_function_of_it_runs(tmp_path: Path) -> None:
    """Of the face and four modules, `main` and what it calls are entered; a module of constants and a class are imported alone."""
    texts = {
        "sixnd.py": "",
        "bench/__init__.py": "",  # an installed package stands before a folder without one
        "bench/cli/__init__.py": "",
        "bench/cli/main.py": "from bench import called, constants\ndef main(words): return called.answer(words)\n",
        "bench/called.py": "def answer(words): return 0\n",
        "bench/constants.py": "class Size:\n    NUM_BITS = 8\nNUM = 3\n",
        "bench/unread.py": "",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    names = ["sixnd", "bench", "bench.called", "bench.cli", "bench.cli.main", "bench.constants", "bench.unread"]
    assert sorted(name for name, _ in modules(tmp_path)) == sorted(names)
    assert num_entered(tmp_path, "show --model gpt2") == 2


def test_a_command_that_fails_counts_nothing() -> None:
    with pytest.raises(AssertionError, match="no-such-model"):
        num_entered(ROOT, "show --model no-such-model")


def test_every_command_is_one_of_the_command_lines() -> None:
    assert all(command.split()[0] == verb for verb, command in COMMANDS.items())
