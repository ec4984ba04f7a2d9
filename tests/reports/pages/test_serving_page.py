"""The page of a served model: whole by itself, with its pictures, or without them and the line that installs what draws."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.cli.main import main

WORDS = "serve llama-3.1-8b --hardware l40s-48gb --ttft 1s --itl 50ms --api-price 0.15,0.60 --concurrency 1..256"


def page_of(words: str, folder: Path, *, code: int = 0) -> str:
    with contextlib.chdir(folder):
        assert main([*shlex.split(words), "--out", "page.html"]) == code
    return (folder / "page.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("matplotlib")
    return page_of(WORDS, tmp_path_factory.mktemp("page"))


def test_it_needs_nothing_else_and_has_four_pictures(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(pictures) == 4
    for picture in pictures:
        ElementTree.fromstring(picture)
    for said in ("within the limits: 55 users", "kv cache", "an API's price of a request", "Memory of one L40S", "The deployment"):
        assert said in page.replace("&#x27;", "'")


def test_the_heading_is_the_answer_and_the_same_bytes_come_twice(page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert page_of(WORDS, tmp_path) == page
    assert main([*shlex.split(WORDS), "-q"]) == 0
    assert f"<h1>{capsys.readouterr().out.strip()}</h1>" in page


def test_what_does_not_fit_has_its_memory_and_what_would(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = page_of("serve llama-3.1-70b --hardware h100-sxm5-80gb --gpus 1", tmp_path, code=1)
    assert page.count("<svg") == 1
    assert '<h1 class="doubt">NO: ' in page
    assert "--gpus-per-replica 2" in page


def test_without_matplotlib_it_has_its_tables_and_says_what_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = page_of(WORDS, tmp_path)
    assert "<svg" not in page
    assert "plots" in page
    assert page.count("<table>") == 4


def test_a_name_with_markup_is_text(tmp_path: Path) -> None:
    folder = tmp_path / "<b>model"
    folder.mkdir()
    config = '{"model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 1000}'
    (folder / "config.json").write_text(config, encoding="utf-8")
    page = page_of(f"serve --config {shlex.quote(str(folder))} --hardware l40s-48gb --input 100 --output 10", tmp_path)
    assert "<b>" not in page
