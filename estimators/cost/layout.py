"""Layout: how a step is cut over devices; parsed from text, checked against a model, one line per broken rule."""

from __future__ import annotations

from typing import Any

from estimators.errors import BadValueError
from estimators.frozen import frozen

PLAN_RECOMPUTES = ("none", "selective", "full")
"""What a step may run forward twice: nothing, norms and activations and unfused attention, or every layer."""

ZERO_STAGES = (0, 1, 2, 3)
SCHEDULES = ("1f1b", "zero-bubble")
MAX_DEVICES = 10**7
MAX_DIGITS = 9

LAYOUT_KEYS = {
    "tp": "tp",
    "pp": "pp",
    "cp": "cp",
    "dp": "dp",
    "ep": "ep",
    "vp": "vp",
    "zero": "zero",
    "shard": "shard",
    "micro_batch": "micro_batch",
    "mbs": "micro_batch",
    "sp": "sequence_parallel",
    "sequence_parallel": "sequence_parallel",
    "recompute": "recompute",
    "schedule": "schedule",
}
"""What a layout is written with, and the field that each means."""


@frozen
class Layout:
    """The degree of each kind of parallelism of a step.

    Attributes:
        tp: of tensor parallelism: matrices and heads.
        pp, vp: pipeline stages, and chunks of layers per device (interleaving).
        cp: of context parallelism: the sequence.
        dp: of data parallelism: the batch.
        ep: of expert parallelism, within the devices that share a stage.
        zero: what data-parallel ranks share out: 0 nothing, 1 optimizer state, 2 gradients too, 3 weights too (FSDP).
        shard: ranks that one copy of a ZeRO-3 model is cut over; 0 for all of dp (hybrid sharding has fewer).
        micro_batch: sequences of one pass.
        global_batch: sequences of one step, all devices together.
        sequence_parallel: whether tensor-parallel ranks share the norms' tokens, too.
        recompute: none, selective (what costs memory and little work: norms, activations, unfused attention) or full.
        schedule: of the pipeline: 1f1b, or zero-bubble, which fills most of it with weight gradients.
    """

    tp: int = 1
    pp: int = 1
    vp: int = 1
    cp: int = 1
    dp: int = 1
    ep: int = 1
    zero: int = 1
    shard: int = 0
    micro_batch: int = 1
    global_batch: int = 1
    sequence_parallel: bool = False
    recompute: str = "none"
    schedule: str = "1f1b"

    def __post_init__(self) -> None:
        for name in ("tp", "pp", "vp", "cp", "dp", "ep", "micro_batch", "global_batch"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise BadValueError(f"{name} is {value!r}; expected a whole number from 1")
        for name, choices in (("zero", ZERO_STAGES), ("recompute", PLAN_RECOMPUTES), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise BadValueError(f"{name} is {getattr(self, name)!r}; expected one of: {', '.join(map(str, choices))}")
        if self.num_devices > MAX_DEVICES:
            raise BadValueError(f"{self.num_devices:,} devices is out of range; expected at most {MAX_DEVICES:,}")
        if self.shard and self.dp % self.shard:
            raise BadValueError(f"shard={self.shard} does not divide dp={self.dp}; expected a divisor of it")
        if self.global_batch % (self.dp * self.micro_batch):
            raise BadValueError(
                f"a global batch of {self.global_batch:,} sequences does not divide into dp={self.dp} x micro_batch={self.micro_batch}; "
                f"the nearest that does: {self._nearest_batch():,}"
            )

    def _nearest_batch(self) -> int:
        unit = self.dp * self.micro_batch
        return max(1, round(self.global_batch / unit)) * unit

    @property
    def num_devices(self) -> int:
        """Devices of the whole layout."""
        return self.tp * self.pp * self.cp * self.dp

    @property
    def num_micro_batches(self) -> int:
        """Passes that each device makes in one step: gradient accumulation."""
        return self.global_batch // (self.dp * self.micro_batch)

    @property
    def full(self) -> bool:
        """Whether every layer is run forward twice."""
        return self.recompute == "full"

    @property
    def selective(self) -> bool:
        """Whether only the cheap, large parts are run twice."""
        return self.recompute == "selective"

    @property
    def zero_bubble(self) -> bool:
        """Whether weight gradients fill the pipeline's bubble."""
        return self.schedule == "zero-bubble"

    def __str__(self) -> str:
        parts = [
            f"{name}={getattr(self, name)}" for name in ("tp", "pp", "vp", "cp", "dp", "ep") if getattr(self, name) > 1 or name == "dp"
        ]
        parts += [f"zero={self.zero}", f"micro_batch={self.micro_batch}"]
        parts += [f"shard={self.shard}"] * bool(self.shard) + ["sp=1"] * self.sequence_parallel
        parts += [f"recompute={self.recompute}"] * (self.recompute != "none") + [f"schedule={self.schedule}"] * self.zero_bubble
        return ",".join(parts)


def parse_layout(text: str, *, num_devices: int, global_batch: int) -> Layout:
    """A layout from ``tp=2,pp=1,zero=3,micro_batch=2``; dp is what is left of the devices.

    >>> str(parse_layout("tp=8,pp=16,micro_batch=1", num_devices=1024, global_batch=1536))
    'tp=8,pp=16,dp=8,zero=1,micro_batch=1'

    Raises:
        BadValueError: an unknown key, a value that is not a number, degrees that do not multiply to the devices; one line.
    """
    return Layout(global_batch=global_batch, **layout_fields(text, num_devices=num_devices))


def layout_fields(text: str, *, num_devices: int) -> dict[str, Any]:
    """What `parse_layout` reads, before the batch is known: fields of a Layout by name, dp among them.

    Raises:
        BadValueError: as parse_layout.
    """
    fields: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, separator, value = part.partition("=")
        if not separator or key.strip() not in LAYOUT_KEYS:
            raise BadValueError(f"layout part {part[:60]!r} is unknown; expected KEY=VALUE with one of: {', '.join(sorted(LAYOUT_KEYS))}")
        name = LAYOUT_KEYS[key.strip()]
        if name in ("recompute", "schedule"):
            fields[name] = value.strip()
        elif value.strip().isascii() and value.strip().isdigit() and len(value.strip()) <= MAX_DIGITS:
            fields[name] = bool(int(value)) if name == "sequence_parallel" else int(value)
        else:
            raise BadValueError(f"layout part {part[:60]!r}: expected a whole number after {key.strip()}=")
    degree = 1
    for name in ("tp", "pp", "cp"):
        degree *= _at_least_one(name, fields.get(name, 1))
    stated = "dp" in fields
    dp = _at_least_one("dp", fields.setdefault("dp", max(1, num_devices // degree)))
    if degree * dp != num_devices:
        nearest = degree * dp if stated else max(1, round(num_devices / degree)) * degree
        raise BadValueError(
            f"tp x pp x cp x dp of {text[:80]!r} is {degree} x {dp} and does not multiply to {num_devices:,} devices; "
            f"the nearest number of devices that works: {nearest:,}"
        )
    return fields


def _at_least_one(name: str, value: object) -> int:
    if not isinstance(value, int) or value < 1:
        raise BadValueError(f"{name} is {value!r}; expected a whole number from 1")
    return value
