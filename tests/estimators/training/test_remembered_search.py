"""A search that was asked before is answered from memory: the same answer, to the same question and the same code alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from estimators import own_cache, remembered
from estimators.cost.layout import parse_layout
from estimators.cost.machine import MeasuredRates
from estimators.frozen import replace
from estimators.training.layouts import priced_lanes as pricing
from estimators.training.layouts.job import Job
from estimators.training.layouts.restriction import ANYTHING, Restriction
from estimators.training.layouts.search import MOST_OPTIONS, Search, search
from tests.support.planner_jobs import job

LLAMA = job("llama-2-7b", seq_len=4096)
MIXTURE = job("mixtral-8x7b", seq_len=4096)


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs whose layouts were priced, in order."""
    asked: list[Job] = []
    real = pricing.priced_lanes

    def noted(job: Job, *args: Any, **kwargs: Any) -> pricing.PricedLanes:
        asked.append(job)
        return real(job, *args, **kwargs)

    monkeypatch.setattr(pricing, "priced_lanes", noted)
    return asked


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's searches are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sixnd" / "searches"


@pytest.mark.parametrize(
    ("one", "num_devices", "batch", "restriction"),
    [
        (LLAMA, 16, 64, ANYTHING),
        (MIXTURE, 16, 64, Restriction(schedule="zero-bubble")),
        (MIXTURE, 16, 64, Restriction(launcher="megatron")),
        (LLAMA, 1, 8, ANYTHING),  # fits in no layout
        (LLAMA, 7, 8, ANYTHING),  # has no legal one
    ],
)
def test_what_is_remembered_is_what_was_found(
    one: Job, num_devices: int, batch: int, restriction: Restriction, priced: list[Job], kept: Path
) -> None:
    found = search(one, num_devices, batch, restriction)
    assert search(one, num_devices, batch, restriction) == found
    assert priced == [one]
    lanes = pricing.priced_lanes(one, num_devices, batch, restriction)
    assert found.best(MOST_OPTIONS) == lanes.best(MOST_OPTIONS)
    assert (found.fastest_of_all(), found.smallest()) == (lanes.fastest_of_all(), lanes.smallest())
    assert (found.num_legal, found.num_priced, found.num_fitting) == (lanes.num_legal, len(lanes.lanes), lanes.num_fitting)


def test_every_layout_is_written_so_that_it_is_read_again() -> None:
    for schedule in ("1f1b", "zero-bubble"):
        lanes = pricing.priced_lanes(MIXTURE, 16, 64, Restriction(schedule=schedule)).lanes
        for lane in range(0, len(lanes), 97):
            layout = lanes.layout(lane)
            assert parse_layout(str(layout), num_devices=16, global_batch=64) == layout
        assert (lanes.shard > 0).any()


RATES = MeasuredRates(hardware_id=LLAMA.hardware.id, flop_per_s=(("bf16", 4e14),))

OTHERWISE: dict[str, Callable[[], Search]] = {
    "another model": lambda: search(job("llama-2-13b", seq_len=4096), 16, 64),
    "another length": lambda: search(replace(LLAMA, seq_len=2048), 16, 64),
    "a device of another memory": lambda: search(
        replace(LLAMA, hardware=replace(LLAMA.hardware, memory_bytes=LLAMA.hardware.memory_bytes - 1)), 16, 64
    ),
    "a calibration": lambda: search(replace(LLAMA, own=RATES), 16, 64),
    "another calibration": lambda: search(replace(LLAMA, own=replace(RATES, link_bytes_per_s=1e11)), 16, 64),
    "another network": lambda: search(replace(LLAMA, network_bytes_per_s=1e9), 16, 64),
    "another margin": lambda: search(replace(LLAMA, memory_margin=0.2), 16, 64),
    "another optimizer": lambda: search(replace(LLAMA, optimizer="sgd"), 16, 64),
    "other software": lambda: search(replace(LLAMA, stack_id="pytorch-fsdp2"), 16, 64),
    "constants that left a source out": lambda: search(replace(LLAMA, without="bloom"), 16, 64),
    "another batch": lambda: search(LLAMA, 16, 128),
    "another number of devices": lambda: search(LLAMA, 32, 64),
    "a restriction": lambda: search(LLAMA, 16, 64, Restriction(max_tp=2)),
}


def test_whatever_decides_the_answer_is_asked_anew(priced: list[Job], kept: Path) -> None:
    search(LLAMA, 16, 64)
    for number, (said, ask) in enumerate(OTHERWISE.items(), start=2):
        found = ask()
        assert len(priced) == number, said
        assert ask() == found
        assert len(priced) == number, said


