"""DeepSeek V4: a window of tokens as they are, compressed entries behind it, streams in place of a residual, experts on every layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from estimators.architectures.block import Norm
from estimators.architectures.builders.common import feed_forward_of
from estimators.architectures.builders.experts import experts_of
from estimators.architectures.builders.layers import layered, varied_layers
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.compressed_attention import CompressedAttention, EntryIndexer
from estimators.architectures.compressor import Compressor
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.hyper_connections import HyperConnections
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

WINDOW, SPARSE, HEAVY = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
RATES = {SPARSE: 4, HEAVY: 128}
"""Tokens that one entry of a layer's kind stands for, where nothing is said."""
KINDS = {0: WINDOW, 4: SPARSE, 128: HEAVY}
"""A layer's number in `compress_ratios` -> its kind."""
ROUTERS = ("hash_moe", "moe")
"""Experts by a table of tokens, and by score: both cost the same."""
NAMES = {"ffn_width": ("moe_intermediate_size",)}
WIDE_NORM = Norm(written="rms_wide")


def deepseek_v4(f: Fields, name: str, source: Source) -> Decoder:
    """DeepSeek V4: each layer sees a window, and most see compressed entries too, all or those that an indexer chooses."""
    s = sizes(
        f,
        vocab=129280,
        width=4096,
        layers=43,
        heads=64,
        kv_heads=1,
        head_width=512,
        positions=1048576,
        ffn_width=2048,
        names=NAMES,
    )
    if s.kv_heads != 1:
        raise f.fail("num_key_value_heads", s.kv_heads, "1: one head is key and value of all")
    kinds = _layer_types(f, s)
    attentions = _attentions(f, s)
    num, per_token = experts_of(f, num=256, per_token=6, num_keys=("n_routed_experts", "num_local_experts"))
    bias = f.flag("mlp_bias", False)
    experts = Experts(
        num=num,
        per_token=per_token,
        width=s.ffn_width,
        activation=s.activation,
        held_within=True,
        renormalises=True,
        shared=replace(feed_forward_of(s, gated=True, bias=bias), held_within=True),
    )
    model = layered(name, source, s, [(("attention", attentions[kind]), ("mlp", experts)) for kind in kinds], norm=WIDE_NORM)
    streams = HyperConnections(streams=f.integer("hc_mult", default=4), iterations=f.integer("hc_sinkhorn_iters", default=20))
    return replace(model, blocks=tuple(replace(block, connections=streams) for block in model.blocks))


def _layer_types(f: Fields, s: Sizes) -> list[str]:
    """The kind of each layer: as listed, by the numbers of the published files, or two of the heaviest, then each in turn."""
    types, ratios = f.config.get("layer_types"), f.config.get("compress_ratios")
    if types is None and ratios is not None:
        if not _each_of(ratios, KINDS):
            raise f.fail("compress_ratios", ratios, f"a list of numbers, each one of {', '.join(str(n) for n in KINDS)}")
        types = [KINDS[ratio] for ratio in ratios]
    if types is None:
        types = [SPARSE if i >= 2 and i % 2 else HEAVY for i in varied_layers(f, s)]
    known = (WINDOW, SPARSE, HEAVY)
    if not _each_of(types, known, s.layers):
        raise f.fail("layer_types", types, f"a list of {s.layers} words, each one of {', '.join(known)}")
    routers = f.config.get("mlp_layer_types")
    if routers is not None and not _each_of(routers, ROUTERS, s.layers):
        raise f.fail("mlp_layer_types", routers, f"a list of {s.layers} words, each one of {', '.join(ROUTERS)}")
    return types[: s.layers]


def _each_of(given: object, known: Iterable[object], num: int = 0) -> bool:
    """Whether a field is a list of so many, each one that is known; what it holds may be anything."""
    return isinstance(given, list) and len(given) >= num and all(one in (*known,) for one in given)


def _attentions(f: Fields, s: Sizes) -> dict[str, CompressedAttention]:
    """Attention of each kind of layer."""
    rates = _rates(f)
    rank, groups = f.integer("q_lora_rank", default=1024), f.integer("o_groups", default=8)
    f.divides("o_groups", groups, "num_attention_heads", s.heads)
    width = f.integer("index_head_dim", default=128)
    turned = _turned(f, s)
    if width < turned:
        raise f.fail("index_head_dim", width, f"at least what positions turn of a head, which is {turned}")
    plain = CompressedAttention(
        heads=s.heads,
        head_width=s.head_width,
        query_rank=rank,
        groups=groups,
        group_rank=f.integer("o_lora_rank", default=1024),
        rope_width=turned,
        window=f.integer("sliding_window", default=128, minimum=2),
    )
    indexer = EntryIndexer(
        heads=f.integer("index_n_heads", default=64),
        query_rank=rank,
        chosen=f.integer("index_topk", default=512),
        compressor=Compressor(width=width, rate=rates[SPARSE], overlaps=True),
    )
    return {
        WINDOW: plain,
        HEAVY: replace(plain, compressor=Compressor(width=s.head_width, rate=rates[HEAVY])),
        SPARSE: replace(plain, compressor=Compressor(width=s.head_width, rate=rates[SPARSE], overlaps=True), indexer=indexer),
    }


def _rates(f: Fields) -> dict[str, int]:
    """Tokens that one entry stands for, by kind of layer."""
    stated = f.config.get("compress_rates")
    own = {} if stated is None else stated
    if not isinstance(own, dict) or not {*own} <= {*RATES}:
        raise f.fail("compress_rates", stated, f"an object with a number for each of {', '.join(RATES)}")
    part = f.part("compress_rates", own)
    older = {SPARSE: "compress_rate_csa", HEAVY: "compress_rate_hca"}
    return {kind: f.integer(older[kind], default=part.integer(kind, default=rate)) for kind, rate in RATES.items()}


def _turned(f: Fields, s: Sizes) -> int:
    """Of a head, what positions turn."""
    share = f.config.get("partial_rotary_factor")
    if share is None:
        return f.integer("qk_rope_head_dim", default=64 * s.head_width // 512, minimum=0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise f.fail("partial_rotary_factor", share, "a number above 0, up to 1")
    return int(s.head_width * share)
