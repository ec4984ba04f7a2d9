"""The table of exactness: what it says of a model is what a recount finds, and an inequality would show."""

from __future__ import annotations

import dataclasses

import pytest

from bench.cli.exactness import table
from bench.workloads.exactness import row


@pytest.mark.parametrize("name", ["mlp", "gpt2", "bert-base-uncased", "mamba-130m"])
def test_a_row_has_every_route_and_says_1(name: str) -> None:
    found = row(name)
    assert (found.params, found.flop) == (found.torch_params, found.torch_flop)
    cells = table([found]).rows[0]
    assert (cells["params_ratio"], cells["flop_ratio"]) == ("1", "1")


def test_a_row_that_does_not_equal_torch_shows_its_digits() -> None:
    """A linear network 7 -> 100 -> 100 -> 1 costs 2·(700 + 10,000 + 100) FLOP a sample."""
    wrong = dataclasses.replace(row("mlp"), torch_flop=10_800)
    made = table([wrong])
    assert made.rows[0]["flop_ratio"] == "2"
    assert "0 of 1" in made.title
