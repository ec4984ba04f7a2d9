"""How the answers to a claim, a deadline and a budget came about."""

from __future__ import annotations

from estimators.training.answer import PredictedAnswer, TrainingAnswer
from estimators.training.claim import Claim
from estimators.training.inverse import TrainingEstimate
from estimators.units import DAY_S, HOUR_S, format_count, format_duration, format_flop, format_fraction, format_int, format_money
from reports.table import Table
from reports.views.explain.formula import FormulaStep, Input
from reports.views.explain.predicted import steps_inputs
from reports.views.explain.training import explain_training, flop_input, length_input, peak_input, sequence_flop, utilization_input
from reports.views.training.claim import COUNTED


def explain_estimate(answer: TrainingEstimate, *, model_option: str, whole: bool) -> Table:
    """How the answer came about, the inverse questions among it.

    Args:
        model_option: the words that name the model in a command.
        whole: whether a number of tokens was given, so that there is a whole training to explain.
    """
    training, inverse, steps = answer.training, answer.inverse, []
    if answer.claim is not None:
        steps.append(claim_step(training, answer.claim))
    if inverse.deadline_s is not None:
        if answer.in_time is not None:
            steps.append(predicted_deadline_step(answer.in_time, inverse.deadline_s))
        else:
            steps.append(deadline_step(training, inverse.deadline_s, answer.deadline_num_devices[training.middle]))
    if inverse.budget_gpu_days is not None:
        steps.append(budget_step(training, budget_usd=None, budget_gpu_days=inverse.budget_gpu_days))
    if inverse.budget_usd is not None and training.price is not None:
        steps.append(budget_step(training, budget_usd=inverse.budget_usd, budget_gpu_days=None))
    return explain_training(training, model_option=model_option, asked=steps, whole=whole, predicted=answer.predicted)


def claim_step(training: TrainingAnswer, claim: Claim) -> FormulaStep:
    """The utilisation that a claimed wall time implies, as it is compared with published runs."""
    assert training.hardware is not None
    flop = claim.by_convention[claim.compared].training_flop
    of_it = f"6·N·D; N are the parameters that a {training.item} uses" if claim.compared == "6nd" else "training FLOP counted full"
    days = f"{claim.wall_s:,.0f} s = {format_duration(claim.wall_s)}"
    return FormulaStep(
        figure="implied utilization",
        value=claim.percentile.share,
        text=f"{format_fraction(claim.percentile.share)} of peak, {COUNTED[claim.compared]}",
        formula="F / (n · t · P)",
        inputs=(
            Input(symbol="F", value=flop, text=format_flop(flop), source=of_it),
            Input(symbol="n", value=claim.num_devices, text=f"{format_int(claim.num_devices)} devices", source="given by --gpus"),
            Input(symbol="t", value=claim.wall_s, text=days, source="given by --days"),
            peak_input(training),
        ),
        check=f"python -m bench list hardware --match {training.hardware.id}",
    )


def predicted_deadline_step(asked: PredictedAnswer, deadline_s: float) -> FormulaStep:
    """The wall time on the devices that were chosen for a deadline."""
    run, p = asked.run, asked.run.prediction
    num_devices = format_int(p.layout.num_devices)
    return FormulaStep(
        figure="wall time for the deadline",
        value=run.wall_s,
        text=f"{format_duration(run.wall_s)} on {num_devices} devices, the fewest planned that finish in {format_duration(deadline_s)}",
        formula="D / B · t",
        inputs=tuple(steps_inputs(run, f"layout {p.layout}")),
    )


def deadline_step(training: TrainingAnswer, deadline_s: float, num_devices: int) -> FormulaStep:
    """The devices that finish in time, before rounding up."""
    assert training.hardware is not None
    run = training.runs[training.middle]
    exact = training.flop / (training.hardware.peak(training.dtype) * run.utilization * deadline_s)
    return FormulaStep(
        figure="devices",
        value=exact,
        text=f"{exact:.6g}, rounded up to {format_int(num_devices)}",
        formula="F / (P · U · t)",
        inputs=(
            flop_input(training),
            peak_input(training),
            utilization_input(training),
            Input(symbol="t", value=deadline_s, text=f"{deadline_s:,.0f} s = {format_duration(deadline_s)}", source="given by --deadline"),
        ),
        check=f"python -m bench list hardware --match {training.hardware.id}",
    )


def budget_step(training: TrainingAnswer, *, budget_usd: int | None, budget_gpu_days: int | None) -> FormulaStep:
    """The tokens that fit into a budget at the middle price, before rounding down."""
    assert training.hardware is not None
    run = training.runs[training.middle]
    flop = sequence_flop(training)
    inputs = [
        peak_input(training),
        utilization_input(training),
        length_input(training),
        Input(symbol="C", value=flop, text=f"{format_int(flop)} FLOP", source="FLOP per sequence, above"),
    ]
    if budget_gpu_days is not None:
        gpu_seconds, formula = float(budget_gpu_days * DAY_S), "G · day · P · U / C · T"
        given = Input(
            symbol="G", value=budget_gpu_days, text=f"{format_int(budget_gpu_days)} GPU-days", source="given by --budget-gpu-days"
        )
        inputs = [given, Input(symbol="day", value=DAY_S, text=f"{format_int(DAY_S)} s", source="definition"), *inputs]
    else:
        assert budget_usd is not None
        assert training.price is not None
        gpu_seconds, formula = budget_usd / training.price.median * HOUR_S, "M / p · hour · P · U / C · T"
        inputs = [
            Input(symbol="M", value=budget_usd, text=format_money(budget_usd), source="given by --budget-usd"),
            Input(symbol="p", value=training.price.median, text=f"${training.price.median:.2f} per GPU-hour", source=training.price.source),
            Input(symbol="hour", value=HOUR_S, text=f"{format_int(HOUR_S)} s", source="definition"),
            *inputs,
        ]
    tokens = gpu_seconds * training.hardware.peak(training.dtype) * run.utilization / flop * training.seq_len
    return FormulaStep(
        figure=f"{training.item}s that fit",
        value=tokens,
        text=f"{format_count(tokens)} {training.item}s",
        formula=formula,
        inputs=tuple(inputs),
        check=f"python -m bench list hardware --match {training.hardware.id}",
    )
