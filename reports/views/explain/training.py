"""How the answer to a training question came about, at the utilisation in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from estimators.counting.estimate import params_by_component
from estimators.spec import Workload
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
from reports.views.explain.formula import Input, Step, explanation_table, params_step
from reports.views.training.study import Study

if TYPE_CHECKING:
    from reports.views.training.predicted import PredictedStudy

ABOVE = "the figure above"


def explain_training(
    study: Study,
    *,
    model_option: str,
    asked: Sequence[Step] = (),
    whole: bool = True,
    key: str = "explanation",
    predicted: PredictedStudy | None = None,
) -> Table:
    """Every figure of the answer.

    Args:
        model_option: the words that name the model in a command.
        asked: steps of reports.views.explain.inverse, where the question was put the other way round.
        whole: whether a number of tokens was given, so that there is a whole training to explain.
        predicted: the study with its predicted run, where no utilisation was given or assumed.
    """
    parts = params_by_component(study.model.ops(Workload()))
    steps = [
        params_step(study.params, parts, source=str(study.model.source), model_option=model_option),
        _sequence_step(study, model_option),
    ]
    if whole:
        steps.append(_flop_step(study))
    steps += asked
    if whole and study.hardware:
        if predicted is None:
            time, energy = [_gpu_days_step(study)], _energy_steps(study)
        else:
            from reports.views.explain.predicted import energy_steps, time_steps  # deferred: only a predicted run needs it

            time, energy = time_steps(predicted), energy_steps(predicted)
        steps += [*time, *_wall_steps(study), *energy, *_cost_steps(study)]
    where = f" on {study.devices_text}" if study.hardware else ""
    return explanation_table(steps, what=f"training {study.model.name}{where}", key=key)


def _show(study: Study, model_option: str) -> str:
    length = "" if study.item == "sample" else f" --seq-len {study.seq_len}"
    convention = "" if study.convention == "6nd" else f" --convention {study.convention}"
    return f"python -m bench show {model_option} --phase train{length}{convention}"


def length_input(study: Study) -> Input:
    """T, the tokens of a sequence."""
    if study.item == "sample":
        source = "a model without sequences"
    else:
        source = "given by --seq-len" if study.seq_len_given else f"the longest sequence, {study.model.source}"
    return Input(symbol="T", value=study.seq_len, text=f"{format_int(study.seq_len)} {study.item}s", source=source)


def sequence_flop(study: Study) -> int:
    """Of one training sequence, under the study's convention."""
    return training_flop(study.model, study.seq_len, study.seq_len)[study.convention]


def _sequence_step(study: Study, model_option: str) -> Step:
    """FLOP of one training sequence, from the op table's columns."""
    flop = sequence_flop(study)
    if study.convention == "6nd":
        formula = "6 · N · T"
        inputs = [Input(symbol="N", value=study.params, text=f"{format_int(study.params)} parameters", source=ABOVE), length_input(study)]
    else:
        ops = study.model.ops(Workload(phase="train", seq_len=study.seq_len))
        forward, backward = (sum(op.count * getattr(op, column) for op in ops) for column in ("flop", "backward_flop"))
        formula = "forward + backward"
        named = [
            ("forward", forward, "op table: 2 · m · n · k of every product"),
            ("backward", backward, "op table: two products for each, one where the input is data"),
        ]
        if study.convention == "causal":
            formula += " - masked"
            named.append(("masked", forward + backward - flop, "half of the attention square, which this convention leaves out"))
        if study.convention == "hardware":
            formula += " + recomputed"
            named.append(("recomputed", flop - forward - backward, "the layers' forward pass, which checkpointing runs again"))
        inputs = [Input(symbol=name, value=value, text=f"{format_int(value)} FLOP", source=source) for name, value, source in named]
    unit = "sample" if study.item == "sample" else "sequence"
    return Step(
        figure=f"FLOP per {unit}",
        value=flop,
        text=f"{format_int(flop)} FLOP per {unit}, counted {study.convention}",
        formula=formula,
        inputs=tuple(inputs),
        check=_show(study, model_option),
    )


