"""Activations of a training step are what torch keeps: one small model of every kind of layer, as the difference of two depths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from transformers.activations import ACT2FN

from bench.backend import model_classes
from estimators.architectures import FAMILIES
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.facts.registry import hardware, model_entry
from estimators.frozen import replace
from estimators.inference.single_steps import StepsQuestion, estimate_steps
from estimators.memory.kernels import AUTOCAST
from estimators.memory.layer_memory import model_memory_of
from estimators.memory.single_device import LOGITS, kept_by_torch
from estimators.method import FULL
from estimators.spec import Case, Hardware, Workload
from estimators.tuning.coverage import not_covered
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import recipe
from estimators.validation.model import shipped_model
from tests.support.block_kinds import (
    DELTA_RULE,
    DENSE,
    ENCODER_DECODERS,
    ENCODERS,
    EXPERTS,
    HEADS,
    IMAGES,
    IN_FP32,
    MAPS,
    MIXERS,
    VOCAB,
    WIDTHS,
    kind,
)
from tests.support.saved_tensors import inputs_of, real_model, saved_bytes
from tests.support.vision_language_models import INSIDE_VISION_LANGUAGE

BATCH, SEQ = 2, 39


def said_bytes(config: Mapping[str, Any], seq_len: int = SEQ) -> int:
    """Activations of an estimate."""
    model = model_from_config(config, "m")
    workload = Workload(phase="train", batch=BATCH, seq_len=seq_len if model.item == "token" else 1)
    return estimate(Case(model=model, workload=workload)).memory_bytes["activations"]


def real_bytes(config: Mapping[str, Any], seq_len: int = SEQ) -> int:
    return saved_bytes(real_model(config), inputs_of(config, BATCH, seq_len))


def per_layer(model_type: str, fields: Mapping[str, Any], seq_len: int = SEQ, shallowest: int = 1) -> tuple[float, float]:
    """Bytes of one layer: said, and of torch."""
    shallow, deep = (kind(model_type, fields, shallowest + more) for more in (0, 1))
    return said_bytes(deep, seq_len) - said_bytes(shallow, seq_len), real_bytes(deep, seq_len) - real_bytes(shallow, seq_len)


ROUTER = 0.008
"""Share of a layer as small as these: how a router masks and renormalises its few scores differs by family and is not followed."""

FALCONS_INDICES = 2 * 8
"""Falcon's multi-query attention picks key and value by a list of one index each, which is kept."""


@pytest.mark.parametrize("model_type", sorted(DENSE))
def test_a_decoders_layer_keeps_what_torch_keeps_to_the_byte(model_type: str) -> None:
    said, real = per_layer(model_type, DENSE[model_type])
    assert said == real - (FALCONS_INDICES if model_type == "falcon" else 0)


OTHERS = ENCODERS | ENCODER_DECODERS | IMAGES  # type: ignore[operator]


@pytest.mark.parametrize("model_type", sorted(OTHERS))
def test_a_layer_of_an_encoder_or_of_an_encoder_and_a_decoder_keeps_what_torch_keeps_to_the_byte(model_type: str) -> None:
    # ModernBERT's second layer brings the angles of its windows, which the others share
    said, real = per_layer(model_type, OTHERS[model_type], shallowest=2 if model_type == "modernbert" else 1)
    assert said == real


@pytest.mark.parametrize("model_type", sorted(IN_FP32))
def test_a_layer_that_cannot_run_under_autocast_keeps_what_torch_keeps_in_fp32(model_type: str) -> None:
    configs = [kind(model_type, IN_FP32[model_type], depth) for depth in (1, 2)]
    workload = Workload(phase="train", batch=BATCH, seq_len=SEQ, dtype="fp32")
    shallow, deep = (estimate(Case(model=model_from_config(c, "m"), workload=workload)).memory_bytes["activations"] for c in configs)
    less, more = (saved_bytes(real_model(c), inputs_of(c, BATCH, SEQ), autocast=False) for c in configs)
    assert deep - shallow == pytest.approx(more - less, rel=0.001)


@pytest.mark.parametrize("seq_len", [SEQ, 70])
@pytest.mark.parametrize("model_type", sorted(MIXERS))
def test_a_mixer_keeps_what_torch_keeps_without_kernels_of_its_own(model_type: str, seq_len: int) -> None:
    said, real = per_layer(model_type, MIXERS[model_type], seq_len)
    assert said == pytest.approx(real, rel=0.01 if model_type in DELTA_RULE else 0)


