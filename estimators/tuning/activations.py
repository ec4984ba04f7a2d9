"""What backward reads of one forward pass of a fine-tuning, layer by layer, in the ways that transformers and peft run one."""

from __future__ import annotations

import functools
from typing import Any

from estimators.architectures.adapter_names import DOWN, GATE_UP
from estimators.architectures.adapters import FineTuned, trained
from estimators.architectures.block import Block
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.architectures.freezing import positions
from estimators.architectures.part import Part
from estimators.frozen import frozen, replace
from estimators.memory.autograd.layers import Stream, begin_kept, end_kept, layer_kept
from estimators.memory.autograd.tape import Adapted
from estimators.memory.kernels import AUTOCAST_ON_GPU, EAGER, Kernels
from estimators.memory.saved import SavedActivations
from estimators.tuning.job import TuningJob
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
        edge_bytes: of one row, before the layers and beside them: token ids, and what is made of the table of tokens.
        end_bytes: of one row, behind the layers: final norm, the head's input; it is gone when the last layer's way back begins.
        positions_bytes: kept once: sines and cosines.
    """

    layers: tuple[LayerActivations, ...]
    edge_bytes: float
    end_bytes: float
    positions_bytes: float

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


def kernels_of(job: TuningJob) -> Kernels:
    """What the job's software keeps: transformers, operation by operation; where layers are compiled, one kernel for each norm and gate."""
    wide_weights = trained_dtype(job) == "fp32" and job.autocast != "" and job.sharding != "fsdp"  # FSDP casts what it gathers
    base = AUTOCAST_ON_GPU if wide_weights and not job.trains_adapters else EAGER
    wide_stream = norms_are_wide(job) or wide_weights
    return replace(
        base,
        written_out=not job.compiled,
        fused_attention=job.attention != "eager",
        widened_scores=job.attention == "eager",
        stream_bytes=4 if wide_stream else 0,
        norm_bytes=4 if wide_stream else 0,
    )


def adapted_of(job: TuningJob, model: FineTuned, tokens: int) -> Adapted:
    """The job's adapters as they run."""
    quantised = job.method.base_format
    return Adapted(
        rank=model.rank,
        targets=model.targets,
        tokens=tokens,
        size=4 if adapters_are_wide(job) else job.dtype_bytes,
        autocast=job.autocast != "",
        mask_bytes=MASK_BYTES if job.lora_dropout else 0,
        lengths=job.method.dora,
        returns_input_dtype=quantised in LAYERS_ALONE,
        merges_experts=not job.recipe.quantises_experts,
        keeps_inputs=job.recipe.keeps_frozen_inputs and quantised != PLAIN,
    )


def activations_of(job: TuningJob, seq_len: int) -> Activations:
    """What one row of `seq_len` tokens leaves.

    Raises:
        BadValueError: a model that is no decoder, or that lacks what the method names.
    """
    model = decoder_of(job)
    tuned = trained(model, job.method)
    adapted = adapted_of(job, tuned, seq_len) if isinstance(tuned, FineTuned) and tuned.rank else None
    needs_all = "embedding" in job.saved_modules or (job.trains_adapters and job.checkpointing != "none")
    lowest = tuned.lowest_trained(model) if isinstance(tuned, FineTuned) and not needs_all else 0
    recomputed = job.checkpointing != "none"
    key = (kernels_of(job), job.dtype_bytes, adapted, lowest, recomputed, job.recipe.quantises_experts)
    return _activations(model, seq_len, *key)


@functools.lru_cache(maxsize=256)
def _activations(
    model: Any, t: int, kernels: Kernels, size: int, adapted: Adapted | None, lowest: int, recomputed: bool, one_by_one: bool
) -> Activations:
    base: Decoder = model
    stream = Stream(tokens=t, width=base.width)
    stream_size = max(size, kernels.stream_bytes)
    layers = []
    for index, block in enumerate(base.blocks):
        count = sum(place >= lowest for place in positions(base, index))
        if count:
            kept = layer_kept(block, stream, kernels, size, adapted, given=recomputed)
            layers.append(
                LayerActivations(
                    count=count,
                    kept_bytes=kept.per_sequence,
                    once_bytes=kept.once,
                    input_bytes=float(t * base.width * stream_size),
                    passing_bytes=float(max(GRADIENTS_HELD * size * t * _widest(block, one_by_one), _of_scores(block, t, kernels, size))),
                    passing_once_bytes=float(size * _merged(block, base.width, adapted)),
                )
            )
    end = end_kept(base.final_norm, stream, kernels, size, adapted)
    begin = begin_kept(base, t, kernels, size) if adapted is None and lowest == 0 else SavedActivations()
    turns = any(part.rotary for block in base.blocks for _, part in block.parts)
    head_width = next((part.head_width for block in base.blocks if (part := block.attention)), 0)
    return Activations(
        layers=tuple(layers),
        edge_bytes=begin.per_sequence + 16.0 * t,
        end_bytes=end.per_sequence,
        positions_bytes=float(t * (8 if base.positions else 2 * stream_size * head_width if turns else 0)) + end.once,
    )


def _merged(block: Block, width: int, adapted: Adapted | None) -> int:
    """Elements of the largest parameter of experts whose gradient is made whole, for their adapters."""
    if adapted is None or not adapted.merges_experts:
        return 0
    halves = max((each for row, each in ((GATE_UP, 2), (DOWN, 1)) if row in adapted.targets), default=0)
    return max((part.num * part.width * width * halves for _, part in block.parts if isinstance(part, Experts)), default=0)


def _of_scores(block: Block, t: int, kernels: Kernels, size: int) -> int:
    """Gradients of an unfused attention's scores: of the probabilities as computed and in fp32, and of what the softmax read."""
    attention = block.attention
    return 0 if kernels.fused_attention or attention is None else attention.heads * t * t * (size + 4 + 4)


def _widest(block: Block, one_by_one: bool) -> float:
    """Columns that a layer's feed-forward makes of one token at once: F, or F of each expert that the token meets.

    Args:
        one_by_one: whether experts run one after the other, so that a token is with one of them, if with any.
    """
    return max((_columns(part, one_by_one) for _, part in block.parts), default=0.0)


def _columns(part: Part, one_by_one: bool) -> float:
    if isinstance(part, Experts):
        routed = part.per_token * part.width / (part.num if one_by_one else 1)
        return max(routed, part.shared.width if part.shared else 0) if one_by_one else routed + (part.shared.width if part.shared else 0)
    return part.width if isinstance(part, FeedForward) else 0
