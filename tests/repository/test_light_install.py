"""Without the extras every verb answers, or says the one line that installs what it needs; pyproject.toml agrees with the code."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bench.cli.verbs import VERBS
from estimators import extras
from estimators.errors import MissingPackageError
from estimators.extras import EXTRA_OF, install_line, needed_by
from tests.support.checkout import ROOT
from tools.module_imports import PACKAGES, imported, modules

ANSWERED = {
    "estimate": ["estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024 --explain", "estimate --model phi-2"],
    "plan": ["plan --model llama-2-7b --hardware a100-sxm4-80gb --gpus 64"],
    "fit": [
        "fit --model llama-3.1-8b --method qlora --hardware rtx-4090-24gb",
        "fit --model gpt2 --method full --hardware rtx-4090-24gb --format json",
        "fit --hardware rtx-3060-12gb --menu",
        "fit --from docs/examples/axolotl.yml --hardware a100-sxm4-80gb --gpus 4",
    ],
    "serve": ["serve llama-3.1-8b --hardware l40s-48gb --explain", "serve gpt2 --hardware l40s-48gb --search --format json"],
    "compare-hardware": ["compare-hardware --model llama-2-7b --tokens 1T --hardware a100-sxm4-80gb,h100-sxm5-80gb --gpus 64"],
    "show": ["show --model phi-2", "show --model gpt2 --convention all"],
    "translate": ["translate --model llama-2-7b --seq-len 4096 --mfu 0.54 --from llm-foundry --to megatron"],
    "check-claim": ["check-claim --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14"],
    "diagnose": [
        "diagnose llama-2-7b --tokens-per-s 3700 --per gpu --hardware a100-sxm4-80gb --gpus 8 --seq-len 4096",
        "diagnose llama-3-70b --phase decode --tokens-per-s 17 --hardware a100-pcie-80gb --gpus 2 --weights bf16",
    ],
    "disclose": ["disclose results --location FR", "disclose gpt2 --tokens 1B --hardware a100-sxm4-80gb --hours 90 --format model-card"],
    "validate": ["validate --constants"],
    "report": ["report results/cpu-amd-epyc --waterfall"],
    "compare": ["compare results/cpu-amd-epyc results/cpu-amd-epyc"],
    "doctor": ["doctor"],
    "import": ["import tests/support/load_results/vllm.json --out {folder}"],
    "completion": ["completion bash", "completion words -- show phi"],
    "man": ["man"],
    "list": [
        "list models --match phi",
        *(f"list conventions --format {name}" for name in ("md", "csv", "json", "html", "latex", "github")),
    ],
}
"""Verb -> commands that compute, and so are answered."""

MEASURED = {
    "run": ["run --model phi-2", "run --suite article", "run --model linreg-1d --repeats 2", "run --model phi-2 --waterfall"],
    "calibrate": ["calibrate", "calibrate --check"],
    "selftest": ["selftest --quick"],
    "doctor": ["doctor --torch"],
    "show": ["show --config {config}"],
    "validate": ["validate --plot {folder}/a.svg"],
    "web": ["web --no-browser"],
}
"""Verb -> commands that take a package of an extra."""

WITHOUT = """
import sys

LEFT_OUT = {left_out!r}

class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in LEFT_OUT:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing)
"""
"""Start of a program that runs where the packages of the extras are not installed."""

EACH_COMMAND = """
import contextlib, io, json, traceback
from bench.cli.main import main

told = {}
for command in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(command.split())
        except SystemExit as leave:
            code = leave.code
        except BaseException:
            code = traceback.format_exc()
    told[command] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(told))
"""

NO_OP_TABLE = {"model_type": "splinter", "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 1}


def without_extras(program: str, *words: str, left_out: object = tuple(EXTRA_OF)) -> str:
    """What a program prints where these packages are not installed."""
    source = WITHOUT.format(left_out=left_out) + program
    done = subprocess.run(
        [sys.executable, "-c", source, *words], capture_output=True, text=True, encoding="utf-8", cwd=ROOT, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Command -> exit code, stdout and stderr, of each verb's help and of the commands above, all in one process."""
    folder = tmp_path_factory.mktemp("light")
    config = folder / "config.json"
    config.write_text(json.dumps(NO_OP_TABLE))
    commands = [*(f"{verb} --help" for verb in VERBS), *(c for given in (ANSWERED, MEASURED) for some in given.values() for c in some)]
    named = {command.format(config=config, folder=folder): command for command in commands}
    answers = json.loads(without_extras(EACH_COMMAND, json.dumps(list(named))))
    return {named[command]: answer for command, answer in answers.items()}


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_needs_no_extra(verb: str, told: dict[str, Any]) -> None:
    code, out, err = told[f"{verb} --help"]
    assert (code, err) == (0, "")
    assert f"{verb}" in out


