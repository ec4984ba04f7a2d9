"""What of a fine-tuning's activations no hook of torch was asked about in the job's way of running: said in the answer, and allowed for."""

from __future__ import annotations

from estimators.architectures.delta_rule import GatedDeltaNet, KimiDeltaAttention
from estimators.architectures.feed_forward import Experts
from estimators.architectures.mamba2 import Mamba2
from estimators.architectures.part import apart
from estimators.architectures.short_convolution import ShortConvolution
from estimators.architectures.state_space import Mamba
from estimators.architectures.traced_decoder import TracedPart
from estimators.tuning.job import TuningJob
from estimators.tuning.weights import decoder_of

MIXERS = (Mamba, Mamba2, GatedDeltaNet, KimiDeltaAttention, ShortConvolution)


def not_covered(job: TuningJob) -> tuple[str, ...]:
    """Parts of the model whose law was held against torch only under autocast with fp32 weights, or not at all; empty for none."""
    parts = list(apart(part for block in decoder_of(job).blocks for _, part in block.parts))
    found = []
    if any(isinstance(part, MIXERS) for part in parts):
        found.append("state-space and linear-attention layers, whose own kernels keep less than transformers' written-out form")
    if any(isinstance(part, TracedPart) for part in parts):
        found.append("layers whose op table was traced, as transformers writes them out")
    if any(isinstance(part, Experts) and part.one_by_one for part in parts):
        found.append("experts that run in a loop")
    return tuple(found)


def read_not_measured(job: TuningJob) -> tuple[str, ...]:
    """Of what is counted: what was read off code and never measured on a GPU; empty for nothing."""
    found = []
    if job.trains_adapters and job.lora_dropout:
        found.append("dropout's mask of a byte for each element that adapters read")
    if job.method.dora:
        found.append("DoRA's copies of a matrix")
    return tuple(found)
