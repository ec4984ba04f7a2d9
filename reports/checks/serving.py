"""Rules about a server under load: what no server can do, what was asked and done, and what was predicted of its steps."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.record import Measurement
from bench.records.served import result_of
from estimators import units
from estimators.serving.results.gate import RULES, judged
from reports import served
from reports.checks.check import Check


def gate(record: Measurement) -> Iterator[Check]:
    """No rule of the gate is broken; a file that breaks one is not imported, and a record may have been changed since."""
    if record.proof.served is None:
        return
    result = result_of(record.proof.served)
    broken = {found.name: found.text for found in judged(result, served.named_deployment(record).deployment)}
    for name in RULES:
        yield Check(
            metric=f"no {name}",
            estimated="none",
            observed="found" if name in broken else "none",
            rule="==",
            ok=name not in broken,
            explanation=broken.get(name, ""),
        )


WITHIN = 0.20
"""Of what was measured, the most that a prediction may be off."""

ALONE = 0.9
"""Share of the passes' time that the engine had a processor for, from which on the figures are of a quiet machine."""


def cache(record: Measurement) -> Iterator[Check]:
    """The tensors that keys and values lay in have the bytes that the model's shape asks for."""
    seen = record.proof.served.engine if record.proof.served else None
    if seen is not None and seen.num_blocks and record.estimate.cache_bytes is not None:
        yield Check(
            metric="bytes of the cache, all blocks",
            estimated=record.estimate.cache_bytes,
            observed=seen.cache_bytes,
            rule="==",
            ok=seen.cache_bytes == record.estimate.cache_bytes,
            format=units.format_int,
        )


def predictions(record: Measurement) -> Iterator[Check]:
    """What was predicted of the run holds; a busy machine has figures of its own, and is not judged."""
    share = served.processor_share(record)
    for each in served.held(record):
        busy = share is not None and share < ALONE and each.key not in ("processor_s", "busy_s")
        why = f"; other programs had the processor for {units.format_fraction(1 - (share or 0.0))} of the passes' time" if busy else ""
        yield Check(
            metric=f"predicted {each.name}",
            estimated=each.predicted,
            observed=each.measured,
            rule="within 20 %",
            ok=abs(each.ratio - 1) <= WITHIN or (None if busy else False),
            explanation=f"off by {100 * (each.ratio - 1):+.0f} %{why}",
            format=units.format_grouped if each.is_rate else units.format_duration,
        )


def requests(record: Measurement) -> Iterator[Check]:
    """Every request was answered, with the tokens asked of it where those were fixed."""
    load = record.proof.served
    if load is None:
        return
    if load.completed is not None and load.load.num_requests:
        yield Check(
            metric="requests answered",
            estimated=load.load.num_requests,
            observed=load.completed,
            rule="==",
            ok=load.completed == load.load.num_requests or (None if load.file else False),
            explanation=f"{load.failed:,} failed: the figures are of the others" if load.failed else "",
            format=units.format_int,
        )
    if load.counted_by_client is not None:
        yield Check(
            metric="output tokens, the server's count and the client's",
            estimated=load.output_tokens,
            observed=load.counted_by_client,
            rule="==",
            ok=None,
            explanation="the client counted with a tokenizer of its own; what it divided by that is left out or made anew",
            format=units.format_int,
        )
