"""One screen of a diagnosed run: verdict, expected and observed, suspects with what settles each."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.diagnosis.answer import Diagnosis
from estimators.diagnosis.arithmetic import item_word
from estimators.diagnosis.expected import devices_text
from estimators.frozen import replace
from estimators.units import format_int, format_ratio
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.diagnosis.diagnosis import as_printed, beside_other, nearest_table, not_predicted, over_time, peak_text, standing_text
from reports.views.diagnosis.parts import parts_text

SHOWN = 4
"""Suspects of a screen; the rest are with -v."""


def diagnosis_screen(d: Diagnosis, tables: Sequence[Table]) -> Screen:
    """The verdict first."""
    suspects = replace(tables[0], rows=list(tables[0].rows)[:SHOWN])
    table = columns_kept(suspects, "cause", "check", "evidence", always=2) if d.suspects else None
    if table is None and d.percentile is not None:
        table = columns_kept(nearest_table(d.percentile), "run", "utilization_fraction", "hardware", always=2)
    return Screen(
        answer=_sentence(d),
        lead=[line for line in _lead(d) if line],
        table=table,
        doubts=[f"{d.judged.reason}."] if d.needs_attention and d.judged.reason else [],
        notes=_notes(d),
        failed=d.needs_attention,
    )


def _lead(d: Diagnosis) -> list[str]:
    return [_corrected(d), _expected(d), parts_text(d), standing_text(d) if d.suspects else _standing_alone(d), _tie(d)]


def _sentence(d: Diagnosis) -> str:
    q = d.question
    where = ", ".join(filter(None, [q.model.name if q.model else "", devices_text(q)]))
    figure = str(q.main) if q.main else "no figure"
    first = d.suspects[0] if d.suspects else None
    sure = "" if first is not None and first.evidence else "perhaps "
    because = f": {sure}{first.what}" if first is not None and d.verdict in ("MISCOUNTED", "IMPOSSIBLE", "SLOW") else ""
    if d.verdict == "UNKNOWN" and d.missing:
        because = f": what would decide is {d.missing[0]}"
    return f"{d.verdict}, {figure}{f' ({where})' if where else ''}{because}"


def _corrected(d: Diagnosis) -> str:
    """What the figure reads without the slip that is suspected first."""
    main, corrected = d.question.main, d.judged.corrected
    if main is None or corrected is None or main.quantity == "reported_over_true":
        return ""
    return f"Without that it is {replace(main, value=corrected, includes=())}."


def _expected(d: Diagnosis) -> str:
    """Expected, observed and their ratio."""
    x, word, c = d.expected, item_word(d.question), d.decode
    if c is not None:
        expected = f"Expected {c.middle:,.3g} tokens/s ({c.low:,.3g} to {c.high:,.3g}, {c.engine})" if c.middle and c.low and c.high else ""
        seen = "" if d.decoded is None else f"; observed {d.decoded:,.3g}"
        return f"{expected or 'Nothing is predicted'}; at most {c.bound:,.3g} by bytes over bandwidth{seen}."
    if x is None and d.items_per_s is not None and d.verdict == "UNKNOWN":
        share = f", {peak_text(d)}" if peak_text(d) else ""
        return f"Observed {_number(d.items_per_s)} {word}s/s per device{share}; no prediction and no published run says what is usual."
    if x is None:
        return ""
    rate = "" if d.items_per_s is None else f"; observed {_number(d.items_per_s)}{f', {peak_text(d)}' if peak_text(d) else ''}"
    ratio = f": {format_ratio(d.ratio, 3)} of it" if d.ratio is not None else ""
    predicted = "Expected" if x.predictions or x.source.startswith("predicted") else "By published shares of peak"
    return f"{predicted} {_number(x.middle)} {word}s/s per device ({_number(x.low)} to {_number(x.high)}){rate}{ratio}."


def _number(value: float) -> str:
    return format_int(round(value)) if value >= 100 else f"{value:.3g}"


def _standing_alone(d: Diagnosis) -> str:
    return standing_text(d).partition("; nearest")[0] + "." if d.percentile is not None else ""


def _tie(d: Diagnosis) -> str:
    if not d.judged.ties or len(d.suspects) < 2:
        return ""
    first, second = d.suspects[:2]
    return f"{first.id} and {second.id} explain it alike: {second.check or first.check} tells them apart."


def _notes(d: Diagnosis) -> list[str]:
    observed = d.question.observed
    found = [f"read: {observed.read}."] if observed.read else []
    impossible = as_printed(d)
    found += [f"{said}." for said in beside_other(d)]
    found += [f"{said[0].upper()}{said[1:]}." for said in (*over_time(d), *impossible)]
    wrong = d.judged.wrong
    if wrong is not None:
        found.append(f"{wrong} is the figure that is wrong, where the others agree.")
    disagree = [check for check in d.checks if not check.agrees]
    agree = [check for check in d.checks if check.agrees]
    if agree and not disagree:
        found.append(f"{agree[0].reported} agrees with {agree[0].how}.")
    disagree = [check for check in disagree if not (impossible and check.by_count)]
    if d.verdict in ("NORMAL", "FAST BUT POSSIBLE") and disagree:
        check = disagree[0]
        found.append(f"Printed and wrong: {check.other} beside {check.reported}: {format_ratio(1 / check.ratio)} times what it is.")
    if d.expected is not None:
        found.append(f"expected: {d.expected.source}{_several(d)}.")
        found += [f"{not_predicted(d)}."] if d.expected.refused else []
    found += [f"{each.number:,} {each.what} skipped{f': {each.why}' if each.why else ''}." for each in d.question.observed.skipped]
    found += [*d.question.observed.notes, *d.question.said]
    found += [f"missing: {each}" for each in d.missing]
    return found


def _several(d: Diagnosis) -> str:
    x = d.expected
    assert x is not None
    parts = [f"{len(x.predictions)} kinds of software, as none is decided"] if len(x.predictions) > 1 else []
    parts += ["down to the slowest tenth of published runs, as the layout is not decided"] if x.published_low else []
    return f" ({'; '.join(parts)})" if parts else ""
