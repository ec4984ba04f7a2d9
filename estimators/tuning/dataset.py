"""Examples to steps: what one training on a data set runs through, how much of it is padding, and what packing or sorting would save."""

from __future__ import annotations

import math
from typing import Literal, get_args

from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.lengths import Lengths
from estimators.tuning.batches import padded, sorted_at_a_time
from estimators.tuning.packing import PACKINGS, PackingAlgorithm, pack

LongSamples = Literal["cut", "drop", "split"]
"""What becomes of a sample that is longer than the most: its first tokens stay, it is left out, or it goes into several rows."""

MAX_EPOCHS = 10**4


@frozen
class Batching:
    """How samples become micro-batches and steps.

    Attributes:
        max_length: tokens of a row at most.
        micro_batch: rows of one forward pass on one device.
        num_devices: that work on different rows at once.
        accumulation: micro-batches of one step.
        epochs: passes over the data.
        packing: the algorithm that puts samples into rows together; None for a row each, padded to the longest of its micro-batch.
        pads_rows: whether a packed row is filled up to `max_length`.
        long_samples: see the type.
        is_grouped: whether samples of like length are put into one micro-batch.
    """

    max_length: int
    micro_batch: int = 1
    num_devices: int = 1
    accumulation: int = 1
    epochs: float = 1.0
    packing: PackingAlgorithm | None = None
    pads_rows: bool = False
    long_samples: LongSamples = "cut"
    is_grouped: bool = False

    def __post_init__(self) -> None:
        for name in ("max_length", "micro_batch", "num_devices", "accumulation"):
            if getattr(self, name) < 1:
                raise BadValueError(f"{name} is {getattr(self, name)}; expected a whole number from 1")
        if not 0 < self.epochs <= MAX_EPOCHS:
            raise BadValueError(f"{self.epochs:g} epochs; expected more than 0, at most {MAX_EPOCHS:,}")
        if self.packing is not None and self.packing not in PACKINGS:
            raise BadValueError(f"packing {self.packing!r} is unknown; expected one of: {', '.join(PACKINGS)}")
        if self.long_samples not in get_args(LongSamples):
            raise BadValueError(f"long samples {self.long_samples!r}: expected one of: {', '.join(get_args(LongSamples))}")
        if self.packing and self.is_grouped:
            raise BadValueError("rows that are packed have one length: they are not grouped by it; leave one of the two out")

    def num_steps(self, rows: int) -> tuple[int, int]:
        """Steps of one epoch of so many rows, and of all epochs.

        Each device makes ceil(rows / (micro-batch · devices)) passes, and each `accumulation` of these end in a step, as does what is
        left over.

        >>> Batching(max_length=512, micro_batch=4, num_devices=2, accumulation=8, epochs=3).num_steps(1000)
        (16, 48)
        """
        passes = -(-rows // (self.micro_batch * self.num_devices))
        of_epoch = -(-passes // self.accumulation)
        return of_epoch, math.ceil(of_epoch * self.epochs)


@frozen
class DataSet:
    """A data set as a training runs through it. Counts are of one epoch unless they say otherwise; expectations are over all orders.

    Attributes:
        lengths: of the samples as they were given.
        num_rows: after packing.
        steps_per_epoch, num_steps: of one epoch, and of all.
        real_tokens: of samples, after what is too long was dealt with.
        processed_tokens: that the model computes, padding included; expected.
        loss_tokens: of the real ones, those that bear loss; None where it is not known which do.
        lost_tokens: cut or dropped with samples that are too long.
        long_samples: samples that are too long.
        longest_row: tokens of the longest row: it decides the memory.
        row_lengths: (tokens of a row, share of micro-batches whose rows are so long), ascending, summing to 1.
        square_share: of the pairs of positions in all rows, those of one sample with itself: what attention computes where samples
            do not see each other. 1 where nothing is packed.
        grouped_tokens, packed_tokens: what `processed_tokens` would be with samples grouped by length, and packed.
        packed_steps: what `num_steps` would be with samples packed.
    """

    lengths: Lengths
    batching: Batching
    num_rows: int
    steps_per_epoch: int
    num_steps: int
    real_tokens: int
    processed_tokens: float
    loss_tokens: int | None
    lost_tokens: int
    long_samples: int
    longest_row: int
    row_lengths: tuple[tuple[int, float], ...]
    square_share: float
    grouped_tokens: float
    packed_tokens: float
    packed_steps: int

    @property
    def padding_fraction(self) -> float:
        """Share of what is processed that is padding."""
        return max(0.0, 1 - self.real_tokens / self.processed_tokens)

    @property
    def lost_fraction(self) -> float:
        """Share of all tokens that is cut or dropped."""
        return self.lost_tokens / self.lengths.num_tokens

    @property
    def long_fraction(self) -> float:
        """Share of samples that are too long."""
        return self.long_samples / self.lengths.num_samples

    @property
    def mean_row(self) -> float:
        """Tokens of a row in the mean over micro-batches."""
        return sum(length * share for length, share in self.row_lengths)

    @property
    def grouping_saves_fraction(self) -> float:
        """Of what is processed, what grouping by length would leave out."""
        return max(0.0, 1 - self.grouped_tokens / self.processed_tokens)

    @property
    def packing_saves_fraction(self) -> float:
        """Of what is processed, what packing would leave out."""
        return max(0.0, 1 - self.packed_tokens / self.processed_tokens)


def data_set(lengths: Lengths, batching: Batching) -> DataSet:
    """A data set as one training runs through it.

    Raises:
        BadValueError: every sample is longer than the most, and such are dropped.
    """
    kept = _kept(lengths, batching)
    packed = pack(kept.by_length, batching.max_length, batching.packing or "ffd")
    in_rows = packed.sequences * batching.max_length if batching.pads_rows else packed.tokens
    batch = batching.micro_batch
    random = padded(kept, batch)
    grouped = padded(kept, batch, sorted_in=sorted_at_a_time(kept.num_samples, batch, batching.accumulation))
    if batching.packing:
        row = batching.max_length if batching.pads_rows else -(-packed.tokens // packed.sequences)
        num_rows, processed, longest_row = packed.sequences, float(in_rows), batching.max_length
        row_lengths: tuple[tuple[int, float], ...] = ((row, 1.0),)
    else:
        chosen = grouped if batching.is_grouped else random
        num_rows, processed, longest_row = kept.num_samples, chosen.tokens, kept.longest
        total = sum(batches for _, batches in chosen.longest)
        row_lengths = tuple((length, batches / total) for length, batches in chosen.longest)
    of_epoch, steps = batching.num_steps(num_rows)
    long = sum(samples for tokens, _, samples in lengths.counts if tokens > batching.max_length)
    return DataSet(
        lengths=lengths,
        batching=batching,
        num_rows=num_rows,
        steps_per_epoch=of_epoch,
        num_steps=steps,
        real_tokens=kept.num_tokens,
        processed_tokens=processed,
        loss_tokens=kept.num_loss_tokens,
        lost_tokens=lengths.num_tokens - kept.num_tokens,
        long_samples=long,
        longest_row=longest_row,
        row_lengths=row_lengths,
        square_share=min(1.0, packed.square / (num_rows * row_lengths[0][0] ** 2)) if batching.packing else 1.0,
        grouped_tokens=grouped.tokens,
        packed_tokens=float(in_rows),
        packed_steps=replace(batching, is_grouped=False).num_steps(packed.sequences)[1],
    )


def _kept(lengths: Lengths, batching: Batching) -> Lengths:
    """The samples after what is too long was dealt with."""
    most = batching.max_length
    if lengths.longest <= most:
        return lengths
    if batching.long_samples == "split":
        return lengths.split(most)
    return lengths.cut(most) if batching.long_samples == "cut" else lengths.without_longer(most)
