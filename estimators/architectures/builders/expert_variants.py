"""More mixtures of experts: Granite, Phi-3.5, DBRX, GLM-4.5, ERNIE 4.5, Hunyuan, Llama 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.adapter_names import EXPERTS_BY_PROJ, GATE_AND_EXPERTS, ROUTER
from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, Norm
from estimators.architectures.builders.common import attention_of, decoder, feed_forward_of, with_qk_norm
from estimators.architectures.builders.experts import experts_of, grouped_experts
from estimators.architectures.builders.layers import Parts, indices, layer_kinds, layered, varied_layers, windowed
from estimators.architectures.builders.llama_variants import exaone4_attention
from estimators.architectures.builders.parts import section
from estimators.architectures.builders.prediction import with_prediction
from estimators.architectures.builders.sizes import MOSAIC_NAMES, Sizes, plain_sizes, sizes
from estimators.architectures.builders.windows import window_of, windows_of
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.part import Part
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

LOCAL_KEYS = ("num_local_experts", "num_experts")


def granitemoe(f: Fields, name: str, source: Source) -> Decoder:
    """Granite 3 MoE: Granite with small experts."""
    s = sizes(f, vocab=32000, width=4096, layers=32, heads=32, positions=2048, ffn_width=11008)
    num, per_token = experts_of(f, num=8, per_token=2, num_keys=LOCAL_KEYS)
    experts = Experts(activation=s.activation, num=num, per_token=per_token, width=s.ffn_width)
    return decoder(name, source, s, attention_of(s, bias=f.flag("attention_bias", False)), experts)


def phimoe(f: Fields, name: str, source: Source) -> Decoder:
    """Phi-3.5 MoE: 16 experts chosen two at a time by SparseMixer, layer norms with bias."""
    s = sizes(f, vocab=32064, width=4096, layers=32, heads=32, kv_heads=8, positions=4096 * 32, ffn_width=6400)
    num, per_token = experts_of(f, num=16, per_token=2, num_keys=LOCAL_KEYS)
    if per_token != 2:
        raise f.fail("num_experts_per_tok", per_token, "2: SparseMixer chooses two experts")
    attention = attention_of(s, bias=f.flag("attention_bias", False), window=window_of(f, None))
    model = decoder(
        name,
        source,
        s,
        attention,
        Experts(activation=s.activation, num=num, per_token=per_token, width=s.ffn_width, adapter_names=(("router", ROUTER),)),
        norm=LAYER_NORM,
    )
    return replace(model, head_bias=f.flag("lm_head_bias", False))


def dbrx(f: Fields, name: str, source: Source) -> Decoder:
    """DBRX: 16 experts, 4 of them per token, one qkv matrix, norms with a gain alone; sizes of the parts in objects of their own."""
    attention, ffn = section(f, "attn_config"), section(f, "ffn_config")
    s = plain_sizes(f, vocab=32000, width=2048, layers=24, heads=16, positions=2048, names=MOSAIC_NAMES)
    if s.tied:
        raise f.fail("tie_word_embeddings", True, "false: DBRX has a head of its own")
    kv_heads = attention.integer("kv_n_heads", default=1)
    f.divides("attn_config.kv_n_heads", kv_heads, "n_heads", s.heads)
    if ffn.integer("hidden_size", default=s.width) != s.width:
        raise ffn.fail("hidden_size", ffn.config["hidden_size"], f"d_model, which is {s.width}")
    num, per_token = experts_of(ffn, num=4, per_token=1, num_keys=("moe_num_experts",), per_token_keys=("moe_top_k",))
    experts = Experts(
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=ffn.integer("ffn_hidden_size", default=3584),
        router_layer=True,
        one_by_one=True,
        adapter_names=(("layer", ROUTER),),
    )
    return decoder(name, source, s, attention_of(replace(s, kv_heads=kv_heads), fused=True), experts, norm=Norm(written="layer"))


def glm4_moe(f: Fields, name: str, source: Source) -> Decoder:
    """GLM-4.5: a dense first layer, routed and shared experts, layers that predict further tokens beside the decoder."""
    s = sizes(f, vocab=151552, width=4096, layers=46, heads=96, kv_heads=8, positions=131072, ffn_width=10944)
    attention = replace(attention_of(s, bias=f.flag("attention_bias", False), out_bias=False), by_head=True)
    if f.flag("use_qk_norm", False):
        attention = with_qk_norm(attention, over_all_heads=False)
    return _glm_moe(f, name, source, s, attention, prediction_layers=1)


def glm4v_moe_text(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of GLM-4.5V and GLM-4.6V: GLM-4.5 with positions in three dimensions, without norms on queries and keys."""
    s = sizes(f, vocab=151424, width=4096, layers=46, heads=96, kv_heads=8, positions=65536, ffn_width=10944)
    attention = replace(attention_of(s, bias=f.flag("attention_bias", True), out_bias=False), by_head=True)
    return _glm_moe(f, name, source, s, attention, prediction_layers=0)


