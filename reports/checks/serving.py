"""Rules about a server under load: what no server can do, what was asked and done, and what was predicted of its steps."""

from __future__ import annotations

from collections.abc import Iterator

from bench.records.record import Measurement
from bench.records.served import result_of
from estimators import units
from estimators.serving.results.gate import RULES, judged
from reports.checks.check import Check
from reports.served import named_deployment


def gate(record: Measurement) -> Iterator[Check]:
    """No rule of the gate is broken; a file that breaks one is not imported, and a record may have been changed since."""
    if record.proof.served is None:
        return
    result = result_of(record.proof.served)
    broken = {found.name: found.text for found in judged(result, named_deployment(record).deployment)}
    for name in RULES:
        yield Check(
            metric=f"no {name}",
            estimated="none",
            observed="found" if name in broken else "none",
            rule="==",
            ok=name not in broken,
            explanation=broken.get(name, ""),
        )


def requests(record: Measurement) -> Iterator[Check]:
    """Every request was answered, with the tokens asked of it where those were fixed."""
    served = record.proof.served
    if served is None:
        return
    if served.completed is not None and served.load.num_requests:
        yield Check(
            metric="requests answered",
            estimated=served.load.num_requests,
            observed=served.completed,
            rule="==",
            ok=served.completed == served.load.num_requests or (None if served.file else False),
            explanation=f"{served.failed:,} failed: the figures are of the others" if served.failed else "",
            format=units.format_int,
        )
    if served.counted_by_client is not None:
        yield Check(
            metric="output tokens, the server's count and the client's",
            estimated=served.output_tokens,
            observed=served.counted_by_client,
            rule="==",
            ok=None,
            explanation="the client counted with a tokenizer of its own; what it divided by that is left out or made anew",
            format=units.format_int,
        )
