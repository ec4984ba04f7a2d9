"""The op table of a class of diffusers, traced on meta on inputs that its arguments' names call for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from bench.backend.counting.diffusers_class import build, feed_of, shapes_of, stood_in
from bench.backend.outputs import losses
from bench.backend.tracing.recorder import Pass, Recorder
from bench.backend.tracing.sizes import samples
from bench.backend.tracing.steps import pass_on_meta
from bench.backend.tracing.trace import fitted, not_run
from estimators.architectures.polynomials import Sizes
from estimators.architectures.traced import TracedModel
from estimators.spec import Source


def versions() -> tuple[str, str]:
    """Of diffusers and torch, as their metadata has them."""
    return version("diffusers"), version("torch")


def trace_class(config: Mapping[str, Any], name: str) -> TracedModel:
    """The op table of a configuration that diffusers builds, of as many samples as are asked for, each of the shapes that it says.

    Raises:
        MissingPackageError: diffusers is not installed.
        BadConfigError: it does not know the class, or cannot build it, or no inputs could be made up for it.
        UnavailableError: its sizes are no polynomials in the number of samples.
    """
    model = build(config)
    feed = feed_of(model)
    passes: list[Pass] = []

    def run(table: str, sizes: Sizes, backward: bool) -> Pass:
        with pass_on_meta() as known, torch.enable_grad():
            given = stood_in(known, feed(sizes["batch"]))
            recorder = Recorder(model, tokens=0, causal=False)
            with recorder.watching() as seen:
                roots = [t for t in losses(model(**given)) if t.requires_grad]
                if roots and backward:
                    torch.autograd.backward([(t * torch.ones_like(t)).sum() for t in roots])
            model.zero_grad(set_to_none=True)
        seen.has_backward = backward
        passes.append(seen)
        return seen

    rows, _ = fitted(model, samples(), "train", run)
    by, on = (f"{package} {of}" for package, of in zip(("diffusers", "torch"), versions(), strict=True))
    return TracedModel(
        name=name,
        source=Source(title=f"{name}, op table traced from {by} ({type(model).__name__})"),
        runs=type(model).__name__,
        traced_from=f"{by}, {on}",
        tables={"train": rows},
        takes="sample",
        max_positions=1,
        positions=0,
        layers=0,
        width=0,
        vocab=0,
        kv_heads=0,
        chunk=0,
        sources=False,
        reads=shapes_of(feed),
        left_out="",
        not_run=not_run(model, passes),
    )
