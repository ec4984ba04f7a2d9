"""device_memory: what the fullest device of a layout holds at the fullest moment of a step, by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from estimators.frozen import field, frozen
from estimators.memory.holding import Holding, Kept, Layer
from estimators.memory.optimizers import optimizer_bytes
from estimators.step_time.lanes import Lane, choose, greater, smaller, up
from estimators.step_time.layout import Layout

PARTS = {
    "weights": "weights, and 16-bit copies of them",
    "gradients": "gradients",
    "master_weights": "fp32 weights beside those computed with",
    "optimizer": "optimizer state",
    "gathered": "weights gathered and gradients reduced layer by layer",
    "activations": "activations kept for backward",
    "logits": "logits, loss and what the head keeps",
    "transient": "held for a moment on the way back: gradients of activations, a layer run again, a gradient of a matrix",
    "buffers": "gradient buffers of fused matrix products, pipeline receive buffers, matrix workspaces",
}
"""What a device holds, as the framework's allocator counts it."""

CONTEXT_BYTES = 2**30
"""Reserve outside the allocator: the driver's context and the buffers of collectives. An assumption."""

FRAGMENTATION = 0.05
"""Reserve inside it: share of activations, logits and transients by which reserved exceeds allocated. An assumption."""

GATHERED_LAYERS = 2
"""Layers whose sharded weights are there in full at once: the one that runs, and the next."""

_COMES_AND_GOES = ("activations", "logits", "transient", "gathered")


@frozen
class Memory:
    """Bytes of the fullest device, by part; a reserve beside them.

    Attributes:
        parts: bytes by name, see PARTS; they sum to what the allocator calls allocated.
        reserve_bytes: context, collectives and fragmentation, stated, not computed.
    """

    parts: Mapping[str, Lane] = field(hash=False)
    reserve_bytes: Lane

    @property
    def allocated_bytes(self) -> Lane:
        """The sum of the parts: what torch.cuda.max_memory_allocated reports."""
        return sum(self.parts.values())

    @property
    def total_bytes(self) -> Lane:
        """Allocated and reserve."""
        return self.allocated_bytes + self.reserve_bytes


@frozen
class _Stage:
    """One pipeline stage: how much of the model it has."""

    first_layers: Lane
    rest_layers: Lane
    embedding: Lane
    head: Lane
    flights: Lane
    loss: bool


def device_memory(holding: Holding, layout: Layout, *, gradient_bytes: float = 4, optimizer: str = "adamw") -> Memory:
    """Bytes by part on the fullest device at the fullest moment.

    The first stage holds min(pp, micro-batches) micro-batches in flight, under interleaving min(pp + (pp - 1) / vp, ...);
    the last stage holds head, logits and loss. Moments: the loss; a layer's way back; the embedding's gradient.

    Args:
        holding: the model under the software's kernels, see `holding_of`.
        layout: its fields may be arrays, all of one length.
        gradient_bytes: per parameter, as the software accumulates.
        optimizer: see `optimizers`.

    Raises:
        BadValueError: an unknown optimizer.

    Source: Korthikanti et al. 2022 (arXiv 2205.05198), sections 4 and 5; Rajbhandari et al. 2019, ZeRO (arXiv 1910.02054), section 3.
    """
    state = optimizer_bytes(holding.work, optimizer)
    moments = [
        moment
        for stage in _stages(holding, layout)
        for moment in _moments(holding, layout, stage, _states(holding, layout, stage, gradient_bytes, state))
    ]
    parts = _fullest(moments)
    loose = sum(parts[name] for name in _COMES_AND_GOES)
    return Memory(parts=parts, reserve_bytes=CONTEXT_BYTES + FRAGMENTATION * loose)


