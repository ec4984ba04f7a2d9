"""A generation on a deployment: what is predicted of it beside its bound."""

from __future__ import annotations

from estimators.serving.one_request import OneRequest
from estimators.units import format_bytes, format_duration, format_int, format_rate
from estimators.weight_formats import PLAIN
from reports.table import Column, Table, Value


def served_tables(served: OneRequest | None) -> list[Table]:
    """The prediction by phase; nothing where there is none."""
    if served is None:
        return []
    decode_s = served.generation_s - served.prefill_s
    rows: list[dict[str, Value]] = [
        {"phase": "prefill", "predicted_s": served.prefill_s, "bound_s": served.prefill_bound_s},
        {"phase": "decode", "predicted_s": decode_s, "bound_s": served.generation_bound_s - served.prefill_bound_s},
        {"phase": "whole", "predicted_s": served.generation_s, "bound_s": served.generation_bound_s},
    ]
    d = served.deployment
    return [
        Table(
            title=f"Predicted {where_text(served)}",
            conditions=[
                f"{format_int(served.rows)} rows; weights {d.weights}, cache {d.kv}, {d.engine.id} of {d.engine.since} on",
                f"memory of a device: {format_bytes(served.budget.weights_bytes)} of weights, "
                f"{format_bytes(max(0.0, served.budget.kv_bytes))} of cache",
            ],
            columns=[
                Column(key="phase", header="phase"),
                Column(key="predicted_s", header="predicted", format=format_duration, align="right"),
                Column(key="bound_s", header="at least", format=format_duration, align="right"),
            ],
            rows=rows,
            facts={
                "engine": d.engine.id,
                "num_gpus": d.num_devices,
                "weights": d.weights,
                "prefill_s": served.prefill_s,
                "decode_step_s": served.decode_step_s,
                "generation_s": served.generation_s,
                "generation_low_s": max(served.generation_bound_s, served.generation_s * served.off.low),
                "generation_high_s": served.generation_s * served.off.high,
                "generation_fits": served.fits,
            },
            key="served",
            kind="estimated",
        )
    ]


def is_elsewhere(served: OneRequest | None) -> bool:
    """Whether a generation fits on other than one device in 16 bits, which the bounds of single steps are of."""
    return served is not None and served.fits and (served.deployment.num_devices > 1 or served.deployment.weights != PLAIN)


def where_text(served: OneRequest) -> str:
    """Such as ``on vllm, 4 x h100-sxm5-80gb (tp 4)``."""
    d = served.deployment
    cut = ", ".join(f"{word} {getattr(d, word)}" for word in ("tp", "pp") if getattr(d, word) > 1)
    devices = d.hardware.id if d.num_devices == 1 else f"{d.num_devices} x {d.hardware.id}"
    return f"on {d.engine.id}, {devices}{f' ({cut})' if cut else ''}"


def served_line(served: OneRequest) -> str:
    """What is predicted, in a line."""
    d = served.deployment
    low_s, high_s = max(served.generation_bound_s, served.generation_s * served.off.low), served.generation_s * served.off.high
    formats = "" if d.weights == "16-bit" else f" in {d.weights}"
    return (
        f"predicted {where_text(served)}{formats}: {format_duration(served.generation_s)}, {format_rate(served.new_tokens_per_s)} "
        f"tokens/s: prefill {format_duration(served.prefill_s)}, then {format_duration(served.decode_step_s)} a step; at least "
        f"{format_duration(served.generation_bound_s)}; 80 %: {format_duration(low_s)} to {format_duration(high_s)}."
    )
