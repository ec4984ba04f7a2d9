"""What encoders, encoder-decoders and models of images are held to: torch on the meta device, `==`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bench.backend.counting import meta
from estimators.architectures.encoder import Encoder
from estimators.architectures.encoder_decoder import EncoderDecoder
from estimators.architectures.from_config import model_from_config
from estimators.architectures.waves import WaveEncoder
from estimators.counting.estimate import estimate
from estimators.counting.rules_of_thumb import rules
from estimators.samples import Audio
from estimators.spec import Case, Estimate, Model, Workload

READING = (Workload(phase="train", batch=2, seq_len=24),)
WRITING = (
    Workload(phase="train", batch=2, seq_len=12),
    Workload(phase="forward", batch=1, seq_len=7, source_len=19),
    Workload(phase="prefill", batch=3, seq_len=4, source_len=11),
    Workload(phase="decode", batch=2, context_len=9, source_len=14),
    Workload(phase="decode", batch=1, context_len=30),
)
STEPS = (WRITING[0], WRITING[2], WRITING[3])


IMAGES = (Workload(phase="train", batch=2), Workload(phase="forward", batch=3))
SHORT = Workload(sample=Audio(duration_s=1.37))
"""A recording of another length than the usual one."""


def step(model: Model, workload: Workload) -> Estimate:
    return estimate(Case(model=model, workload=workload))


def steps_of(model: Model, steps: tuple[Workload, ...]) -> tuple[Workload, ...]:
    """What the model is checked on: an encoder only reads, and Whisper's takes one length."""
    if isinstance(model, Encoder):
        return READING
    if isinstance(model, EncoderDecoder):
        return tuple(dataclasses.replace(w, source_len=0) for w in steps) if model.source_positions else steps
    return (*IMAGES, SHORT) if isinstance(model, WaveEncoder) else IMAGES


def check(config: Mapping[str, Any], steps: tuple[Workload, ...] = STEPS) -> None:
    """Parameters, forward and backward FLOP equal torch's, and every rule of thumb is explained to the FLOP.

    Args:
        steps: of an encoder-decoder; other kinds have theirs.
    """
    model, module = model_from_config(config, "checked"), meta.meta_model(config)
    assert type(module).__name__ == model.runs  # type: ignore[attr-defined]
    for workload in steps_of(model, steps):
        expected, counted = step(model, workload), meta.torch_count(module, workload)
        assert expected.params == counted.params
        assert expected.forward_flop == counted.forward_flop, workload
        assert counted.backward_flop is None or expected.backward_flop == counted.backward_flop
        names = [op.name for op in model.ops(workload)]
        assert len(names) == len(set(names))
        assert [rule.unexplained_flop for rule in rules(model, workload)] == [0] * len(rules(model, workload))


SMALLEST_OF_IMAGES = (
    *("clip-vit-base-patch32", "convnext-tiny-224", "deit-base-distilled-patch16-224", "dinov2-small", "mobilenet-v2-1.0-224"),
    *("dinov2-with-registers-small", "dinov3-vits16", "siglip-base-patch16-224", "siglip2-base-patch16-naflex"),
    *("beit-base-patch16-224", "convnextv2-atto-1k-224", "segformer-b0-ade-512", "swinv2-tiny-patch4-window8-256"),
    *("resnet-18", "resnet-50", "swin-tiny-patch4-window7-224", "vit-base-patch16-224"),
)
"""One shipped model per family of images and its kind of layer."""