MIXED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "groups": ("mamba2", MIXERS["mamba2"] | {"n_groups": 2, "use_bias": True, "conv_kernel": 3}),
    "a norm on all groups": ("falcon_h1", MIXERS["falcon_h1"] | {"mamba_rms_norm": True, "mamba_n_groups": 2}),
    "biases": ("mamba", MIXERS["mamba"] | {"use_bias": True, "expand": 3, "time_step_rank": 5}),
    "as many keys as values": ("qwen3_next", MIXERS["qwen3_next"] | {"linear_num_key_heads": 4, "linear_value_head_dim": 24}),
}


@pytest.mark.parametrize("variant", sorted(MIXED))
def test_every_shape_of_a_mixer_keeps_what_torch_keeps(variant: str) -> None:
    said, real = per_layer(*MIXED[variant])
    assert said == pytest.approx(real, rel=0.01)


HYBRIDS: Mapping[str, Mapping[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 4, "num_experts_per_tok": 2}
    | {"expert_layer_period": 2, "expert_layer_offset": 1},
    **{name: {"layer_types": ["linear_attention", "full_attention"]} for name in DELTA_RULE},
}


@pytest.mark.parametrize("model_type", sorted(HYBRIDS))
def test_layers_of_two_kinds_keep_what_torch_keeps(model_type: str) -> None:
    config = kind(model_type, MIXERS[model_type], 2) | HYBRIDS[model_type]
    parts = estimate(Case(model=model_from_config(config, "m"), workload=Workload(phase="train", batch=BATCH, seq_len=SEQ))).memory_bytes
    assert parts["activations"] + parts[LOGITS] - 8 * BATCH * SEQ * VOCAB == pytest.approx(real_bytes(config), rel=0.01)


GEMMA_4: Mapping[str, Mapping[str, Any]] = {
    "values that are keys, heads of two widths": {"attention_k_eq_v": True, "num_global_key_value_heads": 1, "global_head_dim": 32}
    | {"layer_types": ["sliding_attention", "full_attention", "full_attention"], "sliding_window": 16},
    "keys of an earlier layer": {"num_kv_shared_layers": 1, "use_double_wide_mlp": True},
    "experts": {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 48},
}


GEMMA_3N: Mapping[str, Mapping[str, Any]] = {
    "keys of an earlier layer, some gates dense": {"num_kv_shared_layers": 1, "activation_sparsity_pattern": [0.5, 0.0, 0.0]},
    "two streams, windows": {"altup_num_inputs": 2, "sliding_window": 16, "layer_types": ["sliding_attention"] * 3},
}


@pytest.mark.parametrize(
    ("model_type", "variant"), [*(("gemma4_text", each) for each in GEMMA_4), *(("gemma3n_text", each) for each in GEMMA_3N)]
)
def test_every_kind_of_layer_of_a_gemma_keeps_what_torch_keeps(model_type: str, variant: str) -> None:
    config = kind(model_type, DENSE[model_type], 3) | (GEMMA_4 | GEMMA_3N)[variant]  # type: ignore[operator]
    parts = estimate(Case(model=model_from_config(config, "m"), workload=Workload(phase="train", batch=BATCH, seq_len=SEQ))).memory_bytes
    assert parts["activations"] + parts[LOGITS] - 8 * BATCH * SEQ * VOCAB == pytest.approx(real_bytes(config), rel=0.01)


@pytest.mark.parametrize("model_type", sorted(MAPS))
def test_a_convolutional_network_keeps_what_torch_keeps(model_type: str) -> None:
    # the pooling's indices, statistics of norms around the layers and the loss are not followed
    config = {"model_type": model_type, **MAPS[model_type]}
    assert said_bytes(config) == pytest.approx(real_bytes(config), rel=0.03)


