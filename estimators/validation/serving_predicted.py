"""What a step law says of a measured row of serving: each quantity by its definition, and the bound that none of them beats."""

from __future__ import annotations

from typing import Any

from estimators.cost.array_math import Lane
from estimators.frozen import frozen
from estimators.serving.energy import energy_j_per_token
from estimators.serving.mean_field import MeanField, Traffic
from estimators.serving.schedule import Law, Schedule
from estimators.serving.static_batch import static_batch
from estimators.serving.step import StepLaw
from estimators.serving.step_batch import StepBatch
from estimators.validation.serving_case import ServingCase, schedule_for
from estimators.validation.table import LeftOutError

ROUNDING = 0.97
"""Of the bound, what a measured figure may be for the digits that it is printed with and clocks above their rating."""


def quantities(case: ServingCase, law: Law) -> dict[str, Lane]:
    """Quantity -> what is predicted of it; of many laws side by side where the law has arrays.

    Raises:
        LeftOutError: weights that the devices have no room for.
    """
    schedule = schedule_for(case.deployment, int(case.input_tokens + case.output_tokens) + 1)
    if case.load == "static":
        found = static_batch(law, schedule, case.sequences, case.input_tokens, case.output_tokens)
        return {"prefill_s": found.prefill_s, "decode_s": found.decode_s, "generation_s": found.generation_s}
    traffic = Traffic(input_tokens=max(1.0, case.input_tokens), output_tokens=max(1.0, case.output_tokens), alike=case.alike)
    point = MeanField(law, schedule, traffic).closed(case.sequences)
    energy = energy_j_per_token(case.deployment, point.running / point.itl_s, _busy(law, point.running, case))
    return {"ttft_s": point.ttft_s, "itl_s": point.itl_s, "tpot_s": point.itl_s, "e2e_s": point.e2e_s, "energy_j_per_token": energy}


def _busy(law: Law, running: Lane, case: ServingCase) -> Lane:
    """Share of a decode step in which the device works."""
    found: Any = law.time(StepBatch(decoding=running, context_tokens=case.input_tokens + case.output_tokens / 2))
    return 1 - (found.step_s + found.sequences_s + found.floor_s) / found.total_s


@frozen
class Beaten:
    """A bound that a measured figure beats.

    Attributes:
        quantity: which figure.
        measured, bound: seconds.
    """

    quantity: str
    measured: float
    bound: float

    def __str__(self) -> str:
        return f"impossible: {self.quantity} of {self.measured * 1e3:.4g} ms, and no such device takes less than {self.bound * 1e3:.4g}"


def beaten(case: ServingCase, law: StepLaw) -> Beaten | None:
    """The first measured figure below what physics allows; None for none.

    A step of a closed loop decodes one sequence at least; where speculation may be on, a token may come in less than a step.
    """
    least = _least(case, law)
    for name, bound in least.items():
        if name in case.measured and case.measured[name] < ROUNDING * bound:
            return Beaten(quantity=name, measured=case.measured[name], bound=bound)
    return None


def _least(case: ServingCase, law: StepLaw) -> dict[str, float]:
    def bound(batch: StepBatch) -> float:
        return float(law.time(batch).bound_s)

    context = case.input_tokens + case.output_tokens / 2
    if case.load == "static":
        prompts = StepBatch(
            prompt_tokens=case.sequences * case.input_tokens, prompt_context=case.input_tokens / 2, prompts=max(1.0, case.sequences)
        )
        decode_s, prefill_s = bound(StepBatch(decoding=case.sequences, context_tokens=context)), bound(prompts)
        whole_s = prefill_s + max(0.0, case.output_tokens - 1) * decode_s
        return {"prefill_s": prefill_s, "decode_s": decode_s, "generation_s": whole_s}
    if not case.plain:
        return {}
    running = case.sequences if case.load == "saturated" else 1.0
    step_s = bound(StepBatch(decoding=running, context_tokens=context))
    return {"tpot_s": step_s, "itl_s": step_s}


def checked(case: ServingCase, law: StepLaw, flagged: bool = False) -> None:
    """Refuse what beats physics. Raises LeftOutError, naming the figure.

    Args:
        flagged: whether the table itself calls the row impossible.
    """
    found = beaten(case, law)
    if found is not None:
        raise LeftOutError(str(found))
    if flagged:
        raise LeftOutError("impossible, as its table says")


def schedule_of_case(case: ServingCase) -> Schedule:
    """How the case's engine schedules."""
    return schedule_for(case.deployment, int(case.input_tokens + case.output_tokens) + 1)
