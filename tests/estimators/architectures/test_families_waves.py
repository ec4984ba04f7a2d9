"""Encoders over the samples of a recording: random configurations against torch on meta, `==`, what figures mean, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.architectures.from_config import model_from_config
from estimators.architectures.waves import WaveEncoder
from estimators.errors import BadConfigError, BadValueError, NoOpTableError
from estimators.facts.registry import model_entry
from estimators.samples import Audio
from estimators.spec import Workload
from tests.support.encoders_and_images import check, step

CLASSES = ("Model", "ForCTC", "ForSequenceClassification")
BASES = {"hubert": "Hubert", "wav2vec2": "Wav2Vec2", "wavlm": "WavLM"}


@st.composite
def waves(draw: st.DrawFn) -> dict[str, Any]:
    model_type = draw(st.sampled_from(sorted(BASES)))
    heads, filters, groups = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.sampled_from([1, 2]))
    chosen = draw(st.sampled_from(CLASSES if model_type == "hubert" else (*CLASSES, "ForAudioFrameClassification")))
    own: dict[str, Any] = {}
    if model_type == "hubert":
        own = {key: draw(st.booleans()) for key in ("feat_proj_layer_norm", "conv_pos_batch_norm")}
    if model_type == "wavlm":
        own = {"num_buckets": draw(st.integers(8, 40))}

    def per_filter(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=filters, max_size=filters))

    return {
        "model_type": model_type,
        "architectures": [BASES[model_type] + chosen],
        "hidden_size": 2 * heads * draw(st.integers(1, 10)),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "intermediate_size": draw(st.integers(1, 50)),
        "conv_dim": per_filter(1, 20),
        "conv_kernel": per_filter(2, 12),
        "conv_stride": [draw(st.integers(120, 200)), *per_filter(1, 4)[1:]],
        "conv_bias": draw(st.booleans()),
        "feat_extract_norm": draw(st.sampled_from(["group", "layer"])),
        "do_stable_layer_norm": draw(st.booleans()),
        "num_conv_pos_embeddings": draw(st.integers(1, 20)),
        "num_conv_pos_embedding_groups": groups,
        "mask_time_prob": draw(st.sampled_from([0.0, 0.05])),
        "vocab_size": draw(st.integers(5, 40)),
        "num_labels": draw(st.integers(1, 9)),
        "use_weighted_layer_sum": draw(st.booleans()),
        "classifier_proj_size": draw(st.integers(1, 30)),
        **own,
    }


@given(waves())
@settings(max_examples=10, deadline=None)
def test_random_encoders_of_recordings_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


def shipped(name: str) -> WaveEncoder:
    model = model_from_config(model_entry(name).config, name)
    assert isinstance(model, WaveEncoder)
    return model


def test_a_second_of_audio_is_49_positions_and_ten_seconds_are_499() -> None:
    """Strides of 5·2^6 = 320 samples, 20 ms, and 400 samples under all filters together: (16,000·s - 400) / 320 + 1."""
    model = shipped("wav2vec2-base-960h")
    assert model.stem.fewest_samples == 400
    assert model.sized(Audio(duration_s=1)).tokens == (16_000 - 400) // 320 + 1 == 49
    assert model.sized(Audio(duration_s=10)).tokens == 499


def test_ten_seconds_cost_ten_times_the_filters_of_one() -> None:
    """The first filter of wav2vec 2.0: 10 taps, 512 channels, a position every 5 samples; 2·3199·512·10 FLOP for a second."""
    model = shipped("hubert-base-ls960")
    one, ten = (model.ops(Workload(sample=Audio(duration_s=seconds)))[0] for seconds in (1, 10))
    assert (one.flop, ten.flop) == (2 * 3199 * 512 * 10, 2 * 31999 * 512 * 10)


def test_only_the_first_layer_of_wavlm_owns_biases_and_every_layer_gates_them() -> None:
    model = shipped("wavlm-base-plus")
    ops = {op.name: op for op in model.ops(Workload(batch=3))}
    assert ops["layer.0.attention.position_bias"].params == 320 * 12
    assert "layer.1.attention.position_bias" not in ops
    assert ops["layer.1.attention.gate"].count == 11
    assert ops["layer.1.attention.gate"].flop == 2 * 3 * model.tokens * 12 * 64 * 8


def test_a_recording_that_leaves_no_position_is_refused() -> None:
    with pytest.raises(BadValueError, match=r"0.02 s of audio: wav2vec2-base-960h needs 400 samples at least, 0.025 s"):
        step(shipped("wav2vec2-base-960h"), Workload(sample=Audio(duration_s=0.02)))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"conv_kernel": [3]}, r"conv_kernel is '\[3\]'; expected one number for each of the 7 filters in conv_dim"),
        ({"num_conv_pos_embedding_groups": 7}, "num_conv_pos_embedding_groups is '7'; expected a divisor of hidden_size, 768"),
        ({"conv_stride": [10**6] * 7}, "conv_stride is .*; expected filters that leave something of 250,000 samples"),
        ({"mask_time_prob": 2}, "mask_time_prob is '2'; expected a share from 0 to 1"),
        ({"feat_extract_norm": "batch"}, "feat_extract_norm is 'batch'; expected one of group, layer"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused_in_one_line(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(BadConfigError, match=match):
        model_from_config({"model_type": "wav2vec2", **fields}, "m")


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "wav2vec2", "add_adapter": True},
        {"model_type": "wav2vec2", "adapter_attn_dim": 16},
        {"model_type": "wavlm", "add_adapter": True},
        {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForPreTraining"]},
    ],
)
def test_what_the_op_table_has_not_is_left_to_tracing(config: dict[str, Any]) -> None:
    with pytest.raises(NoOpTableError):
        model_from_config(config, "m")