LATENT = ("deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "sarvam_mla")
ALL = DENSE | EXPERTS | OTHERS  # type: ignore[operator]


@pytest.mark.parametrize("model_type", sorted(ALL.keys() - {"dbrx", *LATENT}))
def test_a_whole_model_with_its_head_and_loss_keeps_what_torch_keeps(model_type: str) -> None:
    # around the layers indices, masks and the loss of few labels are not followed
    config = kind(model_type, ALL[model_type], 3)
    model = model_from_config(config, "m")
    workload = Workload(phase="train", batch=BATCH, seq_len=SEQ if model.item == "token" else 1)
    parts = estimate(Case(model=model, workload=workload)).memory_bytes
    logits = BATCH * SEQ * VOCAB if LOGITS in parts else 0
    around = 0.03 if model_type == "wavlm" else 0.02  # its first layer makes the bias by distance of all
    assert parts["activations"] + parts.get(LOGITS, 0) - 8 * logits == pytest.approx(real_bytes(config), rel=around)


NOT_SO = {*LATENT, "dbrx"}
"""Latent attention has a test of its own; transformers' DBRX adds bf16 to fp32 in place and fails under autocast."""


@pytest.mark.parametrize("model_type", sorted(EXPERTS.keys() - NOT_SO))
def test_a_layer_with_experts_keeps_what_torch_keeps_but_for_the_routers_masks(model_type: str) -> None:
    said, real = per_layer(model_type, EXPERTS[model_type])
    assert said == pytest.approx(real, rel=ROUTER)


@pytest.mark.parametrize("layer_type", ["sliding_attention", "heavily_compressed_attention"])
def test_a_window_with_and_without_entries_behind_it_keeps_what_torch_keeps(layer_type: str) -> None:
    configs = [kind("deepseek_v4", EXPERTS["deepseek_v4"], depth) | {"layer_types": [layer_type] * depth} for depth in (1, 2)]
    said, real = ([bytes_of(config) for config in configs] for bytes_of in (said_bytes, real_bytes))
    assert said[1] - said[0] == pytest.approx(real[1] - real[0], rel=ROUTER)


@pytest.mark.parametrize("model_type", LATENT)
def test_latent_attention_keeps_what_torch_keeps_where_no_kernel_takes_its_widths(model_type: str) -> None:
    # on a CPU values as wide as keys alone are taken by a kernel; for others sdpa keeps the probabilities, in fp32
    fields = EXPERTS[model_type]
    model, kernels = model_from_config(kind(model_type, fields, 1), "m"), replace(AUTOCAST, unequal_widths=False)
    assert isinstance(model, Decoder)
    _, real = per_layer(model_type, fields)
    assert BATCH * model_memory_of(model, SEQ, kernels).rest.kept.per_sequence == pytest.approx(real, rel=ROUTER)


@pytest.mark.parametrize("model_type", LATENT)
def test_latent_attention_of_equal_widths_keeps_what_torch_keeps(model_type: str) -> None:
    said, real = per_layer(model_type, EXPERTS[model_type] | {"v_head_dim": 20})
    assert said == pytest.approx(real, rel=ROUTER)


WINDOWS: Mapping[str, Mapping[str, Any]] = {"mistral": WIDTHS, "gemma3_text": WIDTHS | HEADS, "gpt_oss": EXPERTS["gpt_oss"], "phi3": WIDTHS}


@pytest.mark.parametrize("model_type", sorted(WINDOWS))
def test_a_window_shorter_than_the_sequence_keeps_its_mask_and_keys_for_every_head(model_type: str) -> None:
    fields = WINDOWS[model_type] | {"sliding_window": 16}
    if model_type in ("gemma3_text", "gpt_oss"):
        shallow, deep = (kind(model_type, fields, depth) | {"layer_types": ["sliding_attention"] * depth} for depth in (1, 2))
        said, real = said_bytes(deep) - said_bytes(shallow), real_bytes(deep) - real_bytes(shallow)
    else:
        said, real = per_layer(model_type, fields)
    assert said == pytest.approx(real, rel=ROUTER if model_type == "gpt_oss" else 0)


@pytest.mark.parametrize("name", sorted(ACT2FN))
@pytest.mark.parametrize("model_type", ["phi", "llama"])
def test_every_activation_function_keeps_what_torch_keeps(model_type: str, name: str) -> None:
    said, real = per_layer(model_type, WIDTHS | {"hidden_act": name})
    assert said == real


VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "biases": ("llama", WIDTHS | {"attention_bias": True, "mlp_bias": True}),
    "falcon 40B": ("falcon", DENSE["falcon"] | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon RW": ("falcon", DENSE["falcon"] | {"alibi": True, "multi_query": False, "parallel_attn": False}),
    "falcon, one norm": ("falcon", DENSE["falcon"] | {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1}),
    "command R+": ("cohere", WIDTHS | {"use_qk_norm": True}),
    "phi with norms": ("phi", WIDTHS | {"qk_layernorm": True}),
    "stablelm 12B": ("stablelm", WIDTHS | {"use_parallel_residual": True, "qk_layernorm": True}),
    "gpt_neox, not parallel": ("gpt_neox", DENSE["gpt_neox"] | {"use_parallel_residual": False}),
    "opt-350m": ("opt", WIDTHS | {"ffn_dim": 176, "word_embed_proj_dim": 64, "do_layer_norm_before": False}),
    "one key for all": ("llama", WIDTHS | {"num_key_value_heads": 1}),
    "a key for each": ("llama", WIDTHS | {"num_key_value_heads": 4}),
    "wide heads": ("qwen3", WIDTHS | {"head_dim": 24}),
    "glm, all of a head turned": ("glm", WIDTHS | HEADS | {"partial_rotary_factor": 1.0}),
    "no positions": ("smollm3", WIDTHS | {"no_rope_layer_interval": 1}),
}


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_every_shape_of_a_block_keeps_what_torch_keeps(variant: str) -> None:
    said, real = per_layer(*VARIANTS[variant])
    assert said == real - (FALCONS_INDICES if variant in ("falcon 40B", "falcon, one norm") else 0)


PUBLISHED_SHAPE = {
    "vocab_size": 2048,
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}

SAVED_PER_LAYER: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "phi": (7_166_400, {}),
    "phi, one kernel": (4_632_000, {"hidden_act": "gelu"}),
    "phi3": (7_934_400, {}),
    "cohere": (7_548_000, {}),
    "gpt_neox": (5_097_600, {}),
    "nemotron": (5_251_200, {}),
    "stablelm": (7_248_000, {}),
    "qwen3": (9_340_800, {"head_dim": 32}),
    **dict.fromkeys(("llama", "qwen2", "granite", "smollm3"), (8_164_800, {})),
    "olmo2": (9_705_600, {}),
    "starcoder2": (4_944_000, {}),
}
"""Bytes a layer of 2 x 300 tokens by torch's hook (version 2.13, transformers 5.24), as difference of two depths."""


