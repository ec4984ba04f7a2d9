"""Mixtures of experts with attention of the usual kind: Mixtral, Qwen, OLMoE, GPT-OSS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from estimators.architectures.adapter_names import EXPERTS_BY_W, GATE_AND_EXPERTS, SHARED_GATE, Names
from estimators.architectures.block import Norm
from estimators.architectures.builders.common import attention_of, decoder, feed_forward_of, with_qk_norm
from estimators.architectures.builders.layers import indices, layered, varied_layers, windowed
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.builders.windows import window_of, windows_of
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.part import Part
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def experts_of(
    f: Fields,
    *,
    num: int | None,
    per_token: int | None,
    num_keys: tuple[str, ...] = ("num_experts", "num_local_experts"),
    per_token_keys: tuple[str, ...] = ("num_experts_per_tok",),
) -> tuple[int, int]:
    """Experts and experts per token.

    Args:
        num, per_token: defaults; None where the family has none.
        num_keys, per_token_keys: names of the fields.

    Raises:
        BadConfigError: more experts per token than experts.
    """
    num = f.integer(*num_keys, default=num)
    chosen = f.integer(*per_token_keys, default=per_token)
    if chosen > num:
        raise f.fail(per_token_keys[0], chosen, f"at most as many as {num_keys[0]}, which is {num}")
    return num, chosen


def check_groups(f: Fields, num: int, *, groups: int, chosen: int, groups_keys: tuple[str, ...] = ("n_group",)) -> None:
    """Groups of experts, of which the best by their two best experts are chosen first; the arguments are defaults.

    Raises:
        BadConfigError: groups that do not divide the experts, hold fewer than two, or are fewer than those chosen.
    """
    key = groups_keys[0]
    groups, chosen = f.integer(*groups_keys, default=groups), f.integer("topk_group", default=chosen)
    f.divides(key, groups, "n_routed_experts", num)
    if num < 2 * groups:
        raise f.fail(key, groups, f"groups of two or more of the n_routed_experts, which are {num}")
    if chosen > groups:
        raise f.fail("topk_group", chosen, f"at most {key}, which is {groups}")


def grouped_experts(
    f: Fields,
    s: Sizes,
    *,
    num: int | None,
    per_token: int | None,
    width: int,
    shared: int | None,
    groups: int,
    chosen_groups: int,
    num_keys: tuple[str, ...] = ("n_routed_experts", "num_experts", "num_local_experts"),
    per_token_keys: tuple[str, ...] = ("num_experts_per_tok",),
    shared_keys: tuple[str, ...] = ("n_shared_experts",),
    groups_keys: tuple[str, ...] = ("n_group",),
) -> Experts:
    """Experts as DeepSeek V3 has them: scored by a sigmoid in fp32, chosen from the best groups, beside shared ones in one.

    The arguments are defaults, None where the family has none, and names of fields.
    """
    num, per_token = experts_of(f, num=num, per_token=per_token, num_keys=num_keys, per_token_keys=per_token_keys)
    check_groups(f, num, groups=groups, chosen=chosen_groups, groups_keys=groups_keys)
    width, shared = f.integer("moe_intermediate_size", default=width), f.integer(*shared_keys, default=shared, minimum=0)
    return Experts(
        adapter_names=GATE_AND_EXPERTS,
        widens_router=True,
        renormalises=True,
        wide_weights=True,
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=width,
        shared=feed_forward_of(s, width=shared * width, gated=True) if shared else None,
    )


def _experts_by_w(f: Fields, s: Sizes, *, num: int, per_token: int) -> Experts:
    """Experts as Mixtral's class runs them, with as many as given where the configuration says nothing."""
    num, per_token = experts_of(f, num=num, per_token=per_token, num_keys=("num_local_experts", "num_experts"))
    return Experts(
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=s.ffn_width,
        renormalises=True,
        wide_weights=True,
        adapter_names=EXPERTS_BY_W,
    )


def mixtral(f: Fields, name: str, source: Source) -> Decoder:
    """Mixtral: Mistral with 8 experts in place of the feed-forward, 2 of them per token."""
    s = sizes(f, vocab=32000, width=4096, layers=32, heads=32, kv_heads=8, positions=4096 * 32, ffn_width=14336)
    return decoder(name, source, s, attention_of(s, window=window_of(f, None)), _experts_by_w(f, s, num=8, per_token=2))


def minimax_m2(f: Fields, name: str, source: Source) -> Decoder:
    """MiniMax-M2: 256 small experts, none shared, norms over all queries and over all keys, partly rotary."""
    s = sizes(f, vocab=200064, width=3072, layers=62, heads=48, kv_heads=8, head_width=128, positions=196608, ffn_width=1536)
    attention = replace(with_qk_norm(attention_of(s), over_all_heads=True), by_head=True)
    return decoder(name, source, s, attention, _experts_by_w(f, s, num=256, per_token=8))


