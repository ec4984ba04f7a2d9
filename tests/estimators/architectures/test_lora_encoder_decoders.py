"""Adapters on encoder-decoders: against torch on meta with adapters made by hand, and against what peft trains."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from bench.backend.counting import meta
from estimators.architectures.adapters import with_adapters, with_frozen_layers
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_trainable_params
from estimators.errors import BadValueError
from estimators.spec import Workload
from estimators.validation.model import shipped_model
from tests.support.encoders_and_images import steps_of
from tests.support.fine_tuned import RANK, adapt, agree

Config = dict[str, Any]
BART: Config = {
    "model_type": "bart",
    "d_model": 24,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "vocab_size": 50,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 40,
}
WHISPER: Config = {
    **BART,
    "model_type": "whisper",
    "max_source_positions": 6,
    "max_target_positions": 20,
    "num_mel_bins": 8,
    "pad_token_id": 0,
}
T5: Config = {"model_type": "t5", "d_model": 24, "d_kv": 8, "num_heads": 3, "d_ff": 32, "num_layers": 3, "vocab_size": 50}
GATED: Config = {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
STEPS = (
    Workload(phase="train", batch=2, seq_len=5),
    Workload(phase="prefill", batch=2, seq_len=4),
    Workload(phase="decode", context_len=6),
)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        *((WHISPER, names) for names in (("q_proj", "v_proj"), ("fc1",), ("k_proj", "out_proj", "fc2"))),
        *((BART, names) for names in (("q_proj",), ("v_proj", "fc2"))),
        *((T5, names) for names in (("q", "v"), ("o",), ("wi", "wo"))),
        (GATED, ("wi_0", "wi_1", "k")),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "+".join(value),
)
def test_adapters_on_an_encoder_decoder_count_like_torch(config: Config, names: tuple[str, ...]) -> None:
    base = model_from_config(config, "base")
    model, module = with_adapters(base, RANK, names), adapt(meta.meta_model(config), names)
    for workload in steps_of(base, STEPS):
        agree(model, module, workload)


@pytest.mark.parametrize("config", [WHISPER, BART, T5, GATED], ids=lambda config: config["model_type"])
def test_all_linear_is_every_linear_layer_but_the_head(config: Config) -> None:
    module, base = meta.meta_model(config), model_from_config(config, "base")
    names = {name.rpartition(".")[2] for name, part in module.named_modules() if type(part) is nn.Linear} - {"lm_head", "proj_out"}
    agree(with_adapters(base, RANK, ("all-linear",)), adapt(module, tuple(names)), steps_of(base, STEPS)[0])


PEFT = {
    ("whisper-large-v2", 32, ("q_proj", "v_proj")): 15_728_640,
    ("whisper-tiny", 8, ("all-linear",)): 540_672,
    ("t5-small", 16, ("q", "v")): 589_824,
    ("flan-t5-base", 16, ("all-linear",)): 6_782_976,
    ("bart-base", 16, ("q_proj", "v_proj")): 884_736,
    ("bart-large", 16, ("q_proj", "v_proj")): 2_359_296,
}
"""Trainable parameters by peft 0.21.2 on transformers 5.24, on the meta device."""


@pytest.mark.parametrize(("name", "rank", "targets"), PEFT)
def test_an_encoder_decoder_trains_what_peft_trains(name: str, rank: int, targets: tuple[str, ...]) -> None:
    tuned = with_adapters(shipped_model(name), rank, targets)
    assert count_trainable_params(tuned.ops(Workload())) == PEFT[name, rank, targets]


def test_what_does_not_generate_or_is_not_there_is_refused() -> None:
    with pytest.raises(BadValueError, match="adapters on bert-base-uncased: expected a language model that generates"):
        with_adapters(shipped_model("bert-base-uncased"), 8)
    with pytest.raises(BadValueError, match="has no linear layer 'wx'; expected all-linear or some of: down, key, output, query"):
        with_adapters(model_from_config(WHISPER, "whisper"), 8, ("wx",))
    with pytest.raises(BadValueError, match="frozen layers of whisper: expected a decoder-only language model"):
        with_frozen_layers(model_from_config(WHISPER, "whisper"), 1)
