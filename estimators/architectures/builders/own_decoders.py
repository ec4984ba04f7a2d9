"""Decoders whose code comes with the repository they are published in, and which are a family's layers under other names.

Which layers they have, which biases, and what stands in for a field that is not there: from memory of that code, unchecked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM
from estimators.architectures.builders.common import attention_of, decoder, feed_forward_of
from estimators.architectures.builders.experts import experts_of
from estimators.architectures.builders.gpt import phi
from estimators.architectures.builders.layer_norm import falcon, stablelm
from estimators.architectures.builders.llama import BARE_NORM, glm, llama, mistral, phi3, qwen2, qwen3
from estimators.architectures.builders.llama_variants import hunyuan_v1_dense
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.builders.windows import window_of
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.own_code import by_hand, only, renamed, without_size
from estimators.errors import NoOpTableError
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

DENOISES = "how often it is run on a text that it denoises: its steps are those of a model that writes token by token"
GPT_NAMES = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
MOSAIC = {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads", "num_key_value_heads": "n_kv_heads"}


def own_sizes(f: Fields, **defaults: Any) -> Sizes:
    """Sizes that a configuration says itself: `by_hand` lets none of the defaults pass but those of positions and key heads."""
    return sizes(f, vocab=1, width=1, layers=1, heads=1, positions=2048, ffn_width=1, **defaults)


def _seeing_all(model: Decoder) -> Decoder:
    """A decoder whose tokens see those behind them, too."""

    def part(each: Any) -> Any:
        return replace(each, causal=False) if isinstance(each, Attention) else each

    blocks = tuple(replace(block, parts=tuple((key, part(each)) for key, each in block.parts)) for block in model.blocks)
    return replace(model, blocks=blocks, left_out=DENOISES)


@by_hand
def as_llama(f: Fields, name: str, source: Source) -> Decoder:
    """Yi of 2023, Skywork 13B, Aquila, Xverse without experts: Llama."""
    return llama(f, name, source)


@by_hand
def internlm(f: Fields, name: str, source: Source) -> Decoder:
    """InternLM 1 and 2, openPangu Embedded: Llama with one switch for the biases of attention; InternLM2 with one qkv matrix."""
    return llama(renamed(f, {"attention_bias": "bias"}), name, source)


@by_hand
def baichuan(f: Fields, name: str, source: Source) -> Decoder:
    """Baichuan 1 and 2: Llama with one qkv matrix; 13B by distance in place of rotary positions, which its files have no number of."""
    names = {} if "max_position_embeddings" in f.config else {"max_position_embeddings": "model_max_length"}
    s = own_sizes(renamed(f, names), head_key="", kv_key="")
    attention = attention_of(s, fused=True, rotary=not names)
    return decoder(name, source, s, replace(attention, scores="written_out" if names else "fused"), feed_forward_of(s, gated=True))


@by_hand
def qwen(f: Fields, name: str, source: Source) -> Decoder:
    """Qwen 1, Qwen-VL, Qwen-Audio: Qwen2 with as many key heads as heads; intermediate_size is that of gate and up together."""
    only(f, {"no_bias": True, "scale_attn_weights": True})
    width, heads = f.integer("hidden_size"), f.integer("num_attention_heads")
    if heads * f.integer("kv_channels", default=width // heads) != width:
        raise f.fail("kv_channels", f.config["kv_channels"], f"hidden_size over num_attention_heads, which is {width // heads}")
    half, odd = divmod(f.integer("intermediate_size"), 2)
    if odd:
        raise f.fail("intermediate_size", 2 * half + 1, "an even number: gate and up together")
    names = {"max_position_embeddings": "seq_length"} if "seq_length" in f.config else {}
    fixed = {"intermediate_size": half, "num_key_value_heads": heads, "use_sliding_window": False}
    return qwen2(renamed(f, names, fixed=fixed), name, source)


CHATGLM_NAMES = {
    "num_hidden_layers": "num_layers",
    "vocab_size": "padded_vocab_size",
    "intermediate_size": "ffn_hidden_size",
    "head_dim": "kv_channels",
    "max_position_embeddings": "seq_length",
    "attention_bias": "add_qkv_bias",
}


@by_hand
def chatglm(f: Fields, name: str, source: Source) -> Decoder:
    """ChatGLM2, ChatGLM3, GLM-4 of 2024 and its vision: GLM-4 under older names. ChatGLM-6B is another model."""
    only(f, {"position_encoding_2d": False, "add_bias_linear": False, "rmsnorm": True, "post_layer_norm": True})
    only(f, {"apply_residual_connection_post_layernorm": False, "pre_seq_len": None, "prefix_projection": False})
    grouped = f.flag("multi_query_attention", False)
    kv_heads = f.integer("multi_query_group_num") if grouped else f.integer("num_attention_heads")
    return glm(renamed(f, CHATGLM_NAMES, fixed={"num_key_value_heads": kv_heads}), name, source)


@by_hand
def orion(f: Fields, name: str, source: Source) -> Decoder:
    """Orion 14B: Llama with layer norms."""
    s = own_sizes(f)
    return decoder(name, source, s, attention_of(s, bias=f.flag("attention_bias", False)), feed_forward_of(s, gated=True), norm=LAYER_NORM)


@by_hand
def hunyuan(f: Fields, name: str, source: Source) -> Decoder:
    """Hunyuan 7B as it was first published: Hunyuan without experts; Hunyuan Large shares keys between layers and is another model."""
    width = f.integer("hidden_size") // f.integer("num_attention_heads")
    only(f, {"head_dim": f.optional_integer("attention_head_dim") or width})
    only(f, {"use_cla": False, "norm_type": "rms", "use_qk_norm": True, "add_classification_head": False, "kv_lora_rank": None})
    without_size(f, "cla_share_factor", "num_experts", "num_shared_expert", "moe_topk", "moe_layer_num_skipped", "use_mixed_mlp_moe")
    return hunyuan_v1_dense(renamed(f, {"head_dim": "attention_head_dim"}), name, source)


@by_hand
def solar(f: Fields, name: str, source: Source) -> Decoder:
    """Solar Pro: Llama with a window, some of whose layers add what an earlier one made, which has no parameters."""
    without_size(f, "bskcn_1", "bskcn_2", "bskcn_3", "bskcn_4", "bskcn_tv")
    model = llama(f, name, source)
    window = window_of(f, None)
    (block,) = model.blocks
    parts = tuple((key, replace(part, window=window) if isinstance(part, Attention) else part) for key, part in block.parts)
    return replace(model, blocks=(replace(block, parts=parts),))


@by_hand
def minicpm(f: Fields, name: str, source: Source) -> Decoder:
    """MiniCPM 1 and 4: Llama, tied unless the file says otherwise; MiniCPM-MoE with experts of Mixtral's kind."""
    inner = renamed(f, {}, missing={"tie_word_embeddings": True})
    model = llama(inner, name, source)
    if isinstance(f.config.get("sparse_config"), dict):
        model = replace(model, left_out="the choice of keys of long texts (sparse_config): every query is counted as seeing all before it")
    if f.config.get("num_experts") in (None, 0):
        return model
    s = own_sizes(inner)
    num, chosen = experts_of(f, num=None, per_token=None, num_keys=("num_experts",))
    experts = Experts(activation=s.activation, num=num, per_token=chosen, width=s.ffn_width, renormalises=True)
    (block,) = model.blocks
    return replace(model, blocks=(replace(block, parts=(("attention", attention_of(s)), ("mlp", experts))),))


