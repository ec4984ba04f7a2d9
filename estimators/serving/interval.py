"""How far a predicted figure of serving may be off, in three parts: the constants, how engines are run and measured, and how far the
deployment is from those that were measured."""

from __future__ import annotations

import functools
import math

from estimators.facts import data
from estimators.frozen import frozen
from estimators.serving.constants import port_of
from estimators.serving.deployment import Deployment
from estimators.serving.device_work import KINDS

PRACTICE = 0.17
"""Of a logarithm, half of the 80 % interval: what two honest sources differ by for the same model, device, layout, format and generation of
an engine is 13 % in the median, which is 0.17 at 80 % were it normal."""

UNSEEN = {"device": 0.15, "format": 0.15, "model": 0.05}
"""Of a logarithm, for a device's architecture, a format on an engine, and a kind of model that no measured row has. Assumed."""

KINDS_OF_FIGURES = {
    "decode_s": "decode",
    "itl_s": "decode",
    "tpot_s": "decode",
    "generation_s": "decode",
    "e2e_s": "decode",
    "prefill_s": "prefill",
    "ttft_s": "ttft",
    "energy_j_per_token": "energy",
}
"""Quantities -> what they are missed alike as."""

SCATTERED = ("llama.cpp", "tgi", "deepspeed", "transformers")
"""Engines whose hosts and kernels scatter."""


def class_of(deployment: Deployment, quantity: str) -> str:
    """The class of a figure, such as `decode now`: of engines that people run today, of earlier ones, of those that scatter, and of young
    ports to a vendor's devices."""
    engine, port = deployment.engine, port_of(deployment.hardware.architecture, deployment.engine)
    if engine.engine in SCATTERED:
        era = "scattered"
    elif port and not port.endswith("late"):
        era = "young port"
    else:
        era = "earlier" if engine.until else "now"
    return f"{KINDS_OF_FIGURES[quantity]} {era}"


@frozen
class Record:
    """What measured figures of a class were missed by, each by constants that had not seen its source.

    Attributes:
        rows, sources: figures, and who measured.
        median_error: of the absolute relative error.
        coverage: share of the rows that the interval held.
        low, high: of the logarithm of measured over predicted, what 80 % of the rows lie between, every source weighing the same.
    """

    rows: int
    sources: int
    median_error: float
    coverage: float
    low: float
    high: float


@functools.cache
def record_file() -> dict[str, dict[str, dict[str, float]]]:
    """The whole data file: classes, and what was seen."""
    body: dict[str, dict[str, dict[str, float]]] = data.read_json(data.file("serving_record.json"))
    return body


def record(name: str) -> Record | None:
    """Of a class; None where no row is of it."""
    found = record_file()["classes"].get(name)
    return Record(**found) if found else None  # type: ignore[arg-type]


@frozen
class Interval:
    """Factors on a predicted figure that hold 80 % of measured ones.

    Attributes:
        low, high: factors.
        constants, practice, distance: the parts of the wider side's logarithm; their squares add up.
        said: what is far from what was measured, in words; empty for nothing.
    """

    low: float
    high: float
    constants: float
    practice: float
    distance: float
    said: str = ""


WIDE = 0.6
"""Of a logarithm, where no row is of the class."""


def interval(deployment: Deployment, quantity: str, *, calibrated: bool = False) -> Interval:
    """The 80 % interval of a figure.

    Args:
        calibrated: whether rows of the user's own deployment scaled the constants: the part of practice is gone, and most of the others.
    """
    found = record("calibrated") if calibrated else record(class_of(deployment, quantity))
    below, above = (-found.low, found.high) if found else (WIDE, WIDE)
    far = {} if calibrated else _unseen(deployment)
    distance = math.sqrt(sum(UNSEEN[name] ** 2 for name in far))
    practice = 0.0 if calibrated else min(PRACTICE, max(below, above))
    low, high = math.hypot(max(0.0, below), distance), math.hypot(max(0.0, above), distance)
    wider = max(below, above)
    return Interval(
        low=math.exp(-low),
        high=math.exp(high),
        constants=math.sqrt(max(0.0, wider**2 - practice**2)),
        practice=practice,
        distance=distance,
        said=", ".join(far.values()),
    )


def _unseen(deployment: Deployment) -> dict[str, str]:
    """What of a deployment no measured row has, and in words."""
    seen = record_file()["seen"]
    d = deployment
    kind = KINDS.get(d.weights, "int")
    found = {}
    if d.hardware.generation not in seen["devices"]:
        found["device"] = f"no measured {d.hardware.generation} device"
    if f"{d.engine.id} {kind}" not in seen["formats"]:
        found["format"] = f"no measured {d.weights} on {d.engine.id}"
    if model_kind(d) not in seen["models"]:
        found["model"] = f"no measured model of {model_kind(d)}"
    return found


def model_kind(deployment: Deployment) -> str:
    """What a model is made of, as far as steps differ by it: experts, latents, windows, recurrent layers."""
    from estimators.serving.held_weights import served_model
    from estimators.serving.work import LONG, model_work

    work = model_work(served_model(deployment))
    parts = [
        "experts" if work.experts else "",
        "latents"
        if any(cache.heads == 1 and cache.queries > 1 and cache.decode_flop > cache.prefill_flop for cache in work.caches)
        else "",
        "windows" if any(cache.window < LONG for cache in work.caches) else "",
        "recurrent layers" if work.state_bytes else "",
    ]
    return " and ".join(part for part in parts if part) or "dense layers"
