"""Latent attention with dense and sparse layers named one by one, and with an indexer: GLM-4.7-Flash, DeepSeek V3.2, GLM-5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from estimators.architectures.block import RMS_NORM, Block
from estimators.architectures.builders.common import feed_forward_of
from estimators.architectures.builders.deepseek import latent_attention
from estimators.architectures.builders.experts import grouped_experts
from estimators.architectures.builders.layers import layered, varied_layers
from estimators.architectures.builders.prediction import with_prediction
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.indexer import Indexer
from estimators.architectures.latent_attention import LatentAttention
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

PATTERN = {"F": "full", "S": "shared"}
"""Letters of `index_topk_pattern`: a layer with an indexer, and one that takes the choice of the last such layer."""


def glm4_moe_lite(f: Fields, name: str, source: Source) -> Decoder:
    """GLM-4.7-Flash: DeepSeek V3 with wider heads, one group of experts and a dense first layer."""
    s = sizes(f, vocab=154880, width=2048, layers=47, heads=20, kv_heads=20, positions=202752, ffn_width=10240, head_key="", head_width=1)
    attention = latent_attention(f, s, query_rank=768, nope_width=192, value_width=256)
    experts = grouped_experts(f, s, num=64, per_token=4, width=1536, shared=1, groups=1, chosen_groups=1)
    return _of_layers(f, name, source, s, [attention] * len(varied_layers(f, s)), experts, dense_layers=1)


def deepseek_v32(f: Fields, name: str, source: Source) -> Decoder:
    """DeepSeek V3.2: V3 whose queries see the keys that an indexer chooses for them, on every layer."""
    s = sizes(f, vocab=129280, width=7168, layers=61, heads=128, kv_heads=128, positions=163840, ffn_width=18432, head_key="", head_width=1)
    attention = _indexed(f, latent_attention(f, s), heads=64)
    experts = grouped_experts(f, s, num=256, per_token=8, width=2048, shared=1, groups=8, chosen_groups=4)
    first = f.integer("first_k_dense_replace", default=3, minimum=0)
    return _of_layers(f, name, source, s, [attention] * len(varied_layers(f, s)), experts, dense_layers=first)


def glm_moe_dsa(f: Fields, name: str, source: Source) -> Decoder:
    """GLM-5: as DeepSeek V3.2, with wider heads; some layers may take the keys that an earlier one chose."""
    s = sizes(f, vocab=154880, width=6144, layers=78, heads=64, kv_heads=64, positions=202752, ffn_width=12288, head_key="", head_width=1)
    full = _indexed(f, latent_attention(f, s, query_rank=2048, nope_width=192, value_width=256), heads=32)
    kinds = {"full": full, "shared": replace(full, indexer=None)}
    experts = grouped_experts(f, s, num=256, per_token=8, width=2048, shared=1, groups=1, chosen_groups=1)
    first = f.integer("first_k_dense_replace", default=3, minimum=0)
    return _of_layers(f, name, source, s, [kinds[kind] for kind in _indexer_types(f, s)], experts, dense_layers=first)


def _indexed(f: Fields, attention: LatentAttention, *, heads: int) -> LatentAttention:
    if attention.query_rank is None:
        raise f.fail("q_lora_rank", None, "a whole number from 1: the indexer reads the query's latent")
    indexer = Indexer(
        heads=f.integer("index_n_heads", default=heads), width=f.integer("index_head_dim", default=128), query_rank=attention.query_rank
    )
    if indexer.width < attention.rope_width:
        raise f.fail("index_head_dim", indexer.width, f"at least qk_rope_head_dim, which is {attention.rope_width}")
    return replace(attention, indexer=indexer, chosen_keys=f.integer("index_topk", default=2048))


def _indexer_types(f: Fields, s: Sizes) -> list[str]:
    """Of each layer whether it has an indexer: as listed, by a pattern, or one in every so many."""
    types = f.config.get("indexer_types")
    if types is None and (pattern := f.config.get("index_topk_pattern")) is not None:
        types = [PATTERN.get(letter, letter) for letter in pattern] if isinstance(pattern, (str, list)) else pattern
    if types is None:
        every = f.integer("index_topk_freq", default=1)
        offset = f.integer("index_skip_topk_offset", default=2, minimum=0)
        types = ["shared" if max(i - offset + 1, 0) % every else "full" for i in varied_layers(f, s)]
    if not isinstance(types, list) or len(types) != s.layers or not {*types} <= {"full", "shared"} or types[0] != "full":
        raise f.fail("indexer_types", types, f"a list of {s.layers} words, each full or shared, the first full")
    return types


def _of_layers(
    f: Fields, name: str, source: Source, s: Sizes, attentions: Sequence[LatentAttention], experts: Experts, *, dense_layers: int
) -> Decoder:
    """Layers that are dense or sparse as `mlp_layer_types` says, else so many dense ones first."""
    kinds = f.config.get("mlp_layer_types")
    if kinds is None:
        kinds = ["dense" if i < dense_layers else "sparse" for i in range(s.layers)]
    if not isinstance(kinds, list) or len(kinds) != s.layers or not {*kinds} <= {"dense", "sparse"}:
        raise f.fail("mlp_layer_types", kinds, f"a list of {s.layers} words, each dense or sparse")
    feed_forward = {"dense": feed_forward_of(s, gated=True), "sparse": experts}
    layers = [(("attention", attention), ("mlp", feed_forward[kind])) for attention, kind in zip(attentions, kinds, strict=True)]
    model = layered(name, source, s, layers)
    return with_prediction(f, model, Block(count=1, parts=(("attention", attentions[0]), ("mlp", experts)), norms=2, norm=RMS_NORM))
