"""Diagnosed rows of a table: each with verdict, causes and value; the score where the right answers stand beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.units import format_fraction, format_int
from estimators.validation.diagnosis_mutations import MutationScore
from estimators.validation.diagnosis_score import Diagnosed, DiagnosisScore
from reports.screen import Screen, columns_kept
from reports.table import Column, Table, Value

MARKS = {"verdict": 0.9, "cause": 0.75, "value": 0.9}
"""What is asked of the labelled cases."""


def cases_table(rows: Sequence[Diagnosed], score: DiagnosisScore) -> Table:
    """Every row; `causes` in order, with | between them."""
    labelled = score.rows > 0
    columns = [
        Column(key="id", header="case"),
        Column(key="verdict", header="verdict"),
        Column(key="causes", header="causes, in order"),
        Column(key="value", header="value", format=lambda value: f"{value:,.5g}", align="right"),
        Column(key="unit", header="unit"),
    ]
    if labelled:
        columns += [
            Column(key="right_verdict", header="right verdict"),
            Column(key="right_cause", header="right cause"),
            Column(key="right_value", header="right value"),
            Column(key="wrong", header="wrong"),
            Column(key="by_sentence", header="needs the sentence"),
        ]
    cells = [_row(row, labelled=labelled) for row in rows]
    said = {"missing": "missing", "not_known": "not known", "skipped": "not read, because"}
    columns += [Column(key=key, header=header) for key, header in said.items() if any(row[key] for row in cells)]
    return Table(
        title=_title(rows, score),
        conditions=["right_unit alone of a label is read before the answer: it says in which unit the value is given"] if labelled else [],
        columns=columns,
        rows=cells,
        facts={
            "cases": [{"id": r.record.id, "verdict": r.verdict, "causes": list(r.causes), "value": r.value, "unit": r.unit} for r in rows],
            "score": score_facts(score),
        },
        key="rows",
    )


def _title(rows: Sequence[Diagnosed], score: DiagnosisScore) -> str:
    if not score.rows:
        read = sum(not row.skipped_reason for row in rows)
        return f"{read} of {len(rows)} rows diagnosed" if read < len(rows) else f"{read} row{'s' if read > 1 else ''} diagnosed"
    return (
        f"Of {score.rows} labelled cases: the verdict is right in {_percent(score.verdict)}, the cause among the first two in "
        f"{_percent(score.cause)}, the value within its tolerance in {_percent(score.value)} of {score.values}"
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else format_fraction(share)


def _row(row: Diagnosed, *, labelled: bool) -> dict[str, Value]:
    cells: dict[str, Value] = {
        "id": row.record.id,
        "verdict": row.verdict,
        "causes": "|".join(row.causes),
        "value": row.value,
        "unit": row.unit,
        "missing": "; ".join(each.what for each in row.diagnosis.missing) if row.diagnosis and row.verdict == "UNKNOWN" else "",
        "not_known": "; ".join(row.not_known),
        "skipped": row.skipped_reason,
    }
    if labelled:
        wrong = [name for name, right in {"verdict": row.verdict_right, "cause": row.cause_right}.items() if not right]
        wrong += ["value"] if row.has_value and not row.value_right else []
        also = row.record.text("also_right")
        cells |= {
            "right_verdict": row.record.text("right_verdict") + (f" or {also}" if also else ""),
            "right_cause": row.record.text("right_cause"),
            "right_value": row.record.text("right_value"),
            "wrong": ", ".join(wrong),
            "by_sentence": row.by_sentence,
        }
    return cells


def score_facts(score: DiagnosisScore) -> dict[str, Any]:
    """Shares, and the counts that they are of."""
    return {
        "rows": score.rows,
        "values": score.values,
        "verdict_fraction": score.verdict,
        "cause_fraction": score.cause,
        "value_fraction": score.value,
        "verdict_by_columns_fraction": score.verdict_by_columns,
        "normal": score.normal,
        "normal_missed": score.normal_missed,
        "unknown": score.unknown,
        "unknown_named": score.unknown_named,
    }


def score_table(score: DiagnosisScore) -> Table:
    """The marks."""
    shares = {"verdict": score.verdict, "cause": score.cause, "value": score.value}
    said = {"verdict": "verdict right", "cause": "cause among the first two", "value": "value within its tolerance"}
    rows: list[dict[str, Value]] = [
        {"what": said[name], "share_fraction": share, "mark_fraction": MARKS[name], "reached": share is not None and share >= MARKS[name]}
        for name, share in shares.items()
    ]
    missed = score.normal_missed / score.normal if score.normal else None
    rows += [
        {"what": f"of {score.normal} NORMAL, called otherwise", "share_fraction": missed, "mark_fraction": 1 / 15, "reached": not missed},
        {"what": "verdict right from the columns alone, no sentence", "share_fraction": score.verdict_by_columns},
    ]
    return Table(
        title="Marks",
        columns=[
            Column(key="what", header="of the labelled cases"),
            Column(key="share_fraction", header="share", format=format_fraction, align="right"),
            Column(key="mark_fraction", header="mark", format=format_fraction, align="right"),
            Column(key="reached", header="reached"),
        ],
        rows=rows,
        key="marks",
    )


def mutations_table(score: MutationScore) -> Table:
    """Published runs, untouched and with one slip."""
    rows: list[dict[str, Value]] = [
        {"what": "as published: NORMAL or FAST BUT POSSIBLE", "num": score.untouched, "share_fraction": score.normal, "mark_fraction": 0.9}
    ]
    classes = {"a factor of 3 or more": (score.large, 0.9), "a factor of 1.3 to 2": (score.small, 0.6)}
    for name, (found, mark) in classes.items():
        for both, said in {True: "its other figure beside it", False: "alone"}.items():
            number, share = found[both]
            rows.append({"what": f"{name}, {said}: the slip named first", "num": number, "share_fraction": share, "mark_fraction": mark})
    return Table(
        title="Published runs, untouched and with one slip",
        columns=[
            Column(key="what", header="rows of published_throughput.csv"),
            Column(key="num", header="rows", format=format_int, align="right"),
            Column(key="share_fraction", header="share", format=format_fraction, align="right"),
            Column(key="mark_fraction", header="mark", format=format_fraction, align="right"),
        ],
        rows=rows,
        key="mutations",
    )


def cases_screen(tables: Sequence[Table], *, asked: Sequence[Table] = ()) -> Screen:
    """The score and what is wrong; of rows without labels the rows themselves."""
    cases = tables[0]
    score = cases.facts["score"]
    if not score["rows"]:
        table = columns_kept(cases, "id", "verdict", "causes", "value", "unit", always=2)
        unread = [f"{row['id']} is not read: {row['skipped']}" for row in cases.rows if row.get("skipped")]
        unread += [f"{row['id']}: {row['not_known']}" for row in cases.rows if row.get("not_known")]
        return Screen(answer=f"{cases.title}.", doubts=unread, table=table, is_list=True, failed=not cases.rows)
    wrong = [row for row in cases.rows if row.get("wrong")]
    kept = columns_kept(cases, "id", "verdict", "wrong", "right_verdict", "causes", "right_cause", always=3)
    kept = Table(title=kept.title, columns=kept.columns, rows=wrong, key="wrong")
    marks = [
        f"{row['what']}: {format_fraction(float(str(row['share_fraction'])))}."
        for row in tables[1].rows[3:]
        if row["share_fraction"] is not None
    ]
    return Screen(answer=f"{cases.title}.", table=kept, notes=marks, more=["--each (every row)"], asked=asked)
