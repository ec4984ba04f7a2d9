"""Random configurations of families of dense decoders."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.drawn_decoders import (
    Config,
    family,
    flags,
    layered,
    own_heads,
    shapes,
    sliding,
    windows,
)
from tests.support.gemma3n_models import gemma3n
from tests.support.gemma4_models import gemma4

GPT = {"width": "n_embd", "layers": "n_layer", "heads": "n_head", "kv_heads": ""}
ffn, inner, positions = {"intermediate_size": st.integers(8, 64)}, {"n_inner": st.integers(8, 64)}, {"n_positions": st.integers(64, 99)}
two_biases = {"attention_bias": flags, "mlp_bias": flags}
pad = {"pad_token_id": 0}

DENSE: dict[str, st.SearchStrategy[Config]] = {
    "apertus": family(shapes(), **ffn, attention_bias=flags),
    "arcee": family(own_heads(), **ffn, **two_biases),
    "bitnet": family(shapes(), **ffn, attention_bias=flags),
    "bloom": family(shapes(layers="n_layer", heads="n_head", kv_heads="")),
    "codegen": family(shapes(**GPT, multiple=4), {"rotary_dim": 4}, **inner, **positions),
    "cohere": family(shapes(), pad, **ffn, attention_bias=flags, use_qk_norm=flags),
    "cohere2": sliding(family(shapes(), pad, **ffn, attention_bias=flags, sliding_window=windows)),
    "cwm": sliding(family(shapes(), {"head_dim": 16}, **ffn, mlp_bias=flags, sliding_window=windows)),
    "ernie4_5": family(own_heads(), pad, **ffn, use_bias=flags),
    "exaone": family(shapes(), **ffn, **two_biases),
    "exaone4": sliding(family(shapes(), **ffn, sliding_window=windows)),
    "falcon": st.one_of(
        family(shapes(kv_heads="num_kv_heads"), {"new_decoder_architecture": True}, bias=flags, num_ln_in_parallel_attn=st.integers(1, 2)),
        family(shapes(kv_heads=""), multi_query=flags, parallel_attn=flags, alibi=flags, bias=flags, ffn_hidden_size=st.integers(8, 64)),
    ),
    "gemma": family(own_heads(), **ffn, attention_bias=flags, use_bidirectional_attention=flags),
    "gemma2": sliding(family(own_heads(), **ffn, sliding_window=windows)),
    "gemma3n_text": gemma3n(),
    "gemma4_text": gemma4(),
    "gemma3_text": sliding(family(own_heads(), **ffn, sliding_window=windows, attention_bias=flags, use_bidirectional_attention=flags)),
    "glm": family(own_heads(), pad, **ffn, attention_bias=flags),
    "glm4": family(own_heads(), pad, **ffn, attention_bias=flags),
    "gpt2": family(shapes(**GPT), **inner, **positions),
    "gpt_bigcode": family(shapes(**GPT), **inner, **positions, multi_query=flags),
    "gpt_neo": family(shapes(layers="num_layers", heads="num_heads", kv_heads=""), **ffn, window_size=windows).flatmap(
        lambda config: st.sampled_from(["global", "local"]).map(
            lambda first: (
                config | {"attention_types": [[[first], 1]] + [[["local"], config["num_layers"] - 1]] * (config["num_layers"] > 1)}
            )
        )
    ),
    "gpt_neox": family(shapes(kv_heads=""), **ffn, attention_bias=flags, use_parallel_residual=flags),
    "gptj": family(shapes(**GPT), {"rotary_dim": 4}, **inner, **positions),
    "granite": family(shapes(), **ffn, **two_biases),
    "helium": family(shapes(), **ffn, **two_biases).map(lambda c: c | {"head_dim": c["hidden_size"] // c["num_attention_heads"]}),
    "hunyuan_v1_dense": family(shapes(), pad | {"head_dim": 8}, **ffn, attention_bias=flags),
    "internlm3": st.tuples(family(own_heads(), pad, **ffn), flags).map(lambda d: d[0] | {"qkv_bias": d[1], "bias": d[1]}),
    "iquestcoder": family(shapes(), {"head_dim": 16}, **ffn, **two_biases),
    "llama": family(own_heads(), **ffn, **two_biases),
    "ministral": sliding(family(shapes(), {"head_dim": 8}, **ffn, sliding_window=windows)),
    "ministral3": family(own_heads(), pad, **ffn, sliding_window=st.none() | windows),
    "mistral": family(own_heads(), **ffn, sliding_window=st.none() | windows),
    "mllama_text_model": family(shapes(), pad, **ffn).flatmap(
        lambda c: st.sets(st.integers(0, c["num_hidden_layers"] - 1), max_size=c["num_hidden_layers"] - 1).map(
            lambda crossing: c | {"cross_attention_layers": sorted(crossing)}
        )
    ),
    "mpt": family(shapes(width="d_model", layers="n_layers", heads="n_heads", kv_heads=""), max_seq_len=st.integers(64, 99)),
    "nemotron": family(own_heads(), **ffn, **two_biases),
    "olmo": family(shapes(), pad, **ffn, attention_bias=flags),
    "olmo2": family(shapes(), pad, **ffn, attention_bias=flags),
    "olmo3": sliding(family(shapes(), pad, **ffn, attention_bias=flags, sliding_window=windows)),
    "opt": family(
        shapes(kv_heads=""),
        ffn_dim=st.integers(8, 64),
        enable_bias=flags,
        layer_norm_elementwise_affine=flags,
        do_layer_norm_before=flags,
        word_embed_proj_dim=st.integers(8, 64),
        max_position_embeddings=st.integers(64, 99),
    ),
    "phi": family(shapes(), **ffn, qk_layernorm=flags),
    "phi3": family(shapes(), pad, **ffn, sliding_window=st.none() | windows),
    "qwen2": sliding(family(shapes(), {"use_sliding_window": True}, **ffn, sliding_window=windows, max_window_layers=st.integers(0, 2))),
    "qwen3": sliding(family(own_heads(), {"use_sliding_window": True}, **ffn, attention_bias=flags, max_window_layers=st.integers(0, 2))),
    "seed_oss": family(own_heads(), **ffn, attention_bias=flags, attention_out_bias=flags, mlp_bias=flags),
    "smollm3": layered(
        family(shapes(), pad, **ffn, **two_biases, use_sliding_window=flags, sliding_window=windows), "no_rope_layers", [0, 1]
    ),
    "stablelm": family(shapes(), pad, **ffn, use_qkv_bias=flags, qk_layernorm=flags, use_parallel_residual=flags),
    "starcoder2": family(shapes(), **ffn, use_bias=flags, sliding_window=st.none() | windows),
    "vaultgemma": sliding(family(shapes(), {"head_dim": 16}, **ffn, sliding_window=windows, attention_bias=flags)),
}
