"""How the answer to a training question came about, at the utilisation in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from estimators.counting.estimate import count_active_params, params_by_component
from estimators.spec import Workload
from estimators.training.answer import TrainingAnswer
from estimators.training.at_utilization import training_flop
from estimators.units import (
    DAY_S,
    HOUR_S,
    format_duration,
    format_energy,
    format_flop,
    format_flop_rate,
    format_fraction,
    format_grouped,
    format_int,
    format_money,
)
from reports.table import Table
from reports.views.explain.formula import FormulaStep, Input, explanation_table, params_step

if TYPE_CHECKING:
    from estimators.training.answer import PredictedAnswer

ABOVE = "the figure above"


def explain_training(
    training: TrainingAnswer,
    *,
    model_option: str,
    asked: Sequence[FormulaStep] = (),
    whole: bool = True,
    key: str = "explanation",
    predicted: PredictedAnswer | None = None,
) -> Table:
    """Every figure of the answer.

    Args:
        model_option: the words that name the model in a command.
        asked: steps of reports.views.explain.inverse, where the question was put the other way round.
        whole: whether a number of tokens was given, so that there is a whole training to explain.
        predicted: the same with its predicted run, where no utilisation was given or assumed.
    """
    parts = params_by_component(training.model.ops(Workload()))
    steps = [
        params_step(training.params, parts, source=str(training.model.source), model_option=model_option),
        _sequence_step(training, model_option),
    ]
    if whole:
        steps.append(_flop_step(training))
    steps += asked
    if whole and training.hardware:
        if predicted is None:
            time, energy = [_gpu_days_step(training)], _energy_steps(training)
        else:
            from reports.views.explain.predicted import energy_steps, time_steps  # deferred: only a predicted run needs it

            time, energy = time_steps(predicted), energy_steps(predicted)
        steps += [*time, *_wall_steps(training), *energy, *_cost_steps(training)]
    where = f" on {training.devices_text}" if training.hardware else ""
    return explanation_table(steps, what=f"training {training.model.name}{where}", key=key)


def _show(training: TrainingAnswer, model_option: str) -> str:
    length = "" if training.item == "sample" else f" --seq-len {training.seq_len}"
    convention = "" if training.convention == "6nd" else f" --convention {training.convention}"
    return f"python -m bench show {model_option} --phase train{length}{convention}"


def length_input(training: TrainingAnswer) -> Input:
    """T, the tokens of a sequence."""
    source = "a model without sequences" if training.item == "sample" else training.seq_len_source or "given by --seq-len"
    return Input(symbol="T", value=training.seq_len, text=f"{format_int(training.seq_len)} {training.item}s", source=source)


def sequence_flop(training: TrainingAnswer) -> int:
    """Of one training sequence, under the answer's convention."""
    return training_flop(training.model, training.seq_len, training.seq_len)[training.convention]


def _sequence_step(training: TrainingAnswer, model_option: str) -> FormulaStep:
    """FLOP of one training sequence, from the op table's columns."""
    flop = sequence_flop(training)
    if training.convention == "6nd":
        formula = "6 · N · T"
        inputs = [_used_params_input(training), length_input(training)]
    else:
        ops = training.model.ops(Workload(phase="train", seq_len=training.seq_len))
        forward, backward = (sum(op.count * getattr(op, column) for op in ops) for column in ("flop", "backward_flop"))
        formula = "forward + backward"
        named = [
            ("forward", forward, "op table: 2 · m · n · k of every product"),
            ("backward", backward, "op table: two products for each, one where the input is data"),
        ]
        if training.convention == "causal":
            formula += " - masked"
            named.append(
                (
                    "masked",
                    forward + backward - flop,
                    "attention that no query may see, which this convention leaves out",
                )
            )
        if training.convention == "hardware":
            formula += " + recomputed"
            named.append(("recomputed", flop - forward - backward, "the layers' forward pass, which checkpointing runs again"))
        inputs = [Input(symbol=name, value=value, text=f"{format_int(value)} FLOP", source=source) for name, value, source in named]
    unit = "sample" if training.item == "sample" else "sequence"
    return FormulaStep(
        figure=f"FLOP per {unit}",
        value=flop,
        text=f"{format_int(flop)} FLOP per {unit}, counted {training.convention}",
        formula=formula,
        inputs=tuple(inputs),
        check=_show(training, model_option),
    )


def _used_params_input(training: TrainingAnswer) -> Input:
    """N, the parameters that a token uses."""
    used = count_active_params(training.model.ops(Workload(phase="train", seq_len=training.seq_len)))
    if used == training.params:
        return Input(symbol="N", value=used, text=f"{format_int(used)} parameters", source=ABOVE)
    text, source = f"{format_int(used)} parameters that a token uses", "op table: all but the experts that it is not routed to"
    return Input(symbol="N", value=used, text=text, source=source)


