"""What peft's adapters keep for backward beside every kind of layer is what a job says, to the byte, in each way of running them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from estimators.architectures.from_config import model_from_config
from estimators.frozen import replace
from estimators.method import FULL, TrainingMethod
from estimators.tuning.activations import activations_of
from estimators.tuning.coverage import not_covered
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import recipe
from tests.support.block_kinds import DENSE, EXPERTS, MIXERS, kind
from tests.support.saved_tensors import inputs_of, real_model, saved_bytes

peft = pytest.importorskip("peft")

BATCH, SEQ, RANK = 2, 39, 8
KINDS = DENSE | EXPERTS | MIXERS  # type: ignore[operator]
LOW = replace(recipe("transformers"), adapter_dtype="compute")
DORA = TrainingMethod(rank=RANK, targets=("all-linear",), dora=True)

SETTINGS: dict[str, dict[str, Any]] = {
    "full in bf16": {"method": FULL},
    "full in fp32 under autocast": {"method": FULL, "weights_dtype": "fp32", "autocast": "bf16"},
    "fp32 adapters": {},
    "fp32 adapters under autocast": {"autocast": "bf16"},
    "bf16 adapters": {"recipe": LOW},
    "queries and values": {"method": TrainingMethod(rank=RANK, targets=("q_proj", "v_proj"))},
    "dropout": {"lora_dropout": 0.1},
    "dropout under autocast": {"lora_dropout": 0.1, "autocast": "bf16"},
    "DoRA": {"method": DORA},
    "DoRA under autocast": {"method": DORA, "autocast": "bf16"},
    "DoRA in bf16": {"method": DORA, "recipe": LOW},
    "DoRA with dropout": {"method": DORA, "lora_dropout": 0.1},
}


def tuned(config: dict[str, Any], job: TuningJob) -> nn.Module:
    """The model as peft makes it ready for a job."""
    model: Any = real_model(config)
    if job.weights_dtype == "bf16":
        model = model.to(torch.bfloat16)
    if not job.trains_adapters:
        return model  # type: ignore[no-any-return]
    targets = "all-linear" if job.method.targets == ("all-linear",) else list(job.method.targets)
    made = peft.LoraConfig(r=RANK, target_modules=targets, use_dora=job.method.dora, lora_dropout=job.lora_dropout)
    wrapped: nn.Module = peft.get_peft_model(model, made, autocast_adapter_dtype=job.recipe.adapter_dtype == "fp32")
    return wrapped


def kept(model_type: str, depth: int, seq_len: int, changes: dict[str, Any]) -> tuple[int, float]:
    """Bytes that a model of so many layers keeps: as torch says, and as a job says."""
    config = kind(model_type, KINDS[model_type], depth)
    usual = {"recipe": recipe("transformers"), "method": TrainingMethod(rank=RANK, targets=("all-linear",)), "seq_len": seq_len}
    job = TuningJob(**({"model": model_from_config(config, "m"), "micro_batch": BATCH} | usual | changes))
    real = saved_bytes(tuned(config, job), inputs_of(config, BATCH, seq_len), autocast=job.autocast != "")
    return real, activations_of(job, seq_len, on_cpu=True).whole_bytes(BATCH)


def law(model_type: str, setting: str) -> tuple[int, float]:
    """What one more layer keeps of so many more tokens, so that what is kept once, as copies of gains, drops out."""
    measured = {(depth, tokens): kept(model_type, depth, tokens, SETTINGS[setting]) for depth in (2, 3) for tokens in (SEQ, 2 * SEQ)}
    real, said = zip(*(measured[key] for key in ((3, 2 * SEQ), (2, 2 * SEQ), (3, SEQ), (2, SEQ))), strict=True)
    return real[0] - real[1] - real[2] + real[3], said[0] - said[1] - said[2] + said[3]


FAST = {
    "llama": tuple(SETTINGS),
    **dict.fromkeys(("gpt2", "gemma2", "phi3", "falcon"), ("fp32 adapters", "DoRA")),
    **dict.fromkeys(("gpt_neo", "olmo2", "mixtral", "qwen3_moe"), ("full in bf16", "fp32 adapters")),
}
"""Kind -> settings that every run tries; the rest is slow."""

CPUS_OWN = {("gpt_neo", setting) for setting in SETTINGS if setting.endswith("under autocast") and setting != "full in fp32 under autocast"}
"""Autocast on a CPU leaves their softmax in 16 bits, where a GPU's is in fp32, which is what is said."""

