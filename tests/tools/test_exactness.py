"""The table of exactness: what it says of a model is what a recount finds, and an inequality would show."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping

import pytest
import torch

from bench.backend.counting import meta
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Workload
from reports.render import render
from tools.exactness_page import rows
from tools.exactness_rows import Row, row, table

LEFT_OUT = ("counted_with",)
"""What differs between machines that count alike."""


def committed() -> dict[str, dict[str, str]]:
    """Model -> its row of the committed file."""
    return {row["model"]: _told(row) for row in rows()}


def recounted(name: str) -> dict[str, str]:
    (found,) = csv.DictReader(io.StringIO(render([table([row(name)])], "csv")))
    return _told(found)


def _told(row: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in row.items() if key not in LEFT_OUT}


HANDFUL = (
    *("mlp", "gpt2", "opt-125m", "bert-base-uncased", "deberta-v3-base"),
    *("t5-small", "whisper-tiny", "resnet-18", "vit-base-patch16-224"),
)


@pytest.mark.parametrize("name", HANDFUL)
def test_a_row_is_what_a_recount_finds(name: str) -> None:
    assert committed()[name] == recounted(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(model_ids()) - set(HANDFUL)))
def test_every_other_row_is_what_a_recount_finds(name: str) -> None:
    assert committed()[name] == recounted(name)


def test_a_changed_digit_would_be_found() -> None:
    # GPT-2: 124,439,808 parameters by its checkpoint
    found = recounted("gpt2")
    assert found["torch_params"] == "124439808"
    assert {**committed()["gpt2"], "torch_params": "124439809"} != found == committed()["gpt2"]


def test_fvcore_counts_convolutions_of_a_model_on_meta() -> None:
    """ResNet-18: its authors' 1.8e9 multiply-adds (He et al. 2016, table 1); torchvision prints 1.814 G of them."""
    found = meta.fvcore_model_count(meta.meta_model(model_entry("resnet-18").config), Workload())
    assert found.value is not None
    assert found.value / 2e9 == pytest.approx(1.814, abs=5e-4)


def fvcore_note(counted: Row) -> object:
    return table([counted]).rows[0]["fvcore_note"]


def test_a_row_that_fvcore_does_not_meet_says_why() -> None:
    right = row("mlp")
    untraced = dataclasses.replace(right, fvcore_flop=None, reason="fvcore cannot trace it: TypeError")
    unhandled = dataclasses.replace(right, fvcore_flop=right.flop - 2, fvcore_unseen=("add", "baddbmm"))
    assert fvcore_note(right) == ""
    assert fvcore_note(untraced) == "fvcore cannot trace it: TypeError"
    assert fvcore_note(unhandled) == "fvcore has no handle for baddbmm"


def test_fvcore_rounds_an_einsum_to_four_digits() -> None:
    """101·103·107 multiply-adds are 1,113,121; numpy.einsum_path prints 1.113e+06, which fvcore reads."""

    class Product(torch.nn.Module):
        def forward(self, left: torch.Tensor) -> torch.Tensor:
            return torch.einsum("ij,jk->ik", left, torch.zeros(103, 107, device="meta"))

    counted, unseen = meta.fvcore_count(Product(), torch.zeros(101, 103, device="meta"))
    assert (counted, unseen) == (2 * 1_113_000, ())
    product = dataclasses.replace(row("mlp"), model="product", flop=2 * 101 * 103 * 107, fvcore_flop=counted)
    assert fvcore_note(product) == "fvcore counts an einsum by the four digits that numpy.einsum_path prints"
