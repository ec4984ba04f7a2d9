"""Rules of thumb: against the papers' own numbers, and their named differences."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estimators.architectures.block import RMS_NORM
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.from_config import model_from_config
from estimators.counting.rules_of_thumb import rules
from estimators.facts.registry import model_entry
from estimators.spec import Workload
from tests.support.decoder_strategy import decoders

GPT3 = model_from_config(model_entry("gpt-3").config, "gpt-3")
STEP = Workload(phase="train", seq_len=2048)


@given(decoders(), st.sampled_from(["train", "forward", "prefill", "decode"]), st.integers(1, 3), st.integers(1, 40))
def test_the_named_parts_of_every_rule_add_up_to_its_difference(model: Decoder, phase: str, batch: int, seq_len: int) -> None:
    decode = phase == "decode"
    workload = Workload(phase=phase, batch=batch, seq_len=1 if decode else seq_len, context_len=seq_len if decode else 0)  # type: ignore[arg-type]
    for rule in rules(model, workload):
        assert rule.unexplained_flop == 0, (rule.name, rule.difference)


@pytest.mark.parametrize("name", ["linreg-1d", "linreg-7d", "sigmoid-10", "mlp", "spam"])
def test_the_rules_of_dense_networks_add_up_too(name: str) -> None:
    found = rules(model_from_config(model_entry(name).config, name), Workload(phase="train", batch=32))
    assert [rule.unexplained_flop for rule in found] == [0] * len(found)
    assert found


def test_a_difference_that_does_not_add_up_is_seen() -> None:
    rule = dataclasses.replace(rules(GPT3, STEP)[0], flop=rules(GPT3, STEP)[0].flop + 1)
    assert rule.unexplained_flop == 1


def test_every_rule_carries_its_citation_and_a_model_gets_all_of_them() -> None:
    found = rules(GPT3, STEP)
    assert {rule.name for rule in found} == {
        "6·N·D, all parameters",
        "6·N·D, without embeddings",
        "transformers' Trainer",
        "PaLM",
        "Chinchilla",
        "Megatron with recomputation",
    }
    assert all(rule.source.url.startswith("https://") for rule in found)


def test_megatrons_formula_is_exact_for_gpt_3_and_for_phi_2() -> None:
    """Both have a feed-forward of 4·h and as many key heads as heads, which is what the formula assumes."""
    for name in ("gpt-3", "phi-2", "gpt2"):
        rule = next(r for r in rules(model_from_config(model_entry(name).config, name), STEP) if r.name.startswith("Megatron"))
        assert rule.flop == rule.exact_flop


def test_palms_rule_is_4_percent_high_for_phi_2_because_it_multiplies_the_untied_embedding() -> None:
    """2.6168e22 FLOP at 1.4T tokens against the exact 2.505887e22."""
    rule = next(r for r in rules(model_from_config(model_entry("phi-2").config, "phi-2"), STEP) if r.name == "PaLM")
    assert rule.ratio == pytest.approx(2.6168 / 2.505887, abs=1e-4)
    assert rule.difference[0][0].startswith("embedding tables")


def test_nanogpts_notebook_to_the_flop() -> None:
    """transformer_sizing.ipynb: 124,337,664 parameters (no biases) and 874,944,921,600 FLOP forward and backward, 1,024 tokens."""
    gpt2 = model_from_config(model_entry("gpt2").config, "gpt2")
    assert isinstance(gpt2, Decoder)
    block = gpt2.blocks[0]
    attention = dataclasses.replace(block.attention, query_bias=False, key_bias=False, value_bias=False, out_bias=False)
    feed_forward = FeedForward(width=4 * 768)
    bare_block = dataclasses.replace(block, parts=(("attention", attention), ("mlp", feed_forward)), norm=RMS_NORM)
    bare = dataclasses.replace(gpt2, blocks=(bare_block,), final_norm=RMS_NORM)
    from estimators.counting.estimate import count_params, estimate
    from estimators.spec import Case

    assert count_params(bare.ops(Workload())) == 124_337_664
    assert estimate(Case(model=bare, workload=Workload(phase="train", seq_len=1024))).flop["full"] == 874_944_921_600
