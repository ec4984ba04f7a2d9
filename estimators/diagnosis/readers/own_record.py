"""A record of this project as a run's figures: the samples of its training steps."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from estimators.diagnosis.observed import Figure, Missing, Observed, Quantity, Setting
from estimators.diagnosis.readers.lines import number
from estimators.diagnosis.readers.watched import shares_of
from estimators.errors import BadRecordError

STEP = "train_step"


def observed_in_record(path: str, record: Mapping[str, Any]) -> Observed:
    """What a record says of its training.

    Raises:
        BadRecordError: it is of something else, or holds no samples of a training step.
    """
    request, phases = _mapping(record.get("request")), record.get("phases")
    steps = [p for p in phases if isinstance(p, dict) and p.get("name") == STEP] if isinstance(phases, list) else []
    samples = [value for each in steps[:1] for given in _list(each.get("samples_s")) if (value := number(given)) and value > 0]
    calls, items = (number(steps[0].get(name)) if steps else None for name in ("calls_per_sample", "items_per_sample"))
    if not samples or not items:
        raise BadRecordError(f"{path!r} is a record without the samples of a training step; expected one of `run --task train`")
    quantity: Quantity = "tokens_per_s" if steps[0].get("item") == "token" else "samples_per_s"
    ordered = sorted(samples)
    took = median(ordered)
    low, high = ordered[round(0.1 * (len(ordered) - 1))], ordered[round(0.9 * (len(ordered) - 1))]
    how = f"samples of {STEP}, median of {len(samples):,}"
    rate = Figure(
        quantity=quantity, value=items / took, source=how, low=items / high, high=items / low, num_samples=len(samples), scope="job"
    )
    step = Figure(quantity="step_time_s", value=took / (calls or 1), source=how, num_samples=len(samples))
    shares = shares_of(record)
    figures = (rate,) if "padding" in shares else (rate, step)  # the rate is of tokens, a step's rows are of positions
    device = _mapping(_mapping(record.get("environment")).get("device"))
    layers = request.get("layers")
    recompute = request.get("recompute")
    return Observed(
        figures=figures,
        setting=Setting(
            model="" if layers else str(request.get("model") or ""),
            config={} if layers else _mapping(request.get("config")),
            hardware=str(device.get("name") or ""),
            num_devices=_count(request.get("num_ranks")) or 1,
            seq_len=_count(request.get("seq_len")),
            micro_batch=_count(request.get("batch")),
            accumulation=1,
            dtype=str(request.get("dtype") or ""),
            recompute=recompute if recompute in ("none", "full", "selective") else "",
        ),
        shares=shares,
        missing=(Missing(what="the model", why=f"the record is of its first {layers} layers alone", flag="--config"),) if layers else (),
        read=f"a record of this tool, {record.get('run_id') or 'without a name'}, {len(samples):,} samples of {STEP}",
        notes=("warm-up was left out when it was measured",),
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int | None:
    found = number(value)
    return int(found) if found is not None and found == int(found) and found >= 1 else None
