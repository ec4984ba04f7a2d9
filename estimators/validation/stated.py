"""What a row states of its step, in the words that published tables use: sharding, recomputation, precision, dense layers."""

from __future__ import annotations

import re

from estimators.spec import Hardware
from estimators.validation.groups import Group
from estimators.validation.table import LeftOutError, Record

DTYPES = (
    *(("nvfp4", "nvfp4"), ("mxfp4", "mxfp4"), ("mxfp8", "mxfp8"), ("fp8-mx", "mxfp8"), ("fp8", "fp8")),
    *(("bf16", "bf16"), ("bfloat16", "bf16"), ("fp16", "fp16"), ("float16", "fp16"), ("tf32", "tf32")),
    *(("fp32", "fp32"), ("float32", "fp32"), ("int8", "int8")),
)
"""Words of a precision and the dtype of the products that each means; the first that stands in the text counts."""

UNSAID = ("", "not in log", "not stated", "unstated", "unknown", "none stated", "n/a", "-")
"""What a cell that says nothing holds."""

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4}
ALL_OF_A_FORWARD, NOTHING = 0.8, 0.05
"""Shares of a forward pass that a recomputation of everything is seen to run again at least, and none at most."""


def zero_stage(record: Record, group: Group, name: str) -> int:
    """ZeRO stage by the row's fsdp column, its notes, its framework or its model's name; else its table's."""
    stated = record.text("fsdp")
    if "ZeRO-3" in name or "Zero3" in name or stated == "FULL_SHARD":
        return 3
    if stated == "SHARD_GRAD_OP":
        return 2
    for text in (stated, record.text("notes")):
        if stage := re.search(r"zero(?: stage |-)?([0-3])", text, re.IGNORECASE):
            return int(stage.group(1))
    number = re.match(r"(\d+)", stated)
    return 3 if stated == "on" or (number and int(number.group(1)) > 1) else group.zero


def recompute(text: str) -> str:
    """none, selective or full: what is neither nothing nor everything is selective."""
    if text.startswith("full"):
        return "full"
    return "none" if not text or text.startswith(("none", "unstated")) else "selective"


def says_recompute(record: Record) -> bool:
    """Whether it is known what was recomputed and offloaded: by its table, or by a cell that names what is recomputed.

    What is offloaded stands beside that. A policy that is only called custom names nothing.
    """
    text = record.text("recompute")
    named = bool(text) and not text.startswith("unstated") and ("custom" not in text or offloads_activations(record))
    return record.kind == "single_node" or named


def offloads_activations(record: Record) -> bool:
    """Whether what layers keep goes to the host, their inputs among it."""
    return bool(re.search(r"layer input.* offloaded", record.text("recompute")))


def recompute_of(record: Record, group: Group) -> str:
    """none, selective or full, by what utilizations show, else by the row's word or its table's; empty where nothing says."""
    said = record.text("recompute")
    said = "" if said.casefold() in UNSAID else said
    shown = _by_utilizations(record) if not said or recompute(said) == "selective" else ""
    return shown or (recompute(said or group.recompute) if said or group.recompute else "")


def _by_utilizations(record: Record) -> str:
    """none, selective or full by the share of a forward pass that was run again, (HFU / MFU - 1) x 3; empty where one is not printed.

    A step without recomputation is three forward passes' work, so that each whole forward more is a third of it.
    """
    model, hardware = record.number("mfu_pct"), record.number("hfu_pct")
    if not model or not hardware:
        return ""
    share = (hardware / model - 1) * 3
    return "none" if share <= NOTHING else "full" if share >= ALL_OF_A_FORWARD else "selective"


def precision(record: Record, group: Group, device: Hardware) -> tuple[str, str]:
    """The dtype of the matrix products, and what was assumed: by the words of the row; its table's where the row is silent.

    Raises:
        LeftOutError: words that name no known precision.
    """
    text = record.text("precision").casefold()
    if text in UNSAID:
        dtype = group.precision if group.precision in device.peak_flop_per_s else ""
        return dtype or "bf16", "" if dtype else "precision=bf16"
    dtype = next((dtype for word, dtype in DTYPES if word in text), "")
    if not dtype:
        known = ", ".join(dict.fromkeys(dtype for _, dtype in DTYPES))
        raise LeftOutError(f"precision {text[:40]!r} is unknown; expected one of: {known}")
    return dtype, ""


def dense_layers(notes: str, model: str) -> int | None:
    """How many of the first layers a note says are dense, such as ``first layer dense``; None where it does not.

    A note about some rows of a table (``DeepSeek rows: ...``) counts for those.

    >>> dense_layers("reduced depth; DeepSeek rows: first layer dense", "deepseek-v3"), dense_layers("first three layers are dense", "x")
    (1, 3)
    """
    said = re.search(r"(?:(\w[\w-]*) rows: )?first (?:(\w+) )?layers? (?:is |are )?dense", notes, re.IGNORECASE)
    if not said or (said.group(1) and said.group(1).casefold() not in model.casefold()):
        return None
    number = said.group(2)
    return 1 if number is None else int(number) if number.isdigit() else NUMBERS.get(number.casefold())


def rank(record: Record, group: Group, name: str) -> int:
    """Rank of the adapters, as the table, a column or the model's name (``[LoRA r16]``) says. Raises LeftOutError where none does."""
    said = re.search(r"LoRA[^\]]*\br(?:ank )?=?(\d+)", name)
    found = record.whole("lora_rank") or (int(said.group(1)) if said else group.rank)
    if not found:
        raise LeftOutError("an adapter without a rank; expected a column lora_rank, or a model named such as 'Llama 2 70B [LoRA r16]'")
    return found


def seconds(record: Record) -> float | None:
    """The measured step time, if the row has one."""
    whole, milliseconds = record.number("iteration_time_s"), record.number("iteration_time_ms")
    return whole or (milliseconds / 1e3 if milliseconds else None)
