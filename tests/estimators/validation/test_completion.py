"""Rules that complete a row: what is assumed is said, arithmetic is arithmetic, and a rate means what its convention says."""

from __future__ import annotations

import pytest

from estimators.training.sequence_cost import sequence_cost_of
from estimators.validation.case import measured_step
from estimators.validation.device import device_named
from estimators.validation.model import shipped_model
from estimators.validation.stated import dense_layers
from estimators.validation.table import LeftOutError, Record

LLAMA = {
    "id": "x",
    "group": "mine",
    "model": "mine",
    "layers": "32",
    "hidden": "4096",
    "heads": "32",
    "kv_heads": "8",
    "ffn": "14336",
    "vocab": "128256",
    "seq_len": "8192",
    "hardware_id": "h100-sxm5-80gb",
    "n_gpus": "64",
    "mbs": "1",
    "precision": "bf16",
    "recompute": "none",
    "iteration_time_s": "2",
}
PARAMS = 8030261248
"""Of Llama 3 8B, as its checkpoint counts."""


def record(**cells: str) -> Record:
    return Record(kind="throughput", line=2, path="mine.csv", cells=LLAMA | cells)


@pytest.mark.parametrize(
    ("cells", "layout", "said"),
    [
        ({"framework": "torchtitan"}, (1, 1, 64, 3), "tp=1, pp=1, cp=1, as its software shards instead"),
        ({"framework": "MaxText"}, (1, 1, 64, 3), "tp=1, pp=1, cp=1, as its software shards instead"),
        ({"framework": "NeMo", "dp": "64"}, (1, 1, 64, 1), "tp=1, pp=1, cp=1, as dp is all devices"),
        ({"framework": "torchtitan", "tp": "8", "dp": "8"}, (8, 1, 8, 3), "pp=1, cp=1, as dp is all devices"),
        ({"framework": "NeMo", "pp": "2", "dp": "8"}, (4, 2, 8, 1), "tp=4, what dp leaves of the devices"),
        ({"framework": "Pax", "dp": "1", "fsdp": "64"}, (1, 1, 64, 3), "as dp is all devices"),
        ({"framework": "Colossal-AI", "fsdp": "zero1(dp8)+tp2+pp4", "gbs_seqs": "64"}, (2, 4, 8, 1), "cp=1"),
    ],
)
def test_a_cut_that_is_left_out_follows_from_the_software_or_from_arithmetic(
    cells: dict[str, str], layout: tuple[int, ...], said: str
) -> None:
    step = measured_step(record(**cells))
    assert (step.layout.tp, step.layout.pp, step.layout.dp, step.layout.zero) == layout
    assert any(said in text for text in step.assumed)


def test_batches_that_are_left_out() -> None:
    pipelined = measured_step(record(framework="NeMo", tp="1", pp="8", mbs="", gbs_seqs="128"))
    assert (pipelined.layout.micro_batch, "mbs=1, under a pipeline" in pipelined.assumed) == (1, True)
    plain = measured_step(record(framework="torchtitan", mbs="2"))
    assert (plain.layout.global_batch, "gbs_seqs=mbs x dp" in plain.assumed) == (128, True)


def test_a_layout_that_nothing_says_is_the_one_that_plan_chooses_and_is_set_apart() -> None:
    step = measured_step(record(framework="NeMo", mbs="", gbs_seqs="256"))
    assert step.layout.num_devices == 64
    assert "was chosen" in step.apart
    assert any("the fastest that fits" in text for text in step.assumed)


def test_a_stated_row_assumes_nothing() -> None:
    stated = {"tp": "2", "pp": "4", "cp": "1", "gbs_seqs": "64", "stack": "megatron-core", "framework": "NeMo"}
    assert measured_step(record(**stated)).assumed == ()


@pytest.mark.parametrize(
    ("convention", "flop_per_token"),
    [
        ("6NT + 12*L*h*T^2 (NOT causal-halved, stated in the paper)", 6 * PARAMS + 12 * 32 * 4096 * 8192),
        ("6(N-VH) + CAUSAL-HALVED attention", 6 * (PARAMS - 128256 * 4096) + 6 * 32 * 4096 * 8193),
    ],
)
def test_a_flop_rate_is_a_time_by_its_own_convention(convention: str, flop_per_token: float) -> None:
    """One sequence on each of 64 devices at 400 TFLOP/s; norms, 0.3 million of the 8 billion parameters, are in no product."""
    step = measured_step(record(framework="torchtitan", iteration_time_s="", tflops_per_gpu="400", flops_convention=convention))
    assert step.measured_step_time_s == pytest.approx(flop_per_token * 8192 / 400e12, rel=1e-4)


