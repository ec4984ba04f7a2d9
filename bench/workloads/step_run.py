"""A run of single steps on one device, decided: what a step of any kind of network needs to be timed."""

from __future__ import annotations

from dataclasses import dataclass

from bench.backend.device import Device
from bench.records.asked import Preset
from bench.records.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun(Run):
    """What steps of language models and of models of samples have in common.

    Attributes:
        device: that it runs on.
        preset: how thorough.
        seed: of weights and stand-in inputs.
        attn: attention implementation of transformers.
        compile: whether torch.compile is applied.
        dtype_reason: why this dtype, in words.
        steps, max_time_s: how many timed steps (or generations) at most, and for how long.
        learning_rate: of a training.
    """

    device: Device
    preset: Preset
    seed: int
    attn: str
    compile: bool
    dtype_reason: str
    steps: int
    max_time_s: float
    learning_rate: float
