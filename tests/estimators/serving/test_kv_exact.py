"""The KV cache of served models, against what engines printed when they started: every row of serving_kv.csv to the printed digits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from estimators.architectures.attention import Attention
from estimators.architectures.block import RMS_NORM, Block
from estimators.architectures.decoder import Decoder
from estimators.errors import PhysicsError
from estimators.facts import data
from estimators.facts.registry import hardware
from estimators.serving.budget import Budget, budget
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.kv_cache import KvCache, KvLayers, kv_bytes_per_token, kv_cache
from estimators.spec import Source
from estimators.units import GIBI, MEBI
from estimators.validation.model import shipped_model

COLUMNS = [
    "id",
    "source",
    "engine",
    "version",
    "model",
    "layers",
    "kv_heads",
    "head_dim",
    "mla_latent",
    "kv_bytes_per_element",
    "tp",
    "kv_shards",
    "block_tokens",
    "printed_blocks",
    "printed_tokens",
    "printed_memory",
    "memory_unit",
    "max_model_len",
    "printed_concurrency",
    "other_printed",
    "relation",
    "verdict",
    "note",
]
ROWS = {row.text("id"): row for row in data.read_rows(data.file("measured", "serving_kv.csv"), COLUMNS)}

SHIPPED = {
    "KV01": "llama-3.1-8b",
    "KV02": "llama-3.1-8b",
    "KV07": "qwen3-30b-a3b",
    "KV10": "deepseek-v3",
    "KV11": "deepseek-v3",
    "KV19": "llama-33b",
    "KV20": "qwen3-8b",
}
"""Rows whose printed memory is tokens times bytes of a token -> the registry's model of that shape."""

FORMATS = {"1": "fp8", "2": "bf16", "4": "fp32"}


def deployed(model: str, device: str, **settings: Any) -> Budget:
    return budget(Deployment(model=shipped_model(model), hardware=hardware(device), engine=engine("vllm"), **settings))


def printed(num_bytes: float, as_printed: str, unit: int = GIBI) -> str:
    """Bytes with as many digits as a log has."""
    digits = -int(Decimal(as_printed).as_tuple().exponent)
    return f"{num_bytes / unit:.{digits}f}"


@pytest.mark.parametrize("name", SHIPPED)
def test_tokens_take_the_memory_that_the_engine_printed(name: str) -> None:
    row = ROWS[name]
    of_token = kv_bytes_per_token(shipped_model(SHIPPED[name]), FORMATS[row.text("kv_bytes_per_element")], row.integer("tp"))
    unit = MEBI if row.text("memory_unit").startswith("MiB") else GIBI
    memory = row.text("printed_memory")
    assert printed(row.integer("printed_tokens") * of_token, memory, unit) == memory


@pytest.mark.parametrize(
    ("name", "model", "device"),
    [
        ("KV01", "llama-3.1-8b", "rtx-3090-24gb"),
        ("KV02", "llama-3.1-8b", "rtx-3090-24gb"),
        ("KV03", "qwen2-0.5b", "h100-sxm5-80gb"),  # the row names no model; concurrency needs none
        ("KV05", "granite-3.0-3b-a800m", "l40s-48gb"),
        ("KV07", "qwen3-30b-a3b", "h100-sxm5-80gb"),
    ],
)
def test_blocks_are_the_tokens_and_the_concurrency_that_the_engine_printed(name: str, model: str, device: str) -> None:
    row = ROWS[name]
    found = deployed(
        model,
        device,
        kv_blocks=row.integer("printed_blocks"),
        max_model_len=row.integer("max_model_len"),
        kv="fp8" if name == "KV07" else "bf16",
    )
    assert found.block_tokens == row.integer("block_tokens")
    assert found.kv_tokens == row.integer("printed_tokens")
    assert f"{found.concurrency():.2f}" == row.text("printed_concurrency")


