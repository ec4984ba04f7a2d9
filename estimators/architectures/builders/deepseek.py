"""DeepSeek V2 and V3, and what is made like them: latent attention, small routed experts beside shared ones, dense first layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.adapter_names import EXPERTS_BY_PROJ, GATE_AND_EXPERTS
from estimators.architectures.attention import Attention
from estimators.architectures.block import RMS_NORM, Block
from estimators.architectures.builders.common import attention_of, feed_forward_of
from estimators.architectures.builders.experts import experts_of, grouped_experts
from estimators.architectures.builders.layers import layered, varied_layers
from estimators.architectures.builders.prediction import with_prediction
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.architectures.latent_attention import LatentAttention
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

EXPERT_KEYS = ("n_routed_experts", "num_experts", "num_local_experts")


def deepseek_v2(f: Fields, name: str, source: Source) -> Decoder:
    """DeepSeek V2: 160 experts and 2 shared; V2-Lite has no latent for its queries, VL2 Tiny and OCR plain attention (use_mla false)."""
    s = sizes(f, vocab=102400, width=4096, layers=32, heads=32, positions=2048, ffn_width=11008, head_key="")
    bias = f.flag("mlp_bias", False)
    num, per_token = experts_of(f, num=64, per_token=None, num_keys=EXPERT_KEYS)
    shared = f.integer("n_shared_experts", default=2, minimum=0)
    width = f.integer("moe_intermediate_size", default=1407)
    f.divides("n_group", f.integer("n_group", default=1), EXPERT_KEYS[0], num)
    experts = Experts(
        adapter_names=GATE_AND_EXPERTS,
        widens_router=True,
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=width,
        shared=feed_forward_of(s, width=shared * width, gated=True, bias=bias) if shared else None,
    )
    plain = f.config.get("use_mla") is False
    attention = attention_of(s, bias=f.flag("attention_bias", False)) if plain else latent_attention(f, s)
    return _latent(f, name, source, s, experts, feed_forward_of(s, gated=True, bias=bias), attention, dense_layers=0)


def deepseek_v3(f: Fields, name: str, source: Source) -> Decoder:
    """DeepSeek V3 and R1: 256 experts and 1 shared, 3 dense layers, and layers that predict further tokens beside the decoder.

    Widths of heads are fields of their own, so that heads need not divide the model's width; V2's configuration demands that they do.
    """
    s = sizes(f, vocab=129280, width=7168, layers=61, heads=128, kv_heads=128, positions=4096, ffn_width=18432, head_key="", head_width=1)
    experts = grouped_experts(f, s, num=256, per_token=8, width=2048, shared=1, groups=8, chosen_groups=4)
    return _latent(f, name, source, s, experts, feed_forward_of(s, gated=True), latent_attention(f, s), dense_layers=3, prediction_layers=1)


def sarvam_mla(f: Fields, name: str, source: Source) -> Decoder:
    """Sarvam 105B: DeepSeek V3 with queries made directly, one group of experts and one dense layer."""
    s = sizes(f, vocab=262144, width=4096, layers=32, heads=64, positions=4096, ffn_width=16384, head_key="", head_width=1)
    shared_keys = ("n_shared_experts", "num_shared_experts")
    experts = grouped_experts(f, s, num=128, per_token=8, width=2048, shared=1, groups=1, chosen_groups=1, shared_keys=shared_keys)
    return _latent(f, name, source, s, experts, feed_forward_of(s, gated=True), latent_attention(f, s, query_rank=None), dense_layers=1)


def mistral4(f: Fields, name: str, source: Source) -> Decoder:
    """Mistral Small 4 and Large 3: DeepSeek V3 with one group of experts, chosen by a softmax and by nothing beside it."""
    s = sizes(f, vocab=131072, width=4096, layers=36, heads=32, kv_heads=32, positions=2**20, ffn_width=12288, head_key="", head_width=1)
    experts = grouped_experts(f, s, num=128, per_token=4, width=2048, shared=1, groups=1, chosen_groups=1)
    experts = replace(experts, widens_router=False, wide_weights=False)
    attention = latent_attention(f, s, query_rank=1024, kv_rank=256, nope_width=64)
    return _latent(f, name, source, s, experts, feed_forward_of(s, gated=True), attention, dense_layers=0)


def longcat_flash(f: Fields, name: str, source: Source) -> Decoder:
    """LongCat-Flash: layers of two attentions and two feed-forwards; beside the first, experts, some of which hand on what they read.

    What the experts make is added at the layer's end, so that they run beside all that follows the first attention.
    """
    twice = f.optional_integer("num_hidden_layers", minimum=2)
    s = sizes(
        f,
        vocab=131072,
        width=6144,
        layers=28 if twice is None else twice // 2,
        heads=64,
        positions=131072,
        ffn_width=12288,
        head_key="",
        head_width=1,
        names={"layers": ("num_layers",), "ffn_width": ("ffn_hidden_size", "intermediate_size")},
    )
    attention = latent_attention(f, s)
    if attention.query_rank is None:
        raise f.fail("q_lora_rank", None, "a whole number from 1: queries are always made of a latent")
    num, per_token = experts_of(
        f, num=512, per_token=12, num_keys=("n_routed_experts", "num_local_experts"), per_token_keys=("moe_topk", "num_experts_per_tok")
    )
    dense, identities = feed_forward_of(s, gated=True), f.integer("zero_expert_num", default=256, minimum=0)
    experts = Experts(
        adapter_names=EXPERTS_BY_PROJ,
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=f.integer("expert_ffn_hidden_size", "moe_intermediate_size", default=2048),
        identities=identities,
        unread=identities,
        router_bias=f.flag("router_bias", False),
        widens_router=True,
        wide_weights=True,
        one_by_one=True,
        shared=dense,
    )
    parts = (("attention", attention), ("mlp", experts), ("second_attention", attention), ("second_mlp", dense))
    return layered(name, source, s, [parts for _ in varied_layers(f, s)], norms=4)


def _latent(
    f: Fields,
    name: str,
    source: Source,
    s: Sizes,
    experts: Experts,
    dense: FeedForward,
    attention: Attention | LatentAttention,
    *,
    dense_layers: int,
    prediction_layers: int = 0,
) -> Decoder:
    first = min(f.integer("first_k_dense_replace", default=dense_layers, minimum=0), s.layers)

    def block(count: int, feed_forward: Experts | FeedForward) -> Block:
        return Block(count=count, parts=(("attention", attention), ("mlp", feed_forward)), norms=2, norm=RMS_NORM)

    model = Decoder(
        name=name,
        source=source,
        vocab=s.vocab,
        width=s.width,
        blocks=tuple(block(count, part) for count, part in ((first, dense), (s.layers - first, experts)) if count),
        max_positions=s.positions,
        tied=s.tied,
    )
    return with_prediction(f, model, block(1, experts), default=prediction_layers)


def latent_attention(
    f: Fields,
    s: Sizes,
    *,
    query_rank: int | None = 1536,
    kv_rank: int = 512,
    nope_width: int = 128,
    value_width: int = 128,
    turned: bool = True,
) -> LatentAttention:
    """Latent attention of these sizes; the arguments are defaults, but for whether positions turn anything.

    Raises:
        BadConfigError: fewer heads of keys than heads, or positions on an odd number of values.
    """
    if s.kv_heads != s.heads:
        raise f.fail("num_key_value_heads", s.kv_heads, f"num_attention_heads, which is {s.heads}: the latent is expanded for every head")
    attention = LatentAttention(
        heads=s.heads,
        query_rank=f.optional_integer("q_lora_rank") if "q_lora_rank" in f.config else query_rank,
        kv_rank=f.integer("kv_lora_rank", default=kv_rank),
        nope_width=f.integer("qk_nope_head_dim", default=nope_width),
        rope_width=f.integer("qk_rope_head_dim", default=64),
        value_width=f.integer("v_head_dim", default=value_width),
        bias=f.flag("attention_bias", False),
        turned=turned,
    )
    if turned and attention.rope_width % 2:
        raise f.fail("qk_rope_head_dim", attention.rope_width, "an even number: positions turn pairs")
    return attention
