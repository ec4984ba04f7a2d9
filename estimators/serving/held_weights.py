"""Weights of a deployment on each of its devices, to the byte: what the format holds, what stays in 16 bits, what ranks copy."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from estimators.architectures.decoder import Decoder
from estimators.architectures.traced_decoder import TracedDecoder, as_decoder
from estimators.cost.tensor_cut import cut_params
from estimators.errors import BadValueError
from estimators.frozen import field, frozen
from estimators.serving.deployment import Deployment
from estimators.spec import Model, Op, Workload
from estimators.units import DTYPE_BYTES
from estimators.weight_formats import PLAIN

_STEP = Workload(phase="decode", context_len=1)

PARTS = {
    "embedding": "token and position tables",
    "attention": "attention",
    "state_space": "state-space mixers",
    "mlp": "feed-forwards, shared experts among them",
    "experts": "experts",
    "norms": "norms, routers, biases and other vectors",
    "head": "head",
    "rotary": "sines and cosines of every position",
}
"""What a device holds of a model."""

ROTARY_TABLE = ("vllm", "sglang")
"""Engines that make sines and cosines of all positions when they load a model.

Llama 3.1 8B: 16,060,522,496 bytes of weights and 131,072 positions x 128 x 2 bytes are the 14.9888 GiB that vLLM prints.
"""


@frozen
class StageWeights:
    """The devices of one pipeline stage, which hold as much each.

    Attributes:
        layers: of each block of the model, those of the stage.
        parts: bytes on one device, by name; see PARTS.
    """

    layers: tuple[int, ...]
    parts: Mapping[str, float] = field(hash=False)

    @property
    def total_bytes(self) -> float:
        """On one device."""
        return sum(self.parts.values())


def served_model(deployment: Deployment) -> Decoder:
    """The model as the deployment's engine holds it. Raises BadValueError where it is no decoder-only language model."""
    return _served(deployment.model, deployment.weights)


@functools.lru_cache(maxsize=256)
def _served(model: Model, weights: str) -> Decoder:
    base = as_decoder(model.base)
    if base is None:
        raise BadValueError(
            f"{model.name} is no decoder-only language model; expected one that an engine serves; `show` counts a pass of any other"
        )
    if isinstance(base, TracedDecoder) and base.has_latents:
        raise BadValueError(
            f"{model.name} caches latents in engines and what they expand to in transformers, which is what was traced; "
            "a model whose op table is written by hand is served: python -m bench list families"
        )
    if isinstance(base, TracedDecoder) and base.keeps_nothing:
        raise BadValueError(
            f"{model.name} keeps what it knows of earlier tokens in its class and in no cache, so that no memory of sequences was traced; "
            "a model whose op table is written by hand is served: python -m bench list families"
        )
    as_it_is = weights == PLAIN or (base.stored is not None and base.stored.name == weights)
    base = base.without_unread()
    return base if as_it_is else base.in_format(weights)


def stage_layers(model: Decoder, pp: int) -> tuple[tuple[int, ...], ...]:
    """Layers of each block by pipeline stage: as many on each, what is left over on the stages before the last.

    Raises:
        BadValueError: more stages than layers.

    Source: vLLM, vllm/distributed/utils.py, get_pp_indices.
    """
    order = model.order or tuple(i for i, block in enumerate(model.blocks) for _ in range(block.count))
    if pp > len(order):
        raise BadValueError(f"pp={pp} asks for more stages than the {len(order)} layers there are; the most: pp={len(order)}")
    each, rest = divmod(len(order), pp)
    sizes = [each] * pp
    for i in range(rest):
        sizes[(pp - 2 - i) % pp] += 1
    starts = [sum(sizes[:i]) for i in range(pp)]
    stages = [order[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    return tuple(tuple(stage.count(i) for i in range(len(model.blocks))) for stage in stages)


def weights_by_stage(deployment: Deployment) -> tuple[StageWeights, ...]:
    """What a device of each pipeline stage holds.

    Tensor parallelism cuts matrices as their rows say, and copies key-value heads beyond as many ranks; groups that share out sequences
    hold all but the experts each; experts are shared out over `ep` devices, and what is left of the stage's devices cuts each of them.

    Raises:
        BadValueError: a model that is no decoder-only language model, an unknown format, more stages than layers, ranks that do not
            share out the experts.
    """
    d = deployment
    table = d.engine.engine in ROTARY_TABLE
    return _weights_by_stage(served_model(d), d.tp, d.pp, d.dp, d.ep, int(DTYPE_BYTES[d.compute]), table)


@functools.lru_cache(maxsize=1024)
def _weights_by_stage(model: Decoder, tp: int, pp: int, dp: int, ep: int, size: int, table: bool) -> tuple[StageWeights, ...]:
    if tp * dp % ep:
        raise BadValueError(f"ep={ep} shares experts out over the {tp * dp} devices of a stage; expected a divisor of them")
    step = _STEP
    by_block = [_parts(rows, model.vocab, tp, tp * dp, ep, size) for rows in model.layer_ops(step)]
    first, last = (_parts(rows, model.vocab, tp, tp * dp, ep, size) for rows in model.edge_ops(step))
    stages = []
    for place, layers in enumerate(stage_layers(model, pp)):
        parts: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        for block, own, count in zip(model.blocks, by_block, layers, strict=True):
            _add(parts, own, count / block.count)
        if place == 0:
            _add(parts, first)
        if place == pp - 1:
            _add(parts, last)
            if model.tied and pp > 1:
                parts["head"] += first["embedding"]
        if table:
            parts["rotary"] = rotary_bytes(model, size)
        stages.append(StageWeights(layers=layers, parts={name: value for name, value in parts.items() if value}))
    return tuple(stages)


def rotary_bytes(model: Decoder, size: int = 2) -> int:
    """Of the table of sines and cosines: a row for each position that the model was made for, as wide as what positions turn."""
    widths = {part.rotary_width for block in model.blocks for _, part in block.parts}
    return model.max_positions * sum(widths) * size


def _add(parts: dict[str, float], more: Mapping[str, float], times: float = 1.0) -> None:
    for name, value in more.items():
        parts[name] += times * value


def _parts(rows: Sequence[Op], vocab: int, tp: int, group: int, ep: int, size: int) -> dict[str, float]:
    """Bytes of all copies of the rows on one device, by name."""
    parts: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    for op in rows:
        if not op.params:
            continue
        held = op.params * size if op.stored_bytes is None else op.stored_bytes
        parts[_part_of(op)] += op.count * held * _share(op, vocab, tp, group, ep)
    return parts


def _part_of(op: Op) -> str:
    if op.component in ("embedding", "head", "experts"):
        return op.component
    return op.component if op.component in PARTS and op.kind == "matmul" and op.role != "router" else "norms"


def _share(op: Op, vocab: int, tp: int, group: int, ep: int) -> float:
    """Of a row's parameters, what one device holds."""
    if op.component == "experts":
        if op.active_params is None:
            return 1.0
        experts = op.params * op.matrices_per_token // op.active_params
        if ep > experts:
            raise BadValueError(f"ep={ep} devices for {experts} experts; the most: ep={experts}")
        return -(-experts // ep) / experts * ep / group
    one = cut_params([op], vocab)
    return float(one.on_rank(tp)) / one.total
