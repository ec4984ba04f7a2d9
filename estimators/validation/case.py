"""From a row of a table to a case: model, layout, machine and the measured time; or the reason why there is none."""

from __future__ import annotations

from typing import Any

from estimators.cost.layout import Layout
from estimators.cost.machine import Machine, machine_of
from estimators.cost.software import DEFAULT_STACK, Stack, stack, stacks
from estimators.errors import RequestError
from estimators.facts.registry import hardware
from estimators.frozen import frozen, replace
from estimators.spec import Hardware, Model
from estimators.training.sequence_cost import SequenceCost, sequence_cost_of
from estimators.units import GIBI
from estimators.validation.completion import batches, chosen_layout, completed_batches, cuts_of, with_software
from estimators.validation.device import device_of
from estimators.validation.groups import Group, group_of, model_id_of
from estimators.validation.model import described, gpt, shipped_model
from estimators.validation.rate import seconds_from_rate
from estimators.validation.stated import (
    dense_layers,
    offloads_activations,
    precision,
    recompute,
    recompute_of,
    says_recompute,
    seconds,
    zero_stage,
)
from estimators.validation.table import LeftOutError, Record

SHARE_THE_STREAM = ("megatron-core", "pytorch-fsdp2")
"""Software whose tensor parallelism shares out the norms' tokens, too, unless told otherwise."""


@frozen
class MeasuredStep:
    """One measured training step, as the cost model sees it.

    Attributes:
        id, source, group, kind: the row's name, the source its error is pooled under, its table, and pre-training, lora,
            fine-tuning or forced balance.
        apart: why it is in no score; empty where it is.
        assumed: cells that the row leaves out, and what a general rule put there.
        measured_step_time_s, measured_memory_bytes: what was measured; None for what was not.
        says_recompute: whether the row, or what its table is known by, says what was recomputed and offloaded, and all of its layout.
        offloads_activations: whether what layers keep is on the host.
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
    assumed: tuple[str, ...] = ()
    says_recompute: bool = False
    offloads_activations: bool = False

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
        LeftOutError: a cell cannot be read, or something that the prediction needs is not in the row and not completed by a rule.
    """
    if record.broken:
        raise LeftOutError(record.broken)
    try:
        return {"throughput": _throughput, "single_node": _single_node, "memory": _memory}[record.kind](record)
    except RequestError as error:
        raise LeftOutError(str(error)) from None


def _single_node(record: Record) -> MeasuredStep:
    group = group_of(record.text("group") or "vTrain single node")
    r = {name: record.needed(name) for name in ("num_gpus", "global_batch", "micro_batch", "hidden", "heads", "layers", "seq_len")}
    cut = {"tp": record.whole("tp", 1) or 1, "pp": record.whole("pp", 1) or 1}
    layout = _layout(r["num_gpus"], cut, micro_batch=r["micro_batch"], global_batch=r["global_batch"], zero=group.zero, recompute="full")
    if record.whole("dp", layout.dp) != layout.dp:
        raise LeftOutError("tp x pp x dp is not the number of devices")
    model = gpt(r["layers"], r["hidden"], r["heads"], 0, group.vocab, r["seq_len"])
    return _step(record, group, "GPT", model, hardware("a100-sxm4-80gb"), "fp16", layout, r["seq_len"], seconds(record))


def _memory(record: Record) -> MeasuredStep:
    group, name = group_of(record.text("group") or "SimuMax"), record.text("model")
    model = shipped_model(model_id_of(name) or name, record.needed("layers"), dense_layers(record.text("notes"), name))
    device, _ = device_of(record)
    dtype, assumed = precision(record, group, device)
    dp, seq_len = record.whole("dp", 1) or 1, record.needed("seq_len")
    layout = _layout(
        record.needed("n_gpus"),
        {name: record.whole(name, 1) or 1 for name in ("tp", "pp", "cp", "ep")},
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
        name,
        model,
        device,
        dtype,
        layout,
        seq_len,
        seconds(record),
        allocated=allocated * GIBI if allocated else None,
        assumed=(assumed,) if assumed else (),
    )


