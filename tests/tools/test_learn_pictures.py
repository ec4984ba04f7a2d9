"""The pictures of the learner's walk are those of the committed records, and show nothing that their tables do not hold."""

from __future__ import annotations

import functools
import re

import pytest
from refresh import TEXT_OF_PICTURE

from bench.records.record import read_folder
from tests.support.checkout import ROOT
from tests.support.pictured import axes_not_said, figure_of, points_not_held, words_not_held
from tools.learn_pictures import FOLDER, RECORDS, Drawn, pictures

pytest.importorskip("matplotlib")

NAMES = ("1-loss-falls", "2-more-days", "3-overfitting", "4-neurons", "5-depth", "6-small-gpt", "7-phi-2", "8-gpt-3")


@functools.cache
def drawn() -> dict[str, Drawn]:
    return pictures(read_folder(ROOT / RECORDS)[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_that_of_the_records_and_holds_to_its_table(name: str) -> None:
    picture, tables = drawn()[name]
    committed = (ROOT / FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert TEXT_OF_PICTURE.findall(committed) == TEXT_OF_PICTURE.findall(picture.svg(tables)), "run: python -m tools.learn_pictures"
    figure, table = figure_of(picture, tables), picture.table_in(tables)
    assert words_not_held(figure, table) == []
    assert axes_not_said(figure, table) == []
    if picture.table != "networks":  # two bars stand side by side there, around the place of their name
        assert points_not_held(figure, table) == []


@pytest.mark.parametrize("page", ["learn.md", "learn.zh-CN.md"])
def test_both_languages_have_the_same_eight_commands_and_every_picture(page: str) -> None:
    text, other = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in (page, "learn.md"))
    commands = re.findall(r"```bash\n(.*)\n```", text)
    assert len(commands) == 8
    assert commands == re.findall(r"```bash\n(.*)\n```", other)
    assert all(f"| `{command}` |" in text for command in commands)
    assert re.findall(r"\(learn/(.*)\.svg\)", text) == list(NAMES)