def test_the_identity_of_an_engine_gives_its_cache_back() -> None:
    """KV01: 0.90 x 23.58 - 17.06 - 0.35; what it printed of weights is every parameter and the table of positions."""
    found = deployed("llama-3.1-8b", "rtx-3090-24gb")
    assert found.weights_bytes == 16_060_522_496 + 32 * MEBI
    assert printed(found.weights_bytes, "14.9888") == "14.9888"
    assert found.cache.token_bytes == 131_072
    assert f"{0.90 * 23.58 - 17.06 - 0.35:.2f}" == ROWS["KV01"].text("printed_memory")


def test_a_concurrency_below_one_does_not_start() -> None:
    assert not deployed("llama-3.1-8b", "rtx-3090-24gb", kv_blocks=1478, max_model_len=29_000).fits
    longest = deployed("llama-3.1-8b", "rtx-3090-24gb", kv_blocks=1478, max_model_len=29_000).longest
    assert longest == 23_648
    assert deployed("llama-3.1-8b", "rtx-3090-24gb", kv_blocks=1478, max_model_len=longest).fits


def test_what_blocks_leave_of_a_4090() -> None:
    """KV06: 1.24 GB for activations and context, the table of positions among them."""
    row = ROWS["KV06"]
    assert row.integer("printed_blocks") * 16 == row.integer("printed_tokens") == 41_408
    cache = deployed("llama-3.1-8b", "rtx-4090-24gb", kv_blocks=2588).kv_bytes
    assert f"{cache / GIBI:.3f}" == "5.055"
    assert f"{(0.9 * 25_250_627_584 - 16_060_522_496 - cache) / 1e9:.2f}" == "1.24"


def test_ranks_share_grouped_heads_until_each_has_one() -> None:
    """KV08: 94 layers x 2 x 1 head x 128 in fp8; the smallest rank decides, so that printed tokens are at most the memory's."""
    model, row = shipped_model("qwen3-235b-a22b"), ROWS["KV08"]
    of_token = kv_bytes_per_token(model, "fp8", tp=4)
    assert of_token == 94 * 2 * 128 == 24_064
    assert kv_bytes_per_token(model, "bf16", tp=4) == 48_128
    assert kv_bytes_per_token(model, "fp8", tp=8) == of_token  # copied, not cut
    assert row.integer("printed_tokens") <= row.number("printed_memory") * GIBI / 48_128 < 1.02 * row.integer("printed_tokens")


def test_latents_are_on_every_rank_and_context_parallelism_divides_them() -> None:
    """KV13: eight ranks of 46.8 GiB hold 5,721,088 tokens of 70,272 bytes."""
    model, row = shipped_model("deepseek-v3"), ROWS["KV13"]
    assert kv_bytes_per_token(model, "bf16", tp=8) == kv_bytes_per_token(model, "bf16") == 70_272
    on_rank = kv_cache(model, "bf16", tp=8, context_ranks=row.integer("kv_shards")).token_bytes
    assert printed(row.integer("printed_tokens") * on_rank, row.text("printed_memory")) == row.text("printed_memory")


def test_keys_alone_are_half_of_the_cache() -> None:
    row = ROWS["KV14"]
    keys = row.integer("printed_tokens") * kv_bytes_per_token(shipped_model("qwen2-0.5b"), "bf16") / 2
    assert printed(keys, row.text("printed_memory")) == row.text("printed_memory")


def test_llama_2_7b_to_the_byte() -> None:
    row = ROWS["KV15"]
    assert row.integer("printed_tokens") * kv_bytes_per_token(shipped_model("llama-2-7b"), "fp16") == row.integer("printed_memory")