def test_other_code_answers_anew(priced: list[Job], kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search(LLAMA, 16, 64)
    monkeypatch.setattr(remembered, "code_stamp", lambda: "another version")
    search(LLAMA, 16, 64)
    assert len(priced) == 2


def test_code_that_lies_in_no_files_remembers_nothing(priced: list[Job], kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "code_stamp", lambda: None)
    assert search(LLAMA, 16, 64) == search(LLAMA, 16, 64)
    assert len(priced) == 2
    assert not kept.exists()


def test_a_stamp_tells_an_edit_but_of_what_a_question_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "data" / "models"
    models.mkdir(parents=True)
    (models / "one.json").write_text("{}")
    code = tmp_path / "price.py"
    code.write_text("PRICE = 1\n")
    monkeypatch.setattr(remembered, "PACKAGE", str(tmp_path))
    monkeypatch.setattr(remembered, "BESIDES", (str(models),))
    stamps = [remembered.code_stamp.__wrapped__()]
    (models / "one.json").write_text("[]")
    assert remembered.code_stamp.__wrapped__() == stamps[0]
    code.write_text("PRICE = 2\n")
    os.utime(code, ns=(1, 1))
    stamps.append(remembered.code_stamp.__wrapped__())
    os.utime(code, ns=(2, 2))
    stamps.append(remembered.code_stamp.__wrapped__())
    (tmp_path / "data" / "rates.csv").write_text("")
    stamps.append(remembered.code_stamp.__wrapped__())
    assert len(set(stamps)) == 4
    monkeypatch.setattr(remembered, "PACKAGE", str(tmp_path / "archive.zip" / "estimators"))
    assert remembered.code_stamp.__wrapped__() is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("zero=1", "zero=9", 1),
        lambda text: text.replace("llama-2-7b", "llama-2-8b"),
        lambda text: json.dumps({"answer": 42}),
        lambda text: "\0" * 2**21,
    ],
)
def test_a_damaged_or_foreign_file_is_ignored_and_written_anew(damage: Callable[[str], str], priced: list[Job], kept: Path) -> None:
    found = search(LLAMA, 16, 64)
    (file,) = kept.iterdir()
    text = file.read_text()
    file.write_text(damage(text))
    assert search(LLAMA, 16, 64) == found
    assert len(priced) == 2
    assert file.read_text() == text


def test_another_questions_file_of_the_same_name_is_no_answer(priced: list[Job], kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_path", lambda kind, asked: str(kept / "same.json"))
    assert search(LLAMA, 16, 64).num_devices == 16
    assert search(LLAMA, 32, 64).best(1)[0].num_devices == 32
    assert search(LLAMA, 16, 64).best(1)[0].num_devices == 16
    assert len(priced) == 3


def test_where_nothing_can_be_kept_nothing_is_said(
    priced: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sixnd").write_text("a file where the folder would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert search(LLAMA, 16, 64) == search(LLAMA, 16, 64)
    assert len(priced) == 2
    assert capsys.readouterr() == ("", "")


def test_a_full_disk_leaves_no_unfinished_file(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(own_cache.os, "replace", full)
    search(LLAMA, 16, 64)
    assert list(kept.iterdir()) == []


def test_a_folder_holds_a_bounded_number_of_files_and_the_oldest_go(tmp_path: Path) -> None:
    for number in range(9):
        own_cache.keep(str(tmp_path / f"{number}.json"), "x", most_files=8)
        os.utime(tmp_path / f"{number}.json", ns=(number, number))
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{number}.json" for number in range(3, 9)]


@pytest.mark.parametrize(
    "words",
    [
        "estimate llama-2-7b --tokens 1T --hardware h100-sxm5-80gb --gpus 16",
        "plan mixtral-8x7b --hardware h100-sxm5-80gb --gpus 32",
        "plan llama-2-7b --tokens 1T --hardware h100-sxm5-80gb --deadline 90d",
        "plan llama-2-70b --hardware h100-sxm5-80gb --gpus 4",  # refused, with how many would hold it
    ],
)
def test_the_second_asking_prints_what_the_first_did(words: str, priced: list[Job], kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = main([*words.split(), "--format", "json"]), *capsys.readouterr()
    num_priced = len(priced)
    assert num_priced
    assert (main([*words.split(), "--format", "json"]), *capsys.readouterr()) == first
    assert len(priced) == num_priced