MINICPM_V = {"2": minicpm, "2.0": minicpm, "2.5": llama, "2.6": qwen2, "4.0": llama, "4": llama, "4.5": qwen3}
"""Version -> what writes the text."""


@by_hand
def minicpm_v(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of MiniCPM-V 2 to 4.5 and MiniCPM-o 2.6, whose fields stand at the top: which family's, the version says."""
    version = str(f.config.get("version"))
    if version not in MINICPM_V:
        raise f.fail("version", version, f"one of {', '.join(MINICPM_V)}: it says of which family the language part is")
    without_size(f, "slice_config", "slice_mode", "query_num", "patch_size", "image_size", "use_image_id", "batch_vision_input")
    without_size(f, "drop_vision_last_layer", "vision_batch_size")
    return _decoder(MINICPM_V[version], f, name, source)


def _decoder(build: Any, f: Fields, name: str, source: Source) -> Decoder:
    model = build(f, name, source)
    assert isinstance(model, Decoder)
    return model


@by_hand
def telechat(f: Fields, name: str, source: Source) -> Decoder:
    """TeleChat 1 and 2: Llama with a bias on the last matrix of attention and of the feed-forward; tied unless the file says otherwise."""
    only(f, {"apply_residual_connection_post_layernorm": False, "embed_layernorm": False})
    names = {**GPT_NAMES, "hidden_size": "hidden_size", "intermediate_size": "ffn_hidden_size", "max_position_embeddings": "seq_length"}
    s = own_sizes(renamed(f, names, missing={"tie_word_embeddings": True}), head_key="")
    feed_forward = replace(feed_forward_of(s, gated=True), last_bias=True)
    return decoder(name, source, s, attention_of(s, out_bias=True), feed_forward)


@by_hand
def refined_web(f: Fields, name: str, source: Source) -> Decoder:
    """Falcon as it was first published: 7B as RefinedWebModel, 40B as RefinedWeb with two norms and groups of heads."""
    new = f.config.get("model_type") == "RefinedWeb"
    names = {**GPT_NAMES, "hidden_size": "hidden_size", "num_kv_heads": "n_head_kv"}
    fixed = {"new_decoder_architecture": new} | ({"multi_query": False} if new else {})
    width = f.integer("hidden_size")
    return falcon(renamed(f, names, fixed=fixed, missing={"ffn_hidden_size": 4 * width}), name, source)


@by_hand
def stablelm_epoch(f: Fields, name: str, source: Source) -> Decoder:
    """StableLM 3B, Zephyr 3B and StableLM 2 1.6B as they were first published: StableLM."""
    without_size(f, "num_heads")
    return stablelm(renamed(f, {"partial_rotary_factor": "rope_pct"}, fixed={"use_parallel_residual": False}), name, source)


@by_hand
def phi_first(f: Fields, name: str, source: Source) -> Decoder:
    """Phi-1, Phi-1.5 and Phi-2 as they were first published: Phi."""
    only(f, {"n_head_kv": None, "fused_dense": None, "parallel_block": True})
    without_size(f, "architecture")
    inner = {"intermediate_size": 4 * f.integer("n_embd")}
    names = {**GPT_NAMES, "intermediate_size": "n_inner", "max_position_embeddings": "n_positions", "hidden_act": "activation_function"}
    return phi(renamed(f, names, missing={**inner, "hidden_act": "gelu_new"}), name, source)


@by_hand
def olmo_first(f: Fields, name: str, source: Source) -> Decoder:
    """OLMo 1 as it was first published: OLMo; gate and up stand in one matrix, whose width is the hidden one."""
    only(f, {"block_type": "sequential", "include_bias": False, "attention_layer_norm": False, "multi_query_attention": False})
    only(f, {"layer_norm_type": "default", "layer_norm_with_affine": False, "activation_type": "swiglu", "rope": True, "alibi": False})
    only(f, {"input_emb_norm": False, "layer_norm_with_bias": False, "bias_for_layer_norm": False, "embedding_layer_norm": False})
    width = f.integer("d_model")
    both = f.optional_integer("mlp_hidden_size") or f.integer("mlp_ratio") * width
    s = own_sizes(_mosaic(f, both // 2, "mlp_ratio"))
    return decoder(name, source, s, attention_of(s, fused=True), feed_forward_of(s, gated=True, fused=True), norm=BARE_NORM)


@by_hand
def llada(f: Fields, name: str, source: Source) -> Decoder:
    """LLaDA 8B: Llama that denoises, so that every token sees all others; sizes as OLMo's first code has them."""
    only(f, {"block_type": "llama", "include_bias": False, "attention_layer_norm": False, "multi_query_attention": False})
    only(
        f, {"layer_norm_type": "rms", "layer_norm_with_affine": True, "bias_for_layer_norm": False, "activation_type": "silu", "rope": True}
    )
    only(f, {"input_emb_norm": False, "block_group_size": 1, "alibi": False})
    width = f.integer("d_model")
    inner = f.optional_integer("mlp_hidden_size") or f.integer("mlp_ratio") * width
    s = own_sizes(_mosaic(f, inner, "mlp_ratio"))
    return _seeing_all(
        decoder(name, source, s, attention_of(s, bias=f.flag("include_qkv_bias", False), out_bias=False), feed_forward_of(s, gated=True))
    )


def _mosaic(f: Fields, inner: int, *read: str) -> Fields:
    without_size(f, *read, "vocab_size")
    rows = f.optional_integer("embedding_size") or f.integer("vocab_size")
    names = {**MOSAIC, "tie_word_embeddings": "weight_tying", "max_position_embeddings": "max_sequence_length"}
    return renamed(f, names, fixed={"intermediate_size": inner, "vocab_size": rows, "hidden_act": "silu"})


@by_hand
def dream(f: Fields, name: str, source: Source) -> Decoder:
    """Dream 7B: Qwen2 that denoises, so that every token sees all others."""
    without_size(f, "full_attn_mask")
    return _seeing_all(qwen2(f, name, source))


@by_hand
def sdar(f: Fields, name: str, source: Source) -> Decoder:
    """SDAR: Qwen3 that denoises blocks of tokens."""
    without_size(f, "block_size")
    return replace(qwen3(f, name, source), left_out=DENOISES)


@by_hand
def phi3_with_parts(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of Phi-3 Vision, Phi-3.5 Vision and Phi-4 multimodal, whose fields stand at the top: Phi-3's."""
    only(f, {"lm_head_bias": False, "mlp_bias": False, "attention_bias": False, "full_attn_mod": 1})
    return phi3(f, name, source)


@by_hand
def qwen2_with_parts(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of dots.ocr, whose fields stand at the top: Qwen2's."""
    only(f, {"attention_bias": True})
    return qwen2(f, name, source)


@by_hand
def qwen3_with_parts(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of Keye-VL, whose fields stand at the top: Qwen3's."""
    return qwen3(f, name, source)


LLAVA = {"LlavaLlama": llama, "LlavaMistral": mistral, "LlavaQwen": qwen2}
"""What the name of its class begins with -> what writes the text."""


@by_hand
def first_llava(f: Fields, name: str, source: Source) -> Decoder:
    """The language part of LLaVA as its authors publish it, whose fields stand at the top: that of its class. Raises NoOpTableError."""
    named = f.config.get("architectures")
    written = str(named[0]) if isinstance(named, list) and named else f"Llava{str(f.config['model_type']).rpartition('_')[2].title()}"
    build = next((family for begin, family in LLAVA.items() if written.startswith(begin)), None)
    if build is None:
        raise NoOpTableError(f"{f.name}: architectures names {written[:60]!r}; expected one that begins with {', '.join(LLAVA)}")
    without_size(f, "image_aspect_ratio", "image_grid_pinpoints", "image_crop_resolution", "image_split_resolution")
    without_size(f, "use_mm_proj", "freeze_mm_mlp_adapter", "tune_mm_mlp_adapter", "tune_mm_vision_resampler", "unfreeze_mm_vision_tower")
    return _decoder(build, f, name, source)