@pytest.mark.parametrize("name", sorted(SAVED_PER_LAYER))
def test_layers_keep_the_bytes_that_were_measured(name: str) -> None:
    saved, changes = SAVED_PER_LAYER[name]
    fields = {"model_type": name.split(",")[0], **PUBLISHED_SHAPE, **changes}
    shallow, deep = (fields | {"num_hidden_layers": depth} for depth in (2, 4))
    assert said_bytes(deep, 300) - said_bytes(shallow, 300) == 2 * saved


def test_phi_2_keeps_what_its_written_out_activation_keeps() -> None:
    # torch's hook at Phi-2's widths, 256 tokens: 158,856 bytes per layer and token
    parts = estimate(Case(model=shipped_model("phi-2"), workload=Workload(phase="train", batch=8, seq_len=1024))).memory_bytes
    assert parts["activations"] / 2**30 == pytest.approx(38.8, abs=0.05)
    assert sum(parts.values()) / 2**30 == pytest.approx(90.2, abs=0.05)


def test_a_head_over_a_vocabulary_keeps_its_logits_whatever_stands_before_it() -> None:
    # per logit the log-softmax in fp32 and two gradients of it; mT5-small on 8 x 512 tokens needs about 19 GiB in all
    parts = estimate(
        Case(model=shipped_model("mt5-small"), workload=Workload(phase="train", batch=8, seq_len=512, source_len=512))
    ).memory_bytes
    assert parts[LOGITS] > 12 * 8 * 512 * 250_112
    assert 18.5 < sum(parts.values()) / 2**30 < 20
    for name in ("bert-base-uncased", "t5-small", "whisper-tiny"):
        workload = Workload(phase="train", batch=2, seq_len=64)
        model = shipped_model(name)
        if name.startswith("bert"):
            model = model_from_config(dict(model_entry(name).config) | {"architectures": ["BertForMaskedLM"]}, "m")
        parts = estimate(Case(model=model, workload=workload)).memory_bytes
        assert parts[LOGITS] > 12 * 2 * 64 * 30_000


def test_an_encoder_without_a_vocabulary_behind_it_keeps_no_logits() -> None:
    config = dict(model_entry("bert-base-uncased").config) | {"architectures": ["BertModel"]}
    workload = Workload(phase="train", batch=2, seq_len=64)
    assert LOGITS not in estimate(Case(model=model_from_config(config, "m"), workload=workload)).memory_bytes


