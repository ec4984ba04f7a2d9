"""DETR: a residual network over an image, an encoder over its last map, and a decoder whose queries each find one object.

A sample is one image, of any size; of a batch the images are padded to the largest, and the padding is computed too.
"""

from __future__ import annotations

import math
from abc import abstractmethod

from estimators.architectures.block import Block, Norm
from estimators.architectures.convolution import Map
from estimators.architectures.freezing import with_gradients
from estimators.architectures.maps import on_map
from estimators.architectures.panoptic import MaskHead
from estimators.architectures.residual import ResidualNetwork
from estimators.architectures.rows import convolution, edge_norm, linear, parameters
from estimators.architectures.vision import Resizable, demand_samples
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.samples import Image
from estimators.spec import Op, Source, Workload

TABLE_SIDE = 50
"""Rows, and columns, of learned positions. Source: transformers 5.24, DetrLearnedPositionEmbedding."""


def box_rows(w: Workload, prefix: str, width: int, *, rows: int, count: int = 1) -> list[Op]:
    """A network of three layers that makes a box, four numbers, of each of `rows` vectors."""
    widths = (("in", width, width), ("middle", width, width), ("out", width, 4))
    return [
        linear(w, prefix, "projection", "head", cut="whole", label=label, d_in=a, d_out=b, bias=True, rows=rows, count=count)
        for label, a, b in widths
    ]


def class_rows(w: Workload, prefix: str, width: int, classes: int, *, rows: int, count: int = 1) -> list[Op]:
    """Logits of classes of each of `rows` vectors."""
    return [linear(w, prefix, "head", "head", cut="whole", label="classes", d_in=width, d_out=classes, bias=True, rows=rows, count=count)]


