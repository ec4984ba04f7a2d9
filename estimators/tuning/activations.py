"""What backward reads of one forward pass of a fine-tuning, layer by layer, in the ways that transformers and peft run one."""

from __future__ import annotations

import functools
from typing import Any

from estimators.architectures.adapter_names import DOWN, GATE_UP, UP
from estimators.architectures.adapters import FineTuned, trained
from estimators.architectures.block import Block, Norm
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.architectures.freezing import positions
from estimators.architectures.part import Part, apart
from estimators.architectures.traced_decoder import TracedPart
from estimators.frozen import frozen, replace
from estimators.memory.autograd.layers import Stream, begin_kept, end_kept, layer_tape
from estimators.memory.autograd.tape import INDEX_BYTES, Adapted
from estimators.memory.kernels import AUTOCAST, AUTOCAST_ON_GPU, EAGER, Kernels
from estimators.memory.saved import SavedActivations
from estimators.spec import Workload
from estimators.tuning.job import TuningJob
from estimators.tuning.loss import TARGET_BYTES
from estimators.tuning.weights import adapters_are_wide, decoder_of, norms_are_wide, trained_dtype
from estimators.weight_formats import LAYERS_ALONE, PLAIN

MASK_BYTES = 1
"""Of a dropped element's mask on a GPU. Source: torch, native_dropout (version 2.13); a CPU's is of the element's own size."""

GRADIENTS_HELD = 3
"""Gradients of the feed-forward's width that a layer's way back holds at once: of the product, of the activated gate, of the gate."""


@frozen
class LayerActivations:
    """Layers of one kind.

    Attributes:
        count: of them, those that keep anything.
        kept_bytes: of one row of a pass, by one layer, with nothing recomputed; under checkpointing of the layer that is run again from
            the input that is kept.
        once_bytes: more of all rows together.
        input_bytes: of one row, of a layer's input: what checkpointing keeps.
        passing_bytes: of one row, of gradients that are held at once on the way back through a layer.
        passing_once_bytes: the same of all rows together: the gradient of experts' weights that adapters were added to.
    """

    count: int
    kept_bytes: float
    once_bytes: float
    input_bytes: float
    passing_bytes: float
    passing_once_bytes: float


@frozen
class Activations:
    """What a forward pass leaves for backward.

    Attributes:
        layers: of all kinds, those below the lowest trained one left out.
        edge_bytes: of one row, before the layers and beside them: targets, token ids where they are looked up in a trained table, and what
            is made of that.
        end_bytes: of one row, behind the layers: final norm, the head's input; it is gone when the last layer's way back begins.
        positions_bytes: kept once: sines and cosines, places of tokens where a table of them is trained or layers are run again, and
            1 + gain of the final norm, where it multiplies by that.
        spared_adapters, spared_weights: elements of adapters and of frozen matrices whose 16-bit copies backward does not read, since what
            they multiply needs no gradient.
    """

    layers: tuple[LayerActivations, ...]
    edge_bytes: float
    end_bytes: float
    positions_bytes: float
    spared_adapters: int
    spared_weights: int

    def whole_bytes(self, rows: int) -> float:
        """With nothing recomputed."""
        return self.around_bytes(rows) + sum(layer.count * (rows * layer.kept_bytes + layer.once_bytes) for layer in self.layers)

    def inputs_bytes(self, rows: int) -> float:
        """The inputs of all layers alone."""
        return self.around_bytes(rows) + sum(layer.count * rows * layer.input_bytes for layer in self.layers)

    def one_layer_bytes(self, rows: int) -> float:
        """Of the layer that keeps most."""
        return max((rows * layer.kept_bytes + layer.once_bytes for layer in self.layers), default=0.0)

    def passing_bytes(self, rows: int) -> float:
        """Gradients held at once on the way back through a layer; the largest."""
        return max((rows * layer.passing_bytes + layer.passing_once_bytes for layer in self.layers), default=0.0)

    def around_bytes(self, rows: int) -> float:
        """What is kept of no layer."""
        return rows * (self.edge_bytes + self.end_bytes) + self.positions_bytes


def kernels_of(job: TuningJob, *, on_cpu: bool = False) -> Kernels:
    """What the job's software keeps: transformers, operation by operation; where layers are compiled, one kernel for each norm and gate.

    Args:
        on_cpu: whether a CPU runs it, whose autocast leaves element-wise work in the dtype that it finds.
    """
    wide_weights = trained_dtype(job) == "fp32" and job.autocast != "" and job.sharding != "fsdp"  # FSDP casts what it gathers
    wide_stream = norms_are_wide(job) or wide_weights
    base = (AUTOCAST if on_cpu else AUTOCAST_ON_GPU) if wide_stream and job.autocast else EAGER
    return replace(
        base,
        written_out=not job.compiled,
        fused_attention=job.attention != "eager",
        widened_scores=job.attention == "eager",
        stream_bytes=4 if wide_stream else 0,
        norm_bytes=4 if wide_stream else 0,
    )


def adapted_of(job: TuningJob, model: FineTuned, tokens: int, *, on_cpu: bool = False) -> Adapted:
    """The job's adapters as they run.

    Args:
        on_cpu: whether a CPU runs it, whose dropout keeps a mask of the dtype of what it drops.
    """
    quantised, size = job.method.base_format, 4 if adapters_are_wide(job) else job.dtype_bytes
    return Adapted(
        rank=model.rank,
        targets=model.targets,
        tokens=tokens,
        size=size,
        autocast=job.autocast != "",
        mask_bytes=(size if on_cpu else MASK_BYTES) if job.lora_dropout else 0,
        lengths=job.method.dora,
        returns_input_dtype=quantised in LAYERS_ALONE,
        merges_experts=not job.recipe.quantises_experts,
        keeps_inputs=job.recipe.keeps_frozen_inputs and quantised != PLAIN,
    )


