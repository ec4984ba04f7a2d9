"""Deformable DETR: encoder and decoder look at a few places of several maps, in the place of all positions of one."""

from __future__ import annotations

import math
from functools import partial

from estimators.architectures.block import Block
from estimators.architectures.convolution import Convolution, Map, after
from estimators.architectures.detection import Finder, box_rows, class_rows, demand_table, position_rows
from estimators.architectures.freezing import with_gradients
from estimators.architectures.rows import edge_norm, linear, parameters
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class DeformableDetr(Finder):
    """Deformable DETR, with boxes that each layer refines, and with queries that are chosen among all positions, or without.

    Attributes:
        trained: stages of the backbone, from its last, that training changes.
        read: stages whose maps are read, from 0.
        levels: maps that are looked at: those, and smaller ones made of the last.
        width: D of encoder and decoder.
        queries: that the decoder runs on.
        learned_positions: whether rows and columns of a map have learned vectors, rather than sines.
        classes: that each query is sorted into; 0 for the model without heads.
        refines: whether every layer corrects the boxes of the one before, by a network of its own.
        chooses: whether queries are the best of all positions, which are sorted and boxed too (two stages).
        shares_heads: whether all layers sort and box by the same matrices, where they need not differ.

    Source: Zhu et al. 2020, Deformable DETR (arXiv 2010.04159), sections 4.1 and 4.2.
    """

    trained: int
    read: tuple[int, ...]
    levels: int
    width: int
    encoder: Block
    decoder: Block
    queries: int
    learned_positions: bool = False
    classes: int
    refines: bool = False
    chooses: bool = False
    shares_heads: bool = True

    @property
    def pads(self) -> bool:
        """They are padded, and the padding is computed too."""
        return True

    @property
    def trained_stages(self) -> int:
        """As `trained` says."""
        return self.trained

    def demand_maps(self, sizes: tuple[Map, ...]) -> None:
        """Refuse a map that learned positions do not reach across. Raises BadValueError."""
        if self.learned_positions:
            demand_table(self.name, sizes[self.read[0]])

    def rows(self, workload: Workload) -> tuple[Op, ...]:
        """Rows of one step over batch images of its size."""
        d, maps = self.width, self.backbone.maps(self.image)
        projected, shown = self._projections(workload, maps.sizes)
        positions = sum(map(math.prod, shown))
        read = replace(workload, seq_len=positions, source_len=positions)
        written = replace(workload, seq_len=self.queries, source_len=positions)
        table = [
            *maps.ops(workload, "backbone", trained=self.trained),
            *projected,
            *position_rows(workload, d, learned=self.learned_positions),
            parameters(workload, "encoder", "levels", "embedding", num=self.levels * d),
            *self.encoder.ops(read, d, "encoder.layer"),
            *(self._chosen(read, written) if self.chooses else self._learned(written)),
            *self.decoder.ops(written, d, "decoder.layer"),
        ]
        return (*table, *(self._heads(written) if self.classes else ()))

    def _projections(self, w: Workload, sizes: tuple[Map, ...]) -> tuple[list[Op], list[Map]]:
        """Every map as wide as the encoder, and smaller ones made of the last; rows, and the maps."""
        table, shown, lowest = list[Op](), list[Map](), len(sizes) - self.trained
        for level in range(self.levels):
            of_backbone = level <= len(self.read)
            index = self.read[min(level, len(self.read) - 1)]
            before = sizes[index] if of_backbone else shown[-1]
            kernel = 1 if level < len(self.read) else 3
            there = before if kernel == 1 else after(before, kernel=3, stride=2, padding=1)
            layer = Convolution(
                name=f"encoder.projection.{level + 1}",
                channels_in=self.backbone.widths[index] if of_backbone else self.width,
                channels_out=self.width,
                kernel=(kernel, kernel),
                before=before,
                after=there,
                bias=True,
                activation=False,
            )
            fed = not of_backbone or index >= lowest
            table += [op if fed else with_gradients(op, frozen=False, fed=(False,)) for op in layer.ops(w)]
            shown.append(there)
        return table, shown

    def _learned(self, written: Workload) -> list[Op]:
        """Queries with their positions, and where each begins to look."""
        d = self.width
        return [
            parameters(written, "decoder", "queries", "embedding", num=2 * self.queries * d),
            linear(written, "decoder", "projection", "embedding", cut="whole", label="place", d_in=d, d_out=2, bias=True),
        ]

    def _chosen(self, read: Workload, written: Workload) -> list[Op]:
        """All positions sorted and boxed; of the best, their boxes make the queries."""
        d, rows = self.width, read.num_tokens
        return [
            linear(read, "choice", "projection", "head", cut="whole", d_in=d, d_out=d, bias=True),
            edge_norm(read, "choice", width=d, bias=True),
            *class_rows(read, "choice", d, self.classes, rows=rows),
            *box_rows(read, "choice.box", d, rows=rows),
            linear(written, "queries", "projection", "embedding", cut="whole", d_in=2 * d, d_out=2 * d, bias=True, input_grad=False),
            edge_norm(written, "queries", width=2 * d, bias=True),
        ]

    def _heads(self, w: Workload) -> list[Op]:
        """What every layer's queries are sorted and boxed by; boxes that are refined are made in the decoder too, without a gradient."""
        d, layers = self.width, self.decoder.count
        of_all, of_each = {"rows": w.num_tokens * layers, "count": 1}, {"rows": w.num_tokens, "count": layers}
        sorts = of_each if self.chooses or not self.shares_heads else of_all
        boxes = of_each if self.refines or not self.shares_heads else of_all
        table = [*class_rows(w, "head", d, self.classes, **sorts), *box_rows(w, "head.box", d, **boxes)]
        if self.refines:
            again = partial(replace, params=0, weight_bytes=0, backward_flop=0, saved_bytes=0)
            table += [again(op) for op in box_rows(w, "decoder.box", d, rows=w.num_tokens, count=layers)]
        return table
