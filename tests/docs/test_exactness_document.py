"""docs/exactness.md without torch: every shipped model, our columns as the op table has them today, every ratio to torch 1."""

from __future__ import annotations

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Case, Workload
from tests.support.checkout import ROOT

DOCUMENT = ROOT / "docs" / "exactness.md"
COLUMNS = ("model", "family", "params", "torch_params", "params_ratio", "published", "flop", "torch_flop", "flop_ratio", "fvcore_ratio")


def rows(text: str) -> dict[str, dict[str, str]]:
    """Model -> its cells."""
    lines = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| ")][1:]
    cells = [dict(zip(COLUMNS, (cell.strip() for cell in line), strict=True)) for line in lines]
    return {one["model"]: one for one in cells}


def ours(name: str) -> tuple[str, str, str, str]:
    """Family, parameters, publisher's text and FLOP of the forward pass that the document states, by our op table."""
    entry = model_entry(name)
    model, family = model_from_config(entry.config, entry.id, entry.source), str(entry.config["model_type"])
    tokens = min(128, model.max_positions)
    said = estimate(Case(model=model, workload=Workload(seq_len=tokens)))
    return family, f"{said.params:,}", entry.published_params_text, f"{said.forward_flop:,}"


def not_exact(text: str) -> list[str]:
    """Models whose ratio to torch is printed as anything but 1, or beside two counts that differ."""
    return [
        name
        for name, row in rows(text).items()
        if (row["params_ratio"], row["flop_ratio"]) != ("1", "1")
        or (row["params"], row["flop"]) != (row["torch_params"], row["torch_flop"])
    ]


def test_every_shipped_model_stands_in_the_document() -> None:
    assert sorted(rows(DOCUMENT.read_text(encoding="utf-8"))) == sorted(model_ids())


@pytest.mark.parametrize("name", model_ids())
def test_our_columns_are_what_the_op_table_says_today(name: str) -> None:
    row = rows(DOCUMENT.read_text(encoding="utf-8"))[name]
    assert (row["family"], row["params"], row["published"], row["flop"]) == ours(name)


def test_every_ratio_to_torch_is_1() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert not_exact(text) == []
    assert f"# Exactness: {len(model_ids())} of {len(model_ids())} shipped models equal torch" in text


def test_a_ratio_that_is_not_1_would_be_found() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    # GPT-2: 124,439,808 parameters by its checkpoint
    assert not_exact(text.replace("124,439,808", "124,439,809", 1)) == ["gpt2"]