def _stages(holding: Holding, layout: Layout) -> tuple[_Stage, ...]:
    """The first stage, the second, and the last; with one stage they are the same."""
    work, staged = holding.work, layout.pp > 1
    layers = up(work.layers / layout.pp)
    dense = smaller(layers, holding.num_first)
    left = greater(holding.num_first - layers, 0)
    micro = layout.global_batch / (layout.dp * layout.micro_batch)
    chunked = layout.vp > 1
    first = smaller(micro, layout.pp + choose(chunked, (layout.pp - 1) / layout.vp, 0))
    second = smaller(micro, greater(first - 1, 1))
    last = smaller(micro, choose(chunked, layout.pp - (layout.pp - 1) / layout.vp, 1))
    tied = holding.work.head_params == 0
    head = work.embedding_params if tied else work.head_params
    end = smaller(layers, smaller(left, layers))
    return (
        _Stage(
            first_layers=dense,
            rest_layers=layers - dense,
            embedding=1,
            head=choose(staged, 0, 0 if tied else head),
            flights=first,
            loss=False,
        ),
        _Stage(first_layers=end * 1, rest_layers=layers - end, embedding=0, head=0, flights=choose(staged, second, 0), loss=False),
        _Stage(
            first_layers=choose(staged, 0, dense),
            rest_layers=choose(staged, layers, layers - dense),
            embedding=choose(staged, 0, 1),
            head=choose(staged, head, 0 if tied else head),
            flights=last,
            loss=True,
        ),
    )


def _states(holding: Holding, layout: Layout, stage: _Stage, gradient_bytes: float, state: float) -> dict[str, Lane]:
    work, kernels, size = holding.work, holding.kernels, holding.element_bytes
    trained = work.trained_params / work.params
    tables = stage.embedding * work.embedding_params + stage.head
    dense = (stage.first_layers * holding.first.dense_params + stage.rest_layers * holding.rest.dense_params + tables) / layout.tp
    expert = (stage.first_layers * holding.first.expert_params + stage.rest_layers * holding.rest.expert_params) / layout.ep
    replicas = layout.dp * layout.cp
    expert_replicas = greater(layout.tp * replicas / layout.ep, 1)
    three = layout.zero >= 3
    cut = choose(three, choose(layout.shard > 0, layout.shard, layout.dp) * layout.cp, replicas)
    expert_cut = smaller(choose(three, greater(layout.tp * cut / layout.ep, 1), expert_replicas), expert_replicas)

    def held(from_stage: int) -> Lane:
        sharded = layout.zero >= from_stage
        return dense / choose(sharded, cut, 1) + expert / choose(sharded, expert_cut, 1)

    masters = 4 * trained if kernels.masters and size < 4 else 0.0
    stored: float = size if kernels.masters else 4 * trained + size * (1 - trained)
    copies = 0.0 if kernels.masters or size >= 4 else size * trained
    layer = greater(
        holding.first.dense_params / layout.tp + holding.first.expert_params / layout.ep,
        holding.rest.dense_params / layout.tp + holding.rest.expert_params / layout.ep,
    )
    whole = dense + expert
    gathered = smaller(GATHERED_LAYERS * layer * size, (stored + copies) * (whole - held(3)))
    gradients = gradient_bytes * trained
    reduced = smaller(layer * size, gradients * (whole - held(2)))
    return {
        "weights": stored * held(3) + copies * choose(three, 0, whole),
        "gradients": gradients * held(2),
        "master_weights": masters * held(1),
        "optimizer": state * trained * held(1),
        "gathered": choose(three, gathered, 0) + choose(layout.zero >= 2, reduced, 0),
    }


