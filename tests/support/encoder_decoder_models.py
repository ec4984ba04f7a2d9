"""Random configurations of encoder-decoders."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


@st.composite
def t5_like(draw: st.DrawFn) -> dict[str, Any]:
    model_type = draw(st.sampled_from(["t5", "mt5"]))
    chosen = draw(st.none() | st.sampled_from(["Model", "ForConditionalGeneration", "EncoderModel"]))
    return {
        "model_type": model_type,
        **({"architectures": [model_type.upper() + chosen]} if chosen else {}),
        "d_model": draw(st.integers(1, 40)),
        "d_kv": draw(st.integers(1, 12)),
        "d_ff": draw(st.integers(1, 60)),
        "num_heads": draw(st.integers(1, 5)),
        "num_layers": draw(st.integers(1, 3)),
        "num_decoder_layers": draw(st.none() | st.integers(1, 3)),
        "relative_attention_num_buckets": 2 * draw(st.integers(4, 20)),
        "vocab_size": draw(st.integers(5, 90)),
        "feed_forward_proj": draw(st.sampled_from(["relu", "gated-gelu", "gated-silu"])),
        "tie_word_embeddings": draw(st.booleans()),
    }


@st.composite
def bart_like(draw: st.DrawFn) -> dict[str, Any]:
    model_type, base, head = draw(
        st.sampled_from(
            [
                ("bart", "Bart", "ForConditionalGeneration"),
                ("mbart", "MBart", "ForConditionalGeneration"),
                ("pegasus", "Pegasus", "ForConditionalGeneration"),
                ("marian", "Marian", "MTModel"),
            ]
        )
    )
    vocab = draw(st.integers(5, 90))
    two_vocabularies = draw(st.booleans()) and model_type == "marian"
    return {
        "model_type": model_type,
        **draw(st.sampled_from([{}, {"architectures": [base + head]}, {"architectures": [f"{base}Model"]}])),
        "d_model": 12 * draw(st.integers(1, 4)),
        "encoder_attention_heads": draw(st.sampled_from([1, 2, 3])),
        "decoder_attention_heads": draw(st.sampled_from([1, 4, 6])),
        "encoder_layers": draw(st.integers(1, 3)),
        "decoder_layers": draw(st.integers(1, 3)),
        "encoder_ffn_dim": draw(st.integers(1, 50)),
        "decoder_ffn_dim": draw(st.integers(1, 50)),
        "vocab_size": vocab,
        "max_position_embeddings": draw(st.integers(40, 70)),
        "pad_token_id": 1,
        "decoder_start_token_id": 2,
        "eos_token_id": 2,
        "tie_word_embeddings": draw(st.booleans()),
        **({"share_encoder_decoder_embeddings": False, "decoder_vocab_size": vocab + 3} if two_vocabularies else {}),
    }


@st.composite
def whisper(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "model_type": "whisper",
        "architectures": [draw(st.sampled_from(["WhisperForConditionalGeneration", "WhisperModel"]))],
        "d_model": 12 * draw(st.integers(1, 3)),
        "encoder_attention_heads": draw(st.sampled_from([1, 2, 3])),
        "decoder_attention_heads": draw(st.sampled_from([1, 4, 6])),
        "encoder_layers": draw(st.integers(1, 3)),
        "decoder_layers": draw(st.integers(1, 3)),
        "encoder_ffn_dim": draw(st.integers(1, 50)),
        "decoder_ffn_dim": draw(st.integers(1, 50)),
        "num_mel_bins": draw(st.integers(1, 20)),
        "max_source_positions": draw(st.integers(2, 40)),
        "max_target_positions": draw(st.integers(40, 60)),
        "vocab_size": draw(st.integers(5, 90)),
        "pad_token_id": 1,
        "tie_word_embeddings": draw(st.booleans()),
    }
