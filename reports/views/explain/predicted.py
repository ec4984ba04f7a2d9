"""How the answer of a predicted training came about: the step from its ledger, the days from its steps, energy and CO2 from those."""

from __future__ import annotations

from estimators.training.answer import PredictedAnswer
from estimators.training.run import PredictedRun
from estimators.units import DAY_S, format_carbon, format_duration, format_energy, format_fraction, format_grouped, format_int, format_mass
from reports.views.explain.formula import FormulaStep, Input
from reports.views.training.predicted import figures


def time_steps(asked: PredictedAnswer) -> list[FormulaStep]:
    """The step as the sum of its ledger, and device days as that many steps."""
    run, p = asked.run, asked.run.prediction
    parts = {part: seconds for part, seconds in p.ledger.parts.items() if seconds > 0}
    step = FormulaStep(
        figure="step time",
        value=p.step_time_s,
        text=f"{format_duration(p.step_time_s)}, layout {p.layout}, software {p.stack.id}",
        formula=" + ".join(parts),
        inputs=tuple(
            Input(symbol=part, value=seconds, text=format_duration(seconds), source="ledger of the step, above")
            for part, seconds in parts.items()
        ),
    )
    gpu_days = FormulaStep(
        figure="GPU-days",
        value=run.gpu_hours / 24,
        text=f"{format_grouped(run.gpu_hours / 24)} GPU-days = {format_grouped(run.gpu_hours)} GPU-hours",
        formula="D / B · t · n / day" if p.tuning is None else "ceil(D / B) · t · n / day",
        inputs=(
            *steps_inputs(run, "step time, above"),
            Input(symbol="n", value=p.layout.num_devices, text=f"{format_int(p.layout.num_devices)} devices", source=_devices_source(run)),
            Input(symbol="day", value=DAY_S, text=f"{format_int(DAY_S)} s", source="definition"),
        ),
    )
    return [step, gpu_days]


def steps_inputs(run: PredictedRun, step_source: str) -> list[Input]:
    """D / B steps of t seconds: the inputs of whatever follows from a run's steps.

    Args:
        step_source: where t is from.
    """
    p = run.prediction
    return [
        Input(symbol="D", value=run.tokens, text=f"{format_int(run.tokens)} tokens", source="given by --tokens"),
        Input(
            symbol="B",
            value=p.tokens_per_step,
            text=f"{format_int(p.tokens_per_step)} tokens of a step",
            source=run.batch_source or "given by --global-batch",
        ),
        Input(symbol="t", value=p.step_time_s, text=f"{format_duration(p.step_time_s)} a step", source=step_source),
    ]


def _devices_source(run: PredictedRun) -> str:
    return "the fewest that hold the training well" if run.devices_chosen else "given by --gpus, or planned for --deadline"


def energy_steps(asked: PredictedAnswer) -> list[FormulaStep]:
    """Energy at the measured share of the power limit, and the CO2 of so much electricity."""
    run, hardware = asked.run, asked.run.prediction.hardware
    energy_j = run.energy_j(run.wall_s, asked.power.value)
    if hardware.power_w is None or energy_j is None:
        return []
    co2_kg = float(str(figures(asked, run.wall_s)["co2_kg"]))
    energy = FormulaStep(
        figure="energy",
        value=energy_j,
        text=format_energy(energy_j),
        formula="W · S · G · day",
        inputs=(
            Input(
                symbol="W",
                value=hardware.power_w,
                text=f"{hardware.power_w:,.0f} W, power limit of one board",
                source=str(hardware.source),
            ),
            Input(
                symbol="S",
                value=asked.power.value,
                text=f"{format_fraction(asked.power.value, 2)} of it drawn in training",
                source=str(asked.power.source),
            ),
            Input(symbol="G", value=run.gpu_hours / 24, text=f"{format_grouped(run.gpu_hours / 24)} GPU-days", source="GPU-days, above"),
            Input(symbol="day", value=DAY_S, text=f"{format_int(DAY_S)} s", source="definition"),
        ),
        check=f"python -m bench list hardware --match {hardware.id}",
    )
    carbon = FormulaStep(
        figure="CO2",
        value=co2_kg,
        text=format_mass(co2_kg),
        formula="E · c",
        inputs=(
            Input(symbol="E", value=energy_j, text=f"{format_energy(energy_j)} = {energy_j:.4g} J", source="energy, above"),
            Input(
                symbol="c",
                value=asked.carbon.value,
                text=f"{format_carbon(asked.carbon.value)} = {asked.carbon.value:.4g} kg/J",
                source=str(asked.carbon.source),
            ),
        ),
    )
    return [energy, carbon]
