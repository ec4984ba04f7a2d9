"""How many sequences a step has: as many as were wished for, or as published runs of that size took, so that devices can share them."""

from __future__ import annotations

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.training.layouts.usual_batch import usual_batch


@frozen
class Batch:
    """What is wished of a step's batch.

    Attributes:
        sequences: exactly so many.
        tokens: as near to so many as whole, divisible sequences come; exactly, where they are a whole number of sequences.
        most_tokens: at most so many.
    """

    sequences: int | None = None
    tokens: int | None = None
    most_tokens: int | None = None

    def on(self, num_devices: int, *, params: int, seq_len: int) -> int:
        """Sequences of one step on so many devices.

        Raises:
            BadValueError: less than one sequence.

        >>> Batch().on(1024, params=175 * 10**9, seq_len=2048)
        1536
        >>> Batch(tokens=4 * 10**6).on(512, params=7 * 10**9, seq_len=4096)
        1024
        """
        most = None if self.most_tokens is None else self.most_tokens // seq_len
        if most == 0 or (self.tokens is not None and self.tokens < seq_len):
            given = self.tokens if self.tokens is not None else self.most_tokens
            raise BadValueError(f"a global batch of {given:,} tokens is less than one sequence of {seq_len:,}; expected at least that")
        wanted = self.sequences or (self.tokens // seq_len if self.tokens is not None and self.tokens % seq_len == 0 else None)
        if wanted is not None:
            if most is not None and wanted > most:
                raise BadValueError(f"a batch of {wanted:,} sequences is more than the {most:,} of --max-global-batch; give one of them")
            return wanted
        return _shareable((self.tokens or usual_batch(params).batch_tokens) / seq_len, num_devices, most)


PUBLISHED_BATCH = Batch()
"""Nothing is wished for."""

FARTHEST = 4
"""Times what was wished for that a batch may be, where devices leave no nearer one."""


def _shareable(wanted: float, num_devices: int, most: int | None) -> int:
    """The nearest 2^k or 3·2^k times what is odd in the number of devices; below `most`, or `most` itself where none is."""
    odd = num_devices // (num_devices & -num_devices)
    choices = [odd * start << power for start in (1, 3) for power in range(40)]
    allowed = [batch for batch in choices if most is None or batch <= most] or [most or 1]
    nearest = min(allowed, key=lambda batch: (abs(batch - wanted), batch))
    if nearest > FARTHEST * wanted:
        unit = 1
        while unit * wanted < num_devices:
            unit *= 2
        raise BadValueError(
            f"no batch near the {wanted:,.0f} sequences of a step divides over {num_devices:,} GPUs: the smallest is {nearest:,}; "
            f"take {num_devices // unit * unit:,} GPUs, or give --global-batch {nearest}seq"
        )
    return nearest