def _flop_step(study: Study) -> Step:
    flop = sequence_flop(study)
    return Step(
        figure="training FLOP",
        value=study.flop,
        text=f"{format_flop(study.flop)} ({format_int(study.flop)})",
        formula="C · D / T",
        inputs=(
            Input(
                symbol="C",
                value=flop,
                text=f"{format_int(flop)} FLOP per {'sample' if study.item == 'sample' else 'sequence'}",
                source=ABOVE,
            ),
            Input(symbol="D", value=study.tokens, text=f"{format_int(study.tokens)} {study.item}s", source="given by --tokens"),
            length_input(study),
        ),
    )


def peak_input(study: Study) -> Input:
    """P, the dense peak of one device."""
    assert study.hardware is not None
    peak = study.hardware.peak(study.dtype)
    text = f"{format_flop_rate(peak)}, dense {study.dtype} peak of one {study.hardware.id}"
    return Input(symbol="P", value=peak, text=text, source=str(study.hardware.source))


def flop_input(study: Study) -> Input:
    """F, the FLOP of the whole training."""
    return Input(symbol="F", value=study.flop, text=format_flop(study.flop), source="training FLOP, above")


def utilization_input(study: Study) -> Input:
    """U, the share of peak in the middle."""
    run = study.runs[study.middle]
    return Input(symbol="U", value=run.utilization, text=format_fraction(run.utilization), source=study.utilization_source)


def _gpu_days_step(study: Study) -> Step:
    assert study.hardware is not None
    run = study.runs[study.middle]
    return Step(
        figure="GPU-days",
        value=run.gpu_days,
        text=f"{format_grouped(run.gpu_days)} GPU-days = {format_grouped(run.gpu_hours)} GPU-hours",
        formula="F / (P · U) / day",
        inputs=(
            flop_input(study),
            peak_input(study),
            utilization_input(study),
            Input(symbol="day", value=DAY_S, text=f"{format_int(DAY_S)} s", source="definition"),
        ),
        check=f"python -m bench list hardware --match {study.hardware.id}",
    )


def _wall_steps(study: Study) -> list[Step]:
    if study.num_devices is None:
        return []
    run = study.runs[study.middle]
    return [
        Step(
            figure="wall time",
            value=run.wall_s / DAY_S,
            text=format_duration(run.wall_s),
            formula="G / n",
            inputs=(
                Input(symbol="G", value=run.gpu_days, text=f"{format_grouped(run.gpu_days)} GPU-days", source=ABOVE),
                Input(
                    symbol="n",
                    value=study.num_devices,
                    text=f"{format_int(study.num_devices)} devices",
                    source="given by --gpus, or chosen",
                ),
            ),
        )
    ]


def _energy_steps(study: Study) -> list[Step]:
    run = study.runs[study.middle]
    if study.hardware is None or study.hardware.power_w is None or run.energy_j is None:
        return []
    power_w = study.hardware.power_w
    return [
        Step(
            figure="energy",
            value=run.energy_j,
            text=format_energy(run.energy_j),
            formula="W · G · day",
            inputs=(
                Input(symbol="W", value=power_w, text=f"{power_w:,.0f} W, power limit of one board", source=str(study.hardware.source)),
                Input(symbol="G", value=run.gpu_days, text=f"{format_grouped(run.gpu_days)} GPU-days", source="GPU-days, above"),
                Input(symbol="day", value=DAY_S, text=f"{format_int(DAY_S)} s", source="definition"),
            ),
            check=f"python -m bench list hardware --match {study.hardware.id}",
        )
    ]


def _cost_steps(study: Study) -> list[Step]:
    if study.price is None:
        return []
    run = study.runs[study.middle]
    cost = study.price.median * run.gpu_hours
    return [
        Step(
            figure="cost",
            value=cost,
            text=f"{format_money(cost)} at the {'given' if study.price.low == study.price.high else 'middle'} price",
            formula="p · G · day / hour",
            inputs=(
                Input(symbol="p", value=study.price.median, text=f"${study.price.median:.2f} per GPU-hour", source=study.price.source),
                Input(symbol="G", value=run.gpu_days, text=f"{format_grouped(run.gpu_days)} GPU-days", source="GPU-days, above"),
                Input(symbol="day", value=DAY_S, text=f"{format_int(DAY_S)} s", source="definition"),
                Input(symbol="hour", value=HOUR_S, text=f"{format_int(HOUR_S)} s", source="definition"),
            ),
        )
    ]
