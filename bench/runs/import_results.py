"""Result files of load generators as records: read, completed by what the user says, held against physics, kept whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.records.asked import SERVE, Asked
from bench.records.draft import Draft
from bench.records.proof import Proof
from bench.records.record import Measurement
from bench.records.served import kept
from estimators.architectures.from_config import model_from_config
from estimators.errors import PhysicsError
from estimators.frozen import replace
from estimators.serving.results.deployment_of import deployment_of
from estimators.serving.results.gate import judged
from estimators.serving.results.one_file import named, read_results
from estimators.serving.results.result import Served, ServingResult


def import_results(given: str, said: Served, *, config: Mapping[str, Any] | None, out: Path) -> list[Measurement]:
    """The records of a file's runs, written.

    Args:
        given: a path, with its format before it or without.
        said: what stands above the file.
        config: of the model, where the user named one.

    Raises:
        RequestError: no result file, one that is damaged, or a folder that cannot be written.
        PhysicsError: what no server can have found; nothing is kept.
    """
    form, path = named(given)
    file = os.path.basename(path)
    results = [replace(result, served=result.served.completed(said)) for result in read_results(path, form)]
    for place, result in enumerate(results, start=1):
        demand_possible(result, config, file if len(results) == 1 else f"{file}, run {place}")
    return [_record(result, config, file, out).save("complete") for result in results]


def demand_possible(result: ServingResult, config: Mapping[str, Any] | None, label: str) -> None:
    """Raises PhysicsError for what no server can have found: one line, by the rule's name."""
    model = model_from_config(config, result.served.model) if config else None
    broken = judged(result, deployment_of(result.served, model).deployment)
    if broken:
        others = f"; and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise PhysicsError(f"{label} is not imported: {broken[0].name}: {broken[0].text}{others}")


def _record(result: ServingResult, config: Mapping[str, Any] | None, file: str, out: Path) -> Draft:
    load = result.load
    asked = Asked(
        model=result.served.model,
        task=SERVE,
        config=dict(config) if config else None,
        seq_len=None if load.prompt_tokens is None else round(load.prompt_tokens),
        new_tokens=None if load.output_tokens is None else round(load.output_tokens),
        weights_label=result.served.weights or None,
    )
    draft = Draft(model=result.served.model or result.file_format, task=SERVE, request=asked, out=out)
    draft.proof = Proof(served=kept(result, file))
    return draft
