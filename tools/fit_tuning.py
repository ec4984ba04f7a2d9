"""Fit the constants of fine-tuning's step time on all sources and without each, and write estimators/facts/data/tuning_constants.json and
tuning_record.json.

python -m tools.fit_tuning

Each constant in turn takes the value, on a logarithmic grid around its prior, that makes the mean over sources of the median |log
error| least, held by its prior; a source's rows weigh as one. A fit without a source never sees its rows: the record holds what they
are missed by then. Takes about a minute.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from estimators.errors import RequestError
from estimators.facts import data
from estimators.tuning.constants import TuningConstants, constants_file, tuning_constants
from estimators.validation.score import quantile
from estimators.validation.table import LeftOutError, read_table, shipped_tuning
from estimators.validation.tuning_time import TimedStep, timed_step
from tools import tuning_record

GRID = [math.exp(step / 12) for step in range(-12, 13)]
"""Values that are tried, over the prior: from 0.37 to 2.7 of it."""

ROUNDS = 2
PRIOR_WEIGHT = 0.02
"""Of a constant's squared distance from its prior in spreads, against errors of 0.1: it decides where the data do not."""

Row = tuple[TimedStep, dict[str, float]]


def rows() -> list[Row]:
    """Every shipped run that can be timed, once whatever its meters, and the parts of its step at the priors."""
    found: dict[tuple[object, ...], Row] = {}
    for record in read_table(shipped_tuning()):
        try:
            step = timed_step(record)
            parts = {name: float(seconds) for name, seconds in step.predicted().ledger.parts.items()}
        except (LeftOutError, RequestError):
            continue
        found[step.run] = step, parts
    return list(found.values())


def fit(steps: Sequence[Row], at: TuningConstants, constants: Mapping[str, Any], without: str = "") -> dict[str, float]:
    """The constants on every source but one.

    Args:
        at: the constants that the parts of `steps` were priced with.
    """
    used = [(step, parts) for step, parts in steps if step.source != without]
    values = {name: float(constant["prior"]) for name, constant in constants.items()}
    for _ in range(ROUNDS):
        for name, constant in constants.items():
            tried = [constant["prior"] * factor for factor in GRID]
            values[name] = min(tried, key=lambda value: _loss(used, at, constants, values | {name: value}))
    return {name: float(f"{value:.4g}") for name, value in values.items()}


def _loss(used: Sequence[Row], at: TuningConstants, constants: Mapping[str, Any], values: Mapping[str, float]) -> float:
    by_source: dict[str, list[float]] = {}
    for step, parts in used:
        by_source.setdefault(step.source, []).append(abs(math.log(_seconds(step, parts, at, values) / step.measured_s)))
    missed = sum(_median(errors) for errors in by_source.values()) / len(by_source)
    held = sum((math.log(value / constants[name]["prior"]) / constants[name]["spread"]) ** 2 for name, value in values.items())
    return float(missed + PRIOR_WEIGHT * held)


def _seconds(step: TimedStep, parts: Mapping[str, float], at: TuningConstants, values: Mapping[str, float]) -> float:
    """The step with its parts moved; a part that is run again moves with its own forward share, 1 of 2.5."""
    seconds = sum(parts.values())
    base = step.job.method.base_format
    if base != "16-bit":
        name = "nf4_bytes" if base.startswith("nf4") else "integer_bytes"
        seconds += parts["dequantise"] * (values[name] / getattr(at, name) - 1)
    again = 1.4 if step.job.checkpointing != "none" else 1.0
    return seconds + again * parts["adapters"] * (values["adapter_traffic"] / at.adapter_traffic - 1)


def _median(values: Sequence[float]) -> float:
    return quantile(values, [1.0] * len(values), 0.5)


def main() -> int:
    """Fit, and write both data files anew."""
    body = constants_file()
    for constant in body["constants"].values():
        constant["value"] = constant["prior"]
    tuning_constants.cache_clear()
    steps, at = rows(), TuningConstants(**{name: constant["prior"] for name, constant in body["constants"].items()})
    for name, value in fit(steps, at, body["constants"]).items():
        body["constants"][name]["value"] = value
    body["without"] = {source: fit(steps, at, body["constants"], source) for source in sorted({step.source for step, _ in steps})}
    with open(data.file("tuning_constants.json"), "w", encoding="utf-8") as stream:
        json.dump(body, stream, indent=1)
        stream.write("\n")
    constants_file.cache_clear()
    tuning_constants.cache_clear()
    tuning_record.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
