"""Peaks of single loss kernels, measured on a GPU: what grows with the shape follows from the law of each path, to 0.2 %."""

from __future__ import annotations

import functools

import pytest

from estimators.frozen import replace
from estimators.tuning.loss import LossMemory
from estimators.validation import loss_kernels
from estimators.validation.compared import compared_kernel
from estimators.validation.loss_kernels import LAWS, ROUNDED, ScoredKernel, scored_kernels
from estimators.validation.table import Record, read_table, shipped_kernels


def records() -> list[Record]:
    return read_table(shipped_kernels())


@functools.cache
def rows() -> tuple[ScoredKernel, ...]:
    return tuple(scored_kernels(records()))


@pytest.mark.parametrize("name", sorted(", ".join(key) for key in LAWS))
def test_what_grows_with_the_shape_is_what_was_measured(name: str) -> None:
    errors = [row.error for row in rows() if row.name == name and row.error is not None]
    assert len(errors) >= 3
    assert errors == pytest.approx([0] * len(errors), abs=ROUNDED)


def test_peaks_are_what_was_measured_where_it_is_known_what_the_benchmark_holds() -> None:
    errors = [row.peak_error for row in rows() if row.peak_error is not None]
    assert len(errors) == 28
    assert errors == pytest.approx([0] * 28, abs=0.001)


def test_ligers_fused_linear_is_right_to_the_byte_where_the_allocator_rounds_nothing() -> None:
    """5,794.6259765625 MiB less 4,245.5478515625 at 32,768 and 4,096 tokens: 8 B a logit of a chunk of 1,024 and of 128, 3 x 2 B an
    element of hidden states, targets and losses of 12 B a token."""
    found = {row.id: row for row in rows()}["K0064"]
    assert found.measured_bytes == 8 * (1024 - 128) * 128_256 + (3 * 2 * 4096 + 12) * (32_768 - 4096)
    assert found.predicted_bytes == found.measured_bytes


def test_another_law_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def ten_bytes(shape: loss_kernels.Shape) -> LossMemory:
        held = law.loss(shape)
        return LossMemory(logits_bytes=held.logits_bytes + 2 * shape.tokens // 32 * shape.vocab)

    key = ("fused_linear_cross_entropy", "liger")
    law = LAWS[key]
    monkeypatch.setattr(loss_kernels, "LAWS", {**LAWS, key: replace(law, loss=ten_bytes)})
    assert all(abs(row.error) > 0.05 for row in scored_kernels(records()) if row.name == ", ".join(key) and row.error is not None)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"kernel": "rope"}, "kernel 'rope' of 'liger' is no loss"),
        ({"memory_mib": ""}, "no memory in the row"),
        ({"config": "{"}, "config is '{'; expected a JSON object"),
        ({"config": "{}"}, "no B in the row's shape"),
        ({"x_value": "many"}, "x_value is 'many'; expected a number"),
    ],
)
def test_a_row_that_is_no_peak_says_why(cells: dict[str, str], said: str) -> None:
    first = records()[0]
    found = scored_kernels([replace(first, cells={**first.cells, **cells})])[0]
    assert said in found.skipped
    assert compared_kernel(found).skipped == found.skipped
