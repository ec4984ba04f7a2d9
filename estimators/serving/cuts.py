"""How a replica is cut over its devices where nobody says: tensor parallelism within a node, stages beyond it; as few devices as fit."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from estimators.architectures.decoder import Decoder
from estimators.cost.divisibility import divisors, legal_tp
from estimators.cost.tensor_cut import cut_width
from estimators.errors import BadValueError
from estimators.facts import data
from estimators.frozen import frozen, replace
from estimators.serving.budget import Budget, budget
from estimators.serving.deployment import Deployment
from estimators.serving.held_weights import served_model
from estimators.spec import Hardware, Workload
from estimators.units import format_int
from estimators.weight_formats import PLAIN, WeightFormat

MOST_DEVICES = 1024
"""Of one replica."""

NODE = 8
"""Devices of a node, where none is published."""

NARROWER: tuple[WeightFormat, ...] = ("fp8", "mxfp4", "awq")
"""Formats that are offered where weights do not fit."""


@functools.cache
def checkpoint_format(model_id: str) -> WeightFormat:
    """What a model's published checkpoint holds its weights in: 16 bits, but for a few.

    >>> checkpoint_format("gpt-oss-120b"), checkpoint_format("llama-3.1-8b")
    ('mxfp4', '16-bit')
    """
    rows = data.read_rows(data.file("checkpoint_formats.csv"), ("model", "weights", "source"))
    return next((row.text("weights") for row in rows if row.text("model") == model_id), PLAIN)


@functools.lru_cache(maxsize=512)
def divides(model: Decoder, tp: int) -> bool:
    """Whether tensor parallelism over so many devices cuts the model evenly."""
    parts = [part for block in model.blocks for _, part in block.parts]
    return all(legal_tp(part, tp) for part in parts) and cut_width(model.ops(Workload(phase="decode"))) % tp == 0


def node_of(hardware: Hardware) -> int:
    """Devices of one node."""
    return hardware.devices_per_node or NODE


def cut_over(deployment: Deployment, num_devices: int) -> Deployment:
    """The deployment on so many devices: by tensor parallelism as far as a node reaches and heads divide, then by stages.

    llama.cpp's devices are stages.

    Raises:
        BadValueError: no cut of the model has so many devices.
    """
    model = served_model(deployment)
    stages_alone = deployment.engine.engine == "llama.cpp"
    most = 1 if stages_alone else min(num_devices, node_of(deployment.hardware))
    for tp in sorted((tp for tp in divisors(num_devices) if tp <= most), reverse=True):
        if divides(model, tp) and num_devices // tp <= model.layers:
            return replace(deployment, tp=tp, pp=num_devices // tp, dp=1, ep=1)
    raise BadValueError(
        f"no cut of {model.name} has {num_devices} devices: {model.layers} layers; expected for example {node_of(deployment.hardware)}"
    )


def fewest(deployment: Deployment, tokens: int) -> Deployment:
    """The deployment on as few devices, doubled from one, as have room for a sequence of so many tokens; on one where none have."""
    num = 1
    while num <= MOST_DEVICES:
        try:
            cut = cut_over(deployment, num)
        except BadValueError:
            break
        if _holds(budget(cut), tokens):
            return cut
        num *= 2
    return cut_over(deployment, 1)


def _holds(found: Budget, tokens: int) -> bool:
    return found.concurrency(tokens) >= found.groups


@frozen
class Nearest:
    """A deployment that has room where the one that was asked for has none.

    Attributes:
        change: what is different, as options.
        tokens: that it has room for.
        num_devices: of it.
    """

    change: str
    tokens: int
    num_devices: int


def nearest_that_fit(deployment: Deployment, tokens: int) -> tuple[Nearest, ...]:
    """Single changes that make room for a sequence of max_model_len, or where nobody gave that of so many tokens."""
    found = []
    for words, changed in _changes(deployment, tokens):
        try:
            room = budget(changed)
        except BadValueError:
            continue
        if room.fits if deployment.max_model_len else _holds(room, tokens):
            found.append(Nearest(change=words, tokens=room.kv_tokens, num_devices=changed.num_devices))
    return tuple(found)


def _changes(d: Deployment, tokens: int) -> Iterator[tuple[str, Deployment]]:
    longest = budget(d).longest
    if longest >= tokens:
        yield f"--max-model-len {longest}", replace(d, max_model_len=longest)
    if d.kv in ("bf16", "fp16"):
        yield "--kv fp8", replace(d, kv="fp8")
    for name in NARROWER if d.weights == PLAIN else ():
        if name != "mxfp4" or any(op.component == "experts" for op in served_model(d).ops(Workload(phase="decode"))):
            yield f"--weights {name}", replace(d, weights=name)
    num = d.num_devices
    for _ in range(4):
        num *= 2
        try:
            more = cut_over(d, num)
        except BadValueError:
            return
        if _holds(budget(more), d.max_model_len or tokens):
            yield f"--gpus-per-replica {format_int(num)}", more
            return