NAMED_OTHERWISE = {"gpt2", "gpt_bigcode", "bloom", "codegen", "falcon", "gpt_neox", "mpt", "phi3"}
"""They have no q_proj and v_proj."""


def cases(kinds: Any, settings: Any = SETTINGS) -> list[Any]:
    """Every kind in every setting in which peft runs it; those that are not fast are marked."""
    return [
        pytest.param(name, setting, marks=[] if setting in FAST.get(name, ()) else [pytest.mark.slow], id=f"{name}, {setting}")
        for name in kinds
        for setting in settings
        if (name, setting) not in CPUS_OWN and not (setting == "queries and values" and name in NAMED_OTHERWISE)
    ]


@pytest.mark.parametrize(("model_type", "setting"), cases(DENSE))
def test_a_layer_keeps_of_each_token_what_torch_keeps(model_type: str, setting: str) -> None:
    real, said = law(model_type, setting)
    assert said == real > 0


PLAIN_ADAPTERS = ("full in bf16", "fp32 adapters", "fp32 adapters under autocast", "bf16 adapters")
"""peft gives adapters of experts no dropout and no lengths."""

EXACT = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "ernie4_5_moe", "hunyuan_v1_moe")
NEARLY = {"glm4_moe": 0.01, "granitemoe": 0.003, "gpt_oss": 0.005}
"""Kind -> share of a layer as small as these: how a router masks and groups its few scores is not followed."""


@pytest.mark.parametrize(("model_type", "setting"), cases((*EXACT, *NEARLY), PLAIN_ADAPTERS))
def test_experts_keep_of_each_token_what_torch_keeps(model_type: str, setting: str) -> None:
    real, said = law(model_type, setting)
    assert said == pytest.approx(real, rel=NEARLY.get(model_type, 0))


@pytest.mark.parametrize("autocast", ["", "bf16"])
def test_adapters_of_experts_keep_their_sum_with_all_experts_weights_once(autocast: str) -> None:
    """W + B·A of 4 experts of 176 x 64, three matrices each, in 16 bits; 16-bit copies of the factors, of 16 ranks where two are fused."""
    config = kind("qwen3_moe", KINDS["qwen3_moe"], 2)
    width, experts, inner = 64, 4, 48
    job = TuningJob(
        model=model_from_config(config, "m"),
        recipe=recipe("transformers"),
        method=TrainingMethod(rank=RANK, targets=("all-linear",)),
        seq_len=SEQ,
        autocast=autocast,
    )
    factors = RANK * experts * (2 * (width + 2 * inner) + (inner + width))
    assert activations_of(job, SEQ).layers[0].once_bytes == 2 * (3 * experts * width * inner + factors)
    assert activations_of(job, SEQ).layers[0].passing_once_bytes == 2 * 2 * experts * width * inner


def test_experts_that_are_layers_of_their_own_are_not_added_up() -> None:
    """transformers before 5: each expert's adapter keeps its own input."""
    config = kind("mixtral", KINDS["mixtral"], 2)
    method = TrainingMethod(rank=RANK, targets=("all-linear",))
    job = TuningJob(model=model_from_config(config, "m"), recipe=recipe("transformers", "4.48"), method=method, seq_len=SEQ)
    assert activations_of(job, SEQ).layers[0].once_bytes == 0
    assert activations_of(job, SEQ).layers[0].passing_once_bytes == 0


@pytest.mark.parametrize("model_type", KINDS)
def test_what_has_no_law_says_so(model_type: str) -> None:
    job = TuningJob(model=model_from_config(kind(model_type, KINDS[model_type], 2), "m"), recipe=recipe("trl"), seq_len=SEQ)
    assert bool(not_covered(job)) == (model_type in {*MIXERS, "dbrx"})