def _flop_step(training: TrainingAnswer) -> FormulaStep:
    flop = sequence_flop(training)
    return FormulaStep(
        figure="training FLOP",
        value=training.flop,
        text=f"{format_flop(training.flop)} ({format_int(training.flop)})",
        formula="C · D / T",
        inputs=(
            Input(
                symbol="C",
                value=flop,
                text=f"{format_int(flop)} FLOP per {'sample' if training.item == 'sample' else 'sequence'}",
                source=ABOVE,
            ),
            Input(symbol="D", value=training.tokens, text=f"{format_int(training.tokens)} {training.item}s", source="given by --tokens"),
            length_input(training),
        ),
    )


def peak_input(training: TrainingAnswer) -> Input:
    """P, the dense peak of one device."""
    assert training.hardware is not None
    peak = training.hardware.peak(training.dtype)
    text = f"{format_flop_rate(peak)}, dense {training.dtype} peak of one {training.hardware.id}"
    return Input(symbol="P", value=peak, text=text, source=str(training.hardware.source))


def flop_input(training: TrainingAnswer) -> Input:
    """F, the FLOP of the whole training."""
    return Input(symbol="F", value=training.flop, text=format_flop(training.flop), source="training FLOP, above")


def utilization_input(training: TrainingAnswer) -> Input:
    """U, the share of peak in the middle."""
    run = training.runs[training.middle]
    return Input(symbol="U", value=run.utilization, text=format_fraction(run.utilization), source=training.utilization_source)


def _gpu_days_step(training: TrainingAnswer) -> FormulaStep:
    assert training.hardware is not None
    run = training.runs[training.middle]
    return FormulaStep(
        figure="GPU-days",
        value=run.gpu_days,
        text=f"{format_grouped(run.gpu_days)} GPU-days = {format_grouped(run.gpu_hours)} GPU-hours",
        formula="F / (P · U) / day",
        inputs=(
            flop_input(training),
            peak_input(training),
            utilization_input(training),
            Input(symbol="day", value=DAY_S, text=f"{format_int(DAY_S)} s", source="definition"),
        ),
        check=f"python -m bench list hardware --match {training.hardware.id}",
    )


def _wall_steps(training: TrainingAnswer) -> list[FormulaStep]:
    if training.num_devices is None:
        return []
    run = training.runs[training.middle]
    return [
        FormulaStep(
            figure="wall time",
            value=run.wall_s / DAY_S,
            text=format_duration(run.wall_s),
            formula="G / n",
            inputs=(
                Input(symbol="G", value=run.gpu_days, text=f"{format_grouped(run.gpu_days)} GPU-days", source=ABOVE),
                Input(
                    symbol="n",
                    value=training.num_devices,
                    text=f"{format_int(training.num_devices)} devices",
                    source="given by --gpus, or chosen",
                ),
            ),
        )
    ]


def _energy_steps(training: TrainingAnswer) -> list[FormulaStep]:
    run = training.runs[training.middle]
    if training.hardware is None or training.hardware.power_w is None or run.energy_j is None:
        return []
    power_w = training.hardware.power_w
    return [
        FormulaStep(
            figure="energy",
            value=run.energy_j,
            text=format_energy(run.energy_j),
            formula="W · G · day",
            inputs=(
                Input(symbol="W", value=power_w, text=f"{power_w:,.0f} W, power limit of one board", source=str(training.hardware.source)),
                Input(symbol="G", value=run.gpu_days, text=f"{format_grouped(run.gpu_days)} GPU-days", source="GPU-days, above"),
                Input(symbol="day", value=DAY_S, text=f"{format_int(DAY_S)} s", source="definition"),
            ),
            check=f"python -m bench list hardware --match {training.hardware.id}",
        )
    ]


def _cost_steps(training: TrainingAnswer) -> list[FormulaStep]:
    if training.price is None:
        return []
    run = training.runs[training.middle]
    cost = training.price.median * run.gpu_hours
    return [
        FormulaStep(
            figure="cost",
            value=cost,
            text=f"{format_money(cost)} at the {'given' if training.price.low == training.price.high else 'middle'} price",
            formula="p · G · day / hour",
            inputs=(
                Input(
                    symbol="p", value=training.price.median, text=f"${training.price.median:.2f} per GPU-hour", source=training.price.source
                ),
                Input(symbol="G", value=run.gpu_days, text=f"{format_grouped(run.gpu_days)} GPU-days", source="GPU-days, above"),
                Input(symbol="day", value=DAY_S, text=f"{format_int(DAY_S)} s", source="definition"),
                Input(symbol="hour", value=HOUR_S, text=f"{format_int(HOUR_S)} s", source="definition"),
            ),
        )
    ]
