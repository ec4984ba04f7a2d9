"""device_memory: what the fullest device of a layout holds at the fullest moment of a step, by part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from estimators.cost.array_math import Lane, choose, greater, smaller, up
from estimators.cost.layout import Layout
from estimators.cost.software import DEFAULT_STACK, stack
from estimators.frozen import field, frozen
from estimators.memory.kernels import BY_STACK
from estimators.memory.layer_memory import LayerMemory, ModelMemory, model_memory_of
from estimators.memory.saved import SavedActivations
from estimators.memory.state import PipelineStage, micro_batches, optimizer_bytes, stages_of, states_of
from estimators.spec import Model

PARTS = {
    "weights": "weights, and 16-bit copies of fp32 weights",
    "gradients": "gradients",
    "master_weights": "fp32 weights beside those computed with",
    "optimizer": "optimizer state",
    "gathered": "sharded weights of the layers that run",
    "reducing": "gradients of a layer before they are shared out",
    "activations": "activations kept for backward",
    "logits": "logits, loss and what the head keeps",
    "transient": "held for a moment on the way back: gradients of activations, a layer run again, a gradient of a matrix",
    "buffers": "gradient buffers of fused matrix products, buffers of the pipeline, workspaces of matrix libraries",
}
"""What a device holds, as the framework's allocator counts it."""

CONTEXT_BYTES = 2**30
"""Reserve outside the allocator: the driver's context and the buffers of collectives. An assumption, not a fit."""

FRAGMENTATION = 0.05
"""Reserve inside it: share of what comes and goes by which reserved exceeds allocated. An assumption, not a fit."""

_COMES_AND_GOES = ("activations", "logits", "transient")
"""What the allocator takes and gives back in changing sizes; buckets of sharded weights and gradients are taken once."""


