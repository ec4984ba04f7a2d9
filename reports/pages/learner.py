"""The pictures of a suite for whoever learns: the journey, overfitting from three sides, and where FLOP and time go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from estimators.printable import cut
from estimators.units import DAY_S, format_count, format_duration, format_flop, format_fraction, format_int, format_ratio
from reports.drawing import COLOURS, GREY, INK, LINES, MARKS, NAME_COLUMNS, PAPER, from_zero, logarithmic, named
from reports.pages.picture import Picture
from reports.summary import DAYS_PER_YEAR, long_duration
from reports.table import Table

Row = Mapping[str, Any]

AROUND = 5.0
"""Room above and below the journey's dots, as a ratio."""

TIMES_S = (1e-3, 1.0, 60.0, 3600.0, DAY_S, 10 * DAYS_PER_YEAR * DAY_S, 1000 * DAYS_PER_YEAR * DAY_S, 1e5 * DAYS_PER_YEAR * DAY_S)
"""Where the journey's axis of time is marked."""

NAME_ROOM = 1.6
"""Between two names of the journey, as a ratio of parameters; what comes closer has none."""

SERIES = (("train_loss", "training days, after the last epoch"), ("heldout_loss", "held-out days, after the last epoch"))
BEST = ("best_heldout_loss", "held-out days, after the best epoch")


def learner_pictures(tables: Sequence[Table]) -> list[Picture]:
    """What there is to draw of the tables of a report."""
    keys = {table.key: table for table in tables}
    pictures = []
    if "journey" in keys and any(map(_stands, keys["journey"].rows)):
        title = "The journey: dots are measured, rings estimated"
        pictures.append(Picture(title=title, table="journey", draw=draw_journey, height_in=4.4))
    views = keys.get("views")
    if views is not None and views.facts["overfit_run_id"] is not None:
        pictures += [
            Picture(title="More days to train on: the two losses meet", table="views", draw=draw_days, better="lower"),
            Picture(title="More parameters on few days: the two losses part", table="views", draw=draw_params, better="lower"),
            Picture(title="By epoch: what is learned at first is overfitted later", table="curve", draw=draw_curve, better="lower"),
        ]
    for key, table in keys.items():
        if key.endswith("_flop") and table.rows:
            pictures.append(Picture(title=table.title, table=key, draw=draw_flop, height_in=2.6))
        elif key.endswith("_time") and table.rows:
            pictures.append(Picture(title=table.title, table=key, draw=draw_time, height_in=2.8))
    if "rule" in keys and keys["rule"].rows:
        title = "6·N·D and 2·N·D against every product counted"
        pictures.append(Picture(title=title, table="rule", draw=draw_rule, height_in=2.8))
    return pictures


def draw_journey(figure: Any, table: Table) -> None:
    """Time by parameters: a dot where it was measured, a ring where it was estimated."""
    axes = figure.add_subplot()
    rows: list[Row] = [row for row in table.rows if _stands(row)]
    for kind, at in (("measured", 0), ("extrapolated", 2), ("estimated", 1)):
        of_kind = [row for row in rows if row["tag"] == kind]
        if of_kind:
            x, y = [float(row["params"]) for row in of_kind], [row["time_s"] for row in of_kind]
            face = "none" if kind == "estimated" else COLOURS[at]
            axes.scatter(x, y, s=34, marker="o", facecolors=face, edgecolors=COLOURS[at], linewidths=1.4, label=kind)
    named_at = 0.0
    for row in rows:
        if row["params"] < NAME_ROOM * named_at:
            continue
        named_at = row["params"]
        place = {"textcoords": "offset points", "fontsize": "x-small", "xytext": (0, 7), "ha": "center", "rotation": 90, "va": "bottom"}
        if row["tag"] == "estimated":
            place |= {"xytext": (-7, 0), "ha": "right", "va": "center", "rotation": 0}
        axes.annotate(cut(str(row["model"]), NAME_COLUMNS), (float(row["params"]), row["time_s"]), **place)
    logarithmic(
        axes, "x", "parameters", [row["params"] * room for row in rows for room in (0.5, 2.0)], lambda number: format_count(round(number))
    )
    logarithmic(
        axes, "y", "time", [row["time_s"] * room for row in rows for room in (1 / AROUND, AROUND)], long_duration, most=8, ticks=TIMES_S
    )
    axes.grid(visible=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3)


def _stands(row: Row) -> bool:
    """Whether it is a step of the journey, and no other training of the same network."""
    return bool(row.get("time_s") and row.get("params") and not row.get("train_days"))


def _worst(table: Table) -> Row:
    return next(row for row in table.rows if row["run_id"] == table.facts["overfit_run_id"])