@pytest.mark.parametrize("command", [command for some in ANSWERED.values() for command in some])
def test_what_computes_answers_without_the_extras(command: str, told: dict[str, Any]) -> None:
    code, out, err = told[command]
    assert code in ((0, 1) if command == "doctor" else (0,)), err  # whether this machine is trusted
    assert out
    assert "error: " not in err


@pytest.mark.parametrize("command", [command for some in MEASURED.values() for command in some])
def test_what_measures_says_the_one_line_that_installs_what_it_needs(command: str, told: dict[str, Any]) -> None:
    code, out, err = told[command]
    assert (code, out) == (2, "")
    extra = "plots" if "--plot" in command else "web" if command.startswith("web") else "run"
    assert re.fullmatch(rf"error: [\w -]+ needs \w+: .*install '\.\[{extra}\]'\n", err), err


def test_every_verb_is_tried_without_the_extras() -> None:
    assert {*ANSWERED, *MEASURED} >= set(VERBS)


def test_doctor_names_what_psutil_would_have_told(told: dict[str, Any]) -> None:
    assert "taken by other programs" not in told["doctor"][1]
    assert "-v (everything)" in told["doctor"][1]


LIBRARY = """
import sixnd

print(sixnd.estimate(model="gpt2", tokens="1B", hardware="a100-sxm4-80gb", gpus=8).training_flop)
for name, call in {
    "watch": lambda: sixnd.watch,
    "SixndCallback": lambda: sixnd.SixndCallback,
    "measure": lambda: sixnd.measure(model="phi-2"),
    "count": lambda: sixnd.count(None, None),
    "to_frame": lambda: sixnd.show(model="phi-2").tables()[0].to_frame(),
}.items():
    try:
        call()
    except ImportError as error:
        print(name, error)
"""


def test_the_library_estimates_and_says_the_line_for_what_measures() -> None:
    flop, *lines = without_extras(LIBRARY).splitlines()
    assert int(flop) > 6 * 10**9 * 124_000_000
    assert [line.split()[0] for line in lines] == ["watch", "SixndCallback", "measure", "count", "to_frame"]
    assert all(re.search(r" needs (torch|pandas): .*install '\.\[run\]'$", line) for line in lines), lines


@pytest.mark.slow  # it imports torch
def test_in_an_environment_with_torch_watching_names_what_else_it_takes() -> None:
    (line,) = without_extras(
        "import sixnd\ntry:\n    sixnd.watch\nexcept ImportError as e:\n    print(e)", left_out=("psutil",)
    ).splitlines()
    assert re.fullmatch(r"watching a training needs psutil: .*install '\.\[run\]'", line)


def test_a_module_that_no_extra_brings_is_passed_on() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'tomatoes'"), needed_by("run"):
        import tomatoes  # type: ignore[import-not-found] # noqa: F401


def test_a_part_that_an_installed_package_lacks_is_no_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"psutil\.tomatoes"), needed_by("run"):
        import psutil.tomatoes  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'tomatoes'"), needed_by("run"):
        from psutil import tomatoes  # noqa: F401


