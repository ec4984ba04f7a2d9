"""What a trained model learned: its losses and scores beside those of simple guesses and of the best that is possible."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.learning import Learning
from bench.records.record import Measurement
from reports.table import Column, Table, Value

OF = {"train": "on the training data", "heldout": "on held-out data", "baseline": "of the simplest guess", "bound": "of the best possible"}
"""First word of a figure's name to what people read; whose figures are measured, and whose derived from the data."""
MEASURED = ("train", "heldout")
MAX_SAMPLE = 160
"""Characters of generated text that are shown."""


def learned_table(record: Measurement) -> Table:
    """One row per score; no row for a run that trained nothing."""
    learned = record.learning
    conditions = [f"data: {learned.data}"] if learned.data else []
    if learned.num_train is not None and learned.num_heldout is not None:
        conditions.append(f"{learned.num_train:,} samples to train, {learned.num_heldout:,} held out")
    if learned.loss_unit:
        conditions.append(f"loss: {learned.loss_unit}")
    return Table(
        key="learned",
        title="What was learned",
        conditions=conditions,
        columns=(
            Column(key="what", header="What"),
            Column(key="score", header="Score", format=lambda score: f"{score:.4g}", align="right"),
            Column(key="tag", header="Kind"),
            Column(key="note", header="Note"),
        ),
        rows=sorted(_rows(learned), key=lambda row: row["tag"] != "measured"),
        notes=[f"A sample of what it writes: {learned.sample[:MAX_SAMPLE]!r}"] if learned.sample else [],
    )


def _rows(learned: Learning) -> Iterator[dict[str, Value]]:
    for name, value in learned.stated().items():
        whose, _, score = name.partition("_")
        if whose in OF and isinstance(value, int | float):
            note = learned.bound or "" if name == "bound_loss" else ""
            tag = "measured" if whose in MEASURED else "derived"
            yield {"what": f"{score.replace('_', ' ')} {OF[whose]}", "score": value, "tag": tag, "note": note}
    for guess, loss in learned.baseline_losses.items():
        yield {"what": "loss of a simple guess", "score": loss, "tag": "derived", "note": guess}
