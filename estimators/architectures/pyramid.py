"""Transformers over maps of an image that shrink from stage to stage, each stage behind a filter that overlaps (SegFormer)."""

from __future__ import annotations

from functools import partial

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.convolution import Convolution, Map
from estimators.architectures.encoder import Projection
from estimators.architectures.part import Part
from estimators.architectures.rows import convolution, edge_norm, elementwise, linear, norm
from estimators.architectures.vision import demand_samples
from estimators.frozen import frozen, replace
from estimators.samples import Image
from estimators.spec import Model, Op, Source, Workload


@frozen
class ReducedAttention(Part):
    """Attention whose keys and values are made of a smaller map, which a filter and a norm make of the tokens.

    Attributes:
        attention: between the tokens of the map and those of the smaller one.
        grid: height and width of the map.
        ratio: by how much a side shrinks; 1 for attention of all tokens to all.

    Source: Xie et al. 2021, SegFormer (arXiv 2105.15203), section 3.1.
    """

    attention: Attention
    grid: Map
    ratio: int

    @property
    def reduced(self) -> Map:
        """The smaller map."""
        return self.grid[0] // self.ratio, self.grid[1] // self.ratio

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of the filter, its norm and the attention."""
        if self.ratio == 1:
            return self.attention.ops(w, width, prefix, count)
        positions = self.reduced[0] * self.reduced[1]
        table = [
            convolution(
                w,
                prefix,
                "reduction",
                "attention",
                channels_in=width,
                channels_out=width,
                taps=self.ratio**2,
                in_positions=self.grid[0] * self.grid[1],
                out_positions=positions,
                bias=True,
                count=count,
                recomputed=True,
            ),
            norm(w, f"{prefix}.reduction", cut="whole", width=width, bias=True, rows=w.batch * positions, count=count),
        ]
        return table + self.attention.ops(replace(w, source_len=positions), width, prefix, count)


@frozen
class MixedFeedForward(Part):
    """A feed-forward with a filter of 3 x 3 on each channel before its activation, in the place of positions.

    Source: Xie et al. 2021, SegFormer (arXiv 2105.15203), section 3.1.
    """

    width: int
    grid: Map
    activation: str = "gelu"

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Up, filter, activation, down."""
        project = partial(linear, w, prefix, count=count, recomputed=True, bias=True)
        positions = self.grid[0] * self.grid[1]
        filtered = partial(convolution, w, prefix, "depthwise", "mlp", taps=9, in_positions=positions, out_positions=positions, bias=True)
        return [
            project("up", "mlp", cut="columns", d_in=width, d_out=self.width),
            filtered(channels_in=self.width, channels_out=self.width, groups=self.width, count=count, recomputed=True),
            elementwise(w, prefix, "activation", cut="columns", width=self.width, count=count),
            project("down", "mlp", cut="rows", d_in=self.width, d_out=width),
        ]


@frozen
class PyramidStage:
    """A filter that shrinks the map, layers on what it makes, a norm.

    Attributes:
        stem: with the norm behind it.
        width: channels.
    """

    name: str
    stem: Convolution
    layers: Block
    width: int

    @property
    def grid(self) -> Map:
        """Height and width of the map."""
        return self.stem.after

    def ops(self, w: Workload) -> list[Op]:
        """Rows of the filter, the layers and the norm."""
        here = replace(w, seq_len=self.grid[0] * self.grid[1])
        table = [*self.stem.ops(w), *self.layers.ops(here, self.width, f"{self.name}.layer")]
        return [*table, edge_norm(here, f"{self.name}.final", width=self.width, bias=LAYER_NORM.bias)]


@frozen
class Segmentation:
    """A class for each position of the first map: every map projected to one width, made as large, joined and mixed.

    Attributes:
        widths, grids: of the stages.
        width: that all are projected to.
        labels: classes.

    Source: Xie et al. 2021, SegFormer (arXiv 2105.15203), section 3.2.
    """

    widths: tuple[int, ...]
    grids: tuple[Map, ...]
    width: int
    labels: int

    def ops(self, w: Workload) -> list[Op]:
        """Rows of the projections, of the mix with its norm over the batch, and of the classes."""
        table, first = list[Op](), w.batch * self.grids[0][0] * self.grids[0][1]
        for i, (width, grid) in enumerate(zip(self.widths, self.grids, strict=True)):
            project = partial(linear, w, "head", "projection", "head", cut="whole", label=f"projection.{i + 1}")
            table.append(project(d_in=width, d_out=self.width, bias=True, rows=w.batch * grid[0] * grid[1]))
        mix = partial(linear, w, "head", "projection", "head", cut="whole", rows=first)
        return [
            *table,
            mix(label="mix", d_in=len(self.widths) * self.width, d_out=self.width),
            edge_norm(w, "head.mix", width=self.width, bias=True, rows=first),
            elementwise(replace(w, seq_len=first // w.batch), "head.mix", "activation", cut="whole", width=self.width, recomputed=False),
            linear(w, "head", "head", "head", cut="whole", label="classes", d_in=self.width, d_out=self.labels, bias=True, rows=first),
        ]


@frozen
class Pyramid(Model):
    """Stages over one image, and heads on the last map, or on all of them.

    Attributes:
        runs: the class of transformers that this is.
        image: height and width in pixels.
    """

    name: str
    source: Source
    runs: str
    image: Map
    stages: tuple[PyramidStage, ...]
    heads: tuple[Projection, ...]
    segmentation: Segmentation | None = None

    @property
    def sample(self) -> Image:
        """An image of the only size that its maps are laid out for."""
        return Image(height=self.image[0], width=self.image[1])

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch images. Raises BadValueError for a phase, a length or a size that it does not have."""
        demand_samples(self.name, workload, self.phases)
        self.demand_sample(workload)
        table = [op for stage in self.stages for op in stage.ops(workload)]
        for head in self.heads:
            table += head.ops(workload)
        return tuple(table + (self.segmentation.ops(workload) if self.segmentation else []))
