"""The gallery: its README has the command of each page, and a page says what its command says today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.cli.main import main as answered
from tests.support.checkout import ROOT
from tools.gallery import FOLDER, GALLERY, file_of, main, readme, words_of

WORDS = re.compile(r">([^<>]*[^<>\s][^<>]*)<")
"""What stands between two tags: another matplotlib draws other paths of the same picture."""


def test_the_readme_has_a_link_and_the_command_of_every_page() -> None:
    text = readme()
    assert (ROOT / FOLDER / "README.md").read_text(encoding="utf-8") == text + "\n"
    for name in GALLERY:
        assert f"]({name}.html)" in text
        assert f"python -m bench {GALLERY[name][1]} {file_of(name)}\n" in text


def test_an_unknown_page_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["atlas"]) == 2
    assert re.fullmatch(r"error: 'atlas' is no page; expected --readme, --picture or some of: .*\n", capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_a_page_says_what_its_command_says_today(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / FOLDER).mkdir(parents=True)
    assert answered(words_of(name)) in (0, 1)
    fresh, kept = ((folder / file_of(name)).read_text(encoding="utf-8") for folder in (tmp_path, ROOT))
    assert WORDS.findall(fresh) == WORDS.findall(kept), f"run: python -m tools.gallery {name}"
