"""How a replica is cut over its devices where nobody says: tensor parallelism within a node, stages beyond it; as few devices as fit."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from estimators.architectures.decoder import Decoder
from estimators.architectures.traced import TracedModel
from estimators.cost.divisibility import divisors, legal_tp, nearest
from estimators.cost.tensor_cut import cut_width
from estimators.errors import BadValueError
from estimators.facts import data
from estimators.frozen import frozen, replace
from estimators.serving.budget import Budget, budget
from estimators.serving.deployment import Deployment
from estimators.serving.held_weights import served_model
from estimators.spec import Hardware, Model, Workload
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


def named_checkpoint(model: Model, model_id: str, wanted: WeightFormat | None) -> tuple[Model, WeightFormat]:
    """A model and the format that it is served in: the one that is wanted, else what its configuration or its publisher says.

    A configuration's format goes by its own name, and is held as the configuration says.

    Args:
        model_id: of the registry; empty for a model of a file.
        wanted: None for the checkpoint's.
    """
    stored = model.stored if isinstance(model, Decoder | TracedModel) else None
    if not isinstance(model, Decoder | TracedModel) or stored is None:
        return model, wanted or checkpoint_format(model_id)
    return (model, stored.name) if wanted in (None, stored.name) else (replace(model, stored=None), wanted)


@functools.lru_cache(maxsize=512)
def divides(model: Decoder, tp: int) -> bool:
    """Whether tensor parallelism over so many devices cuts the model evenly."""
    parts = [part for block in model.blocks for _, part in block.parts]
    return all(legal_tp(part, tp) for part in parts) and cut_width(model.ops(Workload(phase="decode"))) % tp == 0


def demand_cut(deployment: Deployment) -> None:
    """Refuse a cut that the model has not.

    Raises:
        BadValueError: ranks that do not divide heads and feed-forwards, stages without a layer, experts shared out where there are none;
            the nearest that works.
    """
    model, d = served_model(deployment), deployment
    if not divides(model, d.tp):
        heads = max(part.heads for block in model.blocks for _, part in block.parts)
        other = nearest(d.tp, (tp for tp in divisors(heads) if divides(model, tp)))
        raise BadValueError(
            f"tp={d.tp} does not divide the {heads} heads and the feed-forwards of {model.name}; the nearest that does: tp={other}"
        )
    if d.pp > model.layers:
        raise BadValueError(f"pp={d.pp} asks for more stages than the {model.layers} layers of {model.name}; the most: pp={model.layers}")
    experts = num_experts(model)
    if d.ep > 1 and not experts:
        raise BadValueError(f"ep={d.ep} shares experts out, and {model.name} has none; expected ep=1")
    if d.tp * d.dp % d.ep or d.ep > max(1, experts):
        other = nearest(d.ep, (ep for ep in divisors(d.tp * d.dp) if ep <= experts))
        raise BadValueError(
            f"ep={d.ep} does not share {experts} experts out over the {d.tp * d.dp} devices of a stage; the nearest: ep={other}"
        )


@functools.lru_cache(maxsize=512)
def num_experts(model: Decoder) -> int:
    """Of its widest layer; 0 for none."""
    table = model.ops(Workload(phase="decode"))
    return max((op.params * op.matrices_per_token // op.active_params for op in table if op.active_params), default=0)


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
    """Changes that make room for a sequence of max_model_len, or where nobody gave that of so many tokens: single ones, and a narrower
    format with fewer devices than the format as it is takes."""
    wanted = deployment.max_model_len or tokens
    found = []
    for words, changed in _changes(deployment, tokens):
        room = _room(changed)
        if room is not None and (room.fits if deployment.max_model_len else _holds(room, tokens)):
            found.append(Nearest(change=words, tokens=room.kv_tokens, num_devices=changed.num_devices))
    fewest_plain = min((each.num_devices for each in found if each.change.startswith("--gpus")), default=MOST_DEVICES)
    for name in _narrower(deployment) if deployment.num_devices < fewest_plain else ():
        words = f"--weights {name}"
        if any(each.change == words for each in found):
            continue
        cut = fewest(replace(deployment, weights=name), wanted)
        room = _room(cut)
        if room is not None and _holds(room, wanted) and cut.num_devices < fewest_plain:
            words = f"{words} --gpus-per-replica {cut.num_devices}"
            found.append(Nearest(change=words, tokens=room.kv_tokens, num_devices=cut.num_devices))
    return tuple(found)


def _room(deployment: Deployment) -> Budget | None:
    try:
        return budget(deployment)
    except BadValueError:
        return None


def _narrower(d: Deployment) -> tuple[WeightFormat, ...]:
    """Formats narrower than the deployment's 16 bits; mxfp4 is of experts."""
    experts = num_experts(served_model(d)) > 0
    return tuple(name for name in NARROWER if d.weights == PLAIN and (experts or name != "mxfp4"))


def _changes(d: Deployment, tokens: int) -> Iterator[tuple[str, Deployment]]:
    longest = budget(d).longest
    if longest >= tokens:
        yield f"--max-model-len {longest}", replace(d, max_model_len=longest)
    if d.kv in ("bf16", "fp16"):
        yield "--kv fp8", replace(d, kv="fp8")
    for name in _narrower(d):
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
