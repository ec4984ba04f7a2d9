"""Published runs whose figures are miscounted on purpose, one slip at a time: does a diagnosis name the slip?

What a run states is what people state: model, devices, sequence, software, its rate and its utilization. One figure is multiplied by the
slip's factor; with `both` the other stands beside it. Draws are seeded by the row's place.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from estimators.diagnosis.answer import Diagnosis, diagnose
from estimators.diagnosis.causes import FALLBACKS
from estimators.diagnosis.counts import counts_of
from estimators.diagnosis.observed import Figure, Observed, Quantity, Scope, Setting
from estimators.diagnosis.question import DiagnosisQuestion, question_of
from estimators.facts.published_throughput import PublishedThroughput, read_throughput
from estimators.facts.registry import hardware
from estimators.frozen import frozen, replace

LARGE, SMALL = 3.0, (1.3, 2.0)
"""Factors, or what they divide by, of the two classes that are scored."""

SOFTWARE = {"megatron": "Megatron-LM", "megatron-2021": "Megatron-DeepSpeed", "megatron-2022": "Megatron-LM", "nemo-24.07": "NeMo"}
"""Tools of published_throughput.csv whose software has another name than their convention."""


@frozen
class Mutated:
    """One run.

    Attributes:
        cause: the slip; ``none`` of an untouched row.
        factor: reported over true.
        both: whether the run's other figure is stated and right.
    """

    row: PublishedThroughput
    cause: str
    factor: float
    both: bool
    diagnosis: Diagnosis

    @property
    def size(self) -> float:
        """The factor, or one over it, whichever is above 1."""
        return max(self.factor, 1 / self.factor)

    @property
    def cause_first(self) -> bool:
        """Whether the slip is the first cause named."""
        return self.diagnosis.cause_ids[:1] == (self.cause,)


def mutated(*, every: int = 1, seed: int = 0) -> list[Mutated]:
    """Untouched rows and one slip of each, alone and beside the run's other figure.

    Args:
        every: takes one row of so many.
        seed: of the draws.
    """
    rows = [row for row in read_throughput() if not row.fault and row.dtype in ("bf16", "fp16")]
    found = []
    for place, row in enumerate(rows):
        if place % every:
            continue
        draw = random.Random(1000 * seed + place)
        found.append(Mutated(row=row, cause="none", factor=1.0, both=True, diagnosis=diagnose(_question(row, Setting()))))
        found += _slips(row, draw)
    return found


def _slips(row: PublishedThroughput, draw: random.Random) -> Iterator[Mutated]:
    """One slip of any factor of those that the row can have, alone and with the other figure."""
    choices = list(_choices(row, draw))
    cause, factor, quantity, setting = draw.choice(choices)
    for both in (True, False):
        question = _question(row, setting, quantity, factor, both=both)
        yield Mutated(row=row, cause=cause, factor=factor, both=both, diagnosis=diagnose(question))


def _choices(row: PublishedThroughput, draw: random.Random) -> Iterator[tuple[str, float, Quantity, Setting]]:
    """Slips that the row's configuration can produce, with what must be said of it for that.

    No degree is the number of devices: nothing tells those two factors apart.
    """
    device = hardware(row.hardware_id)
    if row.num_devices > 1:
        yield "total_as_per_gpu", float(row.num_devices), "tokens_per_s", Setting()
        yield "total_over_one_peak", float(row.num_devices), "mfu_fraction", Setting()
    degree = draw.choice([each for each in (2, 4, 8) if row.num_devices % each == 0 and row.num_devices != each] or [1])
    if degree > 1:
        yield "tp_counted", float(degree), "tokens_per_s", Setting(tp=degree)
        yield "cp_counted", float(degree), "tokens_per_s", Setting(cp=degree)
    passes = draw.choice((2, 4, 8))
    yield "micro_batch_only", 1 / passes, "tokens_per_s", Setting(accumulation=passes)
    yield "sparse_peak", 0.5, "mfu_fraction", Setting()
    own = device.peak(row.dtype)
    other = hardware(draw.choice([name for name in FALLBACKS if hardware(name).peak("fp16") != own]))
    yield "wrong_peak", own / other.peak("fp16"), "mfu_fraction", Setting()
    counts = counts_of(_question(row, Setting()))
    if row.recompute == "full" and counts is not None:
        yield "recompute_counted", counts.hardware / counts.usual, "mfu_fraction", Setting()


def _question(
    row: PublishedThroughput, stated: Setting, quantity: Quantity = "tokens_per_s", factor: float = 1.0, *, both: bool = True
) -> DiagnosisQuestion:
    """The run as its owner states it, the figure of `quantity` first and times `factor`."""
    setting = replace(
        stated,
        num_devices=row.num_devices,
        seq_len=row.seq_len,
        recompute=row.recompute,
        dtype=row.dtype,
        software=SOFTWARE.get(row.tool, row.tool),
    )
    scope: Scope = "device"
    rate = Figure(quantity="tokens_per_s", value=row.tokens_per_s, scope=scope, digits=4)
    plain = DiagnosisQuestion(observed=Observed(figures=(rate,), setting=setting), model=row.model(), hardware=hardware(row.hardware_id))
    counts = counts_of(plain)
    assert counts is not None
    counted = counts.by_tool.get(row.tool, counts.usual)
    share = row.tokens_per_s * counted / hardware(row.hardware_id).peak(row.dtype)
    mfu = Figure(quantity="mfu_fraction", value=share, scope=scope, digits=3)
    figures = {"tokens_per_s": rate, "mfu_fraction": mfu}
    first = figures.pop(quantity)
    changed = replace(first, value=first.value * factor)
    kept = tuple(figures.values()) if both else ()
    return question_of(Observed(figures=(changed, *kept), setting=setting), row.model(), hardware(row.hardware_id))


@frozen
class MutationScore:
    """Shares of rows.

    Attributes:
        untouched, normal: rows as published, and the share of them called NORMAL or FAST BUT POSSIBLE.
        large, small: by whether the other figure is stated: rows, and the share whose slip is named first.
    """

    untouched: int
    normal: float
    large: dict[bool, tuple[int, float]]
    small: dict[bool, tuple[int, float]]


def score_of(rows: list[Mutated]) -> MutationScore:
    """Of a table of mutated rows."""
    plain = [row for row in rows if row.cause == "none"]
    slipped = [row for row in rows if row.cause != "none"]

    def share(chosen: list[Mutated]) -> tuple[int, float]:
        return len(chosen), sum(row.cause_first for row in chosen) / max(1, len(chosen))

    return MutationScore(
        untouched=len(plain),
        normal=sum(row.diagnosis.verdict in ("NORMAL", "FAST BUT POSSIBLE") for row in plain) / max(1, len(plain)),
        large={both: share([row for row in slipped if row.both is both and row.size >= LARGE]) for both in (True, False)},
        small={both: share([row for row in slipped if row.both is both and SMALL[0] <= row.size <= SMALL[1]]) for both in (True, False)},
    )
