"""What a row states of its step, in the words that published tables use: batches, sharding, recomputation, precision, time."""

from __future__ import annotations

import re
from typing import Any

from estimators.cost.layout import Layout
from estimators.errors import RequestError
from estimators.spec import Model
from estimators.training.sequence_cost import SequenceCost, sequence_cost_of
from estimators.units import TERA
from estimators.validation.groups import Group
from estimators.validation.table import LeftOutError, Record


def layout_of(record: Record, devices: int, degrees: dict[str, Any], **rest: Any) -> Layout:
    """The layout of so many devices, with what is left of them as replicas. Raises LeftOutError where it is impossible."""
    cut = degrees.get("tp", 1) * degrees.get("pp", 1) * degrees.get("cp", 1)
    if devices % cut:
        raise LeftOutError(f"tp x pp x cp = {cut} does not divide the {devices} devices")
    try:
        return Layout(dp=devices // cut, **degrees, **rest)
    except RequestError as error:
        raise LeftOutError(f"the layout is impossible: {error}") from None


def batches(record: Record, group: Group, devices: int, degrees: dict[str, Any]) -> tuple[int, int]:
    """Sequences of one pass and of one step, as the row or its table says. Raises LeftOutError where neither does."""
    accumulated = re.search(r"micro_num (\d+)", record.text("notes"))
    micro, whole = record.whole("mbs"), record.whole("gbs_seqs")
    if whole is None and micro and accumulated:
        whole = micro * devices * int(accumulated.group(1))
    if micro is None and isinstance(group.micro_batch, int) and group.micro_batch:
        micro = group.micro_batch
    if micro is None and whole and group.micro_batch == "no accumulation":
        micro = max(1, whole // (devices // (degrees["tp"] * degrees["pp"] * degrees["cp"])))
    if micro is None or whole is None:
        raise LeftOutError(group.apart or f"the row has no {'micro' if micro is None else 'global'} batch")
    return micro, whole


def zero_stage(record: Record, group: Group, name: str) -> int:
    """ZeRO stage by the row's fsdp column, its notes or its model's name; else its table's."""
    stated = record.text("fsdp")
    if "ZeRO-3" in name or "Zero3" in name or stated == "FULL_SHARD":
        return 3
    if stated == "SHARD_GRAD_OP":
        return 2
    stage = re.search(r"ZeRO stage (\d)", record.text("notes"))
    if stage:
        return int(stage.group(1))
    number = re.match(r"(\d+)", stated)
    return 3 if stated == "on" or (number and int(number.group(1)) > 1) else group.zero


def recompute(text: str) -> str:
    """none, selective or full: what is neither nothing nor everything is selective."""
    if text.startswith("full"):
        return "full"
    return "none" if not text or text.startswith(("none", "unstated")) else "selective"


def says_recompute(record: Record) -> bool:
    """Whether it is known what was recomputed and offloaded: a cell that says what is recomputed names what is offloaded beside it."""
    text = record.text("recompute")
    return record.kind == "single_node" or (bool(text) and not text.startswith("unstated"))


def precision(record: Record, group: Group) -> str:
    """The dtype of the matrix products, by the words of the row; its table's where the log is silent."""
    text = record.text("precision").casefold()
    if text in ("", "not in log") and group.precision:
        return group.precision
    for word, dtype in (
        ("nvfp4", "nvfp4"),
        ("mxfp8", "mxfp8"),
        ("fp8-mx", "mxfp8"),
        ("fp8", "fp8"),
        ("fp16 mixed", "fp16"),
        ("bf16", "bf16"),
    ):
        if word in text:
            return dtype
    return "fp16" if "fp16" in text else "bf16"


def seconds(record: Record) -> float | None:
    """The measured step time, if the row has one."""
    whole, milliseconds = record.number("iteration_time_s"), record.number("iteration_time_ms")
    return whole or (milliseconds / 1e3 if milliseconds else None)


def seconds_from_rate(record: Record, group: Group, model: Model, seq_len: int, layout: Layout) -> float | None:
    """Step time from tokens per second, or from a FLOP rate whose convention is known: Megatron 2021 counts recomputation."""
    tokens_per_s = record.number("tokens_per_s_per_gpu")
    if tokens_per_s:
        return layout.global_batch * seq_len / (tokens_per_s * layout.num_devices)
    rate = record.number("tflops_per_gpu")
    if not rate:
        return None
    work = sequence_cost_of(model, seq_len)
    if group.stack == "megatron-2021":
        flop = 4 * (work.forward_flop(causal=False) - _head_flop(work)) + 3 * _head_flop(work)
    elif group.apart:
        flop = 3 * work.forward_flop(causal=False)
    else:
        return None
    return flop * layout.global_batch / (rate * TERA * layout.num_devices)


def _head_flop(work: SequenceCost) -> int:
    return sum(2 * p.m * p.n * p.k for p in work.products if p.cut == "vocabulary")
