"""Fit the cost model's constants on all sources and without each, and write estimators/facts/data/efficiency.json and the track records.

python -m tools.fit_constants

Least squares on the logarithm of predicted over measured, with a robust loss; each constant is held by its prior, and each
source has a bias of its own that is thrown away afterwards, since residuals cluster by source. A fit without a source
never sees its rows; what they are missed by then makes the intervals (tools.left_out). Takes some minutes.
Needs scipy, which the extra `test` brings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from estimators.cost.efficiency import Efficiency, efficiency, efficiency_file
from estimators.facts import data
from estimators.validation.case import MeasuredStep, measured_step
from estimators.validation.table import LeftOutError, read_table, shipped
from tools import left_out
from tools.stacked_steps import Batch, batches, predicted_s

SCATTER = 0.08
"""Logarithmic error that counts as ordinary; beyond it the loss grows slowly."""

SOURCE_BIAS = 0.05
"""Prior spread of a source's own bias."""

PRIOR_WEIGHT = 0.5
"""Weight of the priors against the data."""

SOURCE_POWER = 0.3
"""A source of n rows weighs n to this power: more rows say more, but rows of one machine repeat one another."""

STEP = 1e-5
"""Logarithmic move of a constant that a slope is taken over."""

UNCERTAIN_ATTENTION = "gpt-oss"
"""Its attention has learned sinks, and the tables do not say by which kernel: predicted, but in no fit."""


CHECKED = ("torchtitan", "torchao", "fms-fsdp", "tpu-recipes-ironwood", "tpu-recipes-trillium", "gpu-recipes")
"""Sources in no fit: few rows of software or devices that no other source has, so that what they say of priors is a check of them."""


def rows() -> list[MeasuredStep]:
    """Every shipped row that can be predicted and has a time."""
    steps = []
    for path in shipped().values():
        for record in read_table(path):
            try:
                step = measured_step(record)
            except LeftOutError:
                continue
            if step.measured_step_time_s:
                steps.append(step)
    return steps


def fits(step: MeasuredStep) -> bool:
    """Whether a row takes part in fits: pre-training, with a stated layout, by software whose attention kernel is known."""
    trained = step.kind in ("pre-training", "forced balance") and step.source not in CHECKED
    return trained and not step.apart and UNCERTAIN_ATTENTION not in step.model.name


def fit(
    steps: Sequence[MeasuredStep],
    parts: Sequence[Batch],
    constants: dict[str, Any],
    *without: str,
    near: dict[str, float] | None = None,
) -> dict[str, float]:
    """Constants fitted on every row but those of some sources.

    Args:
        constants: of efficiency.json: prior, spread (0 for a fixed one) and upper bound.
        near: where to begin, in place of the priors: what was found with other sources left out.
    """
    from scipy.optimize import least_squares

    names = [name for name, c in constants.items() if c["spread"]]
    fixed = {name: c["prior"] for name, c in constants.items() if not c["spread"]}
    prior = np.log([constants[name]["prior"] for name in names])
    upper = np.array([np.log(constants[name]["upper"] or 1e9) for name in names])
    prior = np.minimum(prior, upper - 1e-3)
    spread = np.array([constants[name]["spread"] for name in names])
    used = np.array([fits(step) and step.source not in without for step in steps])
    labels = np.array([f"{step.source} {step.kind}" for step in steps])
    sources = sorted(set(labels[used]))
    member = np.array([labels == source for source in sources]) & used
    weight = sum(m * m.sum() ** ((SOURCE_POWER - 1) / 2) for m in member)
    measured = np.array([step.measured_step_time_s for step in steps])

    def error(x: Any, logs: Any) -> Any:
        free = dict(zip(names, np.exp(logs), strict=True))
        values = free | {name: value + 0 * free[names[0]] for name, value in fixed.items()}
        return np.log(predicted_s(parts, len(steps), Efficiency(**values)) / measured) + x[len(names) :] @ member

    def residuals(x: Any) -> Any:
        robust = _robust(error(x, x[: len(names)])) * weight
        return np.concatenate([robust[used], PRIOR_WEIGHT * (x[: len(names)] - prior) / spread, x[len(names) :] / SOURCE_BIAS])

    def slopes(x: Any) -> Any:
        """Of the residuals, by constants and by biases: every constant moved by itself, all moves predicted at once."""
        logs = x[: len(names)]
        moved = error(x, (logs + STEP * np.vstack([np.zeros(len(names)), np.eye(len(names))])).T[:, :, None])
        by_error = (_robust(moved[0] + STEP) - _robust(moved[0])) / STEP * weight
        by_constant = (moved[1:] - moved[0]) / STEP * by_error
        rows = np.vstack([by_constant, member * by_error])[:, used].T
        holds = np.diag(np.concatenate([PRIOR_WEIGHT / spread, np.full(len(sources), 1 / SOURCE_BIAS)]))
        return np.vstack([rows, holds])

    first = np.minimum(np.log([near[name] for name in names]), upper - 1e-3) if near else prior
    begin = np.concatenate([first, np.zeros(len(sources))])
    bounds = (np.full(len(begin), -np.inf), np.concatenate([upper, np.full(len(sources), np.inf)]))
    solution = least_squares(residuals, begin, slopes, bounds=bounds, max_nfev=60).x
    return {name: float(f"{value:.5g}") for name, value in zip(names, np.exp(solution[: len(names)]), strict=True)}


def _robust(error: Any) -> Any:
    return np.sign(error) * np.sqrt(2 * np.log1p((error / SCATTER) ** 2 / 2))


def main() -> int:
    """Fit, and write the data file anew: values, and the constants without each source."""
    body = efficiency_file()
    steps = rows()
    parts = batches(steps)
    values = fit(steps, parts, body["constants"])
    for name, constant in body["constants"].items():
        constant["value"] = values.get(name, constant["prior"])
    body["without"] = {}
    for source in sorted({step.source for step in steps if fits(step)}):
        print(f"without {source}", file=sys.stderr, flush=True)
        body["without"][source] = fit(steps, parts, body["constants"], source, near=values)
    for name, constant in body["constants"].items():
        if constant["spread"]:
            fitted = [without[name] for without in body["without"].values()]
            constant["range"] = [min(fitted), max(fitted)]
    with open(data.file("efficiency.json"), "w", encoding="utf-8") as stream:
        json.dump(body, stream, indent=1)
        stream.write("\n")
    efficiency_file.cache_clear()
    efficiency.cache_clear()
    left_out.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
