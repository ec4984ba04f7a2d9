"""The wheel: the packages with their data files and sixnd.py, nothing else; and it works away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

PACKAGES = ("estimators", "bench", "reports")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel would install, built from a copy so that the checkout stays clean."""
    source, wheels = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("sixnd.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    words = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-w", str(wheels)]
    done = subprocess.run([sys.executable, *words, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = wheels.glob("sixnd-*.whl")
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def test_the_wheel_holds_every_file_of_the_packages_and_no_tests(installed: Path) -> None:
    shipped = {name for name in files(installed) if ".dist-info/" not in name}
    assert shipped == {"sixnd.py"} | {f"{package}/{name}" for package in PACKAGES for name in files(ROOT / package)}
    assert "estimators/facts/data/hardware.csv" in shipped
    assert "estimators/facts/data/models/phi-2.json" in shipped


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["estimate", "--model", "gpt-3", "--tokens", "300B", "--hardware", "a100-sxm4-80gb", "-v"], "174,604,259,328"),
        (["list", "hardware", "--match", "h100-sxm5"], "989 TFLOP/s"),
        (["list", "models", "--match", "phi-2"], "2,779,683,840"),
    ],
)
def test_the_wheel_answers_away_from_the_checkout(installed: Path, tmp_path: Path, words: list[str], expected: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert (done.returncode, expected in done.stdout) == (0, True), done.stderr
    face = "import sixnd; print(sixnd.show(model='phi-2').params, sixnd.__file__)"
    printed = subprocess.run([sys.executable, "-c", face], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
    assert printed.stdout == f"2779683840 {installed / 'sixnd.py'}\n"
    where = subprocess.run(
        [sys.executable, "-c", "import bench; print(bench.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    assert where.stdout.startswith(str(installed))