def qwen2_moe(f: Fields, name: str, source: Source) -> Decoder:
    """Qwen1.5 and Qwen2 MoE: small experts, shared ones behind a gate, biases on query, key and value."""
    s = sizes(f, vocab=151936, width=2048, layers=24, heads=16, kv_heads=16, positions=32768, ffn_width=5632)
    num, per_token = experts_of(f, num=60, per_token=4)
    shared = feed_forward_of(s, width=f.integer("shared_expert_intermediate_size", default=5632), gated=True)
    width = f.integer("moe_intermediate_size", default=1408)
    experts = Experts(
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=width,
        shared=shared,
        shared_gate=True,
        adapter_names=(("shared_expert_gate", SHARED_GATE),),
    )
    window = window_of(f, 4096) if f.flag("use_sliding_window", False) else None
    first_full = f.integer("max_window_layers", default=28, minimum=0)
    windows = windows_of(f, s.layers, window, lambda i: window is not None and i % 2 == 0 and i < first_full)
    attention = attention_of(s, bias=f.flag("qkv_bias", True), out_bias=False)
    return sometimes_sparse(f, name, source, s, [("attention", each) for each in windowed(attention, windows)], experts)


def qwen3_moe(f: Fields, name: str, source: Source) -> Decoder:
    """Qwen3 MoE: 128 small experts, none shared, norms on queries and keys."""
    s = sizes(f, vocab=151936, width=2048, layers=24, heads=32, kv_heads=4, positions=32768, ffn_width=6144)
    window = window_of(f, 4096) if f.flag("use_sliding_window", False) else None
    return _qwen3_moe(f, name, source, s, num=128, per_token=8, width=768, window=window, adapter_names=GATE_AND_EXPERTS)


def qwen3_vl_moe_text(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of Qwen3-VL MoE: as Qwen3 MoE, without windows, with other defaults and positions in three dimensions."""
    s = sizes(f, vocab=151936, width=2048, layers=24, heads=16, kv_heads=16, positions=128000, ffn_width=5632, tied=True)
    return _qwen3_moe(f, name, source, s, num=60, per_token=4, width=1408, window=None, adapter_names=())


def qwen3_omni_moe_text(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of Qwen3-Omni's thinker: as Qwen3 MoE, without windows, with other defaults and positions in three dimensions."""
    s = sizes(f, vocab=3584, width=2048, layers=28, heads=28, kv_heads=4, positions=32768, ffn_width=18944)
    return _qwen3_moe(f, name, source, s, num=128, per_token=8, width=768, window=None, adapter_names=())


def _qwen3_moe(
    f: Fields, name: str, source: Source, s: Sizes, *, num: int, per_token: int, width: int, window: int | None, adapter_names: Names
) -> Decoder:
    num, per_token = experts_of(f, num=num, per_token=per_token)
    experts = Experts(
        activation=s.activation,
        num=num,
        per_token=per_token,
        width=f.integer("moe_intermediate_size", default=width),
        adapter_names=adapter_names,
    )
    attention = with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False), window=window), over_all_heads=False)
    return sometimes_sparse(f, name, source, s, [("attention", attention)] * len(varied_layers(f, s)), experts)


def sometimes_sparse(f: Fields, name: str, source: Source, s: Sizes, mixes: Sequence[tuple[str, Part]], experts: Experts) -> Decoder:
    """Experts on every decoder_sparse_step-th layer that is not in mlp_only_layers, a dense feed-forward on the others.

    Args:
        mixes: what mixes the tokens of each layer, with its name.
    """
    step, dense_layers = f.integer("decoder_sparse_step", default=1), indices(f, "mlp_only_layers")
    dense = feed_forward_of(s, gated=True)

    def feed_forward(i: int) -> Part:
        return experts if i not in dense_layers and (i + 1) % step == 0 else dense

    return layered(name, source, s, [(mix, ("mlp", feed_forward(i))) for i, mix in enumerate(mixes)])


def olmoe(f: Fields, name: str, source: Source) -> Decoder:
    """OLMoE: 64 small experts, norms over all queries and over all keys."""
    s = sizes(f, vocab=50304, width=2048, layers=16, heads=16, positions=4096, ffn_width=2048, head_key="")
    num, per_token = experts_of(f, num=64, per_token=8)
    attention = with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=True)
    experts = Experts(activation=s.activation, num=num, per_token=per_token, width=s.ffn_width, adapter_names=GATE_AND_EXPERTS)
    return decoder(name, source, s, attention, experts)


def gpt_oss(f: Fields, name: str, source: Source) -> Decoder:
    """GPT-OSS: attention sinks, a window on every second layer, biases on attention, router and experts."""
    s = sizes(f, vocab=201088, width=2880, layers=36, heads=64, kv_heads=8, head_width=64, positions=131072, ffn_width=2880)
    num, per_token = experts_of(f, num=128, per_token=4, num_keys=("num_local_experts", "num_experts"))
    experts = Experts(activation=s.activation, num=num, per_token=per_token, width=s.ffn_width, bias=True, router_bias=True, clamped=True)
    attention = replace(attention_of(s, bias=f.flag("attention_bias", True)), sinks=True, scores="written_out")
    windows = windows_of(f, s.layers, window_of(f, 128), lambda i: i % 2 == 0)
    return layered(
        name, source, s, [(("attention", each), ("mlp", experts)) for each in windowed(attention, windows)], norm=Norm(written="rms_wide")
    )
