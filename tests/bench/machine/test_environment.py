"""The environment of a record: complete, publishable, and never in the way of a measurement."""

import itertools
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from bench.machine import environment
from bench.records import typed_json
from bench.records.environment import Environment, Project
from tests.support.fake_nvml import FakeGpu, FakeNvml, NVMLError

PROJECT = Path(environment.__file__).parents[2]


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit, in place of the project's own."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "x.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr(environment, "PROJECT", tmp_path.resolve())
    return tmp_path


def test_it_can_be_stored_in_a_record_as_it_is() -> None:
    collected = environment.collect()
    assert typed_json.build(Environment, json.loads(json.dumps(typed_json.plain(collected), allow_nan=False))) == collected
    assert collected.versions["torch"] == metadata.version("torch")
    assert collected.cpu.logical_cores == os.cpu_count()
    assert 0 < collected.memory.available_bytes <= collected.memory.total_bytes


def test_every_missing_figure_has_a_reason() -> None:
    collected = environment.collect()
    unavailable = collected.unavailable
    for group, figures in typed_json.plain(collected).items():
        for name, value in figures.items() if isinstance(figures, dict) else ():
            assert value is not None or f"{group}.{name}" in unavailable or group in unavailable
        assert figures is not None or group in unavailable


def test_collecting_imports_neither_torch_nor_transformers() -> None:
    check = (
        "import sys; from bench.machine import environment; environment.collect()\n"
        "print({'torch', 'transformers', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_home_folder_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("LD_PRELOAD", "/home/ada/lib/libtcmalloc.so")
    collected = environment.collect(["/home/ada/.venv/bin/sixnd", "--out=/home/ada/runs", "/home/adam"])
    assert collected.argv[:2] == ("~/.venv/bin/sixnd", "--out=~/runs")
    assert collected.variables["LD_PRELOAD"] == "~/lib/libtcmalloc.so"


def test_variables_that_may_hold_secrets_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    collected = environment.collect()
    assert "hf_secret" not in json.dumps(typed_json.plain(collected))
    assert collected.variables["OMP_NUM_THREADS"] == "2"


def test_an_argument_that_is_not_utf8_can_be_stored() -> None:
    # PEP 383: the stray byte 0xff of an argument arrives as U+DCFF
    assert environment.collect([str(environment.PROJECT / "bench" / "__main__.py"), "run"]).argv == ("bench/__main__.py", "run")
    assert environment.collect(["run", "caf\udcff"]).argv == ("run", "caf?")


def test_a_clean_checkout_has_its_commit(checkout: Path) -> None:
    assert environment.collect().project == Project(commit=git(checkout, "rev-parse", "HEAD"), dirty=False)


@pytest.mark.parametrize("name", ["x.py", "new.py"])
def test_changed_or_new_code_makes_a_checkout_dirty(checkout: Path, name: str) -> None:
    (checkout / "bench" / name).write_text("x = 2\n")
    assert environment.collect().project.dirty is True


def test_records_beside_the_code_do_not_make_a_checkout_dirty(checkout: Path) -> None:
    (checkout / "runs").mkdir()
    (checkout / "runs" / "a.json").write_text("{}")
    assert environment.collect().project.dirty is False


def test_variables_of_a_git_hook_do_not_lead_to_another_repository(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))
    assert environment.collect().project.commit == commit


def test_a_package_installed_inside_somebody_elses_checkout_does_not_take_its_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = checkout / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    monkeypatch.setattr(environment, "PROJECT", installed.resolve())
    collected = environment.collect()
    assert collected.project == Project(commit=None, dirty=None)
    assert collected.unavailable["project.commit"] == "installed, not run from a checkout"


def test_without_a_checkout_or_without_git_there_is_no_commit_and_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PROJECT", tmp_path)
    assert environment.collect().unavailable["project.commit"] == "not in a git checkout with a commit, or git refuses to read it"
    monkeypatch.setattr(environment.shutil, "which", lambda _: None)
    assert environment.collect().unavailable["project.commit"] == "git is not installed"


def test_a_package_that_is_missing_has_no_version_and_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package",))
    collected = environment.collect()
    assert collected.versions == {"no-such-package": None}
    assert collected.unavailable["versions.no-such-package"] == "not installed"


def test_a_machine_that_answers_nothing_costs_its_figures_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no /proc here")

    monkeypatch.setattr(environment.psutil, "cpu_count", broken)
    monkeypatch.setattr(environment.memory, "host_memory", broken)
    collected = environment.collect()
    assert (collected.cpu, collected.memory) == (None, None)
    assert collected.unavailable["cpu"] == "RuntimeError: no /proc here"
    assert collected.versions["torch"] is not None


def test_gpus_are_described_by_uuid_in_cudas_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(FakeGpu("GPU-1"), FakeGpu("GPU-2")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    gpu = environment.collect().gpu
    assert gpu.driver == "570.86.15"
    assert [(device.uuid, device.power_limit_w, device.ecc) for device in gpu.devices] == [("GPU-2", 700.0, True)]


def test_without_a_driver_there_is_no_gpu_and_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(init_error=NVMLError("NVML Shared Library Not Found")))
    collected = environment.collect()
    assert collected.gpu is None
    assert collected.unavailable["gpu"] == "NVML cannot be read: NVML Shared Library Not Found"


@pytest.mark.parametrize(
    ("file", "text", "on"),
    # kernel documentation: intel_pstate/no_turbo is 1 where turbo is off; cpufreq/boost is 1 where it is on
    [
        ("intel_pstate/no_turbo", "0", True),
        ("intel_pstate/no_turbo", "1", False),
        ("cpufreq/boost", "1", True),
        ("cpufreq/boost", "0", False),
        ("cpufreq/boost", "odd", None),
        ("elsewhere", "1", None),
    ],
)
def test_turbo_is_read_where_the_kernel_tells(file: str, text: str, on: bool | None, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text + "\n")
    assert environment.turbo(tmp_path) is on


def cache(cpus: Path, cpu: int, index: int, level: str, size: str, shared: str) -> None:
    folder = cpus / f"cpu{cpu}" / "cache" / f"index{index}"
    folder.mkdir(parents=True)
    for name, text in (("level", level), ("size", size), ("shared_cpu_list", shared)):
        (folder / name).write_text(text + "\n")


def test_all_last_level_caches_count_once_each(tmp_path: Path) -> None:
    for cpu, shared in itertools.chain(((0, "0-1"), (1, "0-1")), ((2, "2-3"), (3, "2-3"))):
        cache(tmp_path, cpu, 0, "1", "32K", str(cpu))
        cache(tmp_path, cpu, 3, "3", "32768K", shared)
    assert environment.cpu_cache_bytes(tmp_path) == 2 * 32 * 2**20
    assert environment.cpu_cache_bytes(tmp_path / "none") == 0
