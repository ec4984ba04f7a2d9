"""RT-DETR: a residual network, an encoder that mixes its maps by filters, and a decoder that looks at a few places of them."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.convolution import Convolution, Map, after
from estimators.architectures.detection import Finder, box_rows, class_rows, query_rows
from estimators.architectures.maps import on_map
from estimators.architectures.rows import edge_norm, linear, parameters, spare
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload

FUSIONS = 3
"""Pairs of filters in each mix of two maps. Source: transformers 5.24, RTDetrCSPRepLayer."""


@frozen
class HybridEncoder:
    """Layers of attention over some maps, then maps mixed from the smallest to the largest, and back.

    Attributes:
        width: channels of all maps.
        layers: of attention; None for none.
        attended: which maps they run over, each with layers of its own.
        inner: channels of a mix.
        function: name of the activation.

    Source: Zhao et al. 2023, DETRs Beat YOLOs on Real-time Object Detection (arXiv 2304.08069), section 4.2.
    """

    width: int
    layers: Block | None
    attended: tuple[int, ...]
    inner: int
    function: str

    def ops(self, w: Workload, prefix: str, sizes: tuple[Map, ...]) -> list[Op]:
        """Rows over maps of these sizes, the largest first."""
        table, last = list[Op](), len(sizes) - 1
        for index in self.attended if self.layers else ():
            assert self.layers is not None
            table += self.layers.ops(on_map(w, sizes[index]), self.width, f"{prefix}.map.{index}.layer")
        for index in range(last, 0, -1):
            table += self._filter(f"{prefix}.down.{index}", sizes[index]).ops(w)
            table += self._mix(w, f"{prefix}.down.{index - 1}.mix", sizes[index - 1])
        for index in range(1, last + 1):
            table += self._filter(f"{prefix}.up.{index}", sizes[index], kernel=3, before=sizes[index - 1]).ops(w)
            table += self._mix(w, f"{prefix}.up.{index}.mix", sizes[index])
        return table

    def _mix(self, w: Workload, prefix: str, size: Map) -> list[Op]:
        """Two maps joined, mixed by filters of 3 x 3 and of 1 x 1 side by side, and past them."""
        d, inner = self.width, self.inner
        filters = [
            self._filter(f"{prefix}.conv1", size, channels=(2 * d, inner)),
            self._filter(f"{prefix}.conv2", size, channels=(2 * d, inner)),
            self._filter(f"{prefix}.wide", size, channels=(inner, inner), kernel=3, count=FUSIONS, activation=False),
            self._filter(f"{prefix}.narrow", size, channels=(inner, inner), count=FUSIONS),
        ]
        if inner != d:
            filters.append(self._filter(f"{prefix}.conv3", size, channels=(inner, d)))
        return [op for each in filters for op in each.ops(w)]

    def _filter(
        self,
        name: str,
        size: Map,
        *,
        channels: tuple[int, int] | None = None,
        kernel: int = 1,
        before: Map | None = None,
        count: int = 1,
        activation: bool = True,
    ) -> Convolution:
        c_in, c_out = channels or (self.width, self.width)
        return Convolution(
            name=name,
            count=count,
            channels_in=c_in,
            channels_out=c_out,
            kernel=(kernel, kernel),
            before=before or size,
            after=size,
            activation=activation,
            function=self.function,
        )


@frozen
class RealTimeDetr(Finder):
    """RT-DETR, and its second version.

    Attributes:
        read: stages of the backbone whose maps are read, from 0.
        encoder: of these maps.
        levels: maps that the decoder looks at: the encoder's, and smaller ones made of its last.
        width: D of the decoder.
        decoder: layers over queries.
        queries: that are chosen among all positions. Training on boxes adds others, of boxes with noise, and no step here has them.
        classes: that each query is sorted into.
        noisy: whether there is a table of classes for boxes with noise.
        heads: whether every layer of the decoder sorts and boxes its queries; else it is the model without heads.
        spare_heads: whether the same are held once more, which no step uses.

    Source: Zhao et al. 2023 (arXiv 2304.08069), section 4.
    """

    read: tuple[int, ...]
    encoder: HybridEncoder
    levels: int
    width: int
    decoder: Block
    queries: int
    classes: int
    noisy: bool
    heads: bool
    spare_heads: bool = False

    @property
    def left_out(self) -> str:
        """Queries of boxes with noise: how many follows from the boxes of a batch."""
        return "queries that training adds of boxes with noise, about two for each of num_denoising" if self.noisy else ""

    def read_sizes(self) -> tuple[Map, ...]:
        """Of the maps that are read, the largest first."""
        sizes = self.backbone.maps(self.image).sizes
        return tuple(sizes[index] for index in self.read)

    def demand_maps(self, sizes: tuple[Map, ...]) -> None:
        """Refuse maps that do not fit: each is enlarged to twice its size and joined with the one before it.

        Raises:
            BadValueError: with the next larger size that fits.
        """
        read = [sizes[index] for index in self.read]
        if any((2 * small[0], 2 * small[1]) != large for large, small in pairwise(read)):
            stride = 2 ** (2 + self.read[-1] + self.backbone.shrinks_first_stage)
            fits = " x ".join(str(-(-side // stride) * stride) for side in self.image)
            raise BadValueError(
                f"{self.sample}: {self.name} joins each map with the next, enlarged to twice its size; give sides that are multiples of "
                f"{stride}, such as {fits}"
            )

    def rows(self, workload: Workload) -> tuple[Op, ...]:
        """Rows of one step over batch images of its size."""
        maps, sizes = self.backbone.maps(self.image), self.read_sizes()
        table = maps.ops(workload, "backbone")
        for index, size in zip(self.read, sizes, strict=True):
            table += self._lateral(f"encoder.projection.{index + 1}", (self.backbone.widths[index], self.encoder.width), size).ops(workload)
        table += self.encoder.ops(workload, "encoder", sizes)
        shown = list(sizes)
        for level in range(self.levels):
            if level < len(sizes):
                layer = self._lateral(f"decoder.projection.{level + 1}", (self.encoder.width, self.width), sizes[level])
            else:
                shown.append(after(sizes[-1], kernel=3, stride=2, padding=1))
                layer = self._lateral(f"decoder.projection.{level + 1}", (self.encoder.width, self.width), sizes[-1], smaller=shown[-1])
            table += layer.ops(workload)
        return (*table, *self._chosen(workload, sum(map(math.prod, shown))), *self._decoder(workload, sum(map(math.prod, shown))))

    def _lateral(self, name: str, channels: tuple[int, int], size: Map, *, smaller: Map | None = None) -> Convolution:
        """A filter of 1 x 1, or of 3 x 3 that shrinks the map, and a norm over the batch."""
        kernel = 3 if smaller else 1
        return Convolution(
            name=name,
            channels_in=channels[0],
            channels_out=channels[1],
            kernel=(kernel, kernel),
            before=size,
            after=smaller or size,
            activation=False,
        )

    def _chosen(self, w: Workload, positions: int) -> list[Op]:
        """Every position is sorted and boxed, and the best become queries."""
        everywhere = replace(w, seq_len=positions)
        rows, d = everywhere.num_tokens, self.width
        return [
            linear(everywhere, "choice", "projection", "head", cut="whole", d_in=d, d_out=d, bias=True),
            edge_norm(everywhere, "choice", width=d, bias=LAYER_NORM.bias),
            *class_rows(everywhere, "choice", d, self.classes, rows=rows),
            *box_rows(everywhere, "choice.box", d, rows=rows),
        ]

    def _decoder(self, w: Workload, positions: int) -> list[Op]:
        written, d, layers = replace(w, seq_len=self.queries, source_len=positions), self.width, self.decoder.count
        placed = partial(linear, written, "decoder.position", "projection", "embedding", cut="whole", bias=True)
        each = layers * written.num_tokens
        table = [
            placed(label="in", d_in=4, d_out=2 * d, rows=each, input_grad=False),
            placed(label="out", d_in=2 * d, d_out=d, rows=each),
            *query_rows(self.decoder, written, d, "decoder"),
        ]
        if self.noisy:
            table.append(parameters(w, "decoder", "noisy_classes", "embedding", num=(self.classes + 1) * d))
        if self.heads:
            rows = written.num_tokens
            heads = [
                *class_rows(written, "head", d, self.classes, rows=rows, count=layers),
                *box_rows(written, "head.box", d, rows=rows, count=layers),
            ]
            table += heads
            if self.spare_heads:
                table.append(spare("head", "unused", "head", num=sum(op.params for op in heads), count=layers))
        return table
