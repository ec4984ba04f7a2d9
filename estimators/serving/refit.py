"""Constants of a step fitted to measured figures under priors: of many rows, or the few that a user has of one deployment."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from estimators.cost.array_math import Lane
from estimators.frozen import field, frozen
from estimators.serving.constants import ENGINE_CONSTANTS, SHARED_CONSTANTS, constants_at, is_late
from estimators.serving.deployment import Deployment
from estimators.serving.device_work import device_work
from estimators.serving.step import StepLaw, law_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NUDGE = 0.02
"""Of a constant's logarithm, over which a derivative is taken."""

LONGEST_MOVE = 0.5
"""Of a constant's logarithm in one round."""

Predict = Callable[[StepLaw], Lane]


@frozen
class Observation:
    """One measured figure.

    Attributes:
        predict: what a law says of it.
        measured: the figure itself.
        practice: the factor that it is measured with, by name; empty for none.
        weight: of its error against others'.
    """

    deployment: Deployment
    predict: Predict = field(hash=False)
    measured: float
    random_tokens: bool = False
    practice: str = ""
    weight: float = 1.0


@frozen
class Prior:
    """What a constant is held by: a value, and how far its logarithm may be from it."""

    value: float
    spread: float


def law_at(deployment: Deployment, values: Mapping[str, Lane], *, random_tokens: bool = False) -> StepLaw:
    """The law of a deployment at constants that need not be the shipped ones."""
    constants = constants_at(values, deployment.engine.id)
    return law_of(device_work(deployment), constants, early=not is_late(deployment.engine), random_tokens=random_tokens)


@frozen
class Linear:
    """What is predicted of observations near some constants: logarithms, and their derivatives by the logarithm of each constant."""

    logs: Array = field(hash=False)
    slopes: Array = field(hash=False)


def linearised(observations: Sequence[Observation], values: Mapping[str, float], names: Sequence[str]) -> Linear:
    """Predictions at some constants and next to them; constants are lanes of the same law, so that each figure is asked once."""
    import numpy as np

    place = {name: i for i, name in enumerate(names)}
    logs, slopes = np.zeros(len(observations)), np.zeros((len(observations), len(names)))
    laws: dict[tuple[Deployment, bool], tuple[StepLaw, list[str]]] = {}
    for row, seen in enumerate(observations):
        key = (seen.deployment, seen.random_tokens)
        if key not in laws:
            laws[key] = _law_of_lanes(seen, values, names)
        law, moved = laws[key]
        found = np.log(np.broadcast_to(np.asarray(seen.predict(law), dtype=float), (len(moved) + 1,)))
        logs[row] = found[0]
        for name, value in zip(moved, found[1:], strict=True):
            slopes[row, place[name]] = (value - found[0]) / NUDGE
        if seen.practice in place:
            slopes[row, place[seen.practice]] = 1.0
            logs[row] += math.log(values[seen.practice])
    return Linear(logs=logs, slopes=slopes)


def _law_of_lanes(seen: Observation, values: Mapping[str, float], names: Sequence[str]) -> tuple[StepLaw, list[str]]:
    import numpy as np

    own = {*SHARED_CONSTANTS, *(f"{seen.deployment.engine.id}.{name}" for name in ENGINE_CONSTANTS)}
    moved = [name for name in names if name in own]
    lanes: dict[str, Lane] = dict(values)
    for i, name in enumerate(moved, start=1):
        lane = np.full(len(moved) + 1, values[name])
        lane[i] *= math.exp(NUDGE)
        lanes[name] = lane
    return law_at(seen.deployment, lanes, random_tokens=seen.random_tokens), moved


def solved(
    linear: Linear, measured: Array, weights: Array, values: Mapping[str, float], priors: Mapping[str, Prior], *, scale: float
) -> dict[str, float]:
    """The constants that fit a linearisation best, held by their priors; errors beyond `scale` count less and less (Cauchy).

    Args:
        measured: logarithms.
        values: that the linearisation is of.
        scale: of errors' logarithms.
    """
    import numpy as np

    names = list(priors)
    at = np.array([math.log(values[name]) for name in names])
    centre = np.array([math.log(priors[name].value) for name in names])
    held = np.array([priors[name].spread ** -2.0 for name in names])
    move = np.zeros(len(names))
    for _ in range(20):
        left = linear.logs + linear.slopes @ move - measured
        trust = weights / (1 + (left / scale) ** 2) / scale**2
        normal = linear.slopes.T @ (trust[:, None] * linear.slopes) + np.diag(held)
        gradient = linear.slopes.T @ (trust * left) + held * (at + move - centre)
        step = -np.linalg.solve(normal, gradient)
        move = np.clip(move + step, -LONGEST_MOVE, LONGEST_MOVE)
        if np.abs(step).max() < 1e-4:
            break
    return {**values, **{name: float(np.exp(value)) for name, value in zip(names, at + move, strict=True)}}


def fitted(
    observations: Sequence[Observation], values: Mapping[str, float], priors: Mapping[str, Prior], *, scale: float, rounds: int
) -> dict[str, float]:
    """Constants that fit observations, held by their priors: linearised anew in every round.

    Args:
        values: to begin with, of all constants.
        priors: of those that may move.
    """
    import numpy as np

    measured = np.log(np.array([seen.measured for seen in observations]))
    weights = np.array([seen.weight for seen in observations])
    found = dict(values)
    for _ in range(rounds):
        linear = linearised(observations, found, list(priors))
        found = solved(linear, measured, weights, found, priors, scale=scale)
    return found
