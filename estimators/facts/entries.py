"""From a data file's content to a checked fact: a model's file to a ModelEntry, a row of hardware.csv to a Hardware."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from estimators.errors import BadValueError
from estimators.facts import data
from estimators.frozen import field, frozen
from estimators.spec import Hardware, Source

PEAK_DTYPES = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int8")
"""Formats that hardware.csv has a column of peaks for."""

SCALED_DTYPES = {"mxfp8": "fp8", "mxfp4": "fp4", "nvfp4": "fp4"}
"""Formats of blocks that share a scale -> the column of their peak: scales are applied beside the products. nvfp4 is NVIDIA's alone."""

MEMORY_BASES = ("driver", "marketed", "largest configuration")
HARDWARE_COLUMNS = (
    *("id", "name", "vendor", "architecture", "device_names"),
    *(f"{dtype}_flop_per_s" for dtype in PEAK_DTYPES),
    *("memory_bytes", "memory_basis", "memory_bytes_per_s", "link_bytes_per_s"),
    *("pcie_bytes_per_s", "power_w", "devices_per_node", "devices_per_product", "one_device"),
    *("compute_units", "vector_clock_hz", "tensor_clock_hz", "clock_basis", "sources", "confidence", "note"),
)

_REQUIRED_KEYS = {"id", "name", "aliases", "config", "published_params", "published_params_text", "source"}
_OPTIONAL_KEYS = {"alias_notes", "checkpoint", "pretraining_seq_len", "published_basis", "training", "whole"}
PUBLISHED_BASES = ("sizes of files", "another model's count", "published sizes and a rounded count")


@frozen
class ModelEntry:
    """What is published of one model.

    Attributes:
        id, name: the registry's key and the model's name.
        config: the fields of its config.json that matter, true values.
        published_params: trainable parameters as published, tied weights once.
        published_params_text: the same as printed: exact to the last digit, or rounded as in ``174,600M``.
        published_basis: what the published count follows from, one of PUBLISHED_BASES, where its publisher prints none; else empty.
        source: where configuration and count come from.
        checkpoint: its name on the Hugging Face hub; None where no weights are published.
        training: of the published training, what is known: tokens, gpus, hardware, days, gpu_hours, flop, source.
        pretraining_seq_len, pretraining_source: tokens per sequence of pre-training, before it was extended, and who says so; None
            where it is not published.
        alias_note: why the name given leads here; empty unless it was an alias that needs an explanation.
        whole: of a language part: the fields of its model's config.json around `config`, which is its text_config; None for any other.
        whole_params: trainable parameters of that model as published; None for any other.
    """

    id: str
    name: str
    config: Mapping[str, Any] = field(hash=False)
    published_params: int
    published_params_text: str
    source: Source
    published_basis: str = ""
    checkpoint: str | None = None
    training: Mapping[str, Any] | None = field(default=None, hash=False)
    pretraining_seq_len: int | None = None
    pretraining_source: str = ""
    alias_note: str = ""
    whole: Mapping[str, Any] | None = field(default=None, hash=False)
    whole_params: int | None = None

    @property
    def whole_config(self) -> dict[str, Any] | None:
        """The config.json of the whole model that a language part is of; None for any other."""
        if self.whole is None:
            return None
        tied = {"tie_word_embeddings": self.config["tie_word_embeddings"]} if "tie_word_embeddings" in self.config else {}
        return {**self.whole, **tied, "text_config": dict(self.config)}


