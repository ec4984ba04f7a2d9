"""Rows of public threads as questions of `diagnose`: what the columns say becomes a setting and figures; no label's column is read.

The sentence of the `question` column is read for numbers with units alone, by the reader that reads the other columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from estimators.diagnosis.observed import Figure, Included, Observed, OtherRun, Quantity, Scope, Setting
from estimators.diagnosis.words import GPUS_OF_A_NODE, figures_in, others_in, significant
from estimators.errors import RequestError
from estimators.facts.device_names import device_named
from estimators.facts.model_names import model_named
from estimators.facts.sample_networks import sample_network
from estimators.frozen import replace
from estimators.units import HOUR_S
from estimators.validation.table import Record

QUANTITIES: Mapping[str, Quantity] = {
    "tokens_per_s": "tokens_per_s",
    "samples_per_s": "samples_per_s",
    "images_per_s": "samples_per_s",
    "requests_per_s": "requests_per_s",
    "steps_per_s": "steps_per_s",
    "iterations_per_s": "steps_per_s",
    "flop_per_s": "flop_per_s",
    "tflops": "flop_per_s",
    "mfu": "mfu_fraction",
    "hfu": "mfu_fraction",
    "step_time": "step_time_s",
    "wall_time": "wall_time_s",
    "tokens": "tokens",
    "samples": "samples",
    "steps": "steps",
    "peak_flop_per_s": "peak_flop_per_s",
    "decode_tokens_per_s": "decode_tokens_per_s",
    "ratio_reported_to_true": "reported_over_true",
    "ratio_to_single_node": "over_single_node",
    "scaling_efficiency": "over_single_node",
    "gpu_hours": "wall_time_s",
    "itl": "decode_tokens_per_s",
    "tpot": "decode_tokens_per_s",
}
TURNED = ("itl", "tpot")
"""Quantities in seconds a token, which are turned over."""

SIZES = {"ms": 1e-3, "min": 60.0, "h": 3600.0, "days": 86400.0, "d": 86400.0, "%": 0.01, "tflop/s": 1e12, "tflops": 1e12}
"""Units that are no base units, in their size."""

_KEYED = re.compile(r"\b(tp|pp|cp|ep|dp|zero)[\s=-]*(\d+)\b", re.IGNORECASE)
_SHARDED = {"hsdp": 3, "fsdp": 3, "fsdp2": 3, "ddp": 0}
_COUNT = r"(\d[\d,]*)"
_MICRO = re.compile(
    rf"\b(?:mbs|micro[- ]?batch(?: size)?|per[- ]device batch(?: size)?)[\s=:]*{_COUNT}"
    rf"|^{_COUNT}\s+per\s+(?:gpu|device)\b|^{_COUNT}\s*x\s*accum",
    re.IGNORECASE,
)
_GLOBAL = re.compile(
    rf"\b(?:gbs|(?:global|total)[- ]batch(?: size)?)[\s=:]*{_COUNT}(?![\d,]|\s*tokens)|^{_COUNT}\s+sequences?\b", re.IGNORECASE
)
_PASSES = re.compile(rf"\b(?:accum\w*(?: steps)?(?: of)?|gas)[\s=:]*{_COUNT}", re.IGNORECASE)
_NO_PASSES = re.compile(r"\bno (?:gradient )?accumulation\b", re.IGNORECASE)
_STEP_TOKENS = re.compile(
    rf"^{_COUNT}\s+tokens\b|\bper (?:iteration|step) of {_COUNT} tokens\b|\b{_COUNT} tokens (?:a|per) (?:step|iteration)\b"
    rf"|\btotal[- ]batch(?: size)?[\s=:]*{_COUNT} tokens\b",
    re.IGNORECASE,
)
_SAMPLE_OF = re.compile(rf"\b{_COUNT}\s+samples? of {_COUNT} tokens\b", re.IGNORECASE)
_EPOCHS_OF = re.compile(rf"\b{_COUNT}\s+epochs? of {_COUNT}\s+(?:examples?|samples?|images?)\b", re.IGNORECASE)
_LAYERS = re.compile(r"\b(?:n_layers?|num_layers|layers)\s*=?\s*(\d+)|\b(\d+)\s+layers\b|\b(\d{1,3})\s*x\s*\d{3,5}\b", re.IGNORECASE)
_WIDTH = re.compile(
    r"\b(?:d_model|n_embd|hidden(?:_size)?|width)\s*=?\s*(\d+)|\blayers,\s*(\d+)|\b\d{1,3}\s*x\s*(\d{3,5})\b", re.IGNORECASE
)
_HEADS = re.compile(r"\b(?:n_heads?|heads)\s*=?\s*(\d+)|\b(\d+)\s+heads\b", re.IGNORECASE)
_VOCAB = re.compile(r"\bvocab(?:_size)?\s*=?\s*(\d[\d,]*)(k?)", re.IGNORECASE)
_SIZE = re.compile(r"\b\d+(?:\.\d+)?B\b")


def observed_of(record: Record, *, sentence: bool = True) -> Observed:
    """What a row says that was observed.

    Args:
        sentence: whether the question's sentence is read, for numbers with units.

    Raises:
        LeftOutError: no quantity or value that can be asked about.
    """
    setting = _setting(record)
    main = _main(record)
    steps = _STEP_TOKENS.search(record.text("batch")) or _STEP_TOKENS.search(record.text("scope"))
    if steps and setting.seq_len and setting.global_batch is None:
        tokens = _whole(next(group for group in steps.groups() if group))
        setting = replace(setting, global_batch=tokens // setting.seq_len if tokens % setting.seq_len == 0 else None)
    figures = [main, *_figures(record, main, setting)]
    others: list[OtherRun] = []
    if sentence:
        same, others = others_in(record.text("question"), main, setting.num_devices)
        figures += _unsaid(same, figures, setting)
    return Observed(figures=tuple(figures), setting=setting, others=tuple(others))


def _main(record: Record) -> Figure:
    name = record.text("quantity")
    if name not in QUANTITIES:
        raise record.fail("quantity", f"one of: {', '.join(QUANTITIES)}")
    try:
        value = float(record.text("value"))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise record.fail("value", "a number above 0")
    words = record.text("scope").casefold()
    scope: Scope = "request" if "request" in words.split(";")[0] else "device" if words.startswith("per ") else "job"
    includes: tuple[Included, ...] = ("padding",) if "padding included" in words else ()
    includes += ("masked tokens",) if re.search(r"\b(?:loss|trainable|supervised|unmasked) tokens\b", words) else ()
    includes += ("first steps",) if re.search(r"\bmean over all\b|\bsince (?:the )?start\b|\bcumulative\b", words) else ()
    includes += ("recomputation",) if name == "hfu" else ()
    value *= 1.0 if name == "gpu_hours" else SIZES.get(record.text("unit").casefold(), 1.0)
    devices = record.whole("num_gpus") or 1
    if words.startswith("per node"):
        value /= min(devices, GPUS_OF_A_NODE)
    if name == "gpu_hours":
        value *= HOUR_S / devices
    printed = f"{value:.10g}".partition("e")[0]
    return Figure(
        quantity=QUANTITIES[name],
        value=1 / value if name in TURNED else value,
        scope="job" if QUANTITIES[name] in ("step_time_s", "wall_time_s") else scope,
        digits=significant(printed),
        includes=includes,
    )


def _figures(record: Record, main: Figure, setting: Setting) -> list[Figure]:
    """Of the other columns; those of the main's quantity and scope are that figure again."""
    found = []
    for column in ("config", "scope", "batch"):
        text = record.text(column)
        if match := _EPOCHS_OF.search(text):
            found.append(Figure(quantity="samples", value=float(_whole(match[1]) * _whole(match[2]))))
            continue
        scope: Scope = "device" if "per gpu" in record.text("scope").casefold() and column == "scope" else "job"
        found += [said.figure for said in figures_in(_SAMPLE_OF.sub("", text), scope)]
    steps = {
        _whole(next(group for group in m.groups() if group)) for m in (_STEP_TOKENS.search(record.text(c)) for c in ("batch", "scope")) if m
    }
    kept = [f for f in found if not (f.quantity == "tokens" and (int(f.value) in steps or f.value == setting.seq_len))]
    return [f for f in kept if (f.quantity, f.scope) != (main.quantity, main.scope) or f.includes]


