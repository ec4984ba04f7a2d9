"""Fit what clients add to first tokens, and what devices draw, on rows whose steps are predicted: the second part of tools.fit_serving."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.frozen import field, frozen
from estimators.serving.energy import power_share
from estimators.serving.figures import CLOSED, busy_share, figures, steady_of
from estimators.serving.step import StepLaw, step_law
from estimators.validation.serving_case import ServingCase

GRID = [math.exp(step / 20) for step in range(-30, 31)]
"""Values that are tried, over the prior: from 0.22 to 4.5 of it."""

ROUNDS = 3
PRIOR_WEIGHT = 0.02
"""Of a constant's squared distance from its prior in spreads, against errors of 0.25."""

SCALE = 0.25

Array = NDArray[np.float64]


@frozen
class Firsts:
    """Measured first tokens of an engine in one benchmark, and what steps say of them.

    Attributes:
        source: who measured; `benchmark`: whose habits of streaming the rows have.
        measured, admitted, wave, token: seconds: as measured, from admission to the first token, of the first wave, between tokens.
    """

    source: str
    benchmark: str
    engine_id: str
    measured: Array = field(hash=False)
    admitted: Array = field(hash=False)
    wave: Array = field(hash=False)
    token: Array = field(hash=False)

    def errors(self, values: Mapping[str, float]) -> Array:
        """Logarithms of predicted over measured."""
        own = f"{self.benchmark}.{self.engine_id}"
        reading = values.get(f"reading.{own}", values[f"{self.engine_id}.first_reading"])
        found = reading * self.admitted + values["first_wave"] * self.wave + values.get(f"held.{own}", 0.0) * self.token
        return np.asarray(np.log(found / self.measured))


def firsts(cases: Sequence[ServingCase]) -> list[Firsts]:
    """First tokens of closed loops, by benchmark and engine."""
    kinds: dict[tuple[str, str, str], list[tuple[float, ...]]] = {}
    for case in cases:
        if case.asked.load == CLOSED and "ttft_s" in case.measured:
            point = steady_of(case.deployment, case.asked, step_law(case.deployment, random_tokens=case.random_tokens), waves=True)
            seen = (case.measured["ttft_s"], float(point.ttft_s), float(point.first_wave_s), float(point.itl_s))
            kinds.setdefault((case.source, case.benchmark or "", case.deployment.engine.id), []).append(seen)
    return [
        Firsts(
            source=source,
            benchmark=benchmark,
            engine_id=engine_id,
            **dict(zip(("measured", "admitted", "wave", "token"), np.array(seen).T, strict=True)),
        )
        for (source, benchmark, engine_id), seen in kinds.items()
    ]


def fit(seen: Sequence[Firsts], constants: Mapping[str, Any], without: str = "") -> dict[str, float]:
    """The constants of first tokens, each in turn on a grid around its prior, held by it."""
    used = [some for some in seen if some.source != without]
    engines = {some.engine_id for some in used}
    names = [
        name
        for name in constants
        if name == "first_wave" or name.startswith(("held.", "reading.")) or name.split(".")[-1] == "first_reading"
    ]
    values = {name: float(constants[name]["prior"]) for name in names}
    moved = [name for name in names if name == "first_wave" or name.split(".")[-1] in engines or name.split(".")[0] in engines]
    for _ in range(ROUNDS):
        for name in moved:
            tried = [constants[name]["prior"] * factor for factor in GRID]
            values[name] = min(tried, key=lambda value: _loss(used, values | {name: value}, constants))
    return {name: float(f"{value:.4g}") for name, value in values.items()}


def _loss(seen: Sequence[Firsts], values: Mapping[str, float], constants: Mapping[str, Any]) -> float:
    missed = float(sum(float(np.log1p((some.errors(values) / SCALE) ** 2).mean()) for some in seen))
    held = sum((math.log(value / constants[name]["prior"]) / constants[name]["spread"]) ** 2 for name, value in values.items())
    return float(missed + PRIOR_WEIGHT * held)


def energy(cases: Sequence[ServingCase], constants: Mapping[str, Any]) -> dict[str, float]:
    """Shares of the board limit that devices draw while the host works and while they do: on a grid, by the median error of a token's
    energy."""
    used = [case for case in cases if "energy_j_per_token" in case.measured]
    pairs = []
    for case in used:
        law = step_law(case.deployment, random_tokens=case.random_tokens)
        joules = float(figures(case.deployment, case.asked, law, with_energy=True)["energy_j_per_token"])
        share = _share(case, law)
        pairs.append((joules / share[0], share[1], case.measured["energy_j_per_token"]))
    scale, share, measured = np.array(pairs).T
    tried = [(idle / 50, busy / 50) for idle in range(10, 46) for busy in range(20, 51) if idle <= busy]

    def loss(pair: tuple[float, float]) -> float:
        drawn = pair[0] + (pair[1] - pair[0]) * share
        held = sum((math.log(value / constants[name]["prior"]) / constants[name]["spread"]) ** 2 for name, value in _named(pair).items())
        return float(np.median(np.abs(np.log(scale * drawn / measured)))) + 0.002 * float(held)

    return _named(min(tried, key=loss))


def _named(pair: tuple[float, float]) -> dict[str, float]:
    return {"idle": pair[0], "busy": pair[1]}


def _share(case: ServingCase, law: StepLaw) -> tuple[float, float]:
    """Of the board limit, and of a step in which the device works."""
    working = float(busy_share(case.asked, law, steady_of(case.deployment, case.asked, law).running))
    return float(power_share(working)), working
