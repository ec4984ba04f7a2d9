"""What a record of a watched training tells of its time: waiting for data, padding, a processor that was not there, clocks held down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.diagnosis.readers.lines import number


def shares_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Shares of the steps' time, keys of observed.SHARES; without those that the record does not tell.

    Waiting and padding are of the steps behind the warm-up; positions of padding take their share of what is no waiting. A processor that
    was not there is told of all steps together: wall time inside them in which the training's thread did not run.
    """
    watched, power = _mapping(_mapping(record.get("proof")).get("watched")), _mapping(record.get("power"))
    phases = {str(each.get("name")): each for each in record.get("phases") or () if isinstance(each, dict)}
    warmup, steady = (_numbers(_mapping(phases.get("train_step")).get(name)) for name in ("warmup_s", "samples_s"))
    found, steady_s, skip = {}, sum(steady), len(warmup)
    if steady_s > 0:
        found["loader"] = sum(_numbers(watched.get("data_wait_s"))[skip:]) / steady_s
        tokens, padding = (sum(_numbers(watched.get(name))[skip:]) for name in ("tokens_per_step", "padding_per_step"))
        if tokens and padding:
            found["padding"] = padding / (tokens + padding) * (1 - min(1.0, found["loader"]))
    ran_s, host = number(watched.get("processor_s")), _mapping(phases.get("host_step"))
    inside_s = sum(sum(_numbers(host.get(name))) for name in ("warmup_s", "samples_s"))
    if ran_s is not None and inside_s > 0:
        found["without its processor"] = (inside_s - ran_s) / (steady_s + sum(warmup))
    held, mean, most = (number(power.get(name)) for name in ("throttled_fraction", "mean_sm_clock_hz", "max_sm_clock_hz"))
    if held and mean and most:
        found["throttled"] = 1 - mean / most
    return {name: min(1.0, share) for name, share in found.items() if share > 0}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _numbers(value: object) -> list[float]:
    return [number(each) or 0.0 for each in value] if isinstance(value, list) else []
