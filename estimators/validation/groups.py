"""What is known of a published table beside its rows: software, cluster, defaults, and why some rows are set apart."""

from __future__ import annotations

import functools
import re

from estimators.facts import data
from estimators.frozen import frozen


@frozen
class Group:
    """One published table.

    Attributes:
        match: how its group's name begins, or a part of it.
        notes: what a row's notes must match besides: a table whose software changed half-way is two groups of one source.
        source: the source that errors are pooled under: tables of one author and machine are one source.
        stack, cluster: of its software and network; the stack is empty where it is not known.
        zero: the ZeRO stage, where the row does not say.
        vocab: where the row does not say.
        micro_batch: where the row does not say: a number, or ``no accumulation``.
        chunks: ``two layers each`` where interleaving is known to be used and its depth is not in the row.
        precision: where the row does not say.
        recompute: where the row does not say.
        kind: pre-training, lora or fine-tuning.
        rank, target: of LoRA: of all matrices, or of attention's.
        apart: why its rows are in no score; empty where they are.
    """

    match: str
    notes: str = ""
    source: str = ""
    stack: str = ""
    cluster: str = ""
    zero: int = 1
    vocab: int = 0
    micro_batch: int | str = 0
    chunks: str = ""
    precision: str = ""
    recompute: str = ""
    kind: str = "pre-training"
    rank: int = 0
    target: str = ""
    apart: str = ""


@functools.cache
def _file() -> tuple[tuple[Group, ...], dict[str, str]]:
    body = data.read_json(data.file("measured", "groups.json"))
    return tuple(Group(**entry) for entry in body["groups"]), body["models"]


def group_of(name: str, notes: str = "") -> Group:
    """What is known of a table by its name and a row's notes; a table of the user's own is taken as it stands.

    >>> group_of("BLOOM tuning (bigscience tr11 prequel)").stack, group_of("my cluster").source
    ('megatron-2022-bf16', 'my cluster')
    """
    known = (group for group in _file()[0] if group.match in name and re.search(group.notes, notes))
    return next(known, Group(match=name, source=name))


def model_id_of(name: str) -> str:
    """The shipped model that a row's name means, where its columns cannot describe it; empty where they do."""
    return next((model_id for text, model_id in _file()[1].items() if text in name), "")