def position_rows(w: Workload, width: int, *, learned: bool) -> list[Op]:
    """Learned vectors of rows and columns of a map; sines are none."""
    return [parameters(w, "encoder", "positions", "embedding", num=2 * TABLE_SIDE * (width // 2))] if learned else []


def demand_table(name: str, size: Map) -> None:
    """Refuse a map with more rows or columns than learned positions. Raises BadValueError."""
    if max(size) > TABLE_SIDE:
        raise BadValueError(
            f"a map of {size[0]} x {size[1]}: {name} has learned positions of {TABLE_SIDE} rows and columns; give a smaller image"
        )


def query_rows(block: Block, w: Workload, width: int, prefix: str) -> list[Op]:
    """Layers over queries. What enters the first needs no gradient, its positions do.

    The matrix of values reads the former alone, unless a norm that is trained stands before it.
    """
    table: list[Op] = []
    for label, count in (("first", 1), ("rest", block.count - 1)):
        part = f"{prefix}.{label}"
        for op in replace(block, count=count).ops(w, width, part) if count else ():
            unfed = label == "first" and not block.prenorm and op.role == "value" and op.part == f"{part}.attention"
            table.append(with_gradients(op, frozen=False, fed=(False,)) if unfed else op)
    return table


@frozen
class Finder(Resizable):
    """What finds objects in an image of any size, by a residual network and what follows it.

    Attributes:
        runs: the class of transformers that this is.
        image: height and width in pixels.
    """

    name: str
    source: Source
    runs: str
    image: Map
    backbone: ResidualNetwork

    @abstractmethod
    def rows(self, workload: Workload) -> tuple[Op, ...]:
        """Rows of one step over batch images of its size."""

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch images. Raises BadValueError for a phase, a length or a size that it does not have."""
        demand_samples(self.name, workload, self.phases)
        if isinstance(workload.sample, Image) and workload.sample != self.sample:
            return self.sized(workload.sample).ops(replace(workload, sample=None))
        self.demand_sample(workload)
        self.demand_size()
        return self.rows(workload)

    @property
    def pads(self) -> bool:
        """Whether images of a batch are padded to the largest, rather than made equally large."""
        return False

    @property
    def trained_stages(self) -> int | None:
        """Stages of the backbone, from its last, that training changes; None for all, and the stem."""
        return None

    @property
    def left_out(self) -> str:
        """What a training step has beside the op table; empty for nothing."""
        return ""

    @property
    def sample(self) -> Image:
        """An image of the size that it is asked about."""
        return Image(height=self.image[0], width=self.image[1])

    @property
    def any_size(self) -> bool:
        """It reads images of any size."""
        return True

    def sized(self, image: Image) -> Finder:
        """The same on images of another size. Raises BadValueError for one that it does not read."""
        other = replace(self, image=(image.height, image.width))
        other.demand_size()
        return other

    def demand_size(self) -> None:
        """Refuse an image that a stage shrinks to nothing, or whose maps do not fit. Raises BadValueError."""
        sizes = self.backbone.maps(self.image).sizes
        if min(sizes[-1]) < 1:
            raise BadValueError(f"{self.sample}: a stage of {self.name} shrinks it to nothing; give a larger one")
        self.demand_maps(sizes)

    def demand_maps(self, sizes: tuple[Map, ...]) -> None:
        """Refuse maps, one of each stage, that what follows cannot read: most read any. Raises BadValueError."""


@frozen
class Detr(Finder):
    """DETR, and Table Transformer; Conditional DETR with layers of its own.

    Attributes:
        trained: stages of the backbone, from its last, that training changes.
        width: D of encoder and decoder.
        encoder_norm: behind the encoder; None for none.
        queries: that the decoder runs on.
        learned_positions: whether rows and columns of the map have learned vectors, rather than sines.
        classes: that each query is sorted into, none of them among them; 0 for the model without heads.
        masks: what makes a mask for each query; None for none.

    Source: Carion et al. 2020, End-to-End Object Detection with Transformers (arXiv 2005.12872), section 3.2.
    """

    trained: int
    width: int
    encoder: Block
    encoder_norm: Norm | None = None
    decoder: Block
    queries: int
    learned_positions: bool = False
    classes: int
    masks: MaskHead | None = None

    @property
    def pads(self) -> bool:
        """They are padded, and the padding is computed too."""
        return True

    @property
    def trained_stages(self) -> int:
        """As `trained` says."""
        return self.trained

    def demand_maps(self, sizes: tuple[Map, ...]) -> None:
        """Refuse a last map that learned positions do not reach across. Raises BadValueError."""
        if self.learned_positions:
            demand_table(self.name, sizes[-1])

    def rows(self, workload: Workload) -> tuple[Op, ...]:
        """Rows of one step over batch images of its size."""
        d, maps = self.width, self.backbone.maps(self.image)
        read = on_map(workload, maps.sizes[-1])
        written = replace(workload, seq_len=self.queries, source_len=read.seq_len)
        table = [
            *maps.ops(workload, "backbone", trained=self.trained),
            self._projection(workload, maps.sizes[-1]),
            *position_rows(workload, d, learned=self.learned_positions),
            *self.encoder.ops(read, d, "encoder.layer"),
        ]
        if self.encoder_norm:
            table.append(edge_norm(read, "encoder.final", width=d, bias=True))
        table += [
            parameters(workload, "decoder", "queries", "embedding", num=self.queries * d),
            *self.decoder_rows(written),
            edge_norm(written, "decoder.final", width=d, bias=True),
        ]
        if self.classes:
            rows = written.num_tokens
            table += [*class_rows(written, "head", d, self.classes, rows=rows), *box_rows(written, "head.box", d, rows=rows)]
        return (*table, *(self.masks.ops(workload, self.queries, maps.sizes[::-1]) if self.masks else ()))

    def _projection(self, w: Workload, size: Map) -> Op:
        """Each position of the last map, as wide as the encoder."""
        positions = math.prod(size)
        return convolution(
            w,
            "encoder",
            "projection",
            "convolution",
            channels_in=self.backbone.widths[-1],
            channels_out=self.width,
            taps=1,
            in_positions=positions,
            out_positions=positions,
            bias=True,
            input_grad=self.trained > 0,
        )

    def decoder_rows(self, w: Workload) -> list[Op]:
        """Rows of the layers over queries."""
        return query_rows(self.decoder, w, self.width, "decoder")
