"""Tables of a suite for whoever learns: what each network learned, the curve that overfits, where FLOP and time go, the rule of thumb."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.record import Measurement
from estimators import units
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.frozen import replace
from estimators.inference.generation import generation_flop_by_component
from estimators.printable import cut
from reports.drawing import NAME_COLUMNS
from reports.learned import Learned, by_rule, learned, overfit
from reports.table import Column, Table
from reports.views.records.measured_time import parts_table


def learner_tables(records: Sequence[Measurement]) -> list[Table]:
    """Those that have a row; none of records among which no network was trained on a part of the days."""
    if not any(record.request.train_days for record in records):
        return []
    trained = learned(records)
    tables = [learned_table(trained), *([curve_table(worst.record, worst.best_epoch)] if (worst := overfit(trained)) else [])]
    for record in records:
        if record.request.task == "generate":
            tables += [table for table in (flop_table(record), _time_table(record)) if table.rows]
    return [*tables, rule_table(records)]


def learner_lines(records: Sequence[Measurement]) -> list[str]:
    """What the networks of daily views show, in two sentences at most."""
    trained = learned(records)
    lines = []
    whole = max((each.train_days for each in trained), default=0)
    lines_of = [each for each in trained if each.is_linear and each.train_days == whole]
    if len(lines_of) > 1:
        steps = ", ".join(f"{_loss(each.heldout_loss)} with {each.look_back_days}" for each in lines_of)
        lines.append(f"More days to look back on help: held-out loss of the straight lines {steps}")
    worst = overfit(trained)
    if worst is not None:
        lines.append(
            f"Overfitting: {worst.params:,} parameters on {worst.train_days} days: held-out loss {_loss(worst.best_heldout_loss)} after "
            f"{worst.best_epoch} epochs, {_loss(worst.heldout_loss)} after {worst.epochs:,}; training loss {_loss(worst.train_loss)}"
        )
    return lines


def learned_line(record: Measurement) -> list[str]:
    """What one network learned, in a line; none of what was not trained to an end."""
    said, best = record.learning, record.learning.best_epoch
    if said.train_loss is None or said.heldout_loss is None:
        return []
    parts = [f"Learned: loss {_loss(said.train_loss)} on what it was trained on, {_loss(said.heldout_loss)} on what was held out"]
    if best is not None and overfit(learned([record])):
        parts.append(f"{_loss(best.heldout_loss)} after epoch {best.epoch:,}, before it overfitted")
    if said.bound_loss is not None:
        parts.append(f"nothing beats {_loss(said.bound_loss)} there but by luck")
    return ["; ".join(parts)]


def learned_table(trained: Sequence[Learned]) -> Table:
    """One row for each network; the facts say which one overfits most, whose neighbours the pictures show."""
    worst = overfit(trained)
    bound = next((each.record.learning.bound_loss for each in trained if each.record.learning.bound_loss is not None), None)
    notes = ["Held-out loss: of days that no network was trained on; the best is the lowest of 20 looks at it during the training."]
    if worst is not None:
        notes.append(
            f"Why it overfits: {worst.params:,} parameters are enough to remember each of {worst.train_days} days with its noise, "
            "and noise does not come again."
        )
    return Table(
        key="views",
        title="What networks learned of daily views, and forgot again",
        conditions=[f"loss: {unit}" for unit in sorted({each.record.learning.loss_unit or "unknown" for each in trained})],
        columns=(
            Column(key="model", header="Model"),
            Column(key="params", header="Parameters", format=units.format_int, align="right", kind="counted"),
            Column(key="look_back_days", header="Looks back, days", align="right"),
            Column(key="train_days", header="Trained on, days", format=units.format_int, align="right"),
            Column(key="epochs", header="Epochs", format=units.format_int, align="right"),
            Column(key="train_loss", header="Train loss", format=_loss, align="right", kind="measured"),
            Column(key="best_heldout_loss", header="Held-out loss, best", format=_loss, align="right", kind="measured"),
            Column(key="best_epoch", header="at epoch", format=units.format_int, align="right"),
            Column(key="heldout_loss", header="Held-out loss, last", format=_loss, align="right", kind="measured"),
            Column(key="run_id", header="Record", raw=True),
        ),
        rows=[
            {
                "model": each.model,
                "params": each.params,
                "look_back_days": each.look_back_days,
                "train_days": each.train_days,
                "epochs": each.epochs,
                "train_loss": each.train_loss,
                "best_heldout_loss": each.best_heldout_loss,
                "best_epoch": each.best_epoch,
                "heldout_loss": each.heldout_loss,
                "run_id": each.record.run_id,
            }
            for each in trained
        ],
        notes=notes,
        facts={"overfit_run_id": worst and worst.record.run_id, "bound_loss": bound},
    )


def curve_table(record: Measurement, best_epoch: int | None = None) -> Table:
    """Losses by epoch of a network.

    Args:
        best_epoch: after which it overfits.
    """
    samples = f" on {record.request.train_days} days" if record.request.train_days else ""
    return Table(
        key="curve",
        title=f"By epoch: {record.request.model} of {record.estimate.params or 0:,} parameters{samples}",
        columns=(
            Column(key="epoch", header="Epoch", format=units.format_int, align="right"),
            Column(key="train_loss", header="Train loss", format=_loss, align="right"),
            Column(key="heldout_loss", header="Held-out loss", format=_loss, align="right"),
        ),
        rows=[
            {"epoch": point.epoch, "train_loss": point.train_loss, "heldout_loss": point.heldout_loss} for point in record.learning.curve
        ],
        facts={"best_epoch": best_epoch},
        kind="measured",
    )


def flop_table(record: Measurement) -> Table:
    """FLOP of a generation by component; no row for a network without an op table."""
    asked = record.request
    model = model_from_config(asked.config or {}, asked.model)
    parts = (
        generation_flop_by_component(
            model, prompt_tokens=asked.seq_len or 1, new_tokens=asked.new_tokens or 1, rows=(asked.batch or 1) * (asked.num_beams or 1)
        )
        if isinstance(model, Decoder)
        else {}
    )
    whole = sum(parts.values())
    return Table(
        key=f"{_key(asked.model)}_flop",
        title=f"Where the FLOP of {asked.model} go: {units.format_flop(whole)} of one generation",
        columns=(
            Column(key="part", header="Part"),
            Column(key="flop", header="FLOP", format=units.format_flop, align="right"),
            Column(key="share_fraction", header="Share", format=units.format_fraction, align="right"),
            Column(key="name", header="Name", raw=True),
        ),
        rows=[
            {"part": part, "flop": flop, "share_fraction": flop / whole, "name": cut(part, NAME_COLUMNS)} for part, flop in parts.items()
        ],
        kind="counted",
    )


def _time_table(record: Measurement) -> Table:
    """Where its time went, as its own report has it, under a name of its own."""
    parts = parts_table(record)
    rows = [{**row, "name": cut(str(row["part"]), NAME_COLUMNS)} for row in parts.rows]
    columns = [*parts.columns, Column(key="name", header="Name", raw=True)]
    title = f"Where the time of {record.request.model} goes"
    return replace(parts, key=f"{_key(record.request.model)}_time", title=title, columns=columns, rows=rows)


def rule_table(records: Sequence[Measurement]) -> Table:
    """6·N·D, or 2·N·D, with the numbers of each language model put in."""
    rows = by_rule(records)
    return Table(
        key="rule",
        title="The rule of thumb with the run's numbers put in, beside every product counted",
        columns=(
            Column(key="model", header="Model"),
            Column(key="work", header="Of"),
            Column(key="rule", header="Rule"),
            Column(key="params", header="N, parameters", format=units.format_int, align="right"),
            Column(key="tokens", header="D, tokens", format=units.format_int, align="right"),
            Column(key="rule_flop", header="Rule's FLOP", format=units.format_flop, align="right", kind="derived"),
            Column(key="counted_flop", header="Counted FLOP", format=units.format_flop, align="right", kind="counted"),
            Column(key="ratio", header="Ratio", format=units.format_ratio, align="right", kind="derived"),
        ),
        rows=[
            {
                "model": each.model,
                "work": each.work,
                "rule": each.rule,
                "params": each.params,
                "tokens": each.tokens,
                "rule_flop": each.rule_flop,
                "counted_flop": each.counted_flop,
                "ratio": each.ratio,
            }
            for each in rows
        ],
        facts={"same": 1.0},
        notes=["6·N·D: forward 2 and backward 4 operations for each parameter and token; 2·N·D: forward alone. Attention is in neither."],
    )


def _key(model: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in model)


def _loss(value: float) -> str:
    return f"{value:.3g}"