def test_hardware_flop_count_the_forward_pass_of_the_layers_again() -> None:
    """Four forward passes of 32 layers and three of the head: 8 and 6 FLOP per parameter of a product, 16 and 12 of the square."""
    said = "HARDWARE FLOPs, full activation recompute counted (4x fwd), attention full square"
    step = measured_step(record(framework="torchtitan", iteration_time_s="", tflops_per_gpu="400", flops_convention=said, recompute="full"))
    head = 128256 * 4096
    flop = 8 * (PARAMS - 2 * head) + 6 * head + 16 * 32 * 4096 * 8192
    assert step.measured_step_time_s == pytest.approx(flop * 8192 / 400e12, rel=1e-4)


@pytest.mark.parametrize(("mfu", "hfu", "recompute"), [("60", "60", "none"), ("41.25", "55", "full"), ("61", "69", "selective")])
def test_utilizations_show_what_was_run_again(mfu: str, hfu: str, recompute: str) -> None:
    """A whole forward pass more is a third more work: MPT-70B's 55 % of hardware beside 41.25 % (llm-foundry's README)."""
    step = measured_step(record(framework="torchtitan", recompute="", mfu_pct=mfu, hfu_pct=hfu))
    assert step.layout.recompute == recompute


@pytest.mark.parametrize(
    ("text", "device_id"),
    [
        ("NVIDIA H100-SXM5-80GB", "h100-sxm5-80gb"),
        ("H100", "h100-sxm5-80gb"),
        ("NVIDIA H200-NVL-141GB", "h200-nvl-141gb"),
        ("A100-SXM-40GB (DGX-A100)", "a100-sxm4-40gb"),
        ("NVIDIA Blackwell Ultra GPU (GB300)", "gb300-288gb"),
        ("NVIDIA Blackwell GPU (B200-SXM-180GB)", "b200-sxm-180gb"),
        ("AMD Instinct MI300X 192GB HBM3", "mi300x-192gb"),
        ("TPU v5p (459)", "tpu-v5p"),
        ("Habana Gaudi2", "gaudi2-96gb"),
        ("NVIDIA L40S", "l40s-48gb"),
    ],
)
def test_a_device_is_read_from_words(text: str, device_id: str) -> None:
    device = device_named(text)
    assert device is not None
    assert device.id == device_id


def test_what_the_words_say_of_memory_and_power_is_taken() -> None:
    device = device_named("H100-SXM-96GB HBM2e 2.4TB/s, 500W cap")
    assert device is not None
    assert (device.id, device.memory_bytes, device.memory_bytes_per_s, device.power_w) == ("h100-sxm5-80gb", 96 * 10**9, 2.4e12, 500.0)
    assert device_named("our cluster's cards") is None
    with pytest.raises(LeftOutError, match="unknown GPU 'X100'"):
        measured_step(record(framework="torchtitan", hardware_id="", gpu="X100"))


def test_layers_that_a_note_calls_dense_are_dense() -> None:
    """DeepSeek-V3 at four layers: its configuration makes three dense, SimuMax's rows one; an expert layer has 256 routed experts."""
    said = dense_layers("reduced depth at true width; DeepSeek rows: first layer dense", "deepseek-v3")
    assert said == 1
    assert dense_layers("reduced depth at true width; DeepSeek rows: first layer dense", "llama-3-70b") is None
    assert dense_layers("peak allocated", "deepseek-v3") is None
    for model_id in ("deepseek-v3", "qwen3-30b-a3b"):
        assert sequence_cost_of(shipped_model(model_id, 4, 1), 4096).routed_layers == 3


@pytest.mark.parametrize(
    ("text", "dtype"),
    [("MXFP8", "mxfp8"), ("FP8-MX", "mxfp8"), ("FP8-CS", "fp8"), ("NVFP4 or fp8", "nvfp4"), ("mxfp4", "mxfp4"), ("TE bf16", "bf16")],
)
def test_precisions_by_their_words(text: str, dtype: str) -> None:
    assert measured_step(record(framework="NeMo", tp="1", pp="1", hardware_id="b200-sxm-180gb", precision=text)).dtype == dtype


@pytest.mark.parametrize("text", ["int5", "mxfp6", "posit16"])
def test_an_unknown_precision_is_no_other(text: str) -> None:
    with pytest.raises(LeftOutError, match=f"precision '{text}' is unknown"):
        measured_step(record(framework="NeMo", tp="1", pp="1", precision=text))
