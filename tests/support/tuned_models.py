"""Tiny decoders that are fine-tuned as `run` does it, and what they held beside what a job says."""

from __future__ import annotations

from typing import Any

from bench.records.proof import CountedTuning
from bench.records.request import Request
from bench.runs.decide import decide
from bench.workloads.language import inputs, loading, train
from bench.workloads.language.run import LanguageRun
from estimators.tuning.countable import countable_bytes

_SHARED = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**_SHARED, "model_type": "llama", "num_key_value_heads": 2},
    "qwen3": {**_SHARED, "model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True},
    "gpt2": dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    | {"model_type": "gpt2", "vocab_size": 300, "n_positions": 128, "n_embd": 64, "n_layer": 3, "n_head": 4},
    "gemma2": {**_SHARED, "model_type": "gemma2", "num_key_value_heads": 2, "head_dim": 16},
    "mixtral": {**_SHARED, "model_type": "mixtral", "num_key_value_heads": 2, "num_local_experts": 4},
}
"""Three layers of width 64: grouped keys, norms of heads and a tied head, fused queries and learned positions, capped logits, experts."""

ROWS, LENGTH = 2, 40


def tuning_run(family: str, **fields: Any) -> LanguageRun:
    """The decided run of a tiny model; gemma2's scores are written out, which is the only way in which it runs."""
    attn = {"attn": "eager"} if family == "gemma2" else {}
    request = Request(
        model=f"tiny-{family}", config=CONFIGS[family], task="train", batch=ROWS, seq_len=LENGTH, device="cpu", **attn, **fields
    )
    run = decide(request)
    assert isinstance(run, LanguageRun)
    return run


def held_and_said(family: str, **fields: Any) -> tuple[CountedTuning, dict[str, int]]:
    """What one step of a real model held, counted on its tensors, and what its job says."""
    run = tuning_run(family, **fields)
    assert run.job is not None
    held = train.held(loading.load(run).model, inputs.token_ids(run, 300), run)
    return held, countable_bytes(run.job, on_cpu=True)
