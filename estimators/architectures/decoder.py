"""Decoder-only language models: an embedding, blocks of layers, a head."""

from __future__ import annotations

import functools
from typing import ClassVar

from estimators.architectures.attention import Attention
from estimators.architectures.block import RMS_NORM, Block, Norm
from estimators.architectures.connections import Connections
from estimators.architectures.feed_forward import Experts, FeedForward
from estimators.architectures.layer_inputs import LayerInputs
from estimators.architectures.left_alone import component_of
from estimators.architectures.prediction import PredictionLayers
from estimators.architectures.quantised import Quantisation, served_in
from estimators.architectures.rows import edge_norm, linear, lookup
from estimators.frozen import frozen, replace
from estimators.spec import PHASES, Item, Model, Op, Phase, Source, Workload
from estimators.stack import Stack
from estimators.weight_formats import WeightFormat


@frozen
class Decoder(Model):
    """A stack of layers between an embedding and a head.

    Attributes:
        vocab, width: V, D.
        blocks: equal layers, gathered; the one with the first layer comes first.
        order: the block of each layer, where layers alternate; empty where the blocks follow one another.
        positions: rows of a learned position table; 0 for rotary, relative or no positions.
        max_positions: the longest sequence that the model was made for.
        spare_rows: of the table of tokens, beside V.
        embedding_width: where it differs from D, two projections lead in and out; None for D.
        embedding_norm: a norm right behind the embedding; None for none.
        final_norm: before the head; None for none.
        tied: whether the head reuses the token embedding.
        head_bias: whether the head has a bias.
        capped: whether a tanh holds the logits within bounds.
        layer_inputs: embeddings of each layer's own; None for none.
        prediction: layers beside the decoder that predict further tokens; counted by themselves, not in `ops`.
        stored: how a quantised checkpoint holds the matrices of layers; None for as they are computed with.
        left_out: what the configuration has beside the decoder and is not counted; empty for nothing.
    """

    item: ClassVar[Item] = "token"
    phases: ClassVar[tuple[Phase, ...]] = PHASES

    name: str
    source: Source
    vocab: int
    width: int
    blocks: tuple[Block, ...]
    max_positions: int
    positions: int = 0
    spare_rows: int = 0
    embedding_width: int | None = None
    embedding_norm: Norm | None = None
    final_norm: Norm | None = RMS_NORM
    tied: bool = False
    head_bias: bool = False
    capped: bool = False
    left_out: str = ""
    order: tuple[int, ...] = ()
    layer_inputs: LayerInputs | None = None
    prediction: PredictionLayers | None = None
    stored: Quantisation | None = None

    @property
    def layers(self) -> int:
        """L: layers of all blocks."""
        return sum(block.count for block in self.blocks)

    @property
    def connections(self) -> Connections | None:
        """What stands around all its layers, or their parts, in place of a residual."""
        return self.blocks[-1].connections

    @property
    def streams(self) -> int:
        """What layers hand on of each token, in vectors of model width."""
        return self.connections.streams if self.connections else 1

    @property
    def stack(self) -> Stack:
        """Its layers."""
        parts = [(block.count, part) for block in self.blocks for _, part in block.parts]
        return Stack(
            layers=self.layers,
            width=self.width,
            streams=self.streams,
            vocab=self.vocab,
            heads=max((part.heads for _, part in parts), default=0),
            kv_heads=max((part.kv_heads for _, part in parts), default=0),
            kv_elements=sum(count * part.cache_elements_per_token for count, part in parts),
        )

    @property
    def plain_block(self) -> tuple[Block, FeedForward] | None:
        """The one kind of layer with attention and a feed-forward without experts, if all layers are of it.

        The literature's closed formulas assume such a model.
        """
        if len(self.blocks) != 1 or self.embedding_width is not None or len(self.blocks[0].parts) != 2:
            return None
        feed_forward = next((part for _, part in self.blocks[0].parts if isinstance(part, FeedForward)), None)
        attention = next((part for _, part in self.blocks[0].parts if isinstance(part, Attention)), None)
        usual = attention is not None and not (attention.output_gate or attention.keys_are_values)
        return (self.blocks[0], feed_forward) if feed_forward and usual else None

    @property
    def code_paths(self) -> dict[str, Decoder]:
        """The ways in which this model is run at different cost, name to model; the first is what `ops` counts by default.

        Empty where there is no choice. Latent attention: a decode step expands the cached latents anew, or multiplies the
        latents themselves.
        """
        paths = next((part.code_paths for block in self.blocks for _, part in block.parts if part.code_paths), {})
        return {name: self._on_path(name) for name in paths}

    def _on_path(self, name: str) -> Decoder:
        def along(block: Block) -> Block:
            return replace(block, parts=tuple((key, part.code_paths.get(name, part)) for key, part in block.parts))

        prediction = self.prediction and replace(self.prediction, block=along(self.prediction.block))
        return replace(self, blocks=tuple(along(block) for block in self.blocks), prediction=prediction)

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step. Raises BadValueError for samples that are no text."""
        self.demand_sample(workload)
        return op_table(self, workload)

    def layer_ops(self, workload: Workload) -> tuple[tuple[Op, ...], ...]:
        """The rows of each block, in their order."""
        return tuple(self._held(workload, self._block_ops(workload, i)) for i in range(len(self.blocks)))

    def edge_ops(self, workload: Workload) -> tuple[tuple[Op, ...], tuple[Op, ...]]:
        """The rows before the first layer and those behind the last, as they are held."""
        return self._held(workload, self.embedding_ops(workload)), self._held(workload, self.head_ops(workload))

    def _block_ops(self, workload: Workload, index: int) -> list[Op]:
        return self.blocks[index].ops(workload, self.width, self.prefix(index))

    def _held(self, workload: Workload, table: list[Op]) -> tuple[Op, ...]:
        return tuple(table if self.stored is None else (self.stored.held(workload, op) for op in table))

    def components(self) -> tuple[frozenset[str], ...]:
        """Of each layer, what its matrices are of; see `left_alone`."""
        step = Workload(phase="decode", context_len=1)
        of = [frozenset(component_of(op) for op in self._block_ops(step, i) if op.mnk and op.params) for i in range(len(self.blocks))]
        return tuple(of[i] for i in self.order or [i for i, block in enumerate(self.blocks) for _ in range(block.count)])

    def prefix(self, index: int) -> str:
        """What the rows of a block are called before their own names."""
        return "layer" if len(self.blocks) == 1 else f"layer.{index}"

    def embedding_ops(self, w: Workload) -> list[Op]:
        """Rows before the first layer."""
        edge = self.embedding_width or self.width
        table = [lookup(w, "embedding", "token", num_rows=self.vocab + self.spare_rows, width=edge)]
        if self.positions:
            table.append(lookup(w, "embedding", "position", num_rows=self.positions, width=self.width))
        if edge != self.width:
            table.append(linear(w, "embedding", "project_in", "embedding", cut="whole", d_in=edge, d_out=self.width))
        if self.embedding_norm:
            table.append(self._norm(w, "embedding", self.embedding_norm))
        if self.layer_inputs:
            table += self.layer_inputs.ops(w, self.width, self.layers)
        return [*table, *self.connections.begin_ops(w, self.width)] if self.connections else table

    def head_ops(self, w: Workload) -> list[Op]:
        """Rows behind the last layer. Head on the last position only in a prefill, as `generate` runs it."""
        edge = self.embedding_width or self.width
        rows = w.batch if w.phase == "prefill" else w.num_tokens
        table = self.connections.end_ops(w, self.width) if self.connections else []
        table += [self._norm(w, "final", self.final_norm)] if self.final_norm else []
        if edge != self.width:
            table.append(linear(w, "head", "project_out", "head", cut="whole", d_in=self.width, d_out=edge))
        owned, bias = not self.tied, self.head_bias
        table.append(linear(w, "", "head", "head", cut="vocabulary", d_in=edge, d_out=self.vocab, bias=bias, rows=rows, owned=owned))
        return table

    def without_unread(self) -> Decoder:
        """The model without matrices that transformers' class holds and nothing reads: published files and engines have none."""
        if not any(isinstance(part, Experts) and part.unread for block in self.blocks for _, part in block.parts):
            return self

        def read(block: Block) -> Block:
            parts = tuple((name, replace(part, unread=0) if isinstance(part, Experts) else part) for name, part in block.parts)
            return replace(block, parts=parts)

        return replace(self, blocks=tuple(read(block) for block in self.blocks))

    def in_format(self, name: WeightFormat) -> Decoder:
        """The model as an engine holds it in a format, whatever its checkpoint was in. Raises BadValueError for an unknown format."""
        return replace(self, stored=served_in(name, self.layers, tied=self.tied))

    def _norm(self, w: Workload, part: str, look: Norm) -> Op:
        gain, bias = look.gain, look.bias
        return edge_norm(w, part, width=self.width, gain=gain, bias=bias)


@functools.lru_cache(maxsize=32)
def op_table(model: Decoder, workload: Workload) -> tuple[Op, ...]:
    """The rows of one step, made once: one answer counts the same step in many ways."""
    layers = (op for i in range(len(model.blocks)) for op in model._block_ops(workload, i))
    return model._held(workload, [*model.embedding_ops(workload), *layers, *model.head_ops(workload)])
