"""docs/exactness.csv and .md without torch: every shipped model, our columns as the op table has them today, every count torch's."""

from __future__ import annotations

import re

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Case, Workload
from tests.support.checkout import ROOT
from tools.exactness_page import not_exact_notes, rows, table

DOCUMENT = ROOT / "docs" / "exactness.md"
ROWS = {row["model"]: row for row in rows()}


def ours(name: str) -> tuple[str, str, str, str]:
    """Family, parameters, publisher's text and FLOP of the forward pass that the document states, by our op table."""
    entry = model_entry(name)
    model, family = model_from_config(entry.config, entry.id, entry.source), str(entry.config["model_type"])
    tokens = min(128, model.max_positions)
    said = estimate(Case(model=model, workload=Workload(seq_len=tokens)))
    return family, str(said.params), entry.published_params_text, str(said.forward_flop)


def test_every_shipped_model_is_counted() -> None:
    assert sorted(ROWS) == sorted(model_ids())


@pytest.mark.parametrize("name", model_ids())
def test_our_columns_are_what_the_op_table_says_today(name: str) -> None:
    row = ROWS[name]
    assert (row["family"], row["params"], row["published"], row["flop"]) == ours(name)


def test_every_count_is_torchs() -> None:
    assert not_exact_notes(list(ROWS.values())) == []
    assert f"# Exactness: {len(model_ids())} of {len(model_ids())} shipped models equal torch" in DOCUMENT.read_text(encoding="utf-8")


def test_a_count_that_is_not_torchs_would_be_found() -> None:
    # GPT-2: 124,439,808 parameters by its checkpoint
    wrong = {**ROWS["gpt2"], "torch_params": "124439809"}
    (note,) = not_exact_notes([ROWS["phi-2"], wrong])
    assert note.startswith("gpt2: 124,439,808 parameters, torch 124,439,809; ")
    assert table([ROWS["phi-2"], wrong]).title.startswith("Exactness: 1 of 2 shipped models")


def test_counts_that_no_publisher_prints_are_named_with_what_they_follow_from() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    inferred = {name: entry for name in model_ids() if (entry := model_entry(name)).published_basis}
    assert len(inferred) >= 9
    assert f"{len(model_ids()) - len(inferred)} of {len(model_ids())} as their publishers print them" in page
    for name, entry in inferred.items():
        told = "byte|GB" if entry.published_basis == "sizes of files" else "Follows from"
        assert re.search(told, entry.source.note), name
        assert name in page.partition("published counts: ")[2]


@pytest.mark.parametrize("name", model_ids())
def test_a_note_that_infers_a_count_from_files_or_from_another_says_so_in_the_entry(name: str) -> None:
    entry = model_entry(name)
    inferred = re.search(r"^Follows from|the hub lists|bytes of 16-bit weights", entry.source.note)
    assert bool(inferred) == bool(entry.published_basis)
