"""Mixtures of experts whose code comes with the repository they are published in: Ling and Ring, DeepSeekMoE, Xverse, Grok-1, Arctic.

Which layers they have, which biases, and what stands in for a field that is not there: from memory of that code, unchecked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import RMS_NORM, Block
from estimators.architectures.builders.common import attention_of, decoder, feed_forward_of, with_qk_norm
from estimators.architectures.builders.experts import experts_of, grouped_experts
from estimators.architectures.builders.layers import layered, varied_layers
from estimators.architectures.builders.llama import llama
from estimators.architectures.builders.own_decoders import own_sizes
from estimators.architectures.builders.prediction import with_prediction
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.own_code import by_hand, only, renamed, without_size
from estimators.architectures.part import Part
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


@by_hand
def bailing_moe(f: Fields, name: str, source: Source) -> Decoder:
    """Ling and Ring 1 and 2, LLaDA 2: Llama's attention, from 2 on with norms on queries and keys; experts of DeepSeek's kind."""
    only(f, {"multi_gate": False, "use_rmsnorm": True, "embedding_dropout": 0.0, "layer_group_size": 1})
    without_size(f, "norm_head", "norm_softmax", "max_window_layers", "moe_shared_expert_intermediate_size", "block_length")
    s = own_sizes(f)
    experts = grouped_experts(
        f,
        s,
        num=None,
        per_token=None,
        width=1,
        shared=0,
        groups=1,
        chosen_groups=1,
        num_keys=("num_experts",),
        shared_keys=("num_shared_experts",),
    )
    if experts.shared:
        stated, one = f.config.get("moe_shared_expert_intermediate_size"), experts.width
        if stated not in (None, one):
            raise f.fail(
                "moe_shared_expert_intermediate_size", stated, f"moe_intermediate_size, which is {one}: shared experts are as wide"
            )
    attention = attention_of(s, bias=f.flag("use_qkv_bias", False), out_bias=f.flag("use_bias", False), fused=True)
    if f.flag("use_qk_norm", "V2" in str(f.config.get("architectures")) or f.config["model_type"] != "bailing_moe"):
        attention = with_qk_norm(attention, over_all_heads=False)
    only(f, {"use_bias": False})
    return _first_dense(f, name, source, attention, experts, default=0)


@by_hand
def deepseek(f: Fields, name: str, source: Source) -> Decoder:
    """DeepSeekMoE 16B: Llama's attention, 64 small experts beside two shared ones, a dense first layer."""
    only(f, {"moe_layer_freq": 1})
    s = own_sizes(f)
    experts = grouped_experts(f, s, num=None, per_token=None, width=1, shared=0, groups=1, chosen_groups=1)
    attention = attention_of(s, bias=f.flag("attention_bias", False))
    return _first_dense(f, name, source, attention, experts, default=0)


def _first_dense(f: Fields, name: str, source: Source, attention: Part, experts: Experts, *, default: int) -> Decoder:
    s = own_sizes(f)
    first, dense = f.integer("first_k_dense_replace", default=default, minimum=0), feed_forward_of(s, gated=True)
    if f.config.get("moe_intermediate_size") is None:
        raise f.fail("moe_intermediate_size", None, "the width of one expert")
    layers = [(("attention", attention), ("mlp", experts if i >= first else dense)) for i in varied_layers(f, s)]
    model = layered(name, source, s, layers)
    return with_prediction(f, model, replace(model.blocks[-1], parts=(("attention", attention), ("mlp", experts))))


@by_hand
def xverse(f: Fields, name: str, source: Source) -> Decoder:
    """Xverse: Llama; its mixtures have experts as wide as intermediate_size, beside shared ones of the same width each."""
    if f.config.get("num_experts") in (None, 0):
        return llama(f, name, source)
    s = own_sizes(f)
    num, chosen = experts_of(f, num=None, per_token=None, num_keys=("num_experts",), per_token_keys=("moe_top_k", "num_experts_per_tok"))
    shared = f.integer("num_shared_experts", default=0, minimum=0)
    experts = Experts(
        activation=s.activation,
        num=num,
        per_token=chosen,
        width=s.ffn_width,
        router_layer=True,
        shared=feed_forward_of(s, width=shared * s.ffn_width, gated=True) if shared else None,
    )
    return decoder(name, source, s, attention_of(s), experts)


@by_hand
def grok_1(f: Fields, name: str, source: Source) -> Decoder:
    """Grok-1: 8 experts, two per token, norms before and behind attention and experts; scores held within bounds; tied."""
    s = own_sizes(renamed(f, {}, fixed={"hidden_act": "gelu"}, missing={"tie_word_embeddings": True}))
    without_size(f, "attn_output_multiplier", "embedding_multiplier_scale", "output_multiplier_scale", "max_attn_value")
    num, chosen = experts_of(f, num=None, per_token=None)
    experts = Experts(activation="gelu", num=num, per_token=chosen, width=s.ffn_width, router_layer=True)
    attention = replace(attention_of(s), scores="written_out", capped=True)
    return decoder(name, source, s, attention, experts, norms=4)


@by_hand
def arctic(f: Fields, name: str, source: Source) -> Decoder:
    """Arctic: 128 experts, two per token, beside a dense feed-forward as wide as the model behind a norm of its own."""
    only(f, {"parallel_attn_mlp_res": True, "use_residual": True})
    without_size(f, "enc_index", "moe_eval_capacity_factor", "moe_min_capacity", "moe_token_dropping", "moe_train_capacity_factor")
    s = own_sizes(f)
    num, chosen = experts_of(f, num=None, per_token=None, num_keys=("num_local_experts",))
    dense, every = feed_forward_of(s, gated=True), f.integer("moe_layer_frequency")
    beside = feed_forward_of(s, width=s.width, gated=True)
    experts = Experts(activation=s.activation, num=num, per_token=chosen, width=s.ffn_width, shared=beside)
    attention = attention_of(s)
    sparse = sum((i + 1) % every == 0 for i in varied_layers(f, s))

    def block(count: int, part: Part, norms: int) -> Block:
        return Block(count=count, parts=(("attention", attention), ("mlp", part)), norms=norms, norm=RMS_NORM)

    model = decoder(name, source, s, attention, dense)
    blocks = tuple(each for each in (block(s.layers - sparse, dense, 2), block(sparse, experts, 3)) if each.count)
    order = tuple(int((i + 1) % every == 0) for i in varied_layers(f, s)) if len(blocks) == 2 else ()
    return replace(model, blocks=blocks, order=order)