def _glm_moe(f: Fields, name: str, source: Source, s: Sizes, attention: Attention, *, prediction_layers: int) -> Decoder:
    experts = grouped_experts(f, s, num=128, per_token=8, width=1408, shared=1, groups=1, chosen_groups=1)
    dense, first = feed_forward_of(s, gated=True), f.integer("first_k_dense_replace", default=1, minimum=0)

    def parts(feed_forward: Part) -> Parts:
        return ("attention", attention), ("mlp", feed_forward)

    model = layered(name, source, s, [parts(experts if i >= first else dense) for i in varied_layers(f, s)])
    return with_prediction(f, model, replace(model.blocks[0], parts=parts(experts)), default=prediction_layers)


def dots1(f: Fields, name: str, source: Source) -> Decoder:
    """dots.llm1: attention of Qwen3, experts of DeepSeek V3."""
    s = sizes(f, vocab=152064, width=4608, layers=62, heads=32, kv_heads=32, positions=2048, ffn_width=10944)
    keys = ("n_routed_experts", "num_local_experts")
    experts = grouped_experts(f, s, num=None, per_token=None, width=1408, shared=None, groups=1, chosen_groups=1, num_keys=keys)
    window, first_windowed = window_of(f, 4096), f.integer("max_window_layers", default=62, minimum=0)
    windows = windows_of(f, s.layers, window, lambda i: window is not None and i >= first_windowed)
    attention = with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=False)
    dense, first = feed_forward_of(s, gated=True), f.integer("first_k_dense_replace", default=0, minimum=0)
    layers = enumerate(windowed(attention, windows))
    return layered(name, source, s, [(("attention", each), ("mlp", experts if i >= first else dense)) for i, each in layers])


def exaone_moe(f: Fields, name: str, source: Source) -> Decoder:
    """K-EXAONE: attention of EXAONE 4, experts of DeepSeek V3 on the layers that say so, all but the first by default."""
    s = sizes(f, vocab=102400, width=4096, layers=32, heads=32, kv_heads=32, positions=2048, ffn_width=16384)
    experts = grouped_experts(
        f,
        s,
        num=64,
        per_token=8,
        width=1024,
        shared=1,
        groups=1,
        chosen_groups=1,
        num_keys=LOCAL_KEYS,
        shared_keys=("num_shared_experts",),
    )
    dense, first = feed_forward_of(s, gated=True), f.integer("first_k_dense_replace", default=1, minimum=0)
    default = ["dense" if i < first else "sparse" for i in varied_layers(f, s)]
    kinds = layer_kinds(f, ("mlp_layer_types",), s.layers, {"dense": "dense", "sparse": "sparse"}, default)
    layers = zip(exaone4_attention(f, s), kinds, strict=True)
    return layered(name, source, s, [(("attention", each), ("mlp", experts if kind == "sparse" else dense)) for each, kind in layers])


def ernie4_5_moe(f: Fields, name: str, source: Source) -> Decoder:
    """ERNIE 4.5 MoE: dense first layers, shared experts, a frozen bias that steers the choice of experts."""
    s = sizes(f, vocab=103424, width=2560, layers=28, heads=20, kv_heads=4, positions=131072, ffn_width=12288, tied=True)
    bias = f.flag("use_bias", False)
    num, per_token = experts_of(
        f, num=64, per_token=6, num_keys=("moe_num_experts", "num_experts"), per_token_keys=("moe_k", "num_experts_per_tok")
    )
    width, shared = f.integer("moe_intermediate_size", default=1536), f.integer("moe_num_shared_experts", default=2, minimum=0)
    always_on = feed_forward_of(s, width=shared * width, gated=True, bias=bias) if shared else None
    experts = Experts(
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=width,
        shared=always_on,
        steered=True,
        wide_router=True,
        renormalises=True,
        wide_weights=True,
        adapter_names=GATE_AND_EXPERTS,
    )
    dense = feed_forward_of(s, gated=True, bias=bias)
    attention = replace(attention_of(s, bias=bias), angle_elements=2 * s.head_width, wide_angles=True)
    start, step = f.integer("moe_layer_start_index", default=1, minimum=0), f.integer("moe_layer_interval", default=1)
    stated = f.integer("moe_layer_end_index", default=-1, minimum=-1)
    end = s.layers - 1 if stated == -1 else stated

    def feed_forward(i: int) -> Part:
        return experts if start <= i <= end and (i + 1) % step == 0 else dense

    model = layered(name, source, s, [(("attention", attention), ("mlp", feed_forward(i))) for i in varied_layers(f, s)])
    return replace(model, head_bias=bias)


