"""General rules that complete a row without its table being known: layout, batch and layers, each said where it is assumed."""

from __future__ import annotations

import functools
import re
from typing import Any

from estimators.cost.layout import Layout
from estimators.errors import RequestError
from estimators.facts.frameworks import framework_of
from estimators.frozen import field, frozen, replace
from estimators.memory.device import memory_of
from estimators.spec import Hardware, Model
from estimators.training.sequence_cost import sequence_cost_of
from estimators.validation.groups import Group
from estimators.validation.table import LeftOutError, Record

CUTS = ("tp", "pp", "cp")


@frozen
class Cuts:
    """How a row's model is cut.

    Attributes:
        degrees: tp, pp, cp, ep and vp.
        assumed: one text per cell that the row leaves out.
        unknown: whether nothing says how the model is cut: its layout is to be chosen.
    """

    degrees: dict[str, int] = field(hash=False)
    assumed: tuple[str, ...] = ()
    unknown: bool = False


def with_software(record: Record, group: Group) -> tuple[Group, bool, tuple[str, ...]]:
    """The table with its software, whether that shards before it cuts, and what was assumed: by the row's framework where it has no table.

    A known table's software is a fact of it; so is a `stack` column.
    """
    framework = framework_of(record.text("framework"))
    if group.stack:
        return group, group.zero == 3 or not group.stack.startswith("megatron"), ()
    if framework is None:
        default = framework_of("Megatron-Core")
        assert default is not None
        assumed = () if record.text("stack") else (f"stack={default.stack}, the usual one",)
        return replace(group, stack=default.stack), False, assumed
    assumed = () if record.text("stack") else (f"stack={framework.stack}, by framework {record.text('framework')[:40]!r}",)
    return replace(group, stack=framework.stack, zero=framework.zero), framework.shards, assumed


def cuts_of(record: Record, devices: int, *, shards: bool, known: bool) -> Cuts:
    """Degrees of every cut: stated, by arithmetic, or by what the software does with a layout that is left out.

    Args:
        shards: whether the software shares data and state out before it cuts the model.
        known: whether the table is known: then a blank says 1, unless its software cuts models and no cut is stated.
    """
    stated = {name: record.whole(name) for name in (*CUTS, "dp", "ep", "vp")}
    for name, number in re.findall(r"\b(tp|pp|cp)(\d+)\b", record.text("fsdp")):
        stated[name] = stated[name] or int(number)
    blank = [name for name in CUTS if stated[name] is None]
    degrees = {name: stated[name] or 1 for name in (*CUTS, "ep", "vp")}
    if "tp" not in blank and "pp" not in blank:
        return Cuts(degrees=degrees, assumed=() if known or not blank else ("cp=1",))
    replicas, said = (stated["dp"] or 1) * _sharded_over(record), ", ".join(f"{name}=1" for name in blank)
    cut = degrees["tp"] * degrees["pp"] * degrees["cp"]
    if devices == 1 or replicas * cut == devices:
        return Cuts(degrees=degrees, assumed=() if known else (f"{said}, as dp is all devices",))
    if shards:
        return Cuts(degrees=degrees, assumed=() if known else (f"{said}, as its software shards instead",))
    if stated["dp"] and len([name for name in ("tp", "pp") if name in blank]) == 1 and devices % (stated["dp"] * cut) == 0:
        name = "tp" if "tp" in blank else "pp"
        degrees[name] = devices // (stated["dp"] * cut)
        return Cuts(degrees=degrees, assumed=(f"{name}={degrees[name]}, what dp leaves of the devices",))
    if stated["tp"] or stated["pp"]:
        return Cuts(degrees=degrees, assumed=(said,))
    return Cuts(degrees=degrees, unknown=True)


def _sharded_over(record: Record) -> int:
    """Devices that the fsdp column says weights are cut over; 1 where it says none."""
    number = re.fullmatch(r"\d+", record.text("fsdp"))
    return max(1, int(number.group())) if number and not (record.whole("dp") or 1) > 1 else 1


