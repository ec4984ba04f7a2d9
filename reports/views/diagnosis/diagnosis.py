"""A diagnosed run: what was observed and expected, its figures held against one another, suspects, and the nearest published runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.advice import Advice
from estimators.diagnosis.answer import Diagnosis
from estimators.diagnosis.arithmetic import item_word
from estimators.diagnosis.causes import known_peak
from estimators.diagnosis.expected import devices_text
from estimators.diagnosis.value import value_of
from estimators.facts.percentile import Percentile
from estimators.frozen import replace
from estimators.units import format_flop_rate, format_fraction, format_int, format_ratio
from reports.table import Column, Table, Value
from reports.views.diagnosis.parts import parts_table

NUM_NEAREST = 3


def diagnosis_tables(d: Diagnosis) -> list[Table]:
    """Suspects first, where there are any; then the figures, their checks, and published runs."""
    alone = len(d.explained_by) == len(d.suspects) > 0
    tables = [suspects_table(d.suspects, header=EXPLAINS if alone else SUSPECT), rates_table(d), *([checks_table(d)] if d.checks else [])]
    tables += [parts_table(d)] if d.question.observed.step_parts_s else []
    tables += [nearest_table(d.percentile)] if d.percentile is not None else []
    head = Table(
        title=f"{d.verdict}: {subject(d)}",
        conditions=conditions(d),
        columns=tables[0].columns,
        rows=tables[0].rows,
        notes=notes(d),
        facts=facts(d),
        key="suspects",
    )
    return [head, *tables[1:]]


def subject(d: Diagnosis) -> str:
    """What is diagnosed: the figure, the model and the devices."""
    q = d.question
    parts = [str(q.main) if q.main else "no figure", q.model.name if q.model else "", devices_text(q)]
    return ", ".join(filter(None, parts))


def conditions(d: Diagnosis) -> list[str]:
    """What was taken as given."""
    q, s = d.question, d.question.setting
    stated = {
        "sequence": f"{format_int(s.seq_len)} tokens{' at most' if s.seq_len_at_most else ''}" if s.seq_len else "",
        "batch of a step": f"{format_int(q.sequences_per_step)} sequences" if q.sequences_per_step else "",
        "layout": q.layout_text(),
        "software": s.software,
        "products in": q.dtype if q.hardware else "",
        "trained": s.method,
    }
    said = [f"{name}: {value}" for name, value in stated.items() if value]
    return [*([f"read: {q.observed.read}"] if q.observed.read else []), *said, *q.said]


def notes(d: Diagnosis) -> list[str]:
    """The reason, what is assumed, what was skipped and what is missing."""
    skipped = [f"{each.number:,} {each.what} skipped{f': {each.why}' if each.why else ''}" for each in d.question.observed.skipped]
    missing = [f"missing: {each}" for each in d.missing]
    expected = [f"expected: {d.expected.source}" + _published_note(d)] if d.expected else []
    reason = [d.judged.reason] if d.judged.reason else []
    expected += [not_predicted(d)] if d.expected and d.expected.refused else []
    return [*reason, *beside_other(d), *expected, *over_time(d), *as_printed(d), *skipped, *d.question.observed.notes, *missing]


def over_time(d: Diagnosis) -> list[str]:
    """How its speed changed, and the spread of the figure that is asked about."""
    said = [f"over time: {change}" for change in d.changes]
    main = d.question.main
    if main is not None and main.low is not None and main.high is not None:
        low, high = (str(replace(main, value=value, low=None, high=None)) for value in (main.low, main.high))
        said.insert(0, f"{main.source}; eight in ten lie from {low} to {high}")
    return said


def as_printed(d: Diagnosis) -> list[str]:
    """Utilizations that were printed beside the figure that is asked about, and can be nobody's."""
    q = d.question
    printed = [f for f in q.observed.figures if f.quantity == "mfu_fraction" and f.value > 1 and f is not q.main]
    peak = known_peak(q)
    tool = f": {q.setting.software} divides by {format_flop_rate(peak)} whatever the device is" if peak else ""
    own = f"; of the device's {format_flop_rate(q.peak_flop_per_s)} it would be {{}}" if peak and q.peak_flop_per_s else ""
    return [
        f"{figure}, as printed, is IMPOSSIBLE{tool}"
        + (own.format(format_fraction(figure.value * peak / q.peak_flop_per_s)) if own and peak and q.peak_flop_per_s else "")
        for figure in printed
    ]


def beside_other(d: Diagnosis) -> list[str]:
    """The other run, where the verdict rests on something else."""
    return [f"beside the other run: {d.comparison.said}"] if d.comparison and d.comparison.said not in d.judged.reason else []


def not_predicted(d: Diagnosis) -> str:
    """Why the layout that was stated has no part in what is expected."""
    return f"no step of the stated layout is predicted: {d.expected.refused}" if d.expected else ""


def _published_note(d: Diagnosis) -> str:
    x = d.expected
    if x is None:
        return ""
    several = f"; over {len(x.predictions)} kinds of software, as it is not decided" if len(x.predictions) > 1 else ""
    return several + (
        "; the low end is the slowest tenth of published runs, whose layouts and restarts are theirs" if x.published_low else ""
    )


