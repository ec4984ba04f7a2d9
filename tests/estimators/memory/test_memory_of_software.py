"""What each generation of software holds, against what its authors measured and by hand."""

from __future__ import annotations

import pytest

from estimators.cost.layout import Layout
from estimators.memory.device import memory_of
from estimators.memory.kernels import MAXTEXT, TITAN
from estimators.memory.layer_memory import model_memory_of
from estimators.units import GIBI
from estimators.validation.model import gpt, llama, shipped_model


def test_deepspeed_gathers_matrix_by_matrix_and_fsdp_two_layers() -> None:
    # GPT of 105 layers, width 20,480: a layer has 12 h^2 = 5.03e9 parameters, its largest matrix 4 h^2 = 1.68e9, of two bytes each
    layout, width = Layout(dp=640, zero=3, micro_batch=4, global_batch=2560, recompute="full"), 20480
    model = gpt(105, width, 128, 0, 51200, 2048)
    fsdp, deepspeed = (memory_of(model, 2048, layout, stack_id=name, dtype="fp16").parts for name in ("megatron-2021", "deepspeed-2021"))
    assert fsdp["gathered"] == pytest.approx(2 * 12 * width**2 * 2, rel=1e-3)
    assert deepspeed["gathered"] == (4 * width**2 + 5 * 10**8) * 2  # and what is prefetched, as DeepSpeed sets it
    assert deepspeed["reducing"] <= 4 * width**2 * 2


def test_a_loss_in_chunks_keeps_no_logits_of_all_tokens() -> None:
    # Liger: a chunk of logits has as many elements as the head's input, 512 a token, where all logits have 32,000
    model, tokens = llama(2, 512, 8, 4, 1376, 32000, 8192), 8192
    whole, chunked = (memory_of(model, tokens, Layout(), stack_id=name).parts["logits"] for name in ("transformers", "deepspeed-liger"))
    assert whole > tokens * 32000 * 12
    assert chunked < tokens * 32000


def test_long_contexts_by_liger_and_deepspeed_take_what_was_measured() -> None:
    # ml-engineering, insights/when-to-upgrade-gpus: Llama 3.1 8B, ZeRO-3 over 8, everything recomputed, AdamW on the host: peaks reserved
    # by torch of 25.8, 37.5, 66.5 and 124.5 GiB; ours is what is allocated, without optimizer and fp32 weights
    model = shipped_model("llama-3-8b")
    for seq_len, measured_gib in ((32768, 25.8), (65536, 37.5), (131072, 66.5), (262144, 124.5)):
        layout = Layout(dp=8, zero=3, global_batch=8, recompute="full")
        parts = dict(memory_of(model, seq_len, layout, stack_id="deepspeed-liger").parts)
        on_device = sum(size for name, size in parts.items() if name not in ("optimizer", "master_weights"))
        assert measured_gib - 8 < on_device / GIBI < measured_gib


@pytest.mark.parametrize(
    ("model_id", "seq_len", "layout", "measured_gib"),
    [
        ("llama-3-8b", 8192, Layout(dp=8, zero=3, micro_batch=2, global_batch=16, recompute="selective"), 77.0),
        ("llama-3-8b", 8192, Layout(dp=128, zero=3, micro_batch=2, global_batch=256, recompute="selective"), 62.0),
        ("llama-3-8b", 32768, Layout(dp=8, zero=3, global_batch=8, recompute="full"), 83.9),
        ("llama-3-8b", 65536, Layout(dp=4, cp=2, zero=3, global_batch=4, recompute="full"), 84.2),
        (
            "llama-3-70b",
            8192,
            Layout(tp=8, dp=32, zero=3, micro_batch=16, global_batch=512, recompute="full", sequence_parallel=True),
            71.9,
        ),
    ],
)
def test_torchtitan_takes_what_it_measured(model_id: str, seq_len: int, layout: Layout, measured_gib: float) -> None:
    # torchtitan, benchmarks/llama3_h100_202412_torchtitan.md, tables 1 to 4, compiled: peaks reserved by torch, a tenth above what is
    # allocated; with tensor parallelism of 8, where fp32 copies of a shared loss come and go, a quarter
    allocated = memory_of(shipped_model(model_id), seq_len, layout, stack_id="pytorch-fsdp2").allocated_bytes / GIBI
    assert (0.75 if layout.tp > 1 else 0.89) * measured_gib < allocated < measured_gib


@pytest.mark.parametrize(("dp", "measured_gib"), [(8, 82.4), (128, 67.0)])
def test_torchtitan_without_a_compiler_takes_what_it_measured(dp: int, measured_gib: float) -> None:
    # the same document, tables 1 and 3: Llama 3.1 8B, two sequences of 8,192 a device, selective recomputation per operation
    layout = Layout(dp=dp, zero=3, micro_batch=2, global_batch=2 * dp, recompute="selective")
    found = memory_of(shipped_model("llama-3-8b"), 8192, layout, stack_id="pytorch-fsdp2-eager")
    assert 0.89 * measured_gib < found.allocated_bytes / GIBI < measured_gib


def test_selective_recomputation_per_operation_keeps_every_second_matrix() -> None:
    # a Llama by hand, 16 tokens of bf16: layer's input 64, attention's output 64 and 4 bytes for each of 4 heads, and of query, key, value,
    # output, gate, up, down the first, third, fifth and seventh: 64 + 32 + 128 inside, 64 of the stream
    layer = model_memory_of(llama(2, 64, 4, 2, 128, 100, 16), 16, TITAN).rest
    left = layer.kept + layer.cheap.times(-1)
    assert left.inner == 16 * (2 * (64 + 64 + 32 + 128) + 4 * 4)
    assert left.outer == 16 * 2 * (64 + 64)


def test_maxtext_keeps_projections_alone_and_gathers_two_matrices() -> None:
    layer = model_memory_of(llama(2, 64, 4, 2, 128, 100, 16), 16, MAXTEXT).rest
    left = layer.kept + layer.cheap.times(-1)
    assert left.inner == 16 * (2 * (64 + 64 + 2 * 32) + 4 * 4)  # attention's output, and queries, keys and values
    parts = memory_of(gpt(4, 2048, 16, 0, 51200, 2048), 2048, Layout(dp=256, zero=3, global_batch=256), stack_id="maxtext").parts
    assert parts["gathered"] == 2 * (4 * 2048 * 2048) * 2


def test_blooms_gradients_in_bf16_take_four_bytes_more() -> None:
    # bigscience, chronicles-prequel: 55 GB in fp16 became 72 GB in bf16 with 181 and 184 B parameters over tp=8, pp=6
    layout = Layout(tp=8, pp=6, dp=8, zero=1, micro_batch=4, global_batch=2048, recompute="full")
    held = [
        memory_of(gpt(layers, width, 64, 0, 250880, 2048), 2048, layout, stack_id=name).allocated_bytes / 1e9
        for layers, width, name in ((72, 14336, "megatron-2021"), (100, 12288, "megatron-2022-bf16"))
    ]
    assert held[1] - held[0] == pytest.approx(72 - 55, abs=4)  # 17.7 GB of gradients; layers and widths differ, too