def batches(record: Record, group: Group) -> tuple[int | None, int | None]:
    """Sequences of one pass and of one step, as the row or its table says; None for what neither does."""
    accumulated = re.search(r"micro_num (\d+)", record.text("notes"))
    tokens = re.search(r"([\d.e+]+) tokens/batch", record.text("notes"))
    micro, whole, seq_len = record.whole("mbs"), record.whole("gbs_seqs"), record.whole("seq_len")
    if whole is None and micro and accumulated:
        whole = micro * record.needed("n_gpus") * int(accumulated.group(1))
    if whole is None and tokens and seq_len:
        devices = record.needed("n_gpus")
        whole = max(1, round(float(tokens.group(1)) / seq_len / devices)) * devices
    if micro is None and isinstance(group.micro_batch, int) and group.micro_batch:
        micro = group.micro_batch
    return micro, whole


def completed_batches(
    micro: int | None, whole: int | None, layout: dict[str, Any], model: Model, seq_len: int, hardware: Hardware, dtype: str, stack_id: str
) -> tuple[int, int, tuple[str, ...]]:
    """Both batches, and what was assumed: one sequence a pass under a pipeline, no accumulation without one, else what is usual.

    Args:
        layout: every field of the layout but the two.
    """
    pipeline, replicas, assumed = layout["pp"] > 1, layout["dp"], []
    if micro is None and pipeline:
        micro, assumed = 1, ["mbs=1, under a pipeline"]
    if whole is None and micro is not None and not pipeline:
        whole, assumed = micro * replicas, [*assumed, "gbs_seqs=mbs x dp"]
    if whole is None:
        whole = _usual_batch(replicas * (micro or 1), layout, model, seq_len)
        assumed = [*assumed, f"gbs_seqs={whole}, as models of its size are trained"]
    if micro is None:
        micro = _largest_that_fits(max(1, whole // replicas), whole // replicas, layout, model, seq_len, hardware, dtype, stack_id)
        assumed = [*assumed, f"mbs={micro}, the largest that fits"]
    return micro, whole, tuple(assumed)


def _usual_batch(unit: int, layout: dict[str, Any], model: Model, seq_len: int) -> int:
    from estimators.training.layouts.global_batch import PUBLISHED_BATCH

    devices = layout["dp"] * layout["tp"] * layout["pp"] * layout["cp"]
    try:
        return PUBLISHED_BATCH.for_layout(unit, devices, params=sequence_cost_of(model, seq_len).params, seq_len=seq_len)
    except RequestError as error:
        raise LeftOutError(f"the row has no global batch, and {error}") from None


def _largest_that_fits(
    most: int, per_replica: int, layout: dict[str, Any], model: Model, seq_len: int, hardware: Hardware, dtype: str, stack_id: str
) -> int:
    """The largest divisor of a replica's sequences, halved from all of them, whose step fits; 1 where none does."""
    while most > 1:
        if per_replica % most == 0:
            tried = Layout(**layout, micro_batch=most, global_batch=most * layout["dp"])
            if memory_of(model, seq_len, tried, stack_id=stack_id, dtype=dtype).total_bytes <= hardware.memory_bytes:
                return most
        most //= 2
    return 1


@functools.lru_cache(maxsize=512)
def chosen_layout(
    model: Model, hardware: Hardware, devices: int, seq_len: int, dtype: str, stack_id: str, global_batch: int | None
) -> Layout:
    """The fastest layout that fits, as `plan` finds it, where nothing says how a row's model was cut.

    Raises:
        LeftOutError: none fits, or the model is one that no layout is planned for.
    """
    from estimators.training.layouts.global_batch import Batch  # deferred, with what follows: numpy, and most rows state their layout
    from estimators.training.layouts.job import Job
    from estimators.training.layouts.planned import plan

    try:
        job = Job(model=model, hardware=hardware, seq_len=seq_len, dtype=dtype, stack_id=stack_id)
        return plan(job, devices, Batch(sequences=global_batch), num_options=1).best.layout
    except RequestError as error:
        raise LeftOutError(f"the layout is not stated, and none was found: {error}") from None
