"""A model's op table: what each operation costs, totals per convention, parameters by component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from estimators.counting.conventions import CONVENTIONS, op_flop
from estimators.counting.estimate import count_active_params
from estimators.counting.phases import PhasesAnswer
from estimators.frozen import replace
from estimators.spec import Estimate, Model, Op, Phase, Workload
from estimators.units import format_bytes, format_flop, format_fraction, format_int
from reports.table import Column, Table, Value
from reports.views.training.conditions import convention_line, scope_lines
from reports.views.training.step import work_text

BYTES_NOTE = (
    "weights: read once per pass, however large the batch. cache: keys and values read or written. "
    "unfused: inputs and outputs of the operation if nothing is fused."
)


def _shape(op: Op) -> str | None:
    return "x".join(map(str, op.mnk)) if op.mnk else None


def phases_tables(answer: PhasesAnswer, *, params_text: str, assumed: Sequence[str] = ()) -> list[Table]:
    """Every table of the answer: the operations of the phase, every phase by convention, parameters, layers beside the model.

    Args:
        params_text: the published count, as printed; empty for a model of a file.
        assumed: what was taken where the model's file says nothing, in lines.
    """
    question, workload, cost = answer.question, answer.workload, answer.cost
    model, convention = question.model, question.convention
    conditions = [
        f"{question.phase}: {work_text(workload, model.item)}; {question.dtype}",
        convention_line(convention),
        f"configuration: {model.source}",
        *([f"counted as {_library(model)}' {model.runs}"] if model.runs else []),
        *scope_lines(model, workload),
        *assumed,
    ]
    if answer.decode_flop_by_code_path:
        listed = "; ".join(f"{name}: {format_flop(flop)}" for name, flop in answer.decode_flop_by_code_path.items())
        conditions.append(f"a decode step depends on the code path: {listed}")
    tables = [
        ops_table(model.name, answer.ops, workload, convention=convention, conditions=conditions),
        conventions_table(answer.costs, {phase: work_text(each, model.item) for phase, each in answer.workloads.items()}),
        params_table(cost.params, cost.embedding_params, cost.params_by_component, params_text),
    ]
    if answer.prediction_ops:
        tables.append(prediction_table(model.name, answer.prediction_ops, workload, convention=convention))
    return tables


def _library(model: Model) -> str:
    """Whose class a model is counted as."""
    from estimators.architectures.pipeline import OfImages  # deferred: most models are of transformers
    from estimators.architectures.traced import TracedModel

    traced = isinstance(model, TracedModel) and model.traced_from.startswith("diffusers")
    return "diffusers" if traced or isinstance(model, OfImages) else "transformers"


def ops_table(name: str, ops: Sequence[Op], workload: Workload, *, convention: str, conditions: Sequence[str]) -> Table:
    """One row per operation, with its share of FLOP and parameters; the last row is the sum."""
    total_flop = sum(op_flop(op, workload, convention) for op in ops)
    total_params = sum(op.count * op.params for op in ops)
    rows: list[dict[str, Value]] = []
    for op in ops:
        flop = op_flop(op, workload, convention)
        params = op.count * op.params
        rows.append(
            {
                "op": op.name,
                "component": op.component,
                "kind": op.kind,
                "count": op.count,
                "m_n_k": _shape(op),
                "params": params,
                "params_fraction": params / total_params if total_params else None,
                "flop": flop,
                "flop_fraction": flop / total_flop if total_flop else None,
                "forward_flop": op.count * op.flop,
                "weight_bytes": op.count * op.weight_bytes,
                "cache_bytes": op.count * op.cache_bytes,
                "activation_bytes": op.count * op.activation_bytes,
            }
        )
    summed = ("params", "flop", "forward_flop", "weight_bytes", "cache_bytes", "activation_bytes")
    total: dict[str, Value] = {"op": "total", "params_fraction": 1.0, "flop_fraction": 1.0 if total_flop else None}
    rows.append(total | {key: sum(int(str(row[key])) for row in rows) for key in summed})
    step = "forward and backward" if workload.phase == "train" else "forward"
    active = count_active_params(ops)
    used = f", {format_int(active)} of them active" if active != total_params else ""
    return Table(
        title=f"Operations of {name}: {format_flop(total_flop)} {step}, {format_int(total_params)} parameters{used}",
        conditions=conditions,
        columns=[
            Column(key="op", header="operation"),
            Column(key="component", header="component", raw=True),
            Column(key="kind", header="kind", raw=True),
            Column(key="count", header="copies", format=format_int, align="right"),
            Column(key="m_n_k", header="m x n x k", align="right"),
            Column(key="params", header="parameters", format=format_int, align="right"),
            Column(key="params_fraction", header="share", format=_share, align="right"),
            Column(key="flop", header="FLOP", format=format_flop, align="right"),
            Column(key="flop_fraction", header="share", format=_share, align="right"),
            Column(key="forward_flop", header="forward FLOP", raw=True),
            Column(key="weight_bytes", header="weights", format=format_bytes, align="right"),
            Column(key="cache_bytes", header="cache", format=format_bytes, align="right", raw=not rows[-1]["cache_bytes"]),
            Column(key="activation_bytes", header="unfused", format=format_bytes, align="right"),
        ],
        rows=rows,
        notes=["Figures are of all copies together; m x n x k is the shape of one of its products.", BYTES_NOTE],
        key="ops",
        kind="counted",
    )


def prediction_table(name: str, ops: Sequence[Op], workload: Workload, *, convention: str) -> Table:
    """The operations of the layers that predict further tokens, which are part of no other table.

    Args:
        ops: of all these layers.
    """
    table = ops_table(name, ops, workload, convention=convention, conditions=[])
    params, flop = sum(op.count * op.params for op in ops), sum(op_flop(op, workload, convention) for op in ops)
    step = "forward and backward" if workload.phase == "train" else "forward"
    return replace(
        table,
        title=f"Multi-token prediction of {name}: {format_flop(flop)} {step}, {format_int(params)} parameters",
        conditions=[
            "not included above: transformers builds these layers apart (MtpModel), and they run in pre-training and in speculative "
            "decoding alone; embedding and head are the decoder's"
        ],
        notes=[],
        facts={"prediction_params": params, "prediction_flop": flop, "prediction_included": False},
        key="prediction",
    )


def _share(fraction: float) -> str:
    return format_fraction(fraction, 2) if fraction else "0"


def conventions_table(costs: Mapping[Phase, Estimate], works: Mapping[Phase, str]) -> Table:
    """FLOP of each kind of step under every convention.

    Args:
        costs: step -> what it costs; a training step is taken with full recomputation, so that `hardware` has it.
        works: step -> what it is of.
    """
    rows: list[dict[str, Value]] = [
        {"step": step, "work": works[step], **{f"{name}_flop": cost.flop[name] for name in CONVENTIONS}} for step, cost in costs.items()
    ]
    return Table(
        title="FLOP of one step, by convention",
        columns=[
            Column(key="step", header="step"),
            Column(key="work", header="of"),
            *(Column(key=f"{name}_flop", header=name, format=format_flop, align="right") for name in CONVENTIONS),
        ],
        rows=rows,
        notes=[f"{c.name}: {c.includes} ({c.used_by})." for c in CONVENTIONS.values()],
        key="conventions",
        kind="counted",
    )


def params_table(params: int, embedding_params: int, by_component: Mapping[str, int], published: str) -> Table:
    """Parameters by component, with and without embeddings."""
    rows: list[dict[str, Value]] = [
        {"component": component, "params": count, "params_fraction": count / params} for component, count in by_component.items()
    ]
    rows.append({"component": "total", "params": params, "params_fraction": 1.0})
    if embedding_params:
        rows.append(
            {
                "component": "without embeddings",
                "params": params - embedding_params,
                "params_fraction": (params - embedding_params) / params,
            }
        )
    return Table(
        title=f"Parameters: {format_int(params)}",
        conditions=[f"published: {published}"] if published else [],
        columns=[
            Column(key="component", header="component"),
            Column(key="params", header="parameters", format=format_int, align="right"),
            Column(key="params_fraction", header="share", format=_share, align="right"),
        ],
        rows=rows,
        notes=["A weight that is used twice is counted once: a head tied to the token embedding counts as embedding."]
        if embedding_params
        else [],
        facts={"params": params, "embedding_params": embedding_params, "params_by_component": dict(by_component)},
        key="parameters",
        kind="counted",
    )
