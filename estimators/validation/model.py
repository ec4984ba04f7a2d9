"""The model that a row describes: by its dimensions, or by the name of one that ships."""

from __future__ import annotations

import functools
from typing import Any

from estimators.architectures.adapters import with_adapters
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import model_entry
from estimators.spec import Model
from estimators.training.sequence_cost import sequence_cost_of
from estimators.validation.groups import Group, model_id_of
from estimators.validation.table import LeftOutError, Record

VOCAB = {"gpt": 51200, "llama": 128256}
"""Where neither row nor table says: Megatron's padded GPT-2 vocabulary, and Llama 3's."""


def described(record: Record, group: Group, name: str, seq_len: int) -> Model:
    """The model of a throughput row: two matrices of four widths is a GPT, another feed-forward width a Llama.

    Raises:
        LeftOutError: a mixture of experts that does not ship, or heads that do not divide the width.
    """
    layers, width = record.needed("layers"), record.needed("hidden")
    heads = record.whole("heads") or max(1, width // 128)
    ffn, vocab = record.whole("ffn"), record.whole("vocab") or group.vocab
    shipped = model_id_of(name)
    if shipped and (not ffn or sequence_cost_of(shipped_model(shipped), seq_len).experts > 1):
        return shipped_model(shipped)
    if "MoE" in record.text("notes"):
        raise LeftOutError("a mixture of experts whose dimensions are not in the row")
    if width % heads:
        raise LeftOutError(f"{heads} heads do not divide a width of {width}")
    if ffn and ffn != 4 * width:
        kv_heads = record.whole("kv_heads") or heads
        model = llama(layers, width, heads, kv_heads, ffn, vocab or VOCAB["llama"], seq_len)
    else:
        model = gpt(layers, width, heads, ffn or 0, vocab, seq_len)
    if group.kind == "lora" or "[LoRA" in name or "[Q-LoRA" in name:
        targets = ("all-linear",) if group.target == "all" else ("q_proj", "k_proj", "v_proj", "o_proj")
        return with_adapters(model, group.rank, targets, "nf4" if "[Q-LoRA" in name else "16-bit")
    return model


@functools.lru_cache(maxsize=512)
def _model_of(items: tuple[tuple[str, Any], ...]) -> Model:
    return model_from_config(dict(items), name=str(dict(items)["model_type"]))


@functools.cache
def shipped_model(model_id: str, layers: int = 0) -> Model:
    """A model that ships, at another depth if one is given. Raises UnknownNameError."""
    config = model_entry(model_id).config
    return model_from_config(config | {"num_hidden_layers": layers} if layers else config, name=model_id)  # type: ignore[operator]


def gpt(layers: int, width: int, heads: int, ffn: int, vocab: int, seq_len: int) -> Model:
    """A GPT-2 of other dimensions; 0 for the usual feed-forward width and vocabulary."""
    vocab = vocab or VOCAB["gpt"]
    fields: dict[str, Any] = {
        "model_type": "gpt2",
        "n_layer": layers,
        "n_embd": width,
        "n_head": heads,
        "vocab_size": vocab,
        "n_positions": max(seq_len, 1024),
    }
    return _model_of(tuple(sorted((fields | ({"n_inner": ffn} if ffn else {})).items())))


def llama(layers: int, width: int, heads: int, kv_heads: int, ffn: int, vocab: int, seq_len: int) -> Model:
    fields: dict[str, Any] = {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "vocab_size": vocab,
        "max_position_embeddings": max(seq_len, 2048),
        "tie_word_embeddings": False,
    }
    return _model_of(tuple(sorted(fields.items())))