def _losses(axes: Any, rows: Sequence[Row], x: str, text: str) -> None:
    """Training and held-out loss, and the best on the way, by one column."""
    for at, (key, label) in enumerate((*SERIES, BEST)):
        axes.plot(
            [row[x] for row in rows],
            [row[key] for row in rows],
            marker=MARKS[at],
            linestyle=LINES[at],
            color=COLOURS[at],
            label=label,
        )
    logarithmic(axes, "x", text, [row[x] for row in rows], lambda number: format_int(round(number)), ticks=[row[x] for row in rows])


def _finish(figure: Any, axes: Any, values: Sequence[float], bound: float | None) -> None:
    if bound is not None:
        axes.axhline(bound, color=GREY, linewidth=1.2, linestyle=LINES[3], label="what the process itself expects")
        values = [*values, bound]
    logarithmic(axes, "y", "loss", values, lambda loss: f"{loss:.3g}")
    axes.grid(visible=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize="small")


def draw_days(figure: Any, table: Table) -> None:
    """The network that overfits most, by the days that it was trained on."""
    worst = _worst(table)
    rows: list[Row] = [row for row in table.rows if all(row[key] == worst[key] for key in ("model", "params", "look_back_days"))]
    rows.sort(key=lambda row: row["train_days"])
    axes = figure.add_subplot()
    _losses(axes, rows, "train_days", f"days trained on, of {worst['params']:,} parameters")
    _finish(figure, axes, [row[key] for row in rows for key in ("train_loss", "heldout_loss", BEST[0])], table.facts["bound_loss"])


def draw_params(figure: Any, table: Table) -> None:
    """Networks that look back as far as the worst one and were trained on as few days, by their parameters."""
    worst = _worst(table)
    rows: list[Row] = [row for row in table.rows if all(row[key] == worst[key] for key in ("train_days", "look_back_days"))]
    rows.sort(key=lambda row: row["params"])
    axes = figure.add_subplot()
    _losses(axes, rows, "params", f"parameters, on {worst['train_days']} days")
    _finish(figure, axes, [row[key] for row in rows for key in ("train_loss", "heldout_loss", BEST[0])], table.facts["bound_loss"])


def draw_curve(figure: Any, table: Table) -> None:
    """Both losses by epoch, and where the held-out one was lowest."""
    axes = figure.add_subplot()
    rows: Sequence[Row] = table.rows
    epochs = [row["epoch"] for row in rows]
    for at, (key, label) in enumerate((("train_loss", "training days"), ("heldout_loss", "held-out days"))):
        axes.plot(epochs, [row[key] for row in rows], marker=MARKS[at], linestyle=LINES[at], color=COLOURS[at], label=label)
    best = table.facts["best_epoch"]
    if best is not None:
        axes.axvline(best, color=INK, linewidth=1, linestyle=LINES[3], label=f"the best: epoch {best:,}")
    from_zero(axes, "x", "epoch", lambda number: format_int(round(number)))
    _finish(figure, axes, [row[key] for row in rows for key in ("train_loss", "heldout_loss")], None)


def _bars(figure: Any, rows: Sequence[Row], key: str) -> Any:
    axes = figure.add_subplot()
    axes.barh(range(len(rows)), [row[key] for row in rows], height=0.6, color=COLOURS[0])
    for place, row in enumerate(rows):
        axes.annotate(
            format_fraction(row["share_fraction"]),
            (row[key], place),
            textcoords="offset points",
            xytext=(4, 0),
            va="center",
            fontsize="small",
        )
    named(axes, [row["name"] for row in rows])
    axes.set_xlim(0, 1.18 * max(row[key] for row in rows))
    return axes


def draw_flop(figure: Any, table: Table) -> None:
    """FLOP by part of the network."""
    from_zero(_bars(figure, table.rows, "flop"), "x", "FLOP", format_flop, most=3)


def draw_time(figure: Any, table: Table) -> None:
    """Seconds by part of the generation."""
    from_zero(_bars(figure, table.rows, "seconds_s"), "x", "time", format_duration)


def draw_rule(figure: Any, table: Table) -> None:
    """The rule's FLOP as a share of those counted, by model, and the line where they are the same."""
    axes = figure.add_subplot()
    rows: Sequence[Row] = table.rows
    axes.barh(range(len(rows)), [row["ratio"] for row in rows], height=0.6, color=COLOURS[0], label="the rule over every product counted")
    for place, row in enumerate(rows):
        said = f"{row['rule']}: {format_ratio(row['ratio'])}"
        axes.annotate(said, (0.0, place), textcoords="offset points", xytext=(6, 0), va="center", fontsize="small", color=PAPER)
    axes.axvline(table.facts["same"], color=INK, linewidth=1.4, linestyle=LINES[1], label="the same")
    named(axes, [row["model"] for row in rows])
    axes.set_xlim(0, 1.15 * max(table.facts["same"], *(row["ratio"] for row in rows)))
    from_zero(axes, "x", "ratio", format_ratio)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)