def activations_of(job: TuningJob, seq_len: int, *, on_cpu: bool = False) -> Activations:
    """What one row of `seq_len` tokens leaves.

    Args:
        on_cpu: whether a CPU runs it, see `kernels_of`.

    Raises:
        BadValueError: a model that is no decoder, or that lacks what the method names.
    """
    model = decoder_of(job)
    tuned = trained(model, job.method)
    adapted = adapted_of(job, tuned, seq_len, on_cpu=on_cpu) if isinstance(tuned, FineTuned) and tuned.rank else None
    needs_all = "embedding" in job.saved_modules or (job.trains_adapters and job.checkpointing != "none")
    lowest = tuned.lowest_trained(model) if isinstance(tuned, FineTuned) and not needs_all else None
    recomputed = job.checkpointing != "none"
    looked_up = "embedding" in job.saved_modules or not isinstance(tuned, FineTuned)
    key = (kernels_of(job, on_cpu=on_cpu), job.dtype_bytes, adapted, lowest, recomputed, job.recipe.quantises_experts, looked_up)
    return _activations(model, seq_len, *key)


@functools.lru_cache(maxsize=256)
def _activations(
    model: Any,
    t: int,
    kernels: Kernels,
    size: int,
    adapted: Adapted | None,
    lowest: int | None,
    recomputed: bool,
    one_by_one: bool,
    looked_up: bool,
) -> Activations:
    base: Decoder = model
    stream = Stream(tokens=t, width=base.width)
    stream_size = max(size, kernels.stream_bytes)
    layers, spared = [], (0, 0)
    for index, block in enumerate(base.blocks):
        norms = sum(op.count * op.params for op in block.ops(Workload(), base.width) if op.kind == "norm") // block.count
        places = [place for place in positions(base, index) if place >= (lowest or 0)]
        first = sum(place == lowest for place in places)
        for count, is_lowest in ((first, True), (len(places) - first, False)):
            if count:
                tape = layer_tape(block, stream, kernels, size, adapted, given=recomputed, is_lowest=is_lowest)
                kept = tape.kept()
                spared = (spared[0] + tape.spared_adapters, spared[1] + tape.spared_weights)
                layers.append(
                    LayerActivations(
                        count=count,
                        kept_bytes=kept.per_sequence,
                        once_bytes=kept.once + _gains_bytes(block.norm, norms - (base.width if is_lowest and adapted else 0)),
                        input_bytes=float(t * base.streams * base.width * stream_size),
                        passing_bytes=float(
                            max(GRADIENTS_HELD * size * t * _widest(block, one_by_one), _of_scores(block, t, kernels, size))
                        ),
                        passing_once_bytes=float(size * _merged(block, base.width, adapted)),
                    )
                )
    end = end_kept(base, t, kernels, size, adapted)
    begin = begin_kept(base, t, kernels, size) if adapted is None and lowest is None else SavedActivations()
    turns = not base.positions and any(part.rotary for block in base.blocks for _, part in block.parts)
    head_width = next((part.head_width for block in base.blocks if (part := block.attention)), 0)
    angles = 2 * stream_size * head_width if turns else 0
    return Activations(
        layers=tuple(layers),
        edge_bytes=begin.per_sequence + float(t * (TARGET_BYTES + (INDEX_BYTES if looked_up else 0))),
        end_bytes=end.per_sequence,
        positions_bytes=float(t * (angles + (INDEX_BYTES if recomputed or (base.positions and looked_up) else 0)))
        + end.once
        + _gains_bytes(base.final_norm, base.width),
        spared_adapters=spared[0],
        spared_weights=spared[1],
    )


def _merged(block: Block, width: int, adapted: Adapted | None) -> int:
    """Elements of the largest parameter of experts whose gradient is made whole, for their adapters."""
    if adapted is None or not adapted.merges_experts:
        return 0
    halves = max((each for row, each in ((GATE_UP, 2), (UP, 1), (DOWN, 1)) if row in adapted.targets), default=0)
    return max((part.num * part.width * width * halves for _, part in block.parts if isinstance(part, Experts)), default=0)


def _gains_bytes(norm: Norm | None, params: int) -> int:
    """1 + gain in fp32, where norms multiply by it."""
    return 4 * params if norm and norm.form == "rms_plus_one" else 0


def _of_scores(block: Block, t: int, kernels: Kernels, size: int) -> int:
    """Gradients of an unfused attention's scores: of the probabilities as computed and in fp32, and of what the softmax read."""
    attention = block.attention
    return 0 if kernels.fused_attention or attention is None else attention.heads * t * t * (size + 4 + 4)


def _widest(block: Block, one_by_one: bool) -> float:
    """Columns that a layer's feed-forward makes of one token at once: F, or F of each expert that the token meets.

    Args:
        one_by_one: whether experts run one after the other, so that a token is with one of them, if with any.
    """
    return max((_columns(part, one_by_one) for part in apart(part for _, part in block.parts)), default=0.0)


def _columns(part: Part, one_by_one: bool) -> float:
    if isinstance(part, Experts):
        routed = part.per_token * part.width / (part.num if one_by_one else 1)
        return max(routed, part.shared.width if part.shared else 0) if one_by_one else routed + (part.shared.width if part.shared else 0)
    return part.width if isinstance(part, FeedForward) else part.columns if isinstance(part, TracedPart) else 0
