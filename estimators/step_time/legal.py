"""Which layouts a model can be cut by: one line for the rule that breaks, with the nearest value that works."""

from __future__ import annotations

from collections.abc import Iterable

from estimators.errors import BadValueError
from estimators.step_time.layout import Layout
from estimators.step_time.work import Work

OWN_CHUNKS = 2
"""Chunks without a layer: the embedding's and the head's, as 126 layers are run in 16 x 8 of them (arXiv 2407.21783, section 3.3.2)."""


def check_layout(layout: Layout, work: Work) -> None:
    """Demand that the model can be cut so.

    Raises:
        BadValueError: heads that tp does not divide, fewer layers than stages, more ways than experts, a sequence that cp does not
            divide, sharding or interleaving of what is not there.
    """
    if work.heads and work.heads % layout.tp:
        raise BadValueError(f"tp={layout.tp} does not divide {work.heads} attention heads; {_near(layout.tp, _divisors(work.heads))}")
    if layout.pp > work.layers or layout.pp * layout.vp > work.layers + OWN_CHUNKS:
        raise BadValueError(
            f"pp={layout.pp} x vp={layout.vp} needs {layout.pp * layout.vp} layers and the model has {work.layers}; expected at most that"
        )
    if layout.vp > 1 and layout.pp == 1:
        raise BadValueError(f"vp={layout.vp} interleaves stages and pp is 1; give pp above 1, or leave vp out")
    if work.experts % layout.ep:
        raise BadValueError(f"ep={layout.ep} does not divide {work.experts} experts; {_near(layout.ep, _divisors(work.experts))}")
    peers = layout.tp * layout.cp * layout.dp
    if peers % layout.ep:
        raise BadValueError(f"ep={layout.ep} does not divide the {peers:,} devices of a stage; {_near(layout.ep, _divisors(peers))}")
    if work.seq_len % layout.cp:
        raise BadValueError(
            f"cp={layout.cp} does not divide a sequence of {work.seq_len:,} tokens; {_near(layout.cp, _divisors(work.seq_len))}"
        )


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def _near(given: int, works: Iterable[int]) -> str:
    return f"the nearest that works: {min(works, key=lambda value: (abs(value - given), value))}"