def _throughput(record: Record) -> MeasuredStep:
    known = group_of(record.text("group"), record.text("notes"))
    group, shards, assumed = with_software(record, known)
    name, devices, seq_len = record.text("model"), record.needed("n_gpus"), record.needed("seq_len")
    if record.text("confidence").find("inconsistent") >= 0 or "do not use" in record.text("notes"):
        raise LeftOutError("the source contradicts itself")
    model, dimensions = described(record, group, name, seq_len)
    software = _own_stack(record, group, name)
    device, device_said = device_of(record)
    dtype, read_as = precision(record, group, device)
    cuts = cuts_of(record, devices, shards=shards, known=bool(known.stack))
    assumed = (*assumed, *filter(None, (dimensions, read_as, device_said)), *cuts.assumed)
    micro, whole = batches(record, group)
    again = recompute_of(record, group)
    if cuts.unknown:
        layout = _chosen(model, device, devices, seq_len, dtype, software.id, micro, whole)
        assumed = (*assumed, f"layout={layout}, the fastest that fits")
    else:
        degrees = cuts.degrees | {"dp": _replicas(devices, cuts.degrees)}
        if group.chunks and degrees["vp"] == 1 and degrees["pp"] > 1:
            degrees["vp"] = max(1, record.needed("layers") // degrees["pp"] // 2)
        fields: dict[str, Any] = degrees | {
            "zero": zero_stage(record, group, name),
            "recompute": again or "none",
            "sequence_parallel": group.stack.startswith(SHARE_THE_STREAM),
        }
        if micro is None and whole and group.micro_batch == "no accumulation":
            micro = max(1, whole // degrees["dp"])
        micro, whole, batch = completed_batches(micro, whole, fields, model, seq_len, device, dtype, software.id)
        assumed = (*assumed, *batch, *(("recompute=none",) if not again and not known.stack else ()))
        layout = Layout(**fields, micro_batch=micro, global_batch=whole)
    step_s, by_convention = seconds(record), ""
    if step_s is None:
        step_s, by_convention = seconds_from_rate(record, group, model, layout, seq_len, device, dtype)
    if step_s is None:
        raise LeftOutError("neither a time nor a rate is in the row")
    assumed = (*assumed, *filter(None, (by_convention,)))
    own = f"its layout is not stated, and was chosen: {layout}" if cuts.unknown else ""
    return _step(record, group, name, model, device, dtype, layout, seq_len, step_s, assumed=assumed, apart=own)


def _replicas(devices: int, degrees: dict[str, int]) -> int:
    """What is left of the devices. Raises LeftOutError where the cut does not divide them."""
    cut = degrees.get("tp", 1) * degrees.get("pp", 1) * degrees.get("cp", 1)
    if devices % cut:
        raise LeftOutError(f"tp x pp x cp = {cut} does not divide the {devices} devices")
    return devices // cut


def _layout(devices: int, degrees: dict[str, Any], **rest: Any) -> Layout:
    try:
        return Layout(dp=_replicas(devices, degrees), **degrees, **rest)
    except RequestError as error:
        raise LeftOutError(f"the layout is impossible: {error}") from None


def _chosen(
    model: Model, device: Hardware, devices: int, seq_len: int, dtype: str, stack_id: str, micro: int | None, whole: int | None
) -> Layout:
    """The layout that a plan finds, with the row's own micro-batch where it divides."""
    layout = chosen_layout(model, device, devices, seq_len, dtype, stack_id, whole)
    if micro and layout.global_batch % (layout.dp * micro) == 0:
        return replace(layout, micro_batch=micro)
    return layout


def _step(
    record: Record,
    group: Group,
    name: str,
    model: Model,
    device: Hardware,
    dtype: str,
    layout: Layout,
    seq_len: int,
    step_s: float | None,
    *,
    allocated: float | None = None,
    assumed: tuple[str, ...] = (),
    apart: str = "",
) -> MeasuredStep:
    kind = "forced balance" if "force-balanced" in record.text("notes") and sequence_cost_of(model, seq_len).experts > 1 else group.kind
    if "tokendrop" in name:
        kind = "forced balance"
    if "LoRA" in name:
        kind = "lora"
    cluster = record.text("cluster") or group.cluster
    machine_of(device, dtype, cluster=cluster)  # a device without a peak for the dtype raises here
    return MeasuredStep(
        id=record.id,
        source=group.source or group.match,
        group=record.text("group") or group.match,
        kind=kind,
        apart=group.apart or apart,
        assumed=assumed,
        model_name=name,
        model=model,
        hardware=device,
        dtype=dtype,
        layout=layout,
        stack=_own_stack(record, group, name),
        cluster=cluster,
        network_bytes_per_s=record.number("network_bytes_per_s"),
        seq_len=seq_len,
        measured_step_time_s=step_s,
        measured_memory_bytes=allocated,
        says_recompute=says_recompute(record) and not assumed,
        offloads_activations=offloads_activations(record),
    )


def _own_stack(record: Record, group: Group, name: str) -> Stack:
    if record.text("stack"):
        return stack(record.text("stack"))
    if "Q-LoRA" in name:
        return stack("transformers-qlora")
    if "ZeRO-3" in name and group.stack == "megatron-2021":
        return stack("deepspeed-2021")
    usual = group.stack or DEFAULT_STACK
    rowwise = f"{usual}-rowwise" if "rowwise" in record.text("precision").casefold() else usual
    return stack(rowwise if rowwise in stacks() else usual)
