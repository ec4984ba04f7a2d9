"""Models small enough to run in milliseconds, and records made by hand."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.records.asked import Asked
from bench.records.environment import DeviceFacts, Environment
from bench.records.proof import Proof
from bench.records.record import Ceiling, Count, Measurement, Phase
from bench.records.request import Request
from bench.records.run import Run
from bench.records.run_estimate import predict
from estimators.architectures.from_config import model_from_config

if TYPE_CHECKING:
    from bench.workloads.language.run import LanguageRun

_SHARED = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}

CONFIGS: Mapping[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "vocab_size": 128, "n_positions": 128, "n_embd": 32, "n_layer": 4, "n_head": 4},
    "phi": {"model_type": "phi", "max_position_embeddings": 128, "partial_rotary_factor": 0.5, **_SHARED},
    "llama": {"model_type": "llama", "max_position_embeddings": 128, "num_key_value_heads": 2, **_SHARED},
    "mistral": {"model_type": "mistral", "max_position_embeddings": 128, "num_key_value_heads": 2, "sliding_window": 16, **_SHARED},
}
"""One of each family: 4 layers, width 32, vocabulary and positions 128; Mistral with a window shorter than the prompts."""


def config(family: str) -> dict[str, Any]:
    """A copy that a test may change."""
    return copy.deepcopy(CONFIGS[family])


def asked(family: str, task: str, **fields: Any) -> Request:
    """A request for a tiny model."""
    return Request(model=f"tiny-{family}", config=config(family), task=task, **fields)


def decided(family: str, task: str, **fields: Any) -> LanguageRun:
    """The run of a tiny model on the CPU, in fp32 unless said."""
    from bench.runs.decide import sized  # deferred: it imports torch

    return sized(asked(family, task, device="cpu", **fields), None, dtype=fields.get("dtype", "fp32"))[0]


def estimated(family: str, task: str, dtype: str = "fp32") -> Run:
    """What an estimate needs of the run of a tiny model in its SIZES."""
    request = asked(family, task, dtype=dtype, device="cpu", **SIZES[task])
    return Run(
        model=request.model,
        config=request.config,
        task=task,
        **SIZES[task],
        dtype=dtype,
        optimizer="adamw",
        recompute="none",
        job=None,
        request=Asked(**request.to_dict()),
    )


def write_config(folder: Path, family: str, **changes: Any) -> Path:
    """A folder that holds the model's config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(family) | changes))
    return folder


CEILINGS = (
    Ceiling(kind="matmul", value=1e12, dtype="fp32", shape="scripted", samples_s=(1.0,), work=10**12),
    Ceiling(kind="bandwidth", value=1e11, dtype="fp32", shape="scripted", samples_s=(1.0,), work=10**11),
)
"""Far above what Python can drive a tiny model to, so that no check depends on how busy the machine is."""

SIZES: Mapping[str, dict[str, int]] = {
    "generate": {"batch": 1, "seq_len": 8, "new_tokens": 5, "num_beams": 2},
    "decode": {"batch": 1, "seq_len": 8, "new_tokens": 5, "num_beams": 1},
    "prefill": {"batch": 1, "seq_len": 8, "new_tokens": 0, "num_beams": 1},
    "train": {"batch": 1, "seq_len": 8, "new_tokens": 0, "num_beams": 1},
}


def record(task: str, *, family: str = "gpt2", hardware: Any = None, **fields: Any) -> Measurement:
    """A complete record that passes every check, made without running anything; times are a second for each step.

    Args:
        hardware: of the estimate's bounds.
        fields: of Measurement, in place of its own.
    """
    run = estimated(family, task)
    estimate = predict(model_from_config(run.config, run.model), run, hardware)
    params = estimate.params
    main = estimate.phases["train_step" if task == "train" else "prefill"].forward_flop
    quantity = "forward_flop" if task == "train" else "prefill_flop"
    made: dict[str, Any] = {
        "run_id": f"20260101T000000.000Z-tiny-{family}-{task}-1-00000000",
        "created_utc": "2026-01-01T00:00:00+00:00",
        "status": "complete",
        "request": run.request.replaced(weights_label="random weights", input_label="8 random token ids stand in for text"),
        "environment": Environment(device=DeviceFacts(name="a scripted device", torch="2.0", cache_bytes=0)),
        "counts": (
            Count(quantity="params", route="op table", value=params, tag="derived"),
            Count(quantity="params", route="torch meta", value=params, tag="counted"),
            Count(quantity=quantity, route="op table", value=main, tag="derived"),
            Count(quantity=quantity, route="torch meta", value=main, tag="counted"),
            Count(quantity=quantity, route="fvcore x2", value=main, tag="counted"),
        ),
        "ceilings": CEILINGS,
        "memory_bytes": {"peak_rss": 10**9},
        "estimate": estimate,
        **_DONE[task],
    }
    made["proof"] = made["proof"] | Proof(num_params=params)
    return Measurement(**(made | fields))


_TOKENS = Proof(num_new_tokens=5, num_expected_new_tokens=5)
_PASSES = Proof(num_forward_passes=5, num_expected_forward_passes=5, forward_shapes_as_planned=True)
_DONE: Mapping[str, dict[str, Any]] = {
    "generate": {
        "phases": (
            Phase(name="prefill", samples_s=(1.0,), items_per_sample=16),
            Phase(name="decode", samples_s=(1.0, 1.0, 1.0, 1.5), items_per_sample=2, context_lens=(8, 9, 10, 11)),
            Phase(name="between", samples_s=(0.5,), items_per_sample=5),
            Phase(name="generate", samples_s=(6.0,), items_per_sample=5),
        ),
        "proof": _TOKENS | _PASSES,
    },
    "decode": {
        "phases": (Phase(name="decode", samples_s=(1.0, 1.0, 1.0, 1.0), context_lens=(8, 9, 10, 11)),),
        "proof": _TOKENS | Proof(logits_finite=True),
    },
    "prefill": {"phases": (Phase(name="prefill", samples_s=(1.0, 1.0), items_per_sample=8),), "proof": Proof(logits_finite=True)},
    "train": {
        "phases": (Phase(name="train_step", samples_s=(1.0, 1.0), items_per_sample=8),),
        "proof": Proof(loss_first=5.0, loss_last=4.0, loss_finite=True, params_changed=True, num_steps=2),
    },
}
