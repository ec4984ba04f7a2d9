"""The model that a row describes: by its dimensions, or by the name of one that ships."""

from __future__ import annotations

import functools
import re
from typing import Any

from estimators.architectures.adapters import with_adapters
from estimators.architectures.from_config import model_from_config
from estimators.errors import UnknownNameError
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Model
from estimators.training.sequence_cost import sequence_cost_of
from estimators.training.supported import not_covered
from estimators.validation.groups import Group, model_id_of
from estimators.validation.stated import dense_layers, rank
from estimators.validation.table import LeftOutError, Record
from estimators.weight_formats import PLAIN, WeightFormat

VOCAB = {"gpt": 51200, "llama": 128256}
"""Where neither row nor table says: Megatron's padded GPT-2 vocabulary, and Llama 3's."""


def described(record: Record, group: Group, name: str, seq_len: int) -> tuple[Model, str]:
    """The model of a throughput row, and what was assumed of it: two matrices of four widths is a GPT, another feed-forward width a Llama.

    A row without dimensions means the model that ships under its name; leading layers that a note calls dense are dense.

    Raises:
        LeftOutError: no dimensions and no model of that name, a mixture of experts that does not ship, heads that do not divide the
            width, an adapter without a rank.
    """
    adapters = group.kind == "lora" or "LoRA" in name
    targets = ("all-linear",) if group.target == "all" else ("q_proj", "k_proj", "v_proj", "o_proj")
    four_bits: WeightFormat = "gptq" if "int4" in record.text("precision") else "nf4"
    base: WeightFormat = four_bits if "[Q-LoRA" in name else PLAIN
    model, assumed = _base(record, group, name, seq_len)
    return with_adapters(model, rank(record, group, name), targets, base) if adapters else model, assumed


def described_run(record: Record, seq_len: int) -> Model:
    """The model of a whole run's row: by its dimensions, or the one that ships under its name.

    Raises:
        LeftOutError: no language model that is known.
    """
    name = record.text("name")
    shipped = _id_by_name(name)
    if record.text("params_active") and not shipped:
        raise LeftOutError("a mixture of experts that does not ship")
    model = shipped_model(shipped) if record.text("params_active") else _base(record, Group(match=""), name, seq_len)[0]
    if reason := not_covered(model, seq_len):
        raise LeftOutError(f"{name} {reason}; runs of language models alone are predicted")
    if sequence_cost_of(model, seq_len).scan_layers:
        raise LeftOutError(f"{name} has scans of a state, of which no step was measured")
    return model


def _base(record: Record, group: Group, name: str, seq_len: int) -> tuple[Model, str]:
    shipped = model_id_of(name)
    dense = dense_layers(record.text("notes"), name)
    if not (record.text("layers") and record.text("hidden")):
        shipped = shipped or _id_by_name(name)
        if not shipped:
            raise LeftOutError(group.apart or "the row has no dimensions of the model, and none that ships has its name")
        return shipped_model(shipped, dense=dense), f"layers=those of {shipped}, by its name"
    layers, width = record.needed("layers"), record.needed("hidden")
    heads = record.whole("heads") or max(1, width // 128)
    ffn, vocab = record.whole("ffn"), record.whole("vocab") or group.vocab
    if shipped and (not ffn or sequence_cost_of(shipped_model(shipped), seq_len).experts > 1):
        return shipped_model(shipped, layers if sequence_cost_of(shipped_model(shipped), seq_len).layers != layers else 0, dense), ""
    if "MoE" in record.text("notes"):
        raise LeftOutError("a mixture of experts whose dimensions are not in the row")
    if width % heads:
        raise LeftOutError(f"{heads} heads do not divide a width of {width}")
    if ffn and ffn != 4 * width:
        kv_heads = record.whole("kv_heads") or heads
        return llama(layers, width, heads, kv_heads, ffn, vocab or VOCAB["llama"], seq_len), ""
    return gpt(layers, width, heads, ffn or 0, vocab, seq_len), ""


def _id_by_name(name: str) -> str:
    """The shipped model of a name, punctuation and what follows a blank or a bracket left out; empty where there is none."""
    for text in (name, name.split("[")[0], name.split(" ")[0]):
        try:
            return model_entry(text.strip()).id
        except UnknownNameError:
            plain = {_plain(model_id): model_id for model_id in model_ids()}
            if found := plain.get(_plain(text)):
                return found
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


@functools.lru_cache(maxsize=512)
def _model_of(items: tuple[tuple[str, Any], ...]) -> Model:
    return model_from_config(dict(items), name=str(dict(items)["model_type"]))


@functools.cache
def shipped_model(model_id: str, layers: int = 0, dense: int | None = None) -> Model:
    """A model that ships, at another depth and with other leading dense layers if they are given. Raises UnknownNameError."""
    config: dict[str, Any] = dict(model_entry(model_id).config)
    if layers:
        config["num_hidden_layers"] = layers
    if dense is not None and "decoder_sparse_step" in config:
        config["mlp_only_layers"] = list(range(dense))
    elif dense is not None:
        config["first_k_dense_replace"] = dense
    return model_from_config(config, name=model_id)


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
