"""docs/install.md: the extras as pyproject.toml has them today, and a base that stays light."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports.render import render
from tests.support.checkout import ROOT
from tools.install_size import HEAD, LIMIT_MB, PURPOSE, base_table, brought, disk_bytes, extras_table

PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


def test_the_page_has_the_extras_of_today() -> None:
    assert PAGE.startswith(f"{HEAD}\n{render([extras_table()], 'md')}"), "run: python -m tools.install_size > docs/install.md"


def test_every_extra_has_a_purpose() -> None:
    assert list(PURPOSE) == list(brought())


def test_the_base_is_light_on_the_page() -> None:
    found = re.search(r"fresh environment: (\d+) MB on the disk", PAGE)
    assert found is not None
    assert int(found[1]) < LIMIT_MB
    assert "installed: numpy, PyYAML, sixnd, tabulate\n" in PAGE


def test_a_disk_holds_whole_blocks(tmp_path: Path) -> None:
    before = disk_bytes(tmp_path)
    (tmp_path / "one byte").write_text("1")
    assert disk_bytes(tmp_path) - before in range(64 * 1024 + 1)
    (tmp_path / "a MiB").write_bytes(b"1" * 2**20)
    assert disk_bytes(tmp_path) - before >= 2**20


@pytest.mark.slow
def test_a_fresh_environment_with_the_base_has_no_torch_and_is_light(tmp_path: Path) -> None:
    facts = base_table(tmp_path / "fresh").facts
    assert facts["packages"] == ["numpy", "PyYAML", "sixnd", "tabulate"]
    assert isinstance(facts["total_mb"], float)
    assert facts["total_mb"] < LIMIT_MB
