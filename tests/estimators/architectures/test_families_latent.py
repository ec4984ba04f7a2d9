"""Latent attention: two code paths; and the layers beside a decoder that predict further tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.backend.counting import meta
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params, estimate
from estimators.facts.registry import model_entry
from estimators.spec import Case, Workload
from tests.support.drawn_decoders import (
    Config,
    by_name,
)
from tests.support.latent_attention_models import DEEPSEEK_V3, latent


def deepseek_v3() -> Decoder:
    model = model_from_config(model_entry("deepseek-v3").config, "deepseek-v3")
    assert isinstance(model, Decoder)
    return model


def test_deepseeks_decode_costs_13_times_more_as_transformers_runs_it() -> None:
    """At context 512: torch's counter on meta has 1,123,784,736,768; absorbed, by a hand formula, 8.20e10."""
    model, step = deepseek_v3(), Workload(phase="decode", context_len=512)
    as_built, absorbed = (estimate(Case(model=path, workload=step)) for path in model.code_paths.values())
    assert [name.rpartition("as ")[2] for name in model.code_paths] == ["transformers runs it", "serving engines run it"]
    assert as_built.forward_flop == estimate(Case(model=model, workload=step)).forward_flop == 1_123_784_736_768
    assert absorbed.forward_flop == pytest.approx(8.20e10, rel=5e-4)
    assert as_built.params == absorbed.params == 671_026_404_352
    assert as_built.min_bytes == absorbed.min_bytes


def test_absorbed_attention_by_hand() -> None:
    """One token after 9, 2 heads, latent 8, positions 4, keys 6 + 4, values 10: scores on 8 + 4, context on 8, expansion once."""
    model = model_from_config(DEEPSEEK_V3 | {"num_attention_heads": 2, "num_key_value_heads": 2}, "small")
    assert isinstance(model, Decoder)
    absorbed = list(model.code_paths.values())[1]
    rows = by_name(absorbed.ops(Workload(phase="decode", context_len=9)))
    assert rows["layer.0.attention.scores"].flop == 2 * 2 * 10 * (8 + 4)
    assert rows["layer.0.attention.context"].flop == 2 * 2 * 10 * 8
    assert rows["layer.0.attention.kv_up"].flop == 2 * 8 * 2 * (6 + 10)
    assert rows["layer.0.attention.scores"].cache_bytes == 10 * (8 + 4) * 2


@given(latent(st.integers(1, 3)), st.integers(1, 60), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_what_no_kernel_may_skip_is_no_more_than_either_code_path_costs(config: Config, context_len: int, batch: int) -> None:
    model = model_from_config(config | {"model_type": "deepseek_v2"}, "drawn")
    assert isinstance(model, Decoder)
    step = Workload(phase="decode", batch=batch, context_len=context_len)
    as_built, absorbed = (estimate(Case(model=path, workload=step)) for path in model.code_paths.values())
    assert max(as_built.min_flop, absorbed.min_flop) <= min(as_built.forward_flop, absorbed.forward_flop)
    training = Workload(phase="train", batch=batch, seq_len=context_len)
    assert len({estimate(Case(model=path, workload=training)).flop["full"] for path in model.code_paths.values()}) == 1


def test_an_engine_reads_the_chosen_latents_and_every_index_key_of_a_long_context() -> None:
    """GLM-5 behind 100,000 tokens: 2,048 latents of 512 + 64 values on 78 layers, index keys of 128 of all 100,001, 2 bytes each."""
    model, step = model_from_config(model_entry("glm-5").config, "glm-5"), Workload(phase="decode", context_len=100_000)
    assert isinstance(model, Decoder)
    table = list(model.code_paths.values())[1].ops(step)
    assert sum(op.count * op.cache_bytes for op in table) == 2 * 78 * (2048 * 576 + 100_001 * 128)
    held = sum(op.count * op.held_cache_bytes for op in table)
    assert held == 2 * 78 * 100_001 * (576 + 128)


def test_a_model_without_a_choice_has_no_code_paths() -> None:
    model = model_from_config(model_entry("mixtral-8x7b").config, "mixtral")
    assert isinstance(model, Decoder)
    assert model.code_paths == {}


def test_layers_that_predict_further_tokens_count_like_transformers_own() -> None:
    from transformers.cache_utils import MtpCache
    from transformers.modeling_layers import MtpModel

    module, model = meta.meta_language_model(DEEPSEEK_V3), model_from_config(DEEPSEEK_V3, "small")
    assert isinstance(model, Decoder)
    assert model.prediction is not None
    with torch.device("meta"):
        beside = MtpModel(module, 2).eval()
    step = Workload(phase="forward", batch=2, seq_len=6)
    rows = model.prediction.ops(step, model.width, model.vocab)
    assert count_params(rows) == meta.params_of(beside.layers)
    hidden, ids = torch.zeros(2, 6, model.width, device="meta"), torch.zeros(2, 6, dtype=torch.long, device="meta")
    positions, cache = torch.arange(6, device="meta")[None], MtpCache(config=module.config.get_mtp_config())
    with meta.flop_counter() as counter:
        for i in range(2):
            hidden = beside.forward_layer(i, hidden, positions, cache, input_ids=ids)
            beside._project_to_logits(hidden)
    assert sum(op.count * op.flop for op in rows) == counter.get_total_flops()


def test_they_are_no_part_of_the_decoder() -> None:
    with_them = model_from_config(DEEPSEEK_V3, "with")
    without = model_from_config(DEEPSEEK_V3 | {"num_nextn_predict_layers": 0}, "without")
    assert isinstance(without, Decoder)
    assert without.prediction is None
    assert with_them.ops(Workload(phase="train", seq_len=8)) == without.ops(Workload(phase="train", seq_len=8))


# huggingface.co/api/models/<id>, safetensors: DeepSeek-V3 holds 3,918,786,560 bf16 and 680,571,043,840 fp8 weights (its fp32 are
# scales and biases of the choice of experts); GLM-4.5-Air 110,468,824,832 in all, 46 x 128 of which are such biases.
@pytest.mark.parametrize(
    ("name", "in_the_files"), [("deepseek-v3", 3_918_786_560 + 680_571_043_840), ("glm-4.5-air", 110_468_824_832 - 46 * 128)]
)
def test_decoder_and_prediction_layer_are_what_the_checkpoint_holds(name: str, in_the_files: int) -> None:
    """With the copies of embedding and head that the prediction layer has in the files."""
    model = model_from_config(model_entry(name).config, name)
    assert isinstance(model, Decoder)
    assert model.prediction is not None
    beside = count_params(model.prediction.ops(Workload(), model.width, model.vocab))
    assert count_params(model.ops(Workload())) + beside + 2 * model.vocab * model.width == in_the_files
