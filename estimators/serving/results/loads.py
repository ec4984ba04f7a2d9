"""What result files measured of a deployment, as loads that its constants are refitted to."""

from __future__ import annotations

import os
from collections.abc import Sequence

from estimators.errors import BadValueError, PhysicsError
from estimators.serving.deployment import Deployment
from estimators.serving.figures import CLOSED, SATURATED, STATIC, Asked
from estimators.serving.own_rows import MeasuredLoad
from estimators.serving.results.deployment_of import deployment_of
from estimators.serving.results.gate import judged
from estimators.serving.results.one_file import named, read_results
from estimators.serving.results.result import MEAN, MEDIAN, ServingResult

KINDS = {"closed": CLOSED, "static batch": STATIC, "saturated": SATURATED}
"""Loads of result files that a steady state is known of."""

FIGURES = ("ttft_s", "tpot_s", "itl_s", "e2e_s", "prefill_s", "decode_s")
"""That constants are refitted to; ITL counts stream events, and stands in only where no TPOT does."""


def measured_loads(files: Sequence[str], deployment: Deployment) -> list[MeasuredLoad]:
    """The runs of result files, each with its load and figures.

    Args:
        files: paths, with a format before them or without, as `import` takes them.
        deployment: that they must be of.

    Raises:
        RequestError: no result file, one of another deployment, or of a load without a steady state; one line.
        PhysicsError: what no server can have found.
    """
    loads = []
    for given in files:
        form, path = named(given)
        results = read_results(path, form)
        file = os.path.basename(path)[:60]
        loads += [_load(result, deployment, file if len(results) == 1 else f"{file}, run {n}") for n, result in enumerate(results, start=1)]
    return loads


def _load(result: ServingResult, deployment: Deployment, label: str) -> MeasuredLoad:
    _demand_same(result, deployment, label)
    broken = judged(result, deployment)
    if broken:
        raise PhysicsError(f"{label} is no measurement: {broken[0].name}: {broken[0].text}")
    load = result.load
    if load.kind not in KINDS or load.concurrency is None:
        raise BadValueError(f"{label}: a load {load.kind!r} has no steady state; expected so many users in flight, or a static batch")
    lengths = []
    for what, total, each in (("prompts", result.prompt_tokens, load.prompt_tokens), ("answers", result.output_tokens, load.output_tokens)):
        mean = total / result.completed if total and result.completed else each
        if not mean:
            raise BadValueError(f"{label}: how long its {what} were is not said; expected a file with tokens and requests")
        lengths.append(mean)
    asked = Asked(load=KINDS[load.kind], sequences=load.concurrency, input_tokens=lengths[0], output_tokens=lengths[1])
    return MeasuredLoad(asked=asked, figures=_figures(result))


def _figures(result: ServingResult) -> dict[str, float]:
    """Means, and medians where there are none."""
    found = {}
    for name in FIGURES:
        value = result.value(name, MEAN) or result.value(name, MEDIAN)
        if value:
            found[name] = value
    if "tpot_s" in found:
        found.pop("itl_s", None)
    return found


def _demand_same(result: ServingResult, deployment: Deployment, label: str) -> None:
    """Refuse a file that names another model, device or number of devices. Raises BadValueError."""
    theirs = deployment_of(result.served).deployment
    if theirs is None:
        return
    pairs = [
        (theirs.model.name, deployment.model.name),
        (theirs.hardware.id, deployment.hardware.id),
        (f"{theirs.num_devices} devices", f"{deployment.num_devices} devices"),
    ]
    other = next(((found, asked) for found, asked in pairs if found != asked), None)
    if other:
        raise BadValueError(f"{label} was measured on {other[0]}; expected {other[1]}, as the replica that is asked about")
