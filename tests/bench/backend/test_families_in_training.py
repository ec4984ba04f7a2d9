"""Models of transformers as their Trainer calls them: what is counted on meta is what torch's counter sees of the real model."""

from __future__ import annotations

import pytest

from bench.backend.counting.flop_formulas import MENDED
from bench.backend.counting.training_pass import count_pass
from tests.support.any_family import batch_for, tiny, types_of
from tests.support.small_llamas import by_torch

OFTEN = [
    ("CAUSAL_LM", "gpt2"),
    ("CAUSAL_LM", "gemma2"),  # windows of attention
    ("CAUSAL_LM", "qwen2_moe"),  # experts that loop over their tokens
    ("CAUSAL_LM", "jetmoe"),  # experts that ask for their numbers of tokens
    ("CAUSAL_LM", "deepseek_v2"),
    ("SEQ_TO_SEQ_CAUSAL_LM", "t5"),
    ("SEQUENCE_CLASSIFICATION", "llama"),
    ("SEQUENCE_CLASSIFICATION", "deberta-v2"),
    ("TOKEN_CLASSIFICATION", "bert"),
    ("MULTIPLE_CHOICE", "bert"),
    ("MASKED_LM", "distilbert"),
]

MULTIPLY_WITHOUT_FORMULA = {
    "aten::linalg_solve_triangular",  # gated delta rules
    "aten::_fft_c2c",  # FNet
}
"""What a few of them run and nobody's formula covers: it is named."""


def agrees(task: str, model_type: str) -> None:
    model = tiny(model_type, task)
    given = batch_for(model, task)
    expected = by_torch(model, formulas=MENDED, **given)
    counted = count_pass(model, (), given)
    assert counted.forward_flop + (counted.backward_flop or 0) == expected
    assert {op.name for op in counted.unseen} <= MULTIPLY_WITHOUT_FORMULA


@pytest.mark.parametrize(("task", "model_type"), OFTEN)
def test_a_familys_pass_is_counted_as_torch_sees_the_real_one(task: str, model_type: str) -> None:
    agrees(task, model_type)


LOOKS_AT_WEIGHTS = {"ibert"}
"""Quantises its weights by their largest, which it reads as a number."""

LEAST = {"CAUSAL_LM": 130, "SEQUENCE_CLASSIFICATION": 85, "SEQ_TO_SEQ_CAUSAL_LM": 15, "MULTIPLE_CHOICE": 25}
"""Types that can be built tiny by the usual names and run: fewer than so many would be a test of nothing."""


@pytest.mark.slow
@pytest.mark.parametrize("task", LEAST)
def test_every_type_that_can_be_built_tiny_is_counted_as_torch_sees_it(task: str) -> None:
    num_agreed = 0
    for model_type in types_of(task):
        try:
            model = tiny(model_type, task)
            by_torch(model, **batch_for(model, task))
        except Exception:  # the fields do not suit this type
            continue
        if model_type not in LOOKS_AT_WEIGHTS:
            agrees(task, model_type)
            num_agreed += 1
    assert num_agreed >= LEAST[task]
