"""From a row of a table to a case: model, layout, machine and the measured time; or the reason why there is none."""

from __future__ import annotations

import re
from typing import Any

from estimators.errors import RequestError, UnknownNameError
from estimators.frozen import frozen
from estimators.measured.groups import Group, group_of, model_id_of
from estimators.measured.model import described, gpt, shipped_model
from estimators.measured.table import LeftOutError, Record
from estimators.registry import hardware
from estimators.spec import Hardware, Model
from estimators.step_time.layout import Layout
from estimators.step_time.machine import Machine, machine_of
from estimators.step_time.software import Stack, stack
from estimators.step_time.work import Work, work_of
from estimators.units import GIBI


@frozen
class MeasuredStep:
    """One measured training step, as the cost model sees it.

    Attributes:
        id, source, group, kind: the row's name, the source its error is pooled under, its table, and pre-training, lora,
            fine-tuning or forced balance.
        apart: why it is in no score; empty where it is.
        measured_step_time_s, measured_memory_bytes: what was measured; None for what was not.
    """

    id: str
    source: str
    group: str
    kind: str
    apart: str
    model_name: str
    model: Model
    hardware: Hardware
    dtype: str
    layout: Layout
    stack: Stack
    cluster: str
    network_bytes_per_s: float | None
    seq_len: int
    measured_step_time_s: float | None
    measured_memory_bytes: float | None = None

    @property
    def work(self) -> Work:
        """One sequence's work."""
        return work_of(self.model, self.seq_len)

    @property
    def machine(self) -> Machine:
        """The device and its links."""
        return machine_of(self.hardware, self.dtype, cluster=self.cluster, network_bytes_per_s=self.network_bytes_per_s)


def measured_step(record: Record) -> MeasuredStep:
    """The case of one row.

    Raises:
        LeftOutError: something that the prediction needs is not in the row.
        BadValueError: a cell is malformed; names the line.
    """
    return {"throughput": _throughput, "single_node": _single_node, "memory": _memory}[record.kind](record)


def _single_node(record: Record) -> MeasuredStep:
    group = group_of(record.text("group") or "vTrain single node")
    r = {name: record.needed(name) for name in ("num_gpus", "global_batch", "micro_batch", "hidden", "heads", "layers", "seq_len")}
    layout = _layout(
        record,
        r["num_gpus"],
        {"tp": record.whole("tp", 1), "pp": record.whole("pp", 1)},
        micro_batch=r["micro_batch"],
        global_batch=r["global_batch"],
        zero=group.zero,
        recompute="full",
    )
    if record.whole("dp", layout.dp) != layout.dp:
        raise LeftOutError("tp x pp x dp is not the number of devices")
    model = gpt(r["layers"], r["hidden"], r["heads"], 0, group.vocab, r["seq_len"])
    return _step(record, group, "GPT", model, "a100-sxm4-80gb", "fp16", layout, r["seq_len"], _seconds(record))


def _memory(record: Record) -> MeasuredStep:
    group = group_of(record.text("group") or "SimuMax")
    try:
        model = shipped_model(model_id_of(record.text("model")) or record.text("model"), record.needed("layers"))
    except UnknownNameError as error:
        raise LeftOutError(str(error)) from None
    dp, seq_len = record.whole("dp", 1) or 1, record.needed("seq_len")
    layout = _layout(
        record,
        record.needed("n_gpus"),
        {name: record.whole(name, 1) for name in ("tp", "pp", "cp", "ep")},
        micro_batch=record.needed("mbs"),
        global_batch=record.needed("mbs") * record.needed("num_micro_batches") * dp,
        zero=int(record.number("zero", group.zero) or 0),
        recompute=_recompute(record.text("recompute")),
        sequence_parallel=record.text("sequence_parallel") == "yes",
    )
    allocated = record.number("allocated_gib")
    return _step(
        record,
        group,
        record.text("model"),
        model,
        record.text("gpu"),
        "bf16",
        layout,
        seq_len,
        _seconds(record),
        None if allocated is None else allocated * GIBI,
    )


