"""Where the step of a traced run went, beside where the predicted one goes."""

from __future__ import annotations

from estimators.diagnosis.answer import Diagnosis
from estimators.units import format_duration, format_fraction, format_ratio
from reports.table import Column, Table, Value


def parts_table(d: Diagnosis) -> Table:
    """The mean step by part, what a predicted step of the same batch has for each, and their ratio."""
    seen, predicted = d.question.observed.step_parts_s, _predicted(d)
    whole_s = sum(seen.values())
    rows: list[dict[str, Value]] = []
    reached_s = 0.0
    for name in [*seen, *(name for name in predicted if name not in seen and predicted[name] > 0)]:
        time_s, said_s = seen.get(name, 0.0), predicted.get(name)
        reached_s += time_s
        rows.append(
            {
                "part": name,
                "seconds_s": time_s,
                "share_fraction": time_s / whole_s,
                "reached_s": reached_s,
                "predicted_s": said_s,
                "ratio": time_s / said_s if said_s else None,
            }
        )
    said_s = sum(predicted.values()) if predicted else None
    whole: dict[str, Value] = {"part": "the step", "seconds_s": whole_s, "share_fraction": 1.0, "reached_s": whole_s}
    rows.append(whole | {"predicted_s": said_s, "ratio": whole_s / said_s if said_s else None})
    columns = [
        Column(key="part", header="part"),
        Column(key="seconds_s", header="time", format=format_duration, align="right"),
        Column(key="share_fraction", header="share", format=format_fraction, align="right"),
        Column(key="reached_s", header="up to here", format=format_duration, align="right"),
        Column(key="predicted_s", header="predicted", format=format_duration, align="right"),
        Column(key="ratio", header="ratio", format=format_ratio, align="right"),
    ]
    return Table(
        title="Where the step went",
        conditions=["the mean of the steps in the trace; the parts sum to it"],
        columns=columns if predicted else columns[:4],
        rows=rows,
        notes=[f"predicted: {d.expected.source}"] if predicted and d.expected else [],
        key="parts",
    )


def parts_text(d: Diagnosis) -> str:
    """The largest parts in a line; empty where nothing tells."""
    seen = d.question.observed.step_parts_s
    if not seen:
        return ""
    whole_s = sum(seen.values())
    largest = sorted(seen.items(), key=lambda part: -part[1])
    said = ", ".join(f"{name} {format_fraction(time_s / whole_s)}" for name, time_s in largest if time_s / whole_s >= SHOWN_FROM)
    return f"The mean step, {format_duration(whole_s)}: {said}."


SHOWN_FROM = 0.02
"""Of a step: smaller parts are in the table alone."""


def _predicted(d: Diagnosis) -> dict[str, float]:
    """Of a step of as many tokens; empty where it is not known how many, or no step is predicted."""
    from estimators.diagnosis.traces.parts import predicted_parts

    prediction = d.expected.prediction if d.expected is not None else None
    if prediction is None or d.question.items_per_step != prediction.tokens_per_step:
        return {}
    return predicted_parts(prediction)
