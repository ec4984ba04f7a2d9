"""From a row of a table to a case: model, layout, machine and the measured time; or the reason why there is none."""

from __future__ import annotations

from estimators.cost.layout import Layout
from estimators.cost.machine import Machine, machine_of
from estimators.cost.software import Stack, stack
from estimators.errors import BadConfigError, BadValueError, RequestError, UnknownNameError
from estimators.facts.registry import hardware
from estimators.frozen import frozen
from estimators.spec import Hardware, Model
from estimators.training.sequence_cost import SequenceCost, sequence_cost_of
from estimators.units import GIBI
from estimators.validation.groups import Group, group_of, model_id_of
from estimators.validation.model import described, gpt, shipped_model
from estimators.validation.stated import batches, layout_of, precision, recompute, says_recompute, seconds, seconds_from_rate, zero_stage
from estimators.validation.table import LeftOutError, Record


@frozen
class MeasuredStep:
    """One measured training step, as the cost model sees it.

    Attributes:
        id, source, group, kind: the row's name, the source its error is pooled under, its table, and pre-training, lora,
            fine-tuning or forced balance.
        apart: why it is in no score; empty where it is.
        measured_step_time_s, measured_memory_bytes: what was measured; None for what was not.
        says_recompute: whether the row, or what its table is known by, says what was recomputed and offloaded.
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
    says_recompute: bool = False

    @property
    def work(self) -> SequenceCost:
        """One sequence's work."""
        return sequence_cost_of(self.model, self.seq_len)

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
    try:
        return {"throughput": _throughput, "single_node": _single_node, "memory": _memory}[record.kind](record)
    except BadConfigError as error:
        raise BadValueError(f"{record.place}: {error}") from None


def _single_node(record: Record) -> MeasuredStep:
    group = group_of(record.text("group") or "vTrain single node")
    r = {name: record.needed(name) for name in ("num_gpus", "global_batch", "micro_batch", "hidden", "heads", "layers", "seq_len")}
    layout = layout_of(
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
    return _step(record, group, "GPT", model, "a100-sxm4-80gb", "fp16", layout, r["seq_len"], seconds(record))


def _memory(record: Record) -> MeasuredStep:
    group = group_of(record.text("group") or "SimuMax")
    try:
        model = shipped_model(model_id_of(record.text("model")) or record.text("model"), record.needed("layers"))
    except UnknownNameError as error:
        raise LeftOutError(str(error)) from None
    dp, seq_len = record.whole("dp", 1) or 1, record.needed("seq_len")
    layout = layout_of(
        record,
        record.needed("n_gpus"),
        {name: record.whole(name, 1) for name in ("tp", "pp", "cp", "ep")},
        micro_batch=record.needed("mbs"),
        global_batch=record.needed("mbs") * record.needed("num_micro_batches") * dp,
        zero=int(record.number("zero", group.zero) or 0),
        recompute=recompute(record.text("recompute")),
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
        seconds(record),
        None if allocated is None else allocated * GIBI,
    )


def _throughput(record: Record) -> MeasuredStep:
    group = group_of(record.text("group"), record.text("notes"))
    seq_len, devices = record.whole("seq_len"), record.needed("n_gpus")
    name = record.text("model")
    if not (record.text("layers") and record.text("hidden") and seq_len):
        raise LeftOutError(group.apart or "the row has no dimensions of the model")
    if group.stack.startswith("megatron") and not record.text("tp"):
        raise LeftOutError(group.apart or "the layout is not stated")
    degrees = {key: record.whole(key, 1) for key in ("tp", "pp", "cp", "ep", "vp")}
    micro_batch, global_batch = batches(record, group, devices, degrees)
    dtype = precision(record, group)
    model = described(record, group, name, seq_len)
    layers = record.needed("layers")
    pipeline = degrees["pp"] or 1
    if group.chunks and degrees["vp"] == 1 and pipeline > 1:
        degrees["vp"] = max(1, layers // pipeline // 2)
    layout = layout_of(
        record,
        devices,
        degrees,
        micro_batch=micro_batch,
        global_batch=global_batch,
        zero=zero_stage(record, group, name),
        recompute=recompute(record.text("recompute") or group.recompute),
        sequence_parallel=group.stack.startswith("megatron-core"),
    )
    if record.text("confidence").find("inconsistent") >= 0 or "do not use" in record.text("notes"):
        raise LeftOutError("the source contradicts itself")
    step_s = seconds(record) or seconds_from_rate(record, group, model, seq_len, layout)
    if step_s is None:
        raise LeftOutError(group.apart or "neither a time nor a rate with a known convention is in the row")
    return _step(record, group, name, model, record.text("hardware_id"), dtype, layout, seq_len, step_s)


def _step(
    record: Record,
    group: Group,
    name: str,
    model: Model,
    device: str,
    dtype: str,
    layout: Layout,
    seq_len: int,
    step_s: float | None,
    allocated: float | None = None,
) -> MeasuredStep:
    kind = "forced balance" if "force-balanced" in record.text("notes") and sequence_cost_of(model, seq_len).experts > 1 else group.kind
    if "tokendrop" in name:
        kind = "forced balance"
    if "LoRA" in name:
        kind = "lora"
    software = _own_stack(record, group, name)
    try:
        facts = hardware(device)
        machine_of(facts, dtype, cluster=record.text("cluster") or group.cluster)
    except RequestError as error:
        raise LeftOutError(str(error)) from None
    return MeasuredStep(
        id=record.text("id") or f"line {record.line}",
        source=group.source,
        group=record.text("group") or group.match,
        kind=kind,
        apart=group.apart,
        model_name=name,
        model=model,
        hardware=facts,
        dtype=dtype,
        layout=layout,
        stack=software,
        cluster=record.text("cluster") or group.cluster,
        network_bytes_per_s=record.number("network_bytes_per_s"),
        seq_len=seq_len,
        measured_step_time_s=step_s,
        measured_memory_bytes=allocated,
        says_recompute=says_recompute(record),
    )


def _own_stack(record: Record, group: Group, name: str) -> Stack:
    if record.text("stack"):
        return stack(record.text("stack"))
    if "Q-LoRA" in name:
        return stack("transformers-qlora")
    return stack("deepspeed-2021" if "ZeRO-3" in name and group.stack == "megatron-2021" else group.stack)
