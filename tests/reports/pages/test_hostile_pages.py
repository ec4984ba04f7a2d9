"""What strangers wrote into a record or a configuration is text on every page and in every picture, and nothing else."""

from __future__ import annotations

import json
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from tests.reports.pages.test_running_pages import trained
from tests.support.hostile_text import acting
from tests.support.tiny_models import config

pytest.importorskip("matplotlib")

MARKUP = (
    "<script>alert(1)</script>]]></svg></title></style><img src=x onerror=alert(1)> $\\frac{a}{$ and $x^2$ a\u202eb\u2066c\u200f\x1b[31m"
)
NAMES = {"markup": MARKUP, "five thousand letters": "x" * 5000}
PLACES = ("model", "weights_label", "input_label", "dtype_reason", "status_reason", "sample", "name", "text", "advice", "shape", "peak_rss")


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def written(value: Any, text: str) -> Any:
    """The record with the text wherever a stranger's may stand."""
    if isinstance(value, list):
        return [written(item, text) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: text if isinstance(item, str) and name in PLACES and item not in ("train_step", "load") else written(item, text)
        for name, item in value.items()
    } | ({"train_loss": 1.0, "loss_unit": text, "data": text} if "heldout_loss" in value else {})


def hostile_record(file: Path, text: str) -> Path:
    body = written(json.loads(trained().to_json()), text)
    body["warnings"] = [{"code": "Unstable", "text": text, "advice": text}]
    body["unavailable"] = {"mean_power_w": text}
    for phase in body["phases"]:
        phase["name"] = "train_step"
    file.write_text(json.dumps(body), encoding="utf-8")
    return file


def page_of(words: str, file: Path, option: str = "--output") -> str:
    assert main([*shlex.split(words), option, str(file)]) in (0, 1)
    return file.read_text(encoding="utf-8")


def demand_harmless(page: str) -> None:
    tags = Tags(page)
    pictures = tags.found.count("svg")
    assert [tags.found.count(tag) for tag in ("script", "img", "iframe", "title", "style")] == [1, 0, 0, 1 + pictures, 1 + pictures]
    assert tags.handlers == []
    assert acting(page, may="\n") == []
    assert len(page.encode()) < 400_000
    assert "x" * 250 not in page.partition("<footer>")[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_record_is_text_on_its_pages(name: str, tmp_path: Path) -> None:
    text = NAMES[name]
    one = hostile_record(tmp_path / "one.json", text)
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in (1, 2):
        body = json.loads(one.read_text(encoding="utf-8"))
        (folder / f"{number}.json").write_text(json.dumps(body | {"run_id": f"20260101T000000.000Z-{number}"}), encoding="utf-8")
    pages = [
        page_of(words, tmp_path / "page.html") for words in (f"report {one}", f"report {folder}", f"compare {one} {folder / '1.json'}")
    ]
    for page in pages:
        assert "<svg" in page
        demand_harmless(page)


def test_a_hostile_model_is_text_on_a_tuners_a_servers_and_a_planners_page(tmp_path: Path) -> None:
    folder = tmp_path / MARKUP.replace("/", "|")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config("llama") | {"_name_or_path": MARKUP}), encoding="utf-8")
    at = shlex.quote(str(folder))
    for words, option in (
        (f"fit --config {at} --seq-len 64 --hardware h100-sxm5-80gb --method lora", "--output"),
        (f"serve --config {at} --hardware l40s-48gb --input 10 --output 10", "--out"),
        (f"estimate --config {at} --tokens 1B --hardware h100-sxm5-80gb --gpus 8", "--output"),
    ):
        demand_harmless(page_of(words, tmp_path / "page.html", option))