def entry_from(body: Mapping[str, Any], place: str, name: str = "") -> ModelEntry:
    """Check one model file's content; `name` is what the caller asked for.

    Raises:
        BadValueError: a key is missing or unknown, or a value has the wrong kind; one line.
    """
    wrong = (_REQUIRED_KEYS - body.keys()) | (body.keys() - _REQUIRED_KEYS - _OPTIONAL_KEYS)
    if wrong:
        raise BadValueError(f"{place}: missing or unknown {', '.join(sorted(wrong))}; expected {', '.join(sorted(_REQUIRED_KEYS))}")
    params = body["published_params"]
    if not isinstance(params, int) or isinstance(params, bool) or params < 1:
        raise BadValueError(f"{place}: published_params is {params!r}; expected a positive whole number")
    if body.get("published_basis", PUBLISHED_BASES[0]) not in PUBLISHED_BASES:
        raise BadValueError(f"{place}: published_basis is {str(body['published_basis'])[:60]!r}; expected {' or '.join(PUBLISHED_BASES)}")
    if not isinstance(body["config"], dict) or not isinstance(body["config"].get("model_type"), str):
        raise BadValueError(f"{place}: config has no model_type; expected the fields of a config.json")
    try:
        source = Source(**body["source"])
    except TypeError:
        raise BadValueError(f"{place}: source is {str(body['source'])[:60]!r}; expected title, url and note") from None
    pretraining = body.get("pretraining_seq_len", {})
    if pretraining and not (
        isinstance(pretraining, dict)
        and pretraining.keys() == {"tokens", "source"}
        and type(pretraining["tokens"]) is int
        and pretraining["tokens"] > 0
        and isinstance(pretraining["source"], str)
        and pretraining["source"]
    ):
        raise BadValueError(
            f"{place}: pretraining_seq_len is {str(pretraining)[:60]!r}; expected tokens, a positive number, and their source"
        )
    whole = body.get("whole", {})
    if whole and not (
        isinstance(whole, dict)
        and whole.keys() == {"config", "published_params"}
        and isinstance(whole["config"], dict)
        and isinstance(whole["config"].get("model_type"), str)
        and type(whole["published_params"]) is int
    ):
        raise BadValueError(f"{place}: whole is {str(whole)[:60]!r}; expected a config with a model_type, and published_params")
    return ModelEntry(
        id=body["id"],
        name=body["name"],
        config=body["config"],
        published_params=params,
        published_params_text=body["published_params_text"],
        published_basis=body.get("published_basis", ""),
        source=source,
        checkpoint=body.get("checkpoint"),
        training=body.get("training"),
        pretraining_seq_len=pretraining.get("tokens"),
        pretraining_source=pretraining.get("source", ""),
        alias_note=body.get("alias_notes", {}).get(name, ""),
        whole=whole.get("config"),
        whole_params=whole.get("published_params"),
    )


@functools.cache
def _hardware_sources() -> dict[str, dict[str, str]]:
    return data.read_json(data.file("hardware_sources.json"))


def _cited(row: data.Row) -> Source:
    """The most trusted source of a row of hardware.csv. Raises BadValueError where it cites none that is known."""
    known, cited = _hardware_sources(), row.texts("sources")
    if not cited or not known.keys() >= set(cited):
        raise row.fail("sources", "keys of hardware_sources.json, separated by |")
    first = known[cited[0]]
    more = f"; {len(cited) - 1} more in hardware.csv" if len(cited) > 1 else ""
    return Source(title=first["title"] + more, url=first["url"], note=row.optional_text("note"))


def hardware_from(row: data.Row, source: Source | None = None) -> Hardware:
    """Check one row of hardware.csv, or of a device that somebody describes, who is its `source`.

    Raises:
        BadValueError: a cell that is not what its column says, or no peak at all; one line.
    """
    peaks = {dtype: row.optional_number(f"{dtype}_flop_per_s") for dtype in PEAK_DTYPES}
    if not any(peaks.values()):
        raise row.fail("bf16_flop_per_s", "a dense peak for at least one dtype")
    row.text("memory_basis", choices=MEMORY_BASES)
    source = source or _cited(row)
    vendor = row.text("vendor")
    for dtype, column in SCALED_DTYPES.items():
        if dtype != "nvfp4" or vendor == "NVIDIA":
            peaks[dtype] = peaks[column]
    return Hardware(
        id=row.text("id"),
        name=row.text("name"),
        vendor=vendor,
        architecture=row.text("architecture"),
        device_names=row.texts("device_names"),
        peak_flop_per_s={dtype: peak for dtype, peak in peaks.items() if peak and dtype != "fp4"},
        memory_bytes=row.integer("memory_bytes"),
        memory_bytes_per_s=row.number("memory_bytes_per_s"),
        link_bytes_per_s=row.optional_number("link_bytes_per_s"),
        pcie_bytes_per_s=row.optional_number("pcie_bytes_per_s"),
        power_w=row.optional_number("power_w"),
        devices_per_node=row.optional_integer("devices_per_node"),
        one_device=row.optional_text("one_device"),
        compute_units=row.optional_count("compute_units"),
        source=source,
        confidence=row.text("confidence", choices=("high", "medium", "low")),
    )
