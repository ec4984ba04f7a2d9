"""The FLOP of passes, under each convention, and their sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from estimators.errors import UnavailableError
from estimators.spec import Op, Workload

if TYPE_CHECKING:
    from estimators.architectures.decoder import Decoder


@dataclass(frozen=True, slots=True)
class Work:
    """FLOP of some passes.

    Attributes:
        full_flop, causal_flop, hardware_flop: under each convention; `causal` is None without an op table.
        forward_flop: of `full`, without backward passes.
        model_flop, recomputed_flop: what an MFU counts, and what an HFU counts beside it.
        min_flop: what no kernel may skip.
        convention: that of model_flop.
    """

    full_flop: int
    causal_flop: int | None
    hardware_flop: int
    forward_flop: int
    model_flop: int
    recomputed_flop: int
    min_flop: int
    convention: str = "full"

    @property
    def model_and_hardware_flop(self) -> tuple[int, int]:
        """As MFU and as HFU count them."""
        return self.model_flop, self.model_flop + self.recomputed_flop

    def times(self, count: int) -> Work:
        """The same passes so many times."""
        return Work(
            full_flop=count * self.full_flop,
            causal_flop=None if self.causal_flop is None else count * self.causal_flop,
            hardware_flop=count * self.hardware_flop,
            forward_flop=count * self.forward_flop,
            model_flop=count * self.model_flop,
            recomputed_flop=count * self.recomputed_flop,
            min_flop=count * self.min_flop,
            convention=self.convention,
        )


NOTHING = Work(0, 0, 0, 0, 0, 0, 0)


def total(works: Iterable[Work]) -> Work:
    """The sum; `causal` is known where it is of all of them."""
    whole = NOTHING
    for work in works:
        causal = None if whole.causal_flop is None or work.causal_flop is None else whole.causal_flop + work.causal_flop
        convention = "causal" if "causal" in (whole.convention, work.convention) else "full"
        whole = Work(
            full_flop=whole.full_flop + work.full_flop,
            causal_flop=causal,
            hardware_flop=whole.hardware_flop + work.hardware_flop,
            forward_flop=whole.forward_flop + work.forward_flop,
            model_flop=whole.model_flop + work.model_flop,
            recomputed_flop=whole.recomputed_flop + work.recomputed_flop,
            min_flop=whole.min_flop + work.min_flop,
            convention=convention,
        )
    return whole


class WorkOfTable:
    """The passes of rows through an op table, each row or document for itself.

    Args:
        recompute: none or full activation checkpointing.
    """

    def __init__(self, table: Decoder, recompute: str) -> None:
        self._table, self._recompute = table, recompute
        self._known: dict[int, dict[str, Work]] = {}

    def of_rows(self, kind: str, rows: int, length: int) -> Work:
        """One pass of rows of a length."""
        return self._of_row(length)[kind].times(rows)

    def of_documents(self, kind: str, lengths: Sequence[int]) -> Work:
        """One pass of packed documents: each attends to itself alone, so no kernel need do more than half of its own square."""
        works = [self._of_row(length)[kind].times(lengths.count(length)) for length in set(lengths)]
        return total(replace(work, min_flop=min(work.min_flop, work.causal_flop or work.min_flop)) for work in works)

    def _of_row(self, length: int) -> dict[str, Work]:
        if length not in self._known:
            step = Workload(phase="train", batch=1, seq_len=length, recompute=self._recompute)  # type: ignore[arg-type]
            ops = self._table.ops(step)
            both, forward = _work(ops, step), _work(ops, Workload(phase="forward", batch=1, seq_len=length))
            self._known[length] = by_kind(forward, both)
        return self._known[length]


class WorkOfLengths:
    """The passes of one row of any length up to some, from counts of three: exactly a·T + b·T² in each of them.

    A network on text multiplies either by position or every position with every other, with nothing beside; two counts give
    a and b, and the third shows it.

    Args:
        counts: by length, the work of each kind of pass.

    Raises:
        UnavailableError: no such law holds.
    """

    def __init__(self, counts: Mapping[int, Mapping[str, Work]]) -> None:
        self._counts = counts
        (first, *_, last) = sorted(counts)
        self._ends = first, last
        for length, known in counts.items():
            if any(self.of_documents(kind, [length]) != work for kind, work in known.items()):
                raise UnavailableError("documents are packed into rows, and the FLOP of a row are no sum of its length and its square")

    def of_documents(self, kind: str, lengths: Sequence[int]) -> Work:
        """One pass of packed documents, each by itself. Raises UnavailableError."""
        linear, square = sum(lengths), sum(length**2 for length in lengths)
        first, last = (self._counts[end][kind] for end in self._ends)
        numbers: dict[str, int] = {}
        for name in ("full_flop", "hardware_flop", "forward_flop", "model_flop", "recomputed_flop", "min_flop"):
            near, far = (Fraction(getattr(work, name), end) for work, end in zip((first, last), self._ends, strict=True))
            slope = (far - near) / (self._ends[1] - self._ends[0])
            flop = (near - slope * self._ends[0]) * linear + slope * square
            if flop.denominator != 1:
                raise UnavailableError("documents are packed into rows, and the FLOP of one are no whole number")
            numbers[name] = int(flop)
        return replace(first, **numbers)  # type: ignore[arg-type]


def by_kind(forward: Work, both: Work) -> dict[str, Work]:
    """The work of each kind of pass, of that of a forward pass and that of a forward and a backward one."""
    return {
        "forward": replace(forward, forward_flop=forward.full_flop),
        "backward": replace(total([both, forward.times(-1)]), convention=both.convention, forward_flop=0),
        "again": replace(NOTHING, hardware_flop=forward.full_flop, recomputed_flop=forward.model_flop, convention=forward.convention),
    }


def _work(ops: Sequence[Op], workload: Workload) -> Work:
    from estimators.counting.conventions import model_and_hardware_flop, step_flop, unskippable_flop, usual_convention

    flop, (model, hardware) = step_flop(ops, workload), model_and_hardware_flop(ops, workload)
    return Work(
        full_flop=flop["full"],
        causal_flop=flop["causal"],
        hardware_flop=flop["hardware"],
        forward_flop=0,
        model_flop=model,
        recomputed_flop=hardware - model,
        min_flop=unskippable_flop(ops, workload),
        convention=usual_convention(ops),
    )
