"""quantization_config of a config.json: what inference holds, against published checkpoints and closed forms; never dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sixnd
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.errors import BadConfigError
from estimators.facts.registry import model_entry
from estimators.serving.cuts import named_checkpoint
from estimators.spec import Case, Workload

LLAMA_3_8B: dict[str, Any] = dict(model_entry("llama-3-8b").config)
PARAMS, INSIDE = 8_030_261_248, 6_979_321_856  # all, and those of the layers' matrices: 32 (2·4096² + 2·4096·1024 + 3·4096·14336)
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": True}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128}
FLOAT8 = {"num_bits": 8, "type": "float", "strategy": "channel"}
INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": False}


def compressed(weights: dict[str, Any]) -> dict[str, Any]:
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}, "ignore": ["lm_head"]}


def torchao(kind: str, **data: int) -> dict[str, Any]:
    return {"default": {"_type": kind, "_version": 1, "_data": data}}


COMPRESSED = compressed(FLOAT8)
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}


def model(quantization: dict[str, Any], config: dict[str, Any] = LLAMA_3_8B) -> Decoder:
    found = model_from_config({**config, "quantization_config": quantization}, "quantised")
    assert isinstance(found, Decoder)
    return found


def weight_bytes(found: Decoder, phase: Any = "decode") -> int:
    return estimate(Case(model=found, workload=Workload(phase=phase, context_len=1))).memory_bytes["weights"]


@pytest.mark.parametrize(
    ("quantization", "per_weight"),
    [
        (NF4, 0.5 + 1 / 64 + 4 / (64 * 256)),  # QLoRA, section 3: 0.516 with double quantisation
        (NF4 | {"bnb_4bit_use_double_quant": False}, 0.5 + 4 / 64),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 1.0),
        (GPTQ, 0.5 + 2 / 128 + 0.5 / 128),
        (AWQ, 0.5 + 2 / 128 + 0.5 / 128),
        (FP8, 1 + 4 / 128**2),
        (COMPRESSED, 1.0),
        (compressed(INT4), 0.5 + 2 / 128 + 0.5 / 128),
        (compressed(INT4 | {"symmetric": True}), 0.5 + 2 / 128),
        (compressed({"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}), 0.5 + 1 / 16),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 0.5 + 1 / 16),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, 1.0),
        ({"quant_method": "auto-round", "bits": 2, "group_size": 64}, 0.25 + 2 / 64 + 0.25 / 64),
        ({"quant_method": "mxfp8", "weight_block_size": [1, 32]}, 1 + 1 / 32),  # OCP microscaling formats 1.0: 8.25 bits
        ({"quant_method": "eetq", "weights": "int8"}, 1.0),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64, "axis": 1}}}, 0.5 + 4 / 64),
        ({"quant_method": "torchao", "quant_type": torchao("Int4WeightOnlyConfig", group_size=32)}, 0.5 + 4 / 32),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only", "quant_type_kwargs": {"group_size": 128}}, 0.5 + 4 / 128),
        ({"quant_method": "torchao", "quant_type": torchao("Int8WeightOnlyConfig")}, 1.0),
        ({"quant_method": "torchao", "quant_type": torchao("Float8DynamicActivationFloat8WeightConfig")}, 1.0),
        ({"quant_method": "quanto", "weights": "float8"}, 1.0),
        ({"quant_method": "quanto", "weights": "int4"}, 0.5 + 4 / 128),
    ],
)
def test_matrices_of_layers_are_held_in_the_format_and_the_rest_in_16_bits(quantization: dict[str, Any], per_weight: float) -> None:
    found = model(quantization)
    assert estimate(Case(model=found, workload=Workload())).params == PARAMS
    # Codes, scales per output and indices per input are left out of per_weight: below a thousandth.
    assert weight_bytes(found) == pytest.approx(INSIDE * per_weight + 2 * (PARAMS - INSIDE), rel=1.5e-3)


def test_nf4_with_double_quantisation_of_llama_3_8b_takes_5_3_gib() -> None:
    assert weight_bytes(model(NF4)) / 2**30 == pytest.approx(5.3, abs=0.05)


LAYERS = 32 * (4 * 4096**2 + 3 * 4096 * 11008)  # weights of Llama 2 7B's matrices in layers
APART = 2 * (2 * 32000 * 4096 + 65 * 4096)  # bytes of its embedding, head and norms
INPUTS, OUTPUTS = 32 * (6 * 4096 + 11008), 32 * (5 * 4096 + 2 * 11008)  # of those matrices


@pytest.mark.parametrize(
    ("bits", "group", "groups", "gigabytes"),
    [
        (4, 128, LAYERS // 128, 3.90),
        (4, 64, LAYERS // 64, 4.02),
        (4, 32, LAYERS // 32, 4.28),
        (8, -1, OUTPUTS, 7.01),
        (8, 128, LAYERS // 128, 7.16),
    ],
)
def test_gptq_holds_what_a_published_checkpoint_does_but_for_its_empty_biases(bits: int, group: int, groups: int, gigabytes: float) -> None:
    # AutoGPTQ's packed linear layer: codes, per group an fp16 scale and a zero point of as many bits, per input an int32 group index.
    # Cards of TheBloke/Llama-2-7b-Chat-GPTQ (4 bits) and TheBloke/vicuna-7B-v1.3-GPTQ (8 bits), both of this shape, a branch each:
    # AutoGPTQ wrote a bias of fp16 zeros per output then, which Llama's layers do not have and it no longer writes.
    held = weight_bytes(model({"quant_method": "gptq", "bits": bits, "group_size": group}, dict(model_entry("llama-2-7b").config)))
    assert held == LAYERS * bits // 8 + groups * 2 + groups * bits // 8 + 4 * INPUTS + APART
    assert round((held + 2 * OUTPUTS) / 1e9, 2) == gigabytes


def test_awq_holds_what_a_published_checkpoint_does() -> None:
    # AutoAWQ's packed linear layer: the same without group indices and biases. Card of TheBloke/LlamaGuard-7B-AWQ, which has this shape.
    held = weight_bytes(model(AWQ, dict(model_entry("llama-2-7b").config)))
    assert held == LAYERS // 2 + LAYERS // 128 * 2 + LAYERS // 128 // 2 + APART
    assert round(held / 1e9, 2) == 3.89


def test_experts_in_mxfp4_leave_attention_in_16_bits() -> None:
    # gpt-oss's model card (arXiv 2508.10925), table 1: 12.8 GiB for 20b, 60.8 GiB for 120b, in which experts take 4.25 bits.
    for name, gib in (("gpt-oss-20b", 12.8), ("gpt-oss-120b", 60.8)):
        for said in ({"modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}, {}):
            found = model({"quant_method": "mxfp4", **said}, dict(model_entry(name).config))
            assert weight_bytes(found) / 2**30 == pytest.approx(gib, rel=0.02), name


def test_a_step_reads_what_is_held() -> None:
    step = estimate(Case(model=model(NF4), workload=Workload(phase="decode", context_len=1)))
    table = 128256 * 4096 * 2  # one row of the embedding is read
    assert step.min_bytes == pytest.approx(step.memory_bytes["weights"] - table + 2 * 4096, rel=1e-3)


def test_a_training_holds_16_bits() -> None:
    workload = Workload(phase="train", seq_len=64)
    plain = model_from_config(LLAMA_3_8B, "plain")
    assert estimate(Case(model=model(NF4), workload=workload)) == estimate(Case(model=plain, workload=workload))


@pytest.mark.parametrize(
    ("quantization", "said"),
    [
        (NF4, "quantization_config (bitsandbytes): matrices of layers are held as nf4 with scales quantised in turn"),
        (COMPRESSED, "quantization_config (compressed-tensors): matrices of layers are held as float8, a scale per channel"),
        ({"quant_method": "aqlm", "bits": 2}, "quantization_config (aqlm) is not known: weights are counted as if none were quantised"),
        ({"quant_method": "torchao", "quant_type": torchao("Odd")}, "quantization_config (torchao), Odd, is not known"),
        (GPTQ | {"modules_to_not_convert": ["model.layers.3.oddities"]}, "1 more name of modules that it leaves alone is not known"),
        (GPTQ | {"modules_to_not_convert": ["self_attn", "model.layers.3.mlp"]}, "; left alone: attention, 3% of dense feed-forwards"),
    ],
)
def test_it_is_named_in_every_answer(quantization: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**LLAMA_3_8B, "quantization_config": quantization}))
    device = {"config": str(path), "hardware": "h100-sxm5-80gb"}
    answers = {
        "show": sixnd.show(config=str(path)),
        "estimate": sixnd.estimate(**device, prompt_tokens=64),
        "estimate of a training": sixnd.estimate(**device, tokens="1T", gpus=8),
        "plan": sixnd.plan(**device, tokens="1T", gpus=8),
        "compare-hardware": sixnd.compare_hardware(**device, tokens="1T", gpus=8),
        "check-claim": sixnd.check_claim(**device, tokens="1T", gpus=64, days=100),
        "fit": sixnd.fit(**device, method="lora"),
        "serve": sixnd.serve(**device),
    }
    for verb, answer in answers.items():
        assert said in "\n".join(line for table in answer.tables() for line in (*table.conditions, *table.notes)), verb


K2: dict[str, Any] = dict(model_entry("kimi-k2").config)
EXPERTS = 60 * 384 * 3 * 7168 * 2048  # parameters of Kimi K2's experts: 61 layers, of which the first is dense
SHARED = 60 * 3 * 7168 * 2048
DENSE = 3 * 7168 * 18432
ATTENTION = 61 * (7168 * 1536 + 1536 * 64 * 192 + 7168 * (512 + 64) + 512 * 64 * (128 + 128) + 64 * 128 * 7168)
INT4_IN_32S = compressed({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True})


@pytest.mark.parametrize(
    ("ignored", "quantised"),
    [
        # As moonshotai/Kimi-K2-Thinking writes it, from memory. 4.5 bits of the experts and 16 of the rest are 594 GB, as its card has it.
        (["re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*", "lm_head"], EXPERTS),
        (["re:.*self_attn.*"], EXPERTS + SHARED + DENSE),
        (["self_attn", "lm_head", "mlp.gate"], EXPERTS + SHARED + DENSE),
        # As NVIDIA's Model Optimizer writes it: a name for each layer, those of further tokens too.
        ([f"model.layers.{i}.self_attn*" for i in range(61)] + ["model.layers.61*", "lm_head"], EXPERTS + SHARED + DENSE),
        ([f"model.layers.{i}.mlp.experts" for i in range(1, 61)], ATTENTION + SHARED + DENSE),
        (["re:model.layers.0.mlp.*", "re:vision_tower.*", "multi_modal_projector"], EXPERTS + SHARED + ATTENTION),
        (["model.layers.0"], EXPERTS + SHARED + ATTENTION * 60 // 61),
    ],
)
def test_names_that_are_left_alone_are_read_by_component_and_layer(ignored: list[str], quantised: int) -> None:
    found = model(INT4_IN_32S | {"ignore": ignored}, K2)
    params = estimate(Case(model=found, workload=Workload())).params
    assert weight_bytes(found) == pytest.approx(quantised * 4.5 / 8 + 2 * (params - quantised), rel=1e-5)
    assert found.stored
    assert not found.stored.but.unread


def test_what_kimi_k2_thinking_holds_is_594_gb() -> None:
    ignored = ["re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"]
    assert round(weight_bytes(model(INT4_IN_32S | {"ignore": ignored}, K2)) / 1e9) == 594


@pytest.mark.parametrize("pattern", ["re:(.+)+!", "re:.*.*.*.*.*.*.*.*x", "re:(a|(b+)*)*c", "re:((", "re:[", "*" * 40])
def test_a_pattern_that_might_not_end_is_not_read(pattern: str) -> None:
    found = model(COMPRESSED | {"ignore": [pattern]})
    assert found.stored
    assert found.stored.but.unread == 1


@pytest.mark.parametrize(
    ("quantization", "name"),
    [
        (COMPRESSED, "fp8"),
        (compressed(INT4), "awq"),
        (INT4_IN_32S, "awq-4-32"),
        (compressed({"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}), "nvfp4"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": INT4 | {"num_bits": 8}, "input_activations": {}}}},
            "awq-8-128",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "a": {"weights": {"num_bits": 8, "type": "int", "strategy": "channel"}, "input_activations": {"num_bits": 8}}
                },
            },
            "int8",
        ),
        (FP8, "fp8-tiles"),
        ({"quant_method": "aqlm"}, "16-bit"),
    ],
)
def test_a_checkpoint_is_served_as_it_is_held_and_called_by_how_it_is_multiplied(quantization: dict[str, Any], name: str) -> None:
    found = model(quantization)
    served, called = named_checkpoint(found, "", None)
    assert called == name
    assert served is found
    other, asked = named_checkpoint(found, "", "gptq-2-64")
    assert isinstance(other, Decoder)
    assert (other.stored, asked) == (None, "gptq-2-64")


@pytest.mark.parametrize(
    "bad",
    [
        7,
        "nf4",
        {"quant_method": "gptq", "bits": "four"},
        {"quant_method": "fp8", "weight_block_size": [128]},
        {"quant_method": "hqq", "bits": 4},
        {"quant_method": "quanto", "weights": "odd"},
    ],
)
def test_one_that_makes_no_sense_is_refused(bad: Any) -> None:
    with pytest.raises(BadConfigError, match="quantization_config"):
        model(bad)