def facts(d: Diagnosis) -> dict[str, Any]:
    """Single values, in base units."""
    value, unit = value_of(d)
    x, c = d.expected, d.decode
    return {
        "verdict": d.verdict,
        "causes": list(d.cause_ids),
        "explained_by": list(d.explained_by),
        "tied": d.judged.ties,
        "value": value,
        "unit": unit,
        "item": item_word(d.question),
        "observed_items_per_s_per_device": d.items_per_s,
        "expected_items_per_s_per_device": x.middle if x else None,
        "expected_low_items_per_s_per_device": x.low if x else None,
        "expected_high_items_per_s_per_device": x.high if x else None,
        "ratio": d.ratio,
        "mfu_fraction": d.mfu,
        "least_fraction": d.least,
        "bound_tokens_per_s": c.bound if c else None,
        "expected_tokens_per_s": c.middle if c else None,
        "percentile_fraction": d.percentile.percentile_fraction if d.percentile else None,
        "num_published": len(d.percentile.peers) if d.percentile else None,
        "missing": [str(each) for each in d.missing],
        "read": d.question.observed.read,
        "changes": [
            {"step": each.step, "quantity": d.question.observed.series[0].quantity, "before": each.before, "after": each.after}
            | {"speed_ratio": each.ratio}
            for each in d.changes
        ],
    }


SUSPECT, EXPLAINS = "suspect", "what explains it"
"""What a cause is called: one from which something is wrong, and one with which nothing is."""


def suspects_table(suspects: Sequence[Advice], *, header: str = SUSPECT) -> Table:
    """Advice, the likeliest first."""
    return Table(
        title="Suspects, the likeliest first",
        columns=[
            Column(key="rank", header="#", align="right"),
            Column(key="cause", header=header),
            Column(key="what", header="what it is"),
            Column(key="evidence", header="evidence"),
            Column(key="worth", header="worth"),
            Column(key="check", header="what settles it"),
        ],
        rows=[
            {"rank": rank, "cause": each.id, "what": each.what, "evidence": each.evidence, "worth": each.worth, "check": each.check}
            for rank, each in enumerate(suspects, start=1)
        ],
        key="suspects",
    )


def rates_table(d: Diagnosis) -> Table:
    """Observed, expected and bound, per device and of the job."""
    q, x, n = d.question, d.expected, d.question.num_devices
    rows: list[dict[str, Value]] = []

    def add(name: str, rate: float | None, source: str) -> None:
        if rate is not None:
            share = d.mfu * rate / d.items_per_s if d.mfu is not None and d.items_per_s else None
            rows.append({"figure": name, "per_device": rate, "job": rate * n if n else None, "mfu_fraction": share, "source": source})

    if d.decode is not None:
        c, of = d.decode, {"per_device": None, "mfu_fraction": None}
        if d.decoded is not None:
            rows.append({"figure": "observed", "job": d.decoded, "source": "given, or from what was given", **of})
        predicted = {"expected, low": c.low, "expected": c.middle, "expected, high": c.high}
        rows += [{"figure": name, "job": rate, "source": f"{c.engine}, predicted", **of} for name, rate in predicted.items() if rate]
        rows.append({"figure": "bound", "job": c.bound, "source": "bytes over bandwidth", **of})
    add("observed", d.items_per_s, "given, or from what was given")
    if x is not None:
        add("expected, low", x.low, "slowest tenth of published runs" if x.published_low else x.source)
        add("expected", x.middle, x.source)
        add("expected, high", x.high, x.source)
    if d.items_per_s is not None and d.least:
        add("bound", d.items_per_s / d.least, "what no kernel may skip, at the dense peak")
    word = item_word(q)
    return Table(
        title=f"Observed and expected, {word}s per second",
        columns=[
            Column(key="figure", header=f"{word}s/s"),
            Column(key="per_device", header="per device", format=_rate, align="right"),
            Column(key="job", header="in all", format=_rate, align="right"),
            Column(key="mfu_fraction", header="of peak", format=format_fraction, align="right"),
            Column(key="source", header="from"),
        ],
        rows=rows,
        key="rates",
    )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def checks_table(d: Diagnosis) -> Table:
    """Figures of the run held against one another."""
    return Table(
        title="Its figures held against one another",
        columns=[
            Column(key="figure", header="figure"),
            Column(key="others", header="what the others make of it"),
            Column(key="derived", header="then it is", format=lambda value: f"{value:,.5g}", align="right"),
            Column(key="ratio", header="ratio", format=format_ratio, align="right"),
            Column(key="agrees", header="agree"),
        ],
        rows=[
            {
                "figure": str(check.reported),
                "others": check.how,
                "derived": check.derived,
                "ratio": check.ratio,
                "agrees": f"as {check.counted_as} counts" if check.counted_as else check.agrees,
            }
            for check in d.checks
        ],
        key="checks",
    )


def nearest_table(known: Percentile) -> Table:
    """The published runs nearest in share of peak."""
    return Table(
        title=f"Nearest of {len(known.peers)} published runs of dense language models on {known.scope}",
        columns=[
            Column(key="run", header="run"),
            Column(key="hardware", header="device"),
            Column(key="utilization_fraction", header="of peak, by 6·N·D", format=format_fraction, align="right"),
            Column(key="source", header="source"),
        ],
        rows=[
            {"run": p.run.name, "hardware": p.run.hardware_id, "utilization_fraction": p.share, "source": str(p.run.source.title)}
            for p in known.nearest(NUM_NEAREST)
        ],
        key="nearest",
    )


def standing_text(d: Diagnosis) -> str:
    """Where it stands among published runs, with the nearest; empty where it cannot be said."""
    known = d.percentile
    if known is None:
        return ""
    near = ", ".join(f"{p.run.name} {format_fraction(p.share)}" for p in known.nearest(NUM_NEAREST))
    among = f"{known.num_below} of {len(known.peers)} published runs on {known.scope}"
    above = f"{format_fraction(known.share)} of peak by 6·N·D: more than {among}"
    return f"{above}; nearest: {near}."


def peak_text(d: Diagnosis) -> str:
    """Such as ``55.4 % of 312 TFLOP/s``; empty where no share is known."""
    peak = d.question.peak_flop_per_s
    return "" if d.mfu is None or not peak else f"{format_fraction(d.mfu)} of {format_flop_rate(peak)}"
