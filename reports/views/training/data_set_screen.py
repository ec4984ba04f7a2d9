"""One screen of a fine-tuning on a data set."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.tuning.data_training import DataAnswer
from estimators.units import format_bytes, format_duration, format_fraction, format_grouped, format_int
from reports.screen import Screen, columns_kept
from reports.table import Table
from reports.views.training.conditions import held_lines, price_line
from reports.views.training.data_set import conditions, headline, track_line

KEPT = ("scenario", "wall_s", "gpu_hours", "cost_usd_median", "step_time_s", "energy_j")
"""Columns, the most important first."""

MUCH = 0.1
"""Of what is computed, padding above which it is worth a sentence how to save it."""


def data_set_screen(answer: DataAnswer, tables: Sequence[Table], *, batch_is_chosen: bool) -> Screen:
    """What it takes, whether it fits, and what that rests on.

    Args:
        tables: of the answer; the first one has the figures.
    """
    data = answer.data
    low_s, high_s = answer.ends_s()
    lead = (
        f"80 %: {format_duration(low_s)} to {format_duration(high_s)}; {format_int(data.num_steps)} steps of "
        f"{format_duration(answer.step_time_s)}, {format_grouped(answer.real_tokens_per_s)} tokens/s without padding"
    )
    return Screen(
        answer=headline(answer),
        lead=[lead],
        table=columns_kept(tables[0], *KEPT, headers={"cost_usd_median": "cost"}),
        doubts=_doubts(answer),
        notes=[
            *_padding(answer),
            *(f"{line}." for line in (*conditions(answer, batch_is_chosen=batch_is_chosen)[:4], *held_lines(answer.question.job.model))),
            *([price_line(answer.price)] if answer.price else []),
            track_line(answer),
        ],
        failed=answer.fit.verdict == "NO",
    )


def _doubts(answer: DataAnswer) -> list[str]:
    data = answer.data
    doubts = []
    if answer.fit.verdict != "FITS":
        most = f"{format_bytes(answer.fit.allocated_bytes)} allocated at its fullest, {answer.fit.decides.name}"
        doubts.append(f"memory: {most}; a smaller --batch, a lower --max-length or qlora hold less: `fit` prices what would.")
    if data.lost_tokens:
        lost = format_fraction(data.lost_fraction, 2)
        doubts.append(
            f"{format_fraction(data.long_fraction, 2)} of the samples are longer than --max-length; {lost} of all tokens are lost."
        )
    return doubts


def _padding(answer: DataAnswer) -> list[str]:
    data = answer.data
    if data.batching.packing or data.padding_fraction < MUCH:
        return [f"padding: {format_fraction(data.padding_fraction, 2)} of what is computed."]
    packed, grouped = format_fraction(data.packing_saves_fraction, 2), format_fraction(data.grouping_saves_fraction, 2)
    return [
        f"padding: {format_fraction(data.padding_fraction, 2)} of what is computed; --packing saves {packed} "
        f"({format_int(data.packed_steps)} steps of longer rows), --group-by-length {grouped}."
    ]