@pytest.mark.parametrize("name", ["t5-small", "bert-base-uncased", "vit-base-patch16-224"])
def test_recomputed_an_encoder_keeps_the_inputs_of_its_layers_and_one_layer(name: str) -> None:
    model = shipped_model(name)
    seq_len = 64 if model.item == "token" else 1
    plain, full = (
        kept_by_torch(model, Workload(phase="train", batch=2, seq_len=seq_len, recompute=recompute)) for recompute in ("none", "full")
    )
    assert plain is not None
    assert full is not None
    assert full["activations"] < plain["activations"] / 2
    assert full.get(LOGITS) == plain.get(LOGITS)


BY_ROWS = {"conditional_detr", "deformable_detr", "detr", "rt_detr", "rt_detr_v2", "sam", "table-transformer", "yolos"}
"""Families whose activations are summed over their rows, but for the backbones of detectors."""


@pytest.mark.parametrize("kind", ["detr", "rt_detr"])
def test_of_a_detector_what_is_kept_is_said_with_what_nobody_counts_twice(kind: str) -> None:
    """The maps of the backbone are those of torch; what follows is summed over its rows, which count a map that one row makes and the next
    reads twice, and scores that a kernel does not write: up to half more than torch keeps, and no less.
    """
    sizes = {"d_model": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    backbone = {"model_type": "rt_detr_resnet", "depths": [2, 1, 1, 1], "embedding_size": 64, "hidden_sizes": [64, 128, 256, 512]}
    read = {"out_features": ["stage2", "stage3", "stage4"], "layer_type": "basic"}
    of_maps = {"encoder_in_channels": [128, 256, 512], "encoder_hidden_dim": 64, "decoder_in_channels": [64] * 3, "decoder_layers": 2}
    config = {"model_type": kind, "image_size": [128, 192], "num_queries": 20, "dropout": 0.0, **sizes}
    config |= {"backbone": "resnet18"} if kind == "detr" else {"backbone_config": backbone | read, **of_maps}
    network = model_classes.model_of(config, attn="sdpa").train()
    measured = saved_bytes(network, {"pixel_values": torch.rand(2, 3, 128, 192)}, autocast=False)
    said = kept_by_torch(model_from_config(config, kind), Workload(phase="train", batch=2, dtype="fp32"))
    assert said is not None
    assert 1.0 <= said["activations"] / measured < 1.5


LOOPED = ("longcat_flash",)
"""Whose class runs its experts one after another, in slices of their weights that autocast copies: not followed yet, which `fit` says."""


@pytest.mark.parametrize("model_type", LOOPED)
def test_what_is_not_followed_is_said(model_type: str) -> None:
    model = model_from_config({"model_type": model_type, "num_layers": 1}, model_type)
    assert not_covered(TuningJob(model=model, method=FULL, recipe=recipe("transformers"), seq_len=SEQ)) == ("experts that run in a loop",)


def unmeasured(families: Mapping[str, str]) -> set[str]:
    """Model types with a builder of their own that no small model here stands for."""
    measured = {*ALL, *MAPS, *MIXERS, *IN_FP32, *INSIDE_VISION_LANGUAGE, *BY_ROWS, *LOOPED, "dense_network"}
    return {name for name, built in families.items() if built != "vision.language_part" and name not in measured}


def test_every_family_that_has_a_builder_is_measured() -> None:
    assert unmeasured(FAMILIES) == set()


def test_a_family_without_a_small_model_would_be_found() -> None:
    assert unmeasured({**FAMILIES, "new": "llama.llama"}) == {"new"}


def test_on_a_gpu_a_power_is_kept_in_fp32_and_what_follows_it() -> None:
    # per element of Phi-2's feed-forward the power's input, the tanh and 1 + tanh in 4 bytes instead of 2: 6 more, of 32 x 10,240 a token
    def kept(device: Hardware | None, name: str) -> int | None:
        question = StepsQuestion(model=shipped_model(name), seq_len=1024, batch=8, hardware=device)
        return estimate_steps(question).activations_on_gpu_bytes

    h100 = hardware("h100-sxm5-80gb")
    plain = estimate(Case(model=shipped_model("phi-2"), workload=Workload(phase="train", batch=8, seq_len=1024))).memory_bytes[
        "activations"
    ]
    assert kept(h100, "phi-2") == plain + 6 * 8 * 1024 * 32 * 10_240
    assert kept(h100, "llama-3-8b") is None
    assert kept(None, "phi-2") is None
