"""What peft's adapters keep for backward beside every kind of layer is what a job says, to the byte, in each way of running them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from estimators.architectures.from_config import model_from_config
from estimators.method import FULL, TrainingMethod
from estimators.tuning.activations import activations_of
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import recipe
from tests.support.block_kinds import DENSE, kind
from tests.support.saved_tensors import inputs_of, real_model, saved_bytes

peft = pytest.importorskip("peft")

BATCH, SEQ, RANK = 2, 39, 8

SETTINGS: dict[str, dict[str, Any]] = {
    "full in bf16": {"method": FULL},
    "full in fp32 under autocast": {"method": FULL, "weights_dtype": "fp32", "autocast": "bf16"},
    "fp32 adapters": {},
    "fp32 adapters under autocast": {"autocast": "bf16"},
    "bf16 adapters": {"recipe": recipe("torchtune")},
}


def tuned(config: dict[str, Any], job: TuningJob) -> nn.Module:
    """The model as peft makes it ready for a job."""
    model: Any = real_model(config)
    if job.weights_dtype == "bf16":
        model = model.to(torch.bfloat16)
    if not job.trains_adapters:
        return model  # type: ignore[no-any-return]
    made = peft.LoraConfig(r=RANK, target_modules="all-linear", use_dora=job.method.dora, lora_dropout=0.0)
    wrapped: nn.Module = peft.get_peft_model(model, made, autocast_adapter_dtype=job.recipe.adapter_dtype == "fp32")
    return wrapped


def kept(model_type: str, depth: int, seq_len: int, changes: dict[str, Any]) -> tuple[int, float]:
    """Bytes that a model of so many layers keeps: as torch says, and as a job says."""
    config = kind(model_type, DENSE[model_type], depth)
    usual = {"recipe": recipe("transformers"), "method": TrainingMethod(rank=RANK, targets=("all-linear",)), "seq_len": seq_len}
    job = TuningJob(**({"model": model_from_config(config, "m"), "micro_batch": BATCH} | usual | changes))
    real = saved_bytes(tuned(config, job), inputs_of(config, BATCH, seq_len), autocast=job.autocast != "")
    return real, activations_of(job, seq_len, on_cpu=True).whole_bytes(BATCH)


def law(model_type: str, setting: str) -> tuple[int, float]:
    """What one more layer keeps of so many more tokens, so that copies of gains, which no token adds to, drop out."""
    measured = {(depth, tokens): kept(model_type, depth, tokens, SETTINGS[setting]) for depth in (2, 3) for tokens in (SEQ, 2 * SEQ)}
    real, said = zip(*(measured[key] for key in ((3, 2 * SEQ), (2, 2 * SEQ), (3, SEQ), (2, SEQ))), strict=True)
    return real[0] - real[1] - real[2] + real[3], said[0] - said[1] - said[2] + said[3]


FAST = ("llama", "gpt2", "gemma2", "phi3")
LEFT_OUT = ("gpt_neo",)
"""It casts queries and keys to fp32 before their product: 16-bit models of it keep 4 bytes more for each, which is not followed."""


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    "model_type", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in DENSE if name not in LEFT_OUT]
)
def test_a_layer_keeps_of_each_token_what_torch_keeps(model_type: str, setting: str) -> None:
    real, said = law(model_type, setting)
    assert said == real > 0
