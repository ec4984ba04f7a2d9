"""A deployment that somebody measured: the constants refitted to his rows, under what all rows say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from estimators.cost.array_math import Lane
from estimators.errors import BadValueError
from estimators.facts.fitted import fitted_values
from estimators.frozen import field, frozen, replace
from estimators.serving.constants import ENGINE_CONSTANTS, SHARED_CONSTANTS, constants_file
from estimators.serving.deployment import Deployment
from estimators.serving.figures import Asked, figures
from estimators.serving.first_token import FirstToken, first_token
from estimators.serving.refit import Observation, Prior, fitted, law_at
from estimators.serving.step import StepLaw, slower

OWN = "practice.own"
"""The factor of the user's own habit of running and measuring."""

OWN_SPREAD = 0.15
"""Of its logarithm: what two honest sources differ by."""

LEFT_SPREAD = 0.6
"""Of a constant's prior spread, what is left of it once all rows were fitted. Assumed."""

SCALE = 0.04
"""Of a logarithm: errors of rows of one deployment beyond count less and less."""

ROUNDS = 3

STEP_FIGURES = ("prefill_s", "decode_s", "generation_s", "tpot_s", "itl_s", "e2e_s")
"""What constants of steps are refitted to."""

FIRST_SPREAD, FIRST_NOISE = 0.6, 0.15
"""Of the logarithm of the factor on first tokens, and of one measured first token."""


@frozen
class MeasuredLoad:
    """What was measured of a deployment under one load.

    Attributes:
        asked: the load.
        figures: quantity, such as tpot_s, to seconds.
        random_tokens: whether prompts were random tokens.
    """

    asked: Asked
    figures: Mapping[str, float] = field(hash=False)
    random_tokens: bool = False


@frozen
class Refitted:
    """A deployment's constants after its own rows.

    Attributes:
        values: of all constants, by their names in the data file.
        practice: factor on a step; first: on a time to first token.
        rows: that were used; first_rows: those of them that have a time to first token.
    """

    deployment: Deployment
    values: Mapping[str, float] = field(hash=False)
    practice: float
    first: float
    rows: int
    first_rows: int = 0

    def law(self, *, random_tokens: bool = False) -> StepLaw:
        """Of the deployment's steps."""
        return slower(law_at(self.deployment, self.values, random_tokens=random_tokens), self.practice)

    def first_token(self) -> FirstToken:
        """What clients see of a first token."""
        plain = first_token(self.deployment.engine)
        return replace(plain, reading=plain.reading * self.first)

    def figures(self, asked: Asked, *, random_tokens: bool = False) -> dict[str, float]:
        """Quantity -> what is predicted of it under a load."""
        plain = first_token(self.deployment.engine)
        found = figures(self.deployment, asked, self.law(random_tokens=random_tokens), plain)
        return {name: float(value) * (self.first if name == "ttft_s" else 1.0) for name, value in found.items()}


def refit(deployment: Deployment, rows: Sequence[MeasuredLoad], *, without: str = "") -> Refitted:
    """Constants refitted to rows of one deployment, under priors that are the fit to all.

    Args:
        rows: at different batches or users, if there are several.
        without: a source that the priors must not have seen.

    Raises:
        BadValueError: no figure that constants of steps can be refitted to.
    """
    values = {**fitted_values(constants_file(), without), OWN: 1.0}
    observations = [_observation(deployment, row, name) for row in rows for name in STEP_FIGURES if name in row.figures]
    if not observations:
        raise BadValueError(f"no figure to refit {deployment.model.name} to; expected one of: {', '.join(STEP_FIGURES)}")
    spreads = {name: LEFT_SPREAD * constant["spread"] for name, constant in constants_file()["constants"].items()}
    names = [*SHARED_CONSTANTS, *(f"{deployment.engine.id}.{name}" for name in ENGINE_CONSTANTS)]
    priors = {name: Prior(value=values[name], spread=spreads[name]) for name in names} | {OWN: Prior(value=1.0, spread=OWN_SPREAD)}
    found = fitted(observations, values, priors, scale=SCALE, rounds=ROUNDS)
    practice = found.pop(OWN)
    first_rows = sum("ttft_s" in row.figures for row in rows)
    plain = Refitted(deployment=deployment, values=found, practice=practice, first=1.0, rows=len(rows), first_rows=first_rows)
    return replace(plain, first=_first(plain, rows))


def _observation(deployment: Deployment, row: MeasuredLoad, name: str) -> Observation:
    def predict(law: StepLaw) -> Lane:
        return figures(deployment, row.asked, law, first_token(deployment.engine))[name]

    return Observation(deployment=deployment, predict=predict, measured=row.figures[name], random_tokens=row.random_tokens, practice=OWN)


def _first(plain: Refitted, rows: Sequence[MeasuredLoad]) -> float:
    """The factor on first tokens: the mean of what was measured over what is predicted, held at 1 as long as few rows say otherwise."""
    ratios = [
        math.log(row.figures["ttft_s"] / plain.figures(row.asked, random_tokens=row.random_tokens)["ttft_s"])
        for row in rows
        if "ttft_s" in row.figures
    ]
    if not ratios:
        return 1.0
    trust = len(ratios) / FIRST_NOISE**2
    return math.exp(sum(ratios) / len(ratios) * trust / (trust + FIRST_SPREAD**-2))
