"""Which layouts a model can be cut by: one line for the rule that breaks, with the nearest value that works."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from estimators.cost.layout import Layout
from estimators.errors import BadValueError

OWN_CHUNKS = 2
"""Chunks without a layer: the embedding's and the head's, as 126 layers are run in 16 x 8 of them (arXiv 2407.21783, section 3.3.2)."""


class Heads(Protocol):
    """What tensor parallelism shares out of attention."""

    @property
    def heads(self) -> int: ...

    @property
    def kv_heads(self) -> int: ...


class Shape(Heads, Protocol):
    """What layouts divide of a model."""

    @property
    def layers(self) -> int: ...

    @property
    def experts(self) -> int: ...

    @property
    def seq_len(self) -> int: ...

    @property
    def cut_width(self) -> int: ...

    @property
    def scan_layers(self) -> int: ...


def divisors(number: int) -> list[int]:
    """Every divisor, ascending.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return small + [number // d for d in reversed(small) if d * d != number]


def legal_tp(attention: Heads, tp: int) -> bool:
    """Whether tensor parallelism may divide the heads: each rank takes as many, and key-value heads are shared out or copied."""
    heads, kv_heads = attention.heads, attention.kv_heads or attention.heads
    return not heads or (heads % tp == 0 and (kv_heads % tp == 0 or tp % kv_heads == 0))


def legal_cut(work: Shape, tp: int) -> bool:
    """Whether tensor parallelism may divide heads and feed-forwards: matrices are cut evenly, vocabularies alone are padded.

    Source: Shoeybi et al. 2019 (arXiv 1909.08053), section 3; `divide` of Megatron-LM (core/utils.py) and of vLLM.
    """
    return legal_tp(work, tp) and work.cut_width % tp == 0 and (tp == 1 or not work.scan_layers)


def nearest(wanted: int, choices: Iterable[int]) -> int:
    """The choice nearest to what was wanted, the smaller of two."""
    return min(choices, key=lambda choice: (abs(choice - wanted), choice))


def check_cuts(work: Shape, layout: Layout) -> None:
    """Demand that the model can be cut so.

    Raises:
        BadValueError: heads, layers, experts or the sequence do not divide, or no software runs it; names the nearest that works.
    """
    _check_sharding(layout)
    _check_scans(work, layout)
    _check_heads(work, layout)
    _check_stages(work, layout)
    _check_experts(work, layout)
    _check_sequence(work, layout)


def runs_sharded(zero: Any, pp: Any) -> Any:
    """Whether software shares gradients out so (ZeRO-2) beside a pipeline: its micro-batches would reduce each gradient again and again.

    Source: DeepSpeed, runtime/pipe/engine.py, asserts a ZeRO stage below 2; Megatron-Core's distributed optimizer shares out optimizer
    state alone.
    """
    return (zero != 2) | (pp == 1)


def _check_sharding(layout: Layout) -> None:
    if not runs_sharded(layout.zero, layout.pp):
        raise BadValueError(
            f"zero=2 shares out gradients, which a pipeline of pp={layout.pp} stages adds up over its micro-batches; no software runs "
            "that: expected zero=1, or pp=1"
        )


def _check_scans(work: Shape, layout: Layout) -> None:
    for name in ("tp", "cp"):
        if work.scan_layers and getattr(layout, name) > 1:
            raise BadValueError(
                f"{name}={getattr(layout, name)} would cut the scans of {work.scan_layers} layers, which are planned whole: expected "
                f"{name}=1; data, pipeline and expert parallelism and ZeRO divide such a model"
            )


def _check_heads(work: Shape, layout: Layout) -> None:
    if not legal_tp(work, layout.tp):
        other = nearest(layout.tp, (tp for tp in divisors(work.heads) if legal_cut(work, tp)))
        shared = f" and {work.kv_heads} key-value heads" if work.kv_heads not in (0, work.heads) else ""
        raise BadValueError(f"tp={layout.tp} does not divide {work.heads} heads{shared}; the nearest that does: tp={other}")
    if not legal_cut(work, layout.tp):
        other = nearest(layout.tp, (tp for tp in divisors(work.cut_width) if legal_cut(work, tp)))
        raise BadValueError(
            f"tp={layout.tp} does not divide the feed-forward's width of {work.cut_width:,}; the nearest that does: tp={other}"
        )


def _check_stages(work: Shape, layout: Layout) -> None:
    if layout.pp > work.layers or layout.pp * layout.vp > work.layers + OWN_CHUNKS:
        chunks = f"pp={layout.pp}" + (f" x vp={layout.vp}" if layout.vp > 1 else "")
        most = f"pp={layout.pp},vp={work.layers // layout.pp}" if layout.pp <= work.layers else f"pp={work.layers}"
        raise BadValueError(f"{chunks} asks for more stages than the {work.layers} layers there are; the most: {most}")
    if layout.vp == 1:
        return
    if layout.pp == 1:
        raise BadValueError(f"vp={layout.vp} interleaves a pipeline, but pp=1 has none; leave vp out, or give pp from 2")
    if layout.num_micro_batches % layout.pp:
        batch = max(1, round(layout.num_micro_batches / layout.pp)) * layout.pp * layout.dp * layout.micro_batch
        raise BadValueError(
            f"vp={layout.vp} needs micro-batches in groups of pp={layout.pp}, but a step has {layout.num_micro_batches}; "
            f"the nearest global batch: {batch:,} sequences, or vp=1"
        )


def _check_experts(work: Shape, layout: Layout) -> None:
    if layout.ep == 1:
        return
    if work.experts <= 1:
        raise BadValueError(f"ep={layout.ep} divides experts, but the model has none; expected ep=1")
    group = layout.tp * layout.cp * layout.dp
    if work.experts % layout.ep or group % layout.ep:
        other = nearest(layout.ep, (ep for ep in divisors(work.experts) if group % ep == 0))
        why = f"{work.experts} experts" if work.experts % layout.ep else f"the {group} GPUs of a stage"
        than = "is more than" if layout.ep > work.experts else "does not divide"
        raise BadValueError(f"ep={layout.ep} {than} {why}; the nearest that works: ep={other}")


def _check_sequence(work: Shape, layout: Layout) -> None:
    ways = layout.cp * (2 if layout.cp > 1 else 1)
    if work.seq_len % ways:
        other = nearest(layout.cp, (c for c in divisors(work.seq_len) if c == 1 or work.seq_len % (2 * c) == 0))
        raise BadValueError(
            f"cp={layout.cp} cuts a causal sequence into {ways} parts, which do not divide {work.seq_len:,} tokens; nearest: cp={other}"
        )
    if layout.sequence_parallel and work.seq_len // layout.cp % layout.tp:
        raise BadValueError(
            f"sp=1 shares {work.seq_len // layout.cp:,} tokens between tp={layout.tp} ranks, which do not divide them; expected sp=0"
        )
