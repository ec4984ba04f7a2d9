"""How many sequences a step has: as many as were wished for, or as published runs of that size took, so that devices can share them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.parsing import Counted, parse_sized

if TYPE_CHECKING:
    from estimators.facts.usual_batch import UsualBatch

ROUNDING = 0.05
"""How far a batch that was asked for may be moved: ``4M`` is how people write 4,194,304, which is 4.9 % more."""

FARTHEST = 4
"""Times what was wished for that a batch may be, where devices leave no nearer one."""

FEWEST_STEPS = 100
"""Steps of a training that nobody wished a batch for: one that has fewer takes a smaller batch than is usual of its size."""
MAX_BATCH = 10**10
"""Tokens or sequences of one step; more are refused."""


@frozen
class Batch:
    """What is wished of a step's batch.

    Attributes:
        sequences: exactly so many.
        tokens: as near to so many as whole, divisible sequences come; exactly, where they are a whole number of sequences.
        most_tokens: at most so many.
        training_tokens: of the whole training, which leave FEWEST_STEPS or more where nothing is wished for; None where that is open.
    """

    sequences: int | None = None
    tokens: int | None = None
    most_tokens: int | None = None
    training_tokens: int | None = None

    @property
    def is_given(self) -> bool:
        """Whether a number of sequences or of tokens is wished for."""
        return bool(self.sequences or self.tokens)

    def at_most(self, sequences: int, num_devices: int, seq_len: int) -> int:
        """So many sequences, or the most that may be and that the devices share. Raises BadValueError where that is none."""
        if self.most_tokens is None or sequences * seq_len <= self.most_tokens:
            return sequences
        self._exact(seq_len, self.most_tokens // seq_len)
        most = self.most_tokens // seq_len
        return most // num_devices * num_devices or most

    def on(self, num_devices: int, *, params: int, seq_len: int) -> int:
        """Sequences of one step on so many devices.

        Raises:
            BadValueError: less than one sequence, more than the most, or no number near enough that the devices could share.

        >>> Batch().on(1024, params=175 * 10**9, seq_len=2048)
        1536
        >>> Batch(tokens=4 * 10**6).on(512, params=7 * 10**9, seq_len=4096)
        1024
        >>> Batch(training_tokens=10**8).on(8, params=7 * 10**9, seq_len=4096)  # 101 steps, of GPT-3 6.7B's 2,000,000 tokens they were 50
        192
        """
        most = None if self.most_tokens is None else self.most_tokens // seq_len
        if (exact := self._exact(seq_len, most)) is not None:
            return exact
        wanted = self._wanted(params, seq_len)
        nearest = self._shared(wanted, num_devices, seq_len, most)
        if nearest > FARTHEST * max(wanted, _usual(params).batch_tokens / seq_len if self._few(seq_len) else 0):
            raise BadValueError(_too_far(wanted, nearest, num_devices))
        return nearest

    def for_layout(self, unit: int, num_devices: int, *, params: int, seq_len: int) -> int:
        """Sequences of one step of a layout: those of `on` where they are a multiple of `unit`, else the nearest multiple.

        Args:
            unit: replicas times sequences of one pass.

        Raises:
            BadValueError: as `on`, or a batch that is no multiple: of sequences exactly, of tokens within ROUNDING; names the nearest.

        >>> Batch(tokens=4 * 10**6).for_layout(512, 512, params=7 * 10**9, seq_len=4096)
        1024
        """
        most = None if self.most_tokens is None else self.most_tokens // seq_len
        wanted = self._wanted(params, seq_len)
        batch = self._exact(seq_len, most) or self._shared(wanted, num_devices, seq_len, most)
        if batch % unit == 0 and batch <= FARTHEST * wanted:
            return batch
        few = self._few(seq_len)
        multiple = max(1, round(wanted / unit) if few is None or few > wanted else few // unit) * unit
        movable = 0.0 if self.sequences else ROUNDING
        if (self.sequences or self.tokens) and abs(multiple - wanted) > movable * wanted:
            raise BadValueError(
                f"a global batch of {wanted * seq_len:,.0f} tokens is {wanted:,.4g} sequences of {seq_len:,}, no multiple of "
                f"dp x micro_batch = {unit:,}; the nearest that works: {multiple * seq_len:,} tokens"
            )
        return multiple

    def source(self, params: int, taken_tokens: int) -> str:
        """Whose batch was taken, and whether it had to be moved far; empty where it was given."""
        if self.sequences or self.tokens:
            return ""
        usual = _usual(params)
        if self.training_tokens is not None and self.training_tokens < FEWEST_STEPS * usual.batch_tokens:
            usually = f"{usual.model}'s {usual.batch_tokens:,} tokens would leave fewer than {FEWEST_STEPS} steps"
            return f"a {FEWEST_STEPS}th of the training, or what the devices share near it; {usually}"
        whose = f"as {usual.model} was trained: {usual.batch_tokens:,} tokens ({usual.source})"
        moved = abs(taken_tokens / usual.batch_tokens - 1) > ROUNDING
        return f"{whose}, moved to a number of sequences that the devices share" if moved else whose

    def _exact(self, seq_len: int, most: int | None) -> int | None:
        """The number of sequences that was given; None where it is left to be rounded."""
        if most == 0 or (self.tokens is not None and self.tokens < seq_len):
            given = self.tokens if self.tokens is not None else self.most_tokens
            raise BadValueError(f"a global batch of {given:,} tokens is less than one sequence of {seq_len:,}; expected at least that")
        exact = self.sequences or (self.tokens // seq_len if self.tokens is not None and self.tokens % seq_len == 0 else None)
        if exact is not None and most is not None and exact > most:
            raise BadValueError(f"a batch of {exact:,} sequences is more than the {most:,} of --max-global-batch; give one of them")
        return exact

    def _wanted(self, params: int, seq_len: int) -> float:
        if self.sequences or self.tokens:
            return self.sequences or (self.tokens or 0) / seq_len
        usual = _usual(params).batch_tokens / seq_len
        return usual if (few := self._few(seq_len)) is None else min(usual, few)

    def _few(self, seq_len: int) -> int | None:
        """Sequences of a step that leave FEWEST_STEPS of the whole training, one at least; None where it may have any number."""
        if self.training_tokens is None or self.sequences or self.tokens:
            return None
        return max(1, self.training_tokens // FEWEST_STEPS // seq_len)

    def _shared(self, wanted: float, num_devices: int, seq_len: int, most: int | None) -> int:
        """The nearest number that the devices share: below what leaves FEWEST_STEPS, where one is."""
        few = self._few(seq_len)
        if few is None or few < _odd(num_devices):
            return _shareable(wanted, num_devices, most)
        return _shareable(wanted, num_devices, few if most is None else min(few, most))


def _usual(params: int) -> UsualBatch:
    from estimators.facts.usual_batch import usual_batch  # deferred: a batch that was given needs no table of published ones

    return usual_batch(params)


PUBLISHED_BATCH = Batch()
"""Nothing is wished for."""


def _shareable(wanted: float, num_devices: int, most: int | None) -> int:
    """The nearest 2^k or 3·2^k times what is odd in the number of devices; below `most`, or `most` itself where none is."""
    choices = [_odd(num_devices) * start << power for start in (1, 3) for power in range(40)]
    allowed = [batch for batch in choices if most is None or batch <= most] or [most or 1]
    return min(allowed, key=lambda batch: (abs(batch - wanted), batch))


def _odd(number: int) -> int:
    """What is left of it without its factors of two."""
    return number // (number & -number)


def _too_far(wanted: float, nearest: int, num_devices: int) -> str:
    if wanted < 0.5:
        return f"one sequence is {1 / wanted:,.0f} times a usual step; give --seq-len with fewer tokens, or --global-batch {nearest}seq"
    unit = 1
    while unit * wanted < num_devices:
        unit *= 2
    return (
        f"no batch near the {wanted:,.0f} sequences of a step divides over {num_devices:,} GPUs: the smallest is {nearest:,}; "
        f"take {num_devices // unit * unit:,} GPUs, or give --global-batch {nearest}seq"
    )


def parse_batch(given: str | float, name: str, *, bare: Counted = "tokens") -> Batch:
    """Read a batch such as ``4M`` or ``4Mtokens``, or in sequences ``512seq``.

    Args:
        bare: what a number counts that does not say.

    Raises:
        BadValueError: no count, or out of range.

    >>> parse_batch("512seq", "global-batch").sequences, parse_batch("4M", "global-batch").tokens
    (512, 4000000)
    """
    count, counted = parse_sized(given, name, bare=bare, maximum=MAX_BATCH)
    return Batch(sequences=count) if counted == "sequences" else Batch(tokens=count)