def _throughput(record: Record) -> MeasuredStep:
    group = group_of(record.text("group"))
    seq_len, devices = record.whole("seq_len"), record.needed("n_gpus")
    name = record.text("model")
    if not (record.text("layers") and record.text("hidden") and seq_len):
        raise LeftOutError(group.apart or "the row has no dimensions of the model")
    if group.stack.startswith("megatron") and not record.text("tp"):
        raise LeftOutError(group.apart or "the layout is not stated")
    ways = {key: record.whole(key, 1) for key in ("tp", "pp", "cp", "ep", "vp")}
    micro_batch, global_batch = _batches(record, group, devices, ways)
    precision = _precision(record, group)
    model = described(record, group, name, seq_len)
    layers = record.needed("layers")
    pipeline = ways["pp"] or 1
    if group.chunks and ways["vp"] == 1 and pipeline > 1:
        ways["vp"] = max(1, layers // pipeline // 2)
    layout = _layout(
        record,
        devices,
        ways,
        micro_batch=micro_batch,
        global_batch=global_batch,
        zero=_zero(record, group, name),
        recompute=_recompute(record.text("recompute") or group.recompute),
        sequence_parallel=group.stack.startswith("megatron-core"),
    )
    if record.text("confidence").find("inconsistent") >= 0 or "do not use" in record.text("notes"):
        raise LeftOutError("the source contradicts itself")
    seconds = _seconds(record) or _seconds_from_rate(record, group, model, seq_len, layout)
    if seconds is None:
        raise LeftOutError(group.apart or "neither a time nor a rate with a known convention is in the row")
    return _step(record, group, name, model, record.text("hardware_id"), precision, layout, seq_len, seconds)


def _step(
    record: Record,
    group: Group,
    name: str,
    model: Model,
    device: str,
    dtype: str,
    layout: Layout,
    seq_len: int,
    seconds: float | None,
    allocated: float | None = None,
) -> MeasuredStep:
    chosen = group
    kind = "forced balance" if "force-balanced" in record.text("notes") and work_of(model, seq_len).experts > 1 else chosen.kind
    if "tokendrop" in name:
        kind = "forced balance"
    if "LoRA" in name:
        kind = "lora"
    software = _own_stack(record, group, name)
    try:
        found = hardware(device)
        machine_of(found, dtype, cluster=record.text("cluster") or group.cluster)
    except RequestError as error:
        raise LeftOutError(str(error)) from None
    return MeasuredStep(
        id=record.text("id") or f"line {record.line}",
        source=chosen.source,
        group=record.text("group") or chosen.match,
        kind=kind,
        apart=chosen.apart,
        model_name=name,
        model=model,
        hardware=found,
        dtype=dtype,
        layout=layout,
        stack=software,
        cluster=record.text("cluster") or chosen.cluster,
        network_bytes_per_s=record.number("network_bytes_per_s"),
        seq_len=seq_len,
        measured_step_time_s=seconds,
        measured_memory_bytes=allocated,
    )


def _own_stack(record: Record, group: Group, name: str) -> Stack:
    if record.text("stack"):
        return stack(record.text("stack"))
    if "Q-LoRA" in name:
        return stack("transformers-qlora")
    return stack("deepspeed-2021" if "ZeRO-3" in name and group.stack == "megatron-2021" else group.stack)


def _layout(record: Record, devices: int, ways: dict[str, Any], **rest: Any) -> Layout:
    cut = ways.get("tp", 1) * ways.get("pp", 1) * ways.get("cp", 1)
    if devices % cut:
        raise LeftOutError(f"tp x pp x cp = {cut} does not divide the {devices} devices")
    try:
        return Layout(dp=devices // cut, **ways, **rest)
    except RequestError as error:
        raise LeftOutError(f"the layout is impossible: {error}") from None


def _batches(record: Record, group: Group, devices: int, ways: dict[str, Any]) -> tuple[int, int]:
    accumulated = re.search(r"micro_num (\d+)", record.text("notes"))
    micro, whole = record.whole("mbs"), record.whole("gbs_seqs")
    if whole is None and micro and accumulated:
        whole = micro * devices * int(accumulated.group(1))
    if micro is None and isinstance(group.micro_batch, int) and group.micro_batch:
        micro = group.micro_batch
    if micro is None and whole and group.micro_batch == "no accumulation":
        micro = max(1, whole // (devices // (ways["tp"] * ways["pp"] * ways["cp"])))
    if micro is None or whole is None:
        raise LeftOutError(group.apart or f"the row has no {'micro' if micro is None else 'global'} batch")
    return micro, whole


def _zero(record: Record, group: Group, name: str) -> int:
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


def _recompute(text: str) -> str:
    if text.startswith("full"):
        return "full"
    return "none" if not text or text.startswith(("none", "unstated")) else "selective"


def _precision(record: Record, group: Group) -> str:
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


def _seconds(record: Record) -> float | None:
    seconds, milliseconds = record.number("iteration_time_s"), record.number("iteration_time_ms")
    return seconds or (milliseconds / 1e3 if milliseconds else None)


def _seconds_from_rate(record: Record, group: Group, model: Model, seq_len: int, layout: Layout) -> float | None:
    """Step time from tokens per second, or from a FLOP rate whose convention is known: Megatron 2021 counts recomputation."""
    tokens_per_s = record.number("tokens_per_s_per_gpu")
    if tokens_per_s:
        return layout.global_batch * seq_len / (tokens_per_s * layout.num_devices)
    rate = record.number("tflops_per_gpu")
    if not rate:
        return None
    work = work_of(model, seq_len)
    if group.stack == "megatron-2021":
        flop = 4 * (work.forward_flop(causal=False) - _head_flop(work)) + 3 * _head_flop(work)
    elif group.apart:
        flop = 3 * work.forward_flop(causal=False)
    else:
        return None
    return flop * layout.global_batch / (rate * 1e12 * layout.num_devices)


def _head_flop(work: Work) -> int:
    return sum(2 * p.m * p.n * p.k for p in work.products if p.cut == "head")
