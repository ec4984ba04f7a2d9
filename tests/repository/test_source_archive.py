"""The source archive: all that is needed to test and to document what it holds; and the file that says how to cite it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.support.checkout import ROOT

FOLDERS = ("estimators", "bench", "reports", "docs", "results", "tests", "tools", ".ci")
FILES = ("sixnd.py", "pyproject.toml", "tox.ini", "LICENSE", "MANIFEST.in", "CITATION.cff", "README.md", "README.zh-CN.md", "CHANGELOG.md")
NEVER = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache")


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copied / folder, ignore=NEVER)
    for name in (*FILES, "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, copied)
    return copied


def test_the_source_archive_holds_every_file_of_the_checkout(source: Path, tmp_path: Path) -> None:
    there = names_in(source)
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (archive,) = tmp_path.glob("sixnd-*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    assert there - held == set()


def test_the_citation_has_what_the_format_requires_and_the_packages_version() -> None:
    """cff-version, message, title and authors are required by the Citation File Format 1.2.0, section 'Valid keys'."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
