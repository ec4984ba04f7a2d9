"""A server under load as tables: the answer, its latencies each under its definition, its four rates, and the checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.records.record import Measurement
from bench.records.served import ServedLoad, result_of
from estimators import units
from estimators.serving.results.result import QUANTITIES, ServingResult
from reports import served
from reports.checks.crosscheck import crosscheck, failed
from reports.screen import Screen, columns_kept
from reports.table import Column, Table, Value
from reports.views.records.checks import check_table, checks_line, failed_lines

Row = dict[str, Value]

LATENCY_NAMES = {
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "itl_s": "ITL",
    "per_output_token_s": "end to end per token",
    "e2e_s": "end to end",
    "prefill_s": "prefill",
    "decode_s": "decode step",
}
"""What people call a latency; QUANTITIES says how it is defined."""

WATERFALL_NAMES = {
    "matmul": "matrix products",
    "attention": "attention",
    "memory": "memory-bound operators",
    "optimizer": "optimizer",
    "host": "issuing the operators",
}
"""Parts of a predicted step, as people read them."""

RATE_NAMES = {
    "output_per_replica": ("output tokens/s", "of all its devices"),
    "output_per_gpu": ("output tokens/s per GPU", ""),
    "output_per_user": ("output tokens/s per user", "1 / time per output token"),
    "prompt": ("prompt tokens/s", "of all its devices"),
}


def tables(record: Measurement) -> list[Table]:
    """Every table of one record."""
    others = [*_held(record), *_waterfall(record), *_predicted(record)]
    return [answer_table(record), rates_table(record), *others, check_table(crosscheck(record))]


def _held(record: Measurement) -> list[Table]:
    """What was predicted of the run before it began, beside what was measured."""
    found = served.held(record)
    if not found:
        return []
    share, said = served.processor_share(record), record.estimate.serving
    notes = [
        "Predicted before: passes of several sizes operator by operator, each timed alone; the engine on a narrow model; a simulation."
    ]
    if share is not None:
        notes.append(f"The engine had a processor for {units.format_fraction(share)} of the passes' time.")
    return [
        Table(
            key="held",
            title="Predicted before, against measured",
            conditions=[f"from the calibration of {said.calibrated_utc}"] if said else [],
            columns=(
                Column(key="key", header="Figure", raw=True),
                Column(key="what", header="Figure"),
                Column(key="predicted", header="Predicted", align="right"),
                Column(key="measured", header="Measured", align="right"),
                Column(key="predicted_value", header="Predicted, raw", raw=True),
                Column(key="measured_value", header="Measured, raw", raw=True),
                Column(key="error_fraction", header="Off by", format=units.format_signed_fraction, align="right"),
            ),
            rows=[
                {
                    "key": each.key,
                    "what": each.name,
                    "predicted": _as_read(each.predicted, each.is_rate),
                    "measured": _as_read(each.measured, each.is_rate),
                    "predicted_value": each.predicted,
                    "measured_value": each.measured,
                    "error_fraction": each.ratio - 1,
                }
                for each in found
            ],
            notes=notes,
        )
    ]


def _as_read(value: float, is_rate: bool) -> str:
    return f"{units.format_grouped(value)}/s" if is_rate else units.format_duration(value)


def _waterfall(record: Measurement) -> list[Table]:
    """A decode step part by part: what its operators take, what issuing them costs, what the engine does, and what is left."""
    said, steps = record.estimate.serving, served.decode_steps(record)
    if said is None or steps is None:
        return []
    parts = {WATERFALL_NAMES[name]: float(value) for name, value in said.parts_s.stated().items() if value}
    parts["the engine, between passes"] = said.engine_s
    parts["not explained"] = steps.step_s - sum(parts.values())
    rows: list[Row] = [{"part": name, "seconds_s": value, "share_fraction": value / steps.step_s} for name, value in parts.items()]
    rows.append({"part": "the step", "seconds_s": steps.step_s, "share_fraction": 1.0})
    return [
        Table(
            key="waterfall",
            title=f"A decode step, part by part (median of {steps.num})",
            columns=(
                Column(key="part", header="Part"),
                Column(key="seconds_s", header="Time", format=units.format_duration, align="right"),
                Column(key="share_fraction", header="Share", format=units.format_fraction, align="right"),
            ),
            rows=rows,
        )
    ]


def answer_table(record: Measurement) -> Table:
    """Latencies, and what they are of."""
    load = _load(record)
    result = result_of(load)
    rows = [_latency(spread) for spread in served.spreads(result)]
    return Table(
        key="answer",
        title=sentence(record),
        conditions=conditions(record),
        columns=(
            Column(key="quantity", header="Quantity", raw=True),
            Column(key="what", header="Latency"),
            *(Column(key=name, header=name, format=units.format_duration, align="right") for name in served.STATISTICS),
            Column(key="num", header="Samples", format=_samples, align="right"),
            Column(key="definition", header="Defined as"),
        ),
        rows=rows,
        notes=list(_notes(record)),
        facts=_facts(record, result),
    )


def _load(record: Measurement) -> ServedLoad:
    assert record.proof.served is not None, record.run_id
    return record.proof.served


def _latency(spread: served.Spread) -> Row:
    return {
        "quantity": spread.quantity,
        "what": LATENCY_NAMES[spread.quantity],
        **spread.values_s,
        "num": spread.num,
        "definition": QUANTITIES[spread.quantity],
    }


def _samples(num: int) -> str:
    return units.format_int(num) if num else "as stated"


def sentence(record: Measurement) -> str:
    """What answered, how fast, and how long its users wait."""
    load = _load(record)
    result = result_of(load)
    reached, waits = served.rates(result), {spread.quantity: spread.values_s for spread in served.spreads(result)}
    said = []
    if reached.output_per_replica is not None:
        said.append(f"{units.format_grouped(reached.output_per_replica)} output tokens/s")
    elif reached.output_per_gpu is not None:
        said.append(f"{units.format_grouped(reached.output_per_gpu)} output tokens/s per GPU")
    for quantity in ("ttft_s", "tpot_s", "itl_s", "prefill_s", "decode_s"):
        values_s = waits.get(quantity, {})
        statistic = next((name for name in ("median", "mean") if name in values_s), "")
        if statistic and not (quantity == "itl_s" and "tpot_s" in waits):
            said.append(f"{LATENCY_NAMES[quantity]} {units.format_duration(values_s[statistic])} ({statistic})")
    what = f"{record.request.model or 'a model'}{_arrivals(load)}: {', '.join(said) or 'nothing measured'}"
    return what if record.status == "complete" else f"{what}; {record.status} run: {record.status_reason}"


def load_of(record: Measurement) -> str:
    """What was asked of the server, in a few words."""
    return f"serving{_arrivals(_load(record))}"


def _arrivals(load: ServedLoad) -> str:
    asked = load.load
    if asked.kind == "open" and asked.request_rate:
        return f" at {asked.request_rate:g} requests/s"
    if asked.concurrency:
        return f" at {asked.concurrency:,} {'sequences' if asked.kind == 'static batch' else 'in flight'}"
    return " with all requests at once" if asked.kind == "all at once" else ""


def conditions(record: Measurement) -> list[str]:
    """Under what the figures hold."""
    load = _load(record)
    result, server = result_of(load), load.served
    prompt, output = served.mean_lengths(result)
    sizes = [f"{load.completed:,} requests" if load.completed is not None else "", f"{load.failed:,} failed" if load.failed else ""]
    sizes += [f"{prompt:.4g} prompt tokens" if prompt else "", f"{output:.4g} output tokens" if output else ""]
    degrees = [f"{name} {value}" for name in ("tp", "pp", "dp", "ep") if (value := getattr(server, name)) is not None]
    place = f"{server.num_gpus} x {server.hardware}" if server.num_gpus and server.hardware else server.hardware or "an unknown device"
    lines = [
        " · ".join(filter(None, [f"load: {load.load.kind}", *sizes])),
        " · ".join(
            filter(
                None,
                [f"on {place}", server.engine, *degrees, server.weights and f"weights {server.weights}", server.kv and f"KV {server.kv}"],
            )
        ),
        f"client: {load.client}" + (f", from {load.file}" if load.file else ""),
    ]
    if server.accepted_len is not None and server.accepted_len > 1:
        lines.append(f"speculation: {server.accepted_len:g} tokens a step")
    if server.is_disaggregated:
        lines.append("prompts are read by other devices than those that decode")
    return lines


def _notes(record: Measurement) -> Iterator[str]:
    load = _load(record)
    if load.counted_by_client is not None:
        yield (
            f"The server counted {load.output_tokens:,} output tokens, the client {load.counted_by_client:,} with a tokenizer of its own: "
            "rates and times per token are by the server's."
        )
    named = served.named_deployment(record)
    if named.deployment is None and load.file:
        yield f"Its steps are held against no prediction: {named.missing}"
    yield from named.assumed


def _facts(record: Measurement, result: ServingResult) -> dict[str, Any]:
    reached = served.rates(result)
    found: dict[str, Any] = {"model": record.request.model, "run_id": record.run_id, "status": record.status, "client": result.client}
    found |= {f"{name}_tokens_per_s": getattr(reached, name) for name in RATE_NAMES}
    return found | {f"{spread.quantity}_{name}": value for spread in served.spreads(result) for name, value in spread.values_s.items()}


def rates_table(record: Measurement) -> Table:
    """The four rates."""
    reached = served.rates(result_of(_load(record)))
    rows: list[Row] = [
        {"rate": name, "what": what, "per_s": getattr(reached, name), "note": note} for name, (what, note) in RATE_NAMES.items()
    ]
    return Table(
        key="rates",
        title="Four rates",
        columns=(
            Column(key="rate", header="Rate", raw=True),
            Column(key="what", header="Rate"),
            Column(key="per_s", header="Value", format=units.format_grouped, align="right"),
            Column(key="note", header="Note"),
        ),
        rows=rows,
    )


def _predicted(record: Measurement) -> list[Table]:
    """The decode step that is predicted of the deployment, beside the time per token that was measured."""
    step = served.predicted_step(record)
    result = result_of(_load(record))
    measured = {spread.quantity: spread.values_s for spread in served.spreads(result)}
    values_s = next((measured[name] for name in ("tpot_s", "itl_s", "decode_s") if name in measured), None)
    if step is None or values_s is None:
        return []
    accepted = result.served.accepted_len or 1.0
    parts = {"bound": float(step.bound_s), **{name: float(value) for name, value in step.parts.items()}}
    rows: list[Row] = [{"what": name.removesuffix("_s").replace("_", " "), "seconds_s": value} for name, value in parts.items() if value]
    rows.append({"what": "predicted decode step", "seconds_s": float(step.total_s)})
    typical_s = values_s.get("median", values_s.get("mean", 0.0))
    rows.append(
        {
            "what": "measured time per token, times tokens of a step" if accepted > 1 else "measured time per token",
            "seconds_s": typical_s * accepted,
        }
    )
    ratio = float(step.total_s) / (typical_s * accepted) if typical_s else None
    note = "" if ratio is None else f"Predicted over measured: {ratio:.2f}; a time per token holds the prefills of other requests, too."
    return [
        Table(
            key="predicted",
            title="A decode step by the model of steps, no figure of this run in it",
            columns=(
                Column(key="what", header="Part"),
                Column(key="seconds_s", header="Time", format=units.format_duration, align="right"),
            ),
            rows=rows,
            notes=[note] if note else [],
            facts={"predicted_step_s": float(step.total_s), "predicted_over_measured": ratio},
        )
    ]


def served_screen(record: Measurement, tables: Sequence[Table]) -> Screen:
    """One record.

    Args:
        tables: all of it, as `tables` makes them.
    """
    answer = tables[0]
    reached = served.rates(result_of(_load(record)))
    said = [
        f"{what}: {units.format_grouped(value)}" for name, (what, _) in RATE_NAMES.items() if (value := getattr(reached, name)) is not None
    ]
    predicted = next((table for table in tables if table.key == "predicted"), None)
    foretold = [f"{each.name} {100 * (each.ratio - 1):+.0f} %" for each in served.held(record)]
    before = [f"Predicted before, against measured: {', '.join(foretold)}."] if foretold else []
    return Screen(
        answer=answer.title,
        lead=[*answer.conditions[:2], "; ".join(said)],
        table=columns_kept(answer, "what", "median", "mean", "p99", "definition", "num"),
        doubts=failed_lines([record]),
        notes=[checks_line([record]), *before, answer.conditions[2], *(predicted.notes if predicted else []), *answer.notes],
        failed=record.status != "complete" or bool(failed(crosscheck(record))),
    )