def hunyuan_v1_moe(f: Fields, name: str, source: Source) -> Decoder:
    """Hunyuan A13B: routed experts beside a shared one of the same width, norms on queries and keys."""
    s = sizes(f, vocab=290943, width=4096, layers=32, heads=32, positions=2048, ffn_width=11008)
    attention = with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=False, first=False)
    num = f.integer("num_experts", "num_local_experts", default=1)
    shared = feed_forward_of(s, gated=True)
    stated = f.config.get("moe_topk")
    if isinstance(stated, list):
        chosen = f.integers("moe_topk", minimum_length=s.layers)
        if len(chosen) != s.layers or max(chosen) > num:
            raise f.fail("moe_topk", stated, f"{s.layers} numbers from 1 to num_experts, which is {num}")
    else:
        num, per_token = experts_of(f, num=1, per_token=1, per_token_keys=("moe_topk", "num_experts_per_tok"))
        chosen = (per_token,) * len(varied_layers(f, s))
    names = (("wg", ROUTER), *EXPERTS_BY_PROJ)
    routed = Experts(
        activation=s.activation,
        num=num,
        per_token=1,
        width=s.ffn_width,
        shared=shared,
        router_layer=True,
        renormalises=True,
        adapter_names=names,
    )
    experts = [replace(routed, per_token=per_token) for per_token in chosen]
    return layered(name, source, s, [(("attention", attention), ("mlp", each)) for each in experts])


def llama4_text(f: Fields, name: str, source: Source) -> Decoder:
    """Llama 4's language part: attention in chunks on three layers of four, one routed and one shared expert per token."""
    s = sizes(f, vocab=202048, width=5120, layers=48, heads=40, kv_heads=8, head_width=128, positions=4096 * 32, ffn_width=8192)
    num, per_token = experts_of(f, num=16, per_token=1, num_keys=LOCAL_KEYS)
    experts = Experts(
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=s.ffn_width,
        shared=feed_forward_of(s, gated=True),
        runs_all=True,
        adapter_names=(("router", ROUTER),),
    )
    dense = feed_forward_of(s, width=f.integer("intermediate_size_mlp", default=16384), gated=True)
    step, stated = f.integer("interleave_moe_layer_step", default=1), f.config.get("moe_layers")
    routed = indices(f, "moe_layers") if stated is not None else frozenset(range(step - 1, len(varied_layers(f, s)), step))
    layers = zip(_llama4_attention(f, s), (experts if i in routed else dense for i in varied_layers(f, s)), strict=True)
    return layered(name, source, s, [(("attention", attention), ("mlp", feed_forward)) for attention, feed_forward in layers])


def _llama4_attention(f: Fields, s: Sizes) -> list[Attention]:
    """Of each layer: chunked with positions (and bare norms on queries and keys), or full without."""
    interval = f.integer("no_rope_layer_interval", default=4)
    turned = f.config.get("no_rope_layers") or [int((i + 1) % interval != 0) for i in varied_layers(f, s)]
    if not isinstance(turned, list) or len(turned) < s.layers or not all(turn in (0, 1) for turn in turned):
        raise f.fail("no_rope_layers", turned, f"{s.layers} times 0 or 1")
    types = f.config.get("layer_types") or ["chunked_attention" if turn else "full_attention" for turn in turned[: s.layers]]
    if not isinstance(types, list) or len(types) != s.layers or not {*types} <= {"chunked_attention", "full_attention"}:
        raise f.fail("layer_types", types, f"a list of {s.layers} words, each full_attention or chunked_attention")
    chunk = f.optional_integer("attention_chunk_size") if "attention_chunk_size" in f.config else 8192
    if chunk is None and "chunked_attention" in types:
        raise f.fail("attention_chunk_size", None, "a whole number from 1, since layers have chunked attention")
    plain = attention_of(s, bias=f.flag("attention_bias", False))
    normed = replace(with_qk_norm(plain, over_all_heads=False, form="rms_bare", first=False), qk_norm_params=False)
    qk_norm = f.flag("use_qk_norm", True)

    def attention(turn: int, kind: str) -> Attention:
        base = normed if qk_norm and turn else plain
        chunked = kind == "chunked_attention"
        return replace(base, rotary=bool(turn), window=chunk if chunked else None, chunked=chunked)

    of_each = list(zip(turned, types, strict=False))
    by_kind = {each: attention(*each) for each in set(of_each)}
    return [by_kind[each] for each in of_each]