def test_a_missing_package_is_a_wrong_request_and_an_import_error() -> None:
    with pytest.raises(ImportError) as raised, needed_by("run"):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    assert isinstance(raised.value, MissingPackageError)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that sixnd is installed in, away from any checkout, as the first place that Python looks in."""
    site = tmp_path / "site"
    (site / "estimators").mkdir(parents=True)
    shutil.copy(ROOT / "estimators" / "extras.py", site / "estimators")
    (site / "sixnd-0.1.0.dist-info").mkdir()
    (site / "sixnd-0.1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.4\nName: sixnd\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(extras, "__file__", str(site / "estimators" / "extras.py"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return site


def test_installed_from_an_index_the_line_has_the_projects_name(installed: Path) -> None:
    assert install_line("torch").endswith("install 'sixnd[run]'")
    assert install_line("matplotlib").endswith("install 'sixnd[plots]'")
    assert install_line("numpy").endswith("install 'sixnd'")


def test_installed_from_a_folder_the_line_has_its_path_unless_it_is_gone(installed: Path, tmp_path: Path) -> None:
    clone = tmp_path / "a clone"
    told = installed / "sixnd-0.1.0.dist-info" / "direct_url.json"
    told.write_text(json.dumps({"url": clone.as_uri(), "dir_info": {}}))
    assert install_line("torch").endswith("install 'sixnd[run]'")
    clone.mkdir()
    assert install_line("torch").endswith(f"install '{clone}[run]'")
    os.chdir(clone)
    assert install_line("torch").endswith("install '.[run]'")


def test_installed_from_a_repository_the_line_has_the_projects_name(installed: Path) -> None:
    told = installed / "sixnd-0.1.0.dist-info" / "direct_url.json"
    told.write_text(json.dumps({"url": "https://example.org/sixnd.git", "vcs_info": {"vcs": "git", "commit_id": "0"}}))
    assert install_line("torch").endswith("install 'sixnd[run]'")


def test_the_installer_is_the_one_of_this_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    for folder in ("mine", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pip").write_text("#!/bin/sh\n")
        (tmp_path / folder / "pip").chmod(0o755)
    python = str(tmp_path / "mine" / "python")
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setenv("PATH", str(tmp_path / "mine"))
    assert install_line("torch") == "pip install '.[run]'"
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert install_line("torch") == f"{python} -m pip install '.[run]'"
    monkeypatch.chdir(tmp_path)
    assert install_line("torch") == f"{Path('mine', 'python')} -m pip install '{ROOT}[run]'"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert install_line("torch").startswith(f"uv pip install --python {Path('mine', 'python')} ")


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAME = re.compile(r"[A-Za-z0-9-]+")


IMPORTED_AS = {"pyyaml": "yaml"}
"""Distributions of the base whose package has another name."""


def listed(requirements: list[str]) -> set[str]:
    return {found[0] for requirement in requirements if (found := NAME.match(requirement))}


@pytest.mark.parametrize("extra", ["run", "plots"])
def test_an_extra_brings_the_packages_that_are_imported_and_no_more(extra: str) -> None:
    distributions = metadata.packages_distributions()
    imported_here = {distributions[name][0] for name, of in EXTRA_OF.items() if of == extra and name in distributions}
    through_transformers = {"huggingface_hub"} & imported_here
    assert imported_here - through_transformers == listed(PROJECT["optional-dependencies"][extra])


def test_test_and_all_bring_what_measures_and_draws() -> None:
    assert "sixnd[all]" in PROJECT["optional-dependencies"]["test"]
    assert PROJECT["optional-dependencies"]["all"] == ["sixnd[run,plots]"]


def foreign(name: str, source: str, base: set[str]) -> list[str]:
    """Packages that a module imports and that neither the base installation nor an extra brings."""
    tops = {module.split(".")[0] for module in imported(source)}
    known = {*sys.stdlib_module_names, *PACKAGES, *base, *EXTRA_OF, "sixnd", "__main__"}
    return sorted(f"{name} imports {top}" for top in tops - known)


@pytest.mark.parametrize("package", [*PACKAGES, "sixnd"])
def test_every_package_that_is_imported_is_brought(package: str) -> None:
    of_this = [(name, path) for name, path in modules(ROOT) if name.split(".")[0] == package]
    base = {IMPORTED_AS.get(name, name) for name in listed(PROJECT["dependencies"])}
    assert [line for name, path in of_this for line in foreign(name, path.read_text("utf-8"), base)] == []


def test_a_package_that_nothing_brings_would_be_found() -> None:
    assert foreign("bench.runs.measure", "def f():\n    import rich.table", {"numpy"}) == ["bench.runs.measure imports rich"]


def test_only_late_imports_of_an_extra_stand_in_the_command_line() -> None:
    """A verb's help, and completion, import its module."""
    early = [
        f"{path.name}: {module}"
        for path in sorted((ROOT / "bench" / "cli").glob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in imported(ast.unparse(node))
        if module.split(".")[0] in EXTRA_OF
    ]
    assert early == []
