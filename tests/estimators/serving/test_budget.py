"""Memory of deployments: weights by format against published files, start-ups of engines, and how devices share."""

from __future__ import annotations

from typing import Any

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.errors import BadValueError
from estimators.facts import data
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.serving.budget import Budget, budget, cache_left
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.held_weights import stage_layers, weights_by_stage
from estimators.serving.kv_cache import kv_bytes_per_token
from estimators.spec import Workload
from estimators.units import GIBI
from estimators.validation.model import shipped_model
from estimators.weight_formats import served_format

COLUMNS = [
    "id",
    "source",
    "engine",
    "model",
    "weights",
    "hardware",
    "total_gib",
    "memory_fraction",
    "tp",
    "compute",
    "max_model_len",
    "token_budget",
    "max_num_seqs",
    "weights_gib",
    "activations_gib",
    "outside_gib",
    "kv_gib",
    "note",
]
STARTUPS = {row.text("id"): row for row in data.read_rows(data.file("measured", "serving_memory.csv"), COLUMNS)}


def deployment(model: str, device: str = "h100-sxm5-80gb", by: str = "vllm", **settings: Any) -> Deployment:
    return Deployment(model=shipped_model(model), hardware=hardware(device), engine=engine(by), **settings)


def started(row: data.Row) -> Budget:
    """The start-up of a row, on a device of the memory that its engine saw."""
    found = deployment(
        row.text("model"),
        row.text("hardware"),
        row.text("engine"),
        weights=row.text("weights"),
        tp=row.integer("tp"),
        compute=row.text("compute"),
        memory_fraction=row.number("memory_fraction"),
        max_model_len=row.optional_integer("max_model_len"),
        token_budget=row.optional_integer("token_budget"),
    )
    return budget(replace(found, hardware=replace(found.hardware, memory_bytes=round(row.number("total_gib") * GIBI))))


def held_bytes(model: str, weights: str) -> int:
    table = shipped_model(model).in_format(weights).ops(Workload(phase="decode", context_len=1))
    return sum(op.count * (2 * op.params if op.stored_bytes is None else op.stored_bytes) for op in table)