def test_a_24_gb_card_has_no_room_for_8348_blocks_of_llama_2_7b() -> None:
    """KV18: what one engine printed fits, what the same post says of another is 65 GiB."""
    own = ROWS["KV18"].integer("printed_tokens")
    assert f"{own * kv_bytes_per_token(shipped_model('llama-2-7b'), 'fp16') / GIBI:.2f}" == "5.23"
    assert deployed("llama-2-7b", "a10-24gb", kv_blocks=own // 16, max_model_len=4096).fits
    with pytest.raises(PhysicsError, match=r"8,348 blocks of 16 tokens are 65\.2 GiB of cache, and a10-24gb has 9\.44 GiB beside"):
        deployed("llama-2-7b", "a10-24gb", kv_blocks=8348)


def test_expanded_heads_where_an_engine_stores_them() -> None:
    """KV22: 27 layers x 16 heads x (192 of keys + 128 of values)."""
    row = ROWS["KV22"]
    cache = kv_cache(shipped_model("deepseek-v2-lite"), "fp16", expanded=True)
    assert cache.token_bytes * row.integer("printed_tokens") == (2592 + 1728) * MEBI


def test_windows_hold_no_more_than_they_see_and_sharing_layers_hold_nothing() -> None:
    """KV24: 4 layers of 4,096 B a token, all of 32,768; 20 of 2,048 B that keep 1,024; 18 more read those of earlier layers."""
    blocks = [
        Block(count=4, parts=(("attention", Attention(heads=8, kv_heads=2, head_width=512)),), norms=1, norm=RMS_NORM),
        Block(count=20, parts=(("attention", Attention(heads=8, kv_heads=2, head_width=256, window=1024)),), norms=1, norm=RMS_NORM),
    ]
    model = Decoder(name="24 of 42 layers", source=Source(title="row KV24"), vocab=1, width=4096, blocks=tuple(blocks), max_positions=1)
    cache = kv_cache(model, "fp16")
    assert cache.sequence_bytes(32_768) == (512 + 40) * MEBI
    assert kv_cache(model, "fp16", trims_windows=False).sequence_bytes(32_768) == (512 + 1280) * MEBI


def test_a_request_of_qwen() -> None:
    row = ROWS["KV25"]
    size = row.integer("printed_tokens") * kv_bytes_per_token(shipped_model("qwen2-7b"), "bf16")
    assert printed(size, row.text("printed_memory")) == row.text("printed_memory")


def test_the_capacity_of_a_hybrid_is_its_concurrency_times_the_longest_sequence() -> None:
    """KV26: 33.04 x 32,768 = 1,082,651 and not the 290,864 that was printed; ours is that product, whatever blocks hold."""
    row = ROWS["KV26"]
    assert round(row.number("printed_concurrency") * row.integer("max_model_len")) != row.integer("printed_tokens")
    found = deployed("qwen3-next-80b-a3b", "h200-sxm-141gb", tp=2, max_model_len=row.integer("max_model_len"))
    assert found.kv_tokens == int(found.concurrency() * 32_768)
    assert found.concurrency() == found.kv_bytes / (32_768 * found.cache.token_bytes + found.cache.state_bytes)


def test_every_row_has_its_test() -> None:
    named = {*SHIPPED, "KV03", "KV05", "KV06", "KV08", "KV13", "KV14", "KV15", "KV18", "KV22", "KV24", "KV25", "KV26"}
    assert set(ROWS) == named


@pytest.mark.parametrize(("kv", "bytes_of_128"), [("bf16", 256), ("fp8", 128), ("fp32", 512), ("q8_0", 136), ("q4_0", 72)])
def test_formats_of_a_cache(kv: str, bytes_of_128: int) -> None:
    """llama.cpp's q8_0: 34 bytes for 32 values, q4_0: 18."""
    assert kv_bytes_per_token(shipped_model("llama-3.1-8b"), kv) == 32 * 2 * 8 * bytes_of_128


def test_the_state_of_a_hybrid_does_not_grow() -> None:
    """Qwen3-Next: 36 layers of 32 heads of 128 x 128 in fp32 and the last 4 inputs of 8,192 channels."""
    cache = kv_cache(shipped_model("qwen3-next-80b-a3b"))
    assert cache.state_bytes == 36 * (32 * 128 * 128 * 4 + 8192 * 4 * 2)
    assert cache.sequence_bytes(1000) - cache.sequence_bytes(0) == 1000 * 12 * 2 * 2 * 256 * 2


def test_a_cache_of_a_window_alone_stops_growing() -> None:
    cache = KvCache(layers=(KvLayers(count=2, token_bytes=10.0, window=100),))
    assert [cache.sequence_bytes(tokens) for tokens in (50, 100, 5000)] == [1000, 2000, 2000]