@frozen
class Memory:
    """Bytes of the fullest device, by part; a reserve beside them.

    Attributes:
        parts: bytes by name, see PARTS; they sum to what the allocator calls allocated.
        reserve_bytes: context, collectives and fragmentation: stated, not computed.
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


def memory_of(
    model: Model,
    seq_len: int,
    layout: Layout,
    *,
    stack_id: str = DEFAULT_STACK,
    dtype: str = "bf16",
    optimizer: str = "adamw",
) -> Memory:
    """Memory of a model's training step under a software of stacks.json.

    Llama 2 7B, AdamW in mixed precision, sharded over 8 devices by ZeRO-3: 18 bytes per parameter over 8 is 14.1 GiB of states.

    >>> from estimators.validation.model import shipped_model
    >>> layout = Layout(dp=8, zero=3, global_batch=8)
    >>> parts = memory_of(shipped_model("llama-2-7b"), 4096, layout).parts
    >>> round(sum(parts[name] for name in ("weights", "gradients", "master_weights", "optimizer")) / 2**30, 2)
    14.12

    Raises:
        BadValueError: an unknown optimizer, a model that layouts do not apply to.
        UnknownNameError: an unknown software.
    """
    chosen = stack(stack_id)
    model_memory = model_memory_of(model, seq_len, BY_STACK[stack_id], dtype)
    return device_memory(model_memory, layout, gradient_bytes=chosen.gradient_bytes, optimizer=optimizer)


def device_memory(model_memory: ModelMemory, layout: Layout, *, gradient_bytes: float = 4, optimizer: str = "adamw") -> Memory:
    """Bytes by part on the fullest device at the fullest moment of a step.

    Stages: the first, the second, the last. Moments: a layer's way back with everything still kept; the end of backward,
    with every gradient there; the embedding's gradient; the loss.

    Args:
        model_memory: the model under the software's kernels, see `model_memory_of`.
        layout: its fields may be arrays, all of one length.
        gradient_bytes: per parameter, as the software accumulates.
        optimizer: see `optimizers`.

    Raises:
        BadValueError: an unknown optimizer.
    """
    state_bytes = optimizer_bytes(model_memory.work, optimizer)
    moments: list[dict[str, Lane]] = []
    for stage in stages_of(model_memory, layout):
        states = states_of(model_memory, layout, stage, gradient_bytes=gradient_bytes, state_bytes=state_bytes)
        moments += _moments(model_memory, layout, stage, states)
    parts = _fullest(moments)
    return Memory(parts=parts, reserve_bytes=CONTEXT_BYTES + FRAGMENTATION * sum(parts[name] for name in _COMES_AND_GOES))


def _on_device(layout: Layout, key_heads: int) -> Callable[[SavedActivations], Lane]:
    """From bytes of one sequence to those of one micro-batch on one device."""
    outer = choose(layout.sequence_parallel, layout.tp, 1)
    repeated = 1 / smaller(layout.tp, greater(key_heads, 1)) - 1 / layout.tp

    def share(kept: SavedActivations) -> Lane:
        inner = kept.inner + kept.scores + kept.routed + choose(layout.cp > 1, kept.apart, 0)
        return layout.micro_batch / layout.cp * (kept.outer / outer + inner / layout.tp + kept.keys * repeated)

    return share


def _moments(model_memory: ModelMemory, layout: Layout, stage: PipelineStage, states: dict[str, Lane]) -> list[dict[str, Lane]]:
    work, kernels, first, rest = model_memory.work, model_memory.kernels, model_memory.first, model_memory.rest
    share, shown = _on_device(layout, work.kv_heads), choose(layout.sequence_parallel, layout.tp, 1)
    whole_plane = layout.micro_batch / layout.cp * work.seq_len * work.width * model_memory.stream_bytes
    plane = work.streams * whole_plane / shown
    gathered = choose(layout.sequence_parallel, choose(layout.tp > 1, 2 * whole_plane, 0), 0)  # a matrix's input, and its gradient

    kept = [_kept(layout, layer, plane, share) for layer in (first, rest)]
    pass_bytes = stage.of_layers(*kept) + stage.embedding * share(model_memory.first_end) + model_memory.shared_bytes / layout.cp
    all_passes, others = stage.flights * pass_bytes, greater(stage.flights - 1, 0) * pass_bytes
    back = greater(*(share(layer.kept) - left + share(layer.passing) for layer, left in zip((first, rest), kept, strict=True))) + gathered

    live = 1.0 if kernels.keeps_gradients else choose(micro_batches(layout) > 1, 1.0, 0.0)
    begun = states["gradients"] * greater(live, work.head_params / work.params if stage.loss else 0.0)
    table = 2 * work.embedding.on_rank(layout.tp) * stage.embedding if kernels.dummy_gradients else 0.0
    base = states | {"logits": 0.0, "buffers": _buffers(model_memory, layout, stage, plane)}
    moments = [
        base | {"gradients": begun, "reducing": states["reducing"] * live, "activations": all_passes, "transient": back},
        base | {"activations": others + greater(*kept), "transient": back},
        base | {"activations": others, "transient": table},
    ]
    if stage.loss:
        tokens, vocab = layout.micro_batch / layout.cp * work.seq_len, up(work.vocab / layout.tp)
        entries = tokens * work.width if kernels.chunked_loss else tokens * vocab
        of_head = 2 * work.width * vocab + plane if kernels.dummy_gradients or kernels.chunked_loss else 0.0
        logits = entries * kernels.logit_bytes + share(model_memory.last_end)
        moments.append(
            base
            | {"gradients": states["gradients"] * live, "reducing": states["reducing"] * live}
            | {"activations": all_passes, "logits": logits, "transient": of_head + gathered}
        )
    return moments


def _kept(layout: Layout, layer: LayerMemory, plane: Lane, share: Callable[[SavedActivations], Lane]) -> Lane:
    """Kept of one layer: all, without what is cheap to recompute, or its input alone."""
    everything = share(layer.kept)
    return choose(layout.full, plane, choose(layout.selective, everything - share(layer.cheap), everything))


def _buffers(model_memory: ModelMemory, layout: Layout, stage: PipelineStage, plane: Lane) -> Lane:
    kernels = model_memory.kernels
    fixed = kernels.workspace_bytes + (kernels.expert_workspace_bytes if model_memory.work.experts > 1 else 0)
    received = choose(layout.pp > 1, 2 * plane, 0)
    if not kernels.dummy_gradients:
        return fixed + received + _unpacked(model_memory, layout.tp)
    first, rest, both = (
        2.0 * sum(shape.elements(layout.tp) for shape in shapes)
        for shapes in (model_memory.first.shapes, model_memory.rest.shapes, model_memory.first.shapes | model_memory.rest.shapes)
    )
    dummies = choose(stage.first_layers > 0, choose(stage.rest_layers > 0, both, first), rest)
    return fixed + received + dummies


def _unpacked(model_memory: ModelMemory, ranks: Lane) -> Lane:
    """The 16-bit matrix that is made of a stored 4-bit one while it is multiplied; the largest, none where nothing is quantised."""
    if not model_memory.work.quantised_params:
        return 0.0
    return 2.0 * model_memory.largest_matrix(ranks)


def _fullest(moments: Sequence[dict[str, Lane]]) -> dict[str, Lane]:
    """The moment with the largest sum, lane by lane."""
    best = {name: moments[0][name] for name in PARTS}
    most = sum(best.values())
    for moment in moments[1:]:
        total = sum(moment[name] for name in PARTS)
        more = total > most
        best = {name: choose(more, moment[name], best[name]) for name in PARTS}
        most = greater(total, most)
    return best