def test_an_engine_holds_no_matrices_of_experts_that_compute_nothing() -> None:
    """LongCat-Flash is published as 560B: two bytes each, in 16 bits, on one device. transformers' class holds 741B."""
    config = {"model_type": "longcat_flash", "max_position_embeddings": 1}
    alone = Deployment(model=model_from_config(config, "longcat"), hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm"))
    (stage,) = weights_by_stage(alone)
    assert 560e9 <= stage.total_bytes / 2 < 561e9


@pytest.mark.parametrize(
    ("model", "weights", "bits"),
    [
        ("llama-2-7b", "q4_k_m", "4.84"),
        ("llama-2-13b", "q4_k_m", "4.83"),
        ("llama-2-70b", "q4_k_m", "4.80"),
        ("llama-3.1-8b", "q8_0", "8.50"),
    ],
)
def test_bits_of_a_weight_in_files_of_llama_cpp(model: str, weights: str, bits: str) -> None:
    """llama.cpp, examples/quantize/README.md, for Llama 2; q8_0: 34 bytes for 32 values of every matrix."""
    params = sum(op.count * op.params for op in shipped_model(model).ops(Workload()))
    assert f"{8 * held_bytes(model, weights) / params:.2f}" == bits


@pytest.mark.parametrize(("model", "gigabytes"), [("gpt-oss-120b", "65.2"), ("gpt-oss-20b", "13.76")])
def test_files_of_gpt_oss(model: str, gigabytes: str) -> None:
    """The hub's sizes of openai's repositories: mxfp4 for experts alone, all else in 16 bits."""
    digits = len(gigabytes.partition(".")[2])
    assert f"{held_bytes(model, 'mxfp4') / 1e9:.{digits}f}" == gigabytes


def test_nvfp4_leaves_embedding_head_and_norms() -> None:
    """Llama 3.1 8B: 6,979,321,856 weights of matrices in 4.5 bits, 1,050,939,392 others in 16."""
    assert held_bytes("llama-3.1-8b", "nvfp4") == 6_979_321_856 * 9 // 16 + 2 * 1_050_939_392


@pytest.mark.parametrize("name", [name for name, row in STARTUPS.items() if row.optional_number("weights_gib")])
def test_weights_are_what_engines_printed(name: str) -> None:
    """Within 1 %: rounded prints, scales by output where ours are by matrix; an engine pads gpt-oss-20b's experts by 5 %."""
    row = STARTUPS[name]
    assert started(row).weights_bytes / GIBI == pytest.approx(row.number("weights_gib"), rel=0.05 if name == "SM01" else 0.01)


@pytest.mark.parametrize("name", [name for name, row in STARTUPS.items() if row.optional_number("activations_gib")])
def test_activations_are_what_engines_profiled(name: str) -> None:
    """Within 5 %; they follow from the sampler's copies of the logits, or from the tokens of a step."""
    row = STARTUPS[name]
    assert started(row).activations_bytes / GIBI == pytest.approx(row.number("activations_gib"), rel=0.05)


@pytest.mark.parametrize("name", STARTUPS)
def test_the_interval_of_the_cache_holds_what_was_measured(name: str) -> None:
    found, measured = started(STARTUPS[name]), STARTUPS[name].number("kv_gib")
    assert found.low_kv_bytes / GIBI <= measured <= found.high_kv_bytes / GIBI
    assert found.low_tokens <= found.kv_tokens <= found.high_tokens


def test_the_middle_start_up_is_within_one_percent() -> None:
    off = sorted(abs(started(row).kv_bytes / GIBI / row.number("kv_gib") - 1) for row in STARTUPS.values())
    assert off[len(off) // 2] < 0.03


def test_fractions_mean_different_things() -> None:
    """SGLang counts no activations into its share; TensorRT-LLM takes its share of what is left."""
    assert cache_left("all", 0.9, 100, 50, 10) == 30
    assert cache_left("weights and cache", 0.9, 100, 50, 10) == 40
    assert cache_left("rest", 0.9, 100, 50, 10) == 36


def test_small_devices_and_a100s_take_fewer_sequences() -> None:
    """vLLM, get_batch_defaults."""
    limits = {
        device: engine("vllm").limits_on(hardware(device)) for device in ("h100-sxm5-80gb", "a100-sxm4-80gb", "l40s-48gb", "mi300x-192gb")
    }
    assert limits["h100-sxm5-80gb"] == limits["mi300x-192gb"] == (8192, 1024)
    assert limits["a100-sxm4-80gb"] == limits["l40s-48gb"] == (2048, 256)


def test_stages_share_layers_out_as_vllm_does() -> None:
    """vllm.distributed.utils.get_pp_indices: of 61 layers four stages have 15, 15, 16, 15."""
    model = shipped_model("deepseek-v3")
    assert [sum(stage) for stage in stage_layers(model, 4)] == [15, 15, 16, 15]
    assert stage_layers(model, 4)[0] == (3, 12)
    with pytest.raises(BadValueError, match="pp=62 asks for more stages than the 61 layers there are; the most: pp=61"):
        stage_layers(model, 62)


@pytest.mark.parametrize("cut", [{"tp": 1}, {"tp": 4}, {"pp": 4}, {"tp": 2, "pp": 2}])
def test_devices_together_hold_every_weight_once(cut: dict[str, int]) -> None:
    """But for norms and the table of positions, which are on each."""
    found = deployment("llama-3.1-8b", **cut)
    once = sum(
        found.tp * size for stage in weights_by_stage(found) for name, size in stage.parts.items() if name not in ("norms", "rotary")
    )
    assert once == 2 * (8_030_261_248 - 65 * 4096)


def test_experts_are_shared_out_over_groups_that_each_hold_the_rest() -> None:
    """DeepSeek-V3 on 8: the experts' bytes are the same by either; attention is cut by tensor parallelism alone."""
    by_ranks, by_groups = (
        weights_by_stage(deployment("deepseek-v3", weights="fp8-tiles", **cut))[0].parts for cut in ({"tp": 8}, {"dp": 8, "ep": 8})
    )
    assert by_ranks["experts"] == by_groups["experts"]
    assert by_groups["embedding"] == 8 * by_ranks["embedding"]


def test_experts_that_do_not_divide_are_rounded_up() -> None:
    """160 experts on 3 devices: 54 on the fullest."""
    whole, third = (weights_by_stage(deployment("deepseek-v2", dp=n, ep=n))[0].parts["experts"] for n in (1, 3))
    assert third / whole == pytest.approx(54 / 160)


def test_experts_are_on_no_more_devices_than_there_are() -> None:
    with pytest.raises(BadValueError, match="ep=16 devices for 8 experts; the most: ep=8"):
        budget(deployment("mixtral-8x7b", dp=16, ep=16))


def test_groups_have_a_cache_each() -> None:
    two, four = (budget(deployment("llama-3.1-8b", dp=dp)).kv_tokens for dp in (2, 4))
    assert four == 2 * two


def test_what_is_more_than_the_memory_has_no_cache() -> None:
    found = budget(deployment("llama-3.1-70b", "l40s-48gb"))
    assert found.kv_bytes < 0
    assert (found.kv_blocks, found.kv_tokens, found.concurrency(), found.fits) == (0, 0, 0.0, False)


def test_a_vllm_on_a_cpu() -> None:
    """1 GiB of cache, a Llama of 2 layers with 2 heads of 32 in fp32: 1,024 bytes a token, 1,048,576 tokens."""
    config = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "hidden_size": 64}
    model = model_from_config({**config, "intermediate_size": 128, "vocab_size": 512}, "random")
    assert GIBI // kv_bytes_per_token(model, "fp32") == 1_048_576


def test_more_sequences_leave_less_for_the_cache() -> None:
    few, many = (budget(deployment("llama-3.1-8b", max_num_seqs=n)) for n in (64, 1024))
    assert few.activations_bytes < many.activations_bytes
    assert few.kv_tokens > many.kv_tokens


@pytest.mark.parametrize("word", ["NVFP4", "q4_K_M", "Q8_0", "int4", "fp8-block", "gptq-8-64"])
def test_formats_that_engines_read(word: str) -> None:
    assert served_format(word)


def test_a_format_that_no_engine_reads() -> None:
    with pytest.raises(BadValueError, match="weights stored as 'int3' are unknown; expected one of: 16-bit, nf4"):
        served_format("int3")