def _moments(holding: Holding, layout: Layout, stage: _Stage, states: dict[str, Lane]) -> list[dict[str, Lane]]:
    work, kernels, size = holding.work, holding.kernels, holding.element_bytes
    tokens_share = layout.micro_batch / layout.cp

    def bytes_of(kept: Kept) -> Lane:
        outer = choose(layout.sequence_parallel, layout.tp, 1)
        return tokens_share * (kept.outer / outer + (kept.inner + kept.scores + kept.routed + choose(layout.cp > 1, kept.apart, 0)) / layout.tp)

    def on_stage(value: Mapping[str, Lane]) -> Lane:
        return stage.first_layers * value["first"] + stage.rest_layers * value["rest"]

    kept = {name: _kept(holding, layout, layer, bytes_of) for name, layer in (("first", holding.first), ("rest", holding.rest))}
    end = stage.embedding * bytes_of(holding.first_end)
    plane = tokens_share * work.seq_len * work.width * size
    whole = choose(layout.sequence_parallel, plane * choose(layout.tp > 1, 2, 0), 0)  # gathered: an input and its gradient
    back = greater(bytes_of(holding.first.passing), bytes_of(holding.rest.passing)) + whole
    again = greater(
        bytes_of(holding.first.kept) - kept["first"],
        bytes_of(holding.rest.kept) - kept["rest"],
    )
    buffers = kernels.workspace_bytes + (kernels.expert_workspace_bytes if work.experts > 1 else 0)
    dummies = _dummies(holding, stage) / layout.tp
    received = choose(layout.pp > 1, 2 * plane / choose(layout.sequence_parallel, layout.tp, 1), 0)
    micro = layout.global_batch / (layout.dp * layout.micro_batch)
    kept_gradients = 1.0 if kernels.keeps_gradients else choose(micro > 1, 1.0, 0.0)
    base = dict(states) | {"logits": 0.0, "buffers": dummies + received + buffers}
    layers = stage.flights * (on_stage(kept) + end)
    moments = [
        base | {"activations": layers, "transient": back + again},
        base | {"activations": layers * (stage.flights - 1) / greater(stage.flights, 1), "transient": work.embedding_params * size / layout.tp * stage.embedding},
    ]
    if stage.loss:
        entries = tokens_share * work.seq_len * work.vocab / layout.tp
        head = bytes_of(holding.last_end)
        gradient = work.width * work.vocab * 2 / layout.tp if kernels.dummy_gradients else 0.0
        moments.append(
            base
            | {
                "gradients": states["gradients"] * kept_gradients,
                "activations": layers,
                "logits": entries * kernels.logit_bytes + head,
                "transient": gradient + whole + plane / choose(layout.sequence_parallel, layout.tp, 1) * kernels.dummy_gradients,
            }
        )
    return moments


def _dummies(holding: Holding, stage: _Stage) -> Lane:
    """A 16-bit gradient of each shape of matrix on the stage, before tensor parallelism."""
    if not holding.kernels.dummy_gradients:
        return 0.0
    first, rest = (2.0 * sum(n * k for n, k in layer.shapes) for layer in (holding.first, holding.rest))
    both = 2.0 * sum(n * k for n, k in holding.first.shapes | holding.rest.shapes)
    return choose(stage.first_layers > 0, choose(stage.rest_layers > 0, both, first), rest)


def _kept(holding: Holding, layout: Layout, layer: Layer, bytes_of: object) -> Lane:
    """Kept of one layer under the layout's recomputation."""
    work, size = holding.work, holding.element_bytes
    whole = bytes_of(layer.kept)  # type: ignore[operator]
    cheap = bytes_of(layer.cheap)  # type: ignore[operator]
    entry = bytes_of(Kept(outer=float(work.seq_len * work.width * size)))  # type: ignore[operator]
    part = choose(layout.selective, whole - cheap, whole)
    return choose(layout.full, entry, part)


def _fullest(moments: Sequence[dict[str, Lane]]) -> dict[str, Lane]:
    best = {name: moments[0].get(name, 0.0) for name in PARTS}
    most = sum(best.values())
    for moment in moments[1:]:
        total = sum(moment.values())
        more = total > most
        best = {name: choose(more, moment.get(name, 0.0), best[name]) for name in PARTS}
        most = greater(total, most)
    return best
