"""The table of exactness: what it says of a model is what a recount finds, and an inequality would show."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bench.backend.counting import meta
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Workload
from tests.support.checkout import ROOT
from tools.exactness_page import page, table
from tools.exactness_rows import row

DOCUMENT = ROOT / "docs" / "exactness.md"


def committed() -> dict[str, str]:
    """Model -> its line of the committed document, columns one blank apart: their widths are those of the longest cells."""
    lines = (" ".join(line.split()) for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|"))
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines}


def recounted(name: str) -> str:
    return next(" ".join(line.split()) for line in page([row(name)]).splitlines() if line.startswith(f"| {name} "))


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
    assert committed()["gpt2"].replace("124,439,808", "124,439,809") != recounted("gpt2") == committed()["gpt2"]


def test_fvcore_counts_convolutions_of_a_model_on_meta() -> None:
    """ResNet-18: its authors' 1.8e9 multiply-adds (He et al. 2016, table 1); torchvision prints 1.814 G of them."""
    found = meta.fvcore_model_count(meta.meta_model(model_entry("resnet-18").config), Workload())
    assert found.value is not None
    assert found.value / 2e9 == pytest.approx(1.814, abs=5e-4)


def test_a_row_that_does_not_equal_torch_shows_its_digits() -> None:
    """A linear network 7 -> 100 -> 100 -> 1 costs 2·(700 + 10,000 + 100) FLOP a sample."""
    wrong = dataclasses.replace(row("mlp"), torch_flop=10_800)
    made = table([wrong])
    assert made.rows[0]["flop_ratio"] == "2"
    assert "0 of 1" in made.title


def test_a_row_that_fvcore_does_not_meet_says_why() -> None:
    right = row("mlp")
    untraced = dataclasses.replace(right, fvcore_flop=None, reason="fvcore cannot trace it: TypeError")
    unhandled = dataclasses.replace(right, fvcore_flop=right.flop - 2, fvcore_unseen=("add", "baddbmm"))
    assert table([right]).notes == []
    assert table([untraced]).notes == ["–: fvcore cannot trace it: TypeError: mlp."]
    assert table([unhandled]).notes == ["fvcore has no handle for baddbmm: mlp."]


def test_fvcore_rounds_an_einsum_to_four_digits() -> None:
    """101·103·107 multiply-adds are 1,113,121; numpy.einsum_path prints 1.113e+06, which fvcore reads."""

    class Product(torch.nn.Module):
        def forward(self, left: torch.Tensor) -> torch.Tensor:
            return torch.einsum("ij,jk->ik", left, torch.zeros(103, 107, device="meta"))

    counted, unseen = meta.fvcore_count(Product(), torch.zeros(101, 103, device="meta"))
    assert (counted, unseen) == (2 * 1_113_000, ())
    product = dataclasses.replace(row("mlp"), model="product", flop=2 * 101 * 103 * 107, fvcore_flop=counted)
    assert table([product]).notes == ["fvcore counts an einsum by the four digits that numpy.einsum_path prints: product."]