def _unsaid(same: list[Figure], figures: list[Figure], setting: Setting) -> list[Figure]:
    """Figures of a sentence that no column has: a whole run's tokens and time, or steps, or the same figure of another scope."""
    have = {(f.quantity, f.scope) for f in figures}
    new = [f for f in same if (f.quantity, f.scope) not in have]
    quantities = {f.quantity for f in (*figures, *new)}
    whole = "wall_time_s" in quantities and bool(quantities & {"tokens", "samples", "steps"})
    counted = any(f.quantity == "tokens" for f in figures)
    if counted and not any(f.quantity == "steps" for f in figures):
        return [f for f in new if f.quantity == "steps"]
    main = figures[0]
    tokens = {int(f.value) for f in new if f.quantity == "tokens"}
    known = {t for t in tokens if setting.seq_len and t == (setting.global_batch or 0) * setting.seq_len}
    allowed = [f for f in new if f.quantity in ("flop_per_s", "mfu_fraction", "tokens_per_s") or f.quantity == main.quantity]
    if whole:
        allowed += [f for f in new if f.quantity in ("tokens", "samples", "steps", "wall_time_s") and int(f.value) not in known]
    return [] if main.quantity == "peak_flop_per_s" else allowed


def _setting(record: Record) -> Setting:
    layout, batch, config = (record.text(name) for name in ("layout", "batch", "config"))
    keyed: dict[str, Any] = {name.casefold(): int(value) for name, value in _KEYED.findall(layout)}
    words = re.findall(r"[a-z0-9-]+", layout.casefold())
    zero = keyed.pop("zero", next((_SHARDED[word] for word in words if word in _SHARDED), None))
    sample = _SAMPLE_OF.search(batch)
    seq_len = record.whole("seq_len") or (_whole(sample[2]) if sample else None)
    micro, passes = _first(_MICRO, batch), _first(_PASSES, f"{batch} {config}")
    if passes is None and _NO_PASSES.search(f"{batch} {config}"):
        passes = 1
    hardware, counted = _hardware(record)
    gpus = record.whole("num_gpus") or counted
    bare = int(batch) if batch.isdigit() else None
    named, shape = _model(record), _config(record)
    network = sample_network(re.split(r"[,(;]", record.text("model"))[0])
    decodes = QUANTITIES.get(record.text("quantity")) == "decode_tokens_per_s"
    whole = _first(_GLOBAL, batch) or (_whole(sample[1]) if sample else bare if decodes else None)
    return Setting(
        model="" if shape else named,
        config=shape,
        claimed_model=record.text("model") if shape else "",
        forward_flop_per_sample=network.forward_flop if network else None,
        hardware=hardware,
        num_devices=gpus,
        seq_len=seq_len,
        seq_len_at_most=seq_len is not None and any(f.quantity == "samples" for f in _epochs(batch)),
        micro_batch=micro or (bare if gpus in (None, 1) and not decodes else None),
        accumulation=passes,
        global_batch=whole,
        **keyed,
        zero=zero,
        recompute=_recompute(f"{layout}; {config}".casefold()),
        dtype=_dtype(record.text("precision")),
        precision=record.text("precision"),
        software=record.text("framework"),
        method=_method(record),
        phase="decode" if decodes else "train",
    )


