"""How the answers to a claim, a deadline and a budget came about."""

from __future__ import annotations

from estimators.training.claim import Claim
from estimators.units import DAY_S, HOUR_S, format_count, format_duration, format_flop, format_fraction, format_int, format_money
from reports.views.explain.formula import Input, Step
from reports.views.explain.training import flop_input, length_input, peak_input, sequence_flop, utilization_input
from reports.views.training.claim import COUNTED
from reports.views.training.predicted import PredictedStudy
from reports.views.training.study import Study


def claim_step(study: Study, claim: Claim) -> Step:
    """The utilisation that a claimed wall time implies, as it is compared with published runs."""
    assert study.hardware is not None
    flop = claim.by_convention[claim.compared].training_flop
    of_it = f"6·N·D; N are the parameters that a {study.item} uses" if claim.compared == "6nd" else "training FLOP counted full"
    days = f"{claim.wall_s:,.0f} s = {format_duration(claim.wall_s)}"
    return Step(
        figure="implied utilization",
        value=claim.standing.share,
        text=f"{format_fraction(claim.standing.share)} of peak, {COUNTED[claim.compared]}",
        formula="F / (n · t · P)",
        inputs=(
            Input(symbol="F", value=flop, text=format_flop(flop), source=of_it),
            Input(symbol="n", value=claim.num_devices, text=f"{format_int(claim.num_devices)} devices", source="given by --gpus"),
            Input(symbol="t", value=claim.wall_s, text=days, source="given by --days"),
            peak_input(study),
        ),
        check=f"python -m bench list hardware --match {study.hardware.id}",
    )


def predicted_deadline_step(asked: PredictedStudy, deadline_s: float) -> Step:
    """The wall time on the devices that were chosen for a deadline."""
    run, p = asked.run, asked.run.prediction
    num_devices = format_int(p.layout.num_devices)
    return Step(
        figure="wall time for the deadline",
        value=run.wall_s,
        text=f"{format_duration(run.wall_s)} on {num_devices} devices, the fewest planned that finish in {format_duration(deadline_s)}",
        formula="D / B · t",
        inputs=(
            Input(symbol="D", value=run.tokens, text=f"{format_int(run.tokens)} tokens", source="given by --tokens"),
            Input(
                symbol="B",
                value=p.tokens_per_step,
                text=f"{format_int(p.tokens_per_step)} tokens of a step",
                source=run.batch_source or "given by --global-batch",
            ),
            Input(symbol="t", value=p.step_time_s, text=f"{format_duration(p.step_time_s)} a step", source=f"layout {p.layout}"),
        ),
    )


def deadline_step(study: Study, deadline_s: float, num_devices: int) -> Step:
    """The devices that finish in time, before rounding up."""
    assert study.hardware is not None
    run = study.runs[study.middle]
    exact = study.flop / (study.hardware.peak(study.dtype) * run.utilization * deadline_s)
    return Step(
        figure="devices",
        value=exact,
        text=f"{exact:.6g}, rounded up to {format_int(num_devices)}",
        formula="F / (P · U · t)",
        inputs=(
            flop_input(study),
            peak_input(study),
            utilization_input(study),
            Input(symbol="t", value=deadline_s, text=f"{deadline_s:,.0f} s = {format_duration(deadline_s)}", source="given by --deadline"),
        ),
        check=f"python -m bench list hardware --match {study.hardware.id}",
    )


def budget_step(study: Study, *, budget_usd: int | None, budget_gpu_days: int | None) -> Step:
    """The tokens that fit into a budget at the middle price, before rounding down."""
    assert study.hardware is not None
    run = study.runs[study.middle]
    flop = sequence_flop(study)
    inputs = [
        peak_input(study),
        utilization_input(study),
        length_input(study),
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
        assert study.price is not None
        gpu_seconds, formula = budget_usd / study.price.median * HOUR_S, "M / p · hour · P · U / C · T"
        inputs = [
            Input(symbol="M", value=budget_usd, text=format_money(budget_usd), source="given by --budget-usd"),
            Input(symbol="p", value=study.price.median, text=f"${study.price.median:.2f} per GPU-hour", source=study.price.source),
            Input(symbol="hour", value=HOUR_S, text=f"{format_int(HOUR_S)} s", source="definition"),
            *inputs,
        ]
    tokens = gpu_seconds * study.hardware.peak(study.dtype) * run.utilization / flop * study.seq_len
    return Step(
        figure=f"{study.item}s that fit",
        value=tokens,
        text=f"{format_count(tokens)} {study.item}s",
        formula=formula,
        inputs=tuple(inputs),
        check=f"python -m bench list hardware --match {study.hardware.id}",
    )