_AGAIN = r"(?:recompute|recomputation|(?:activation |gradient )?checkpointing)"


def _recompute(text: str) -> str:
    """none, selective or full as the words say; empty where they say nothing."""
    if re.search(rf"\b(?:no|without) {_AGAIN}", text):
        return "none"
    if re.search(rf"\bselective {_AGAIN}", text):
        return "selective"
    return "full" if re.search(rf"\b{_AGAIN}\b", text) else ""


def _epochs(text: str) -> list[Figure]:
    match = _EPOCHS_OF.search(text)
    return [Figure(quantity="samples", value=float(_whole(match[1]) * _whole(match[2])))] if match else []


def _whole(text: str) -> int:
    return int(text.replace(",", ""))


def _first(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return next((_whole(group) for group in match.groups() if group), None) if match else None


def not_known(record: Record) -> tuple[str, ...]:
    """What a row names that means nothing here, and nothing else in it says: each with the column and the name."""
    found = []
    setting = _setting(record)
    if not setting.config and setting.forward_flop_per_sample is None and not (setting.model and _is_known(model_named, setting.model)):
        column = "registry_model" if record.text("registry_model") else "model"
        found += [f"{column} {record.text(column)[:60]!r} is no model that is known here"] if record.text(column) else []
    if not setting.hardware:
        named = [column for column in DEVICE_COLUMNS if record.text(column)]
        found += [f"{column} {record.text(column)[:60]!r} is no device that is known here" for column in named]
    return tuple(found)


def _is_known(read: Callable[[str], object], name: str) -> bool:
    try:
        read(name)
    except RequestError:
        return False
    return True


DEVICE_COLUMNS = ("hardware_id", "gpu")
"""Where a row names its device, the exact name first."""


def _hardware(record: Record) -> tuple[str, int | None]:
    """The id, or the name where there is none and it names one device; and how many, where the name says so."""
    for name in map(record.text, DEVICE_COLUMNS):
        try:
            if name:
                taken = device_named(name)
                return taken.hardware_id, taken.num_devices
        except RequestError:
            continue
    return "", None


def _model(record: Record) -> str:
    """The registry's name, or a name that means one of its models, or a size."""
    if record.text("registry_model"):
        return record.text("registry_model")
    plain = re.split(r"[,(;]", record.text("model"))[0].strip()
    try:
        return model_named(plain).model_id if plain else ""
    except RequestError:
        size = _SIZE.search(record.text("model"))
        return size[0].casefold() if size and record.text("quantity").startswith("decode") else ""


def _config(record: Record) -> dict[str, Any]:
    """A GPT of the shape that the columns state; empty where they state none."""
    text = f"{record.text('config')} {record.text('model')}"
    layers, width, heads, vocab = _first(_LAYERS, text), _first(_WIDTH, text), _first(_HEADS, text), _VOCAB.search(text)
    if record.text("registry_model") or not (layers and width and vocab):
        return {}
    size = _whole(vocab[1]) * (1000 if vocab[2] else 1)
    length = max(record.whole("seq_len") or 1024, 1024)
    heads = heads or max(1, width // 64)
    return {"model_type": "gpt2", "n_layer": layers, "n_embd": width, "n_head": heads, "vocab_size": size, "n_positions": length}


def _dtype(precision: str) -> str:
    """Of the products, by the first word; empty where it is a format of stored weights."""
    word = precision.casefold().split(" ")[0].strip(",")
    return word if word in ("bf16", "fp16", "fp32", "tf32", "fp8", "fp64", "int8") else ""


def _method(record: Record) -> str:
    words = set(re.findall(r"[a-z]+", f"{record.text('model')} {record.text('config')}".casefold()))
    if "qlora" in words:
        return "qlora"
    return "lora" if words & {"lora", "dora"} else "freeze" if words & {"freeze", "frozen"} else ""
