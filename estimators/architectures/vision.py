"""Transformers over patches of an image, alone or beside one over text. A sample is one image, or an image and a text."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial

from estimators.architectures.attention import Attention
from estimators.architectures.block import Block
from estimators.architectures.encoder import Projection, Tower, demand_phase
from estimators.architectures.part import Part
from estimators.architectures.rows import edge_norm, elementwise, linear, norm, parameters
from estimators.architectures.stems import PatchStem
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.samples import Image
from estimators.spec import Model, Op, Phase, Source, Workload


def demand_samples(name: str, workload: Workload, phases: tuple[Phase, ...]) -> None:
    """Refuse phases and lengths that a model of images does not have. Raises BadValueError."""
    demand_phase(name, workload, phases)
    if (workload.seq_len, workload.context_len, workload.source_len) != (1, 0, 0):
        given = f"seq_len {workload.seq_len}, context_len {workload.context_len}, source_len {workload.source_len}"
        raise BadValueError(f"{given}: {name} takes samples whose size its configuration fixes; leave them at 1, 0 and 0")


def _image_of(tower: Tower) -> Image | None:
    stem = tower.stem
    return Image(height=stem.image[0], width=stem.image[1]) if isinstance(stem, PatchStem) else None


class Resizable(Model):
    """A model of images which may read images of other sizes than the one that it was made for."""

    __slots__ = ()

    @property
    @abstractmethod
    def any_size(self) -> bool:
        """Whether it does."""

    @abstractmethod
    def sized(self, image: Image) -> Model:
        """The same model on images of another size. Raises BadValueError for one that it does not read."""


@frozen
class VisionTransformer(Resizable):
    """A tower over the patches of one image, and its heads.

    Attributes:
        runs: the class of transformers that this is.
        tokens: of one image.
    """

    name: str
    source: Source
    runs: str
    tower: Tower
    tokens: int
    heads: tuple[Projection, ...]

    @property
    def sample(self) -> Image | None:
        """An image of the size that it was trained on."""
        return _image_of(self.tower)

    @property
    def any_size(self) -> bool:
        """Whether it reads images of other sizes: its layers are cut for none, and its positions are interpolated."""
        return isinstance(self.tower.stem, PatchStem) and all(isinstance(block, Block) for block in self.tower.blocks)

    def sized(self, image: Image) -> VisionTransformer:
        """The same model on images of another size, its positions interpolated.

        Raises:
            BadValueError: layers that are laid out for one size, or an image without a whole patch.
        """
        stem = self.tower.stem
        if image == self.sample:
            return self
        if not isinstance(stem, PatchStem) or not self.any_size:
            raise BadValueError(f"{self.name} reads {self.sample}, not {image}: its windows are laid out for that size")
        if image.height < stem.patch[0] or image.width < stem.patch[1]:
            raise BadValueError(f"{image} has no patch of {stem.patch[0]} x {stem.patch[1]}, as {self.name} reads them")
        sized = stem.sized((image.height, image.width))
        return replace(self, tower=replace(self.tower, stem=sized), tokens=sized.tokens)

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch images. Raises BadValueError for a phase, a length or a size that it does not have."""
        demand_samples(self.name, workload, self.phases)
        if isinstance(workload.sample, Image) and workload.sample != self.sample:
            return self.sized(workload.sample).ops(replace(workload, sample=None))
        self.demand_sample(workload)
        w = replace(workload, seq_len=self.tokens)
        table = self.tower.ops(w)
        for head in self.heads:
            table += head.ops(w)
        return tuple(table)


@frozen
class DualEncoder(Model):
    """Two towers, over images and over texts, whose projected vectors are multiplied each with each (CLIP, SigLIP).

    Attributes:
        runs: the class of transformers that this is.
        image_tokens, text_tokens: of one image, and of one text: padded to the longest, as the model was trained.
        shared_width: of the space that both are projected to.
        image_projected: whether a matrix leads there from the image's tower, as one does from the text's.
        biased: whether the text's projection has a bias, and the similarity one beside its scale.

    Source: Radford et al. 2021 (arXiv 2103.00020), figure 3.
    """

    name: str
    source: Source
    runs: str
    image: Tower
    text: Tower
    image_tokens: int
    text_tokens: int
    shared_width: int
    image_projected: bool = True
    biased: bool = False

    @property
    def sample(self) -> Image | None:
        """An image of the size that it was trained on; a text of a fixed length comes with it."""
        return _image_of(self.image)

    def main_input_elements(self, workload: Workload) -> int:
        """Tokens of the texts."""
        return workload.batch * self.text_tokens

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch images and as many texts.

        Raises:
            BadValueError: a phase or a length that it does not have.
        """
        demand_samples(self.name, workload, self.phases)
        self.demand_sample(workload)
        w, table = workload, list[Op]()
        for name, tower, tokens in (("image", self.image, self.image_tokens), ("text", self.text, self.text_tokens)):
            table += tower.ops(replace(w, seq_len=tokens), f"{name}.")
            if name == "text" or self.image_projected:
                width, bias = tower.width, self.biased
                table.append(linear(w, name, "projection", "head", cut="whole", d_in=width, d_out=self.shared_width, bias=bias))
        flop = 2 * w.batch * w.batch * self.shared_width
        size = w.bytes_of(w.batch * (w.batch + 2 * self.shared_width))
        table.append(
            Op(
                name="similarity",
                component="head",
                kind="attention",
                part="",
                role="similarity",
                cut="whole",
                flop=flop,
                backward_flop=2 * flop,
                activation_bytes=size,
                saved_bytes=size,
                mnk=(w.batch, w.batch, self.shared_width),
                reads=("text.projection", "image.projection" if self.image_projected else "image.pool.mlp.down"),
            )
        )
        table.append(parameters(w, "similarity", "scale", "head", num=1 + self.biased))
        return tuple(table)


@frozen
class Scaled(Part):
    """A part of a layer whose output is multiplied by one learned number per channel (DINOv2's layer scale), or by one for all.

    Attributes:
        one_for_all: whether all channels share the number, of which a tanh is taken (Llama 3.2 Vision's gates).
    """

    part: Part
    one_for_all: bool = False

    @property
    def crosses(self) -> bool:
        """The part's."""
        return self.part.crosses

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of the part, then of the scale."""
        table = self.part.ops(w, width, prefix, count)
        table.append(parameters(w, prefix, "scale", "elementwise", num=1 if self.one_for_all else width, count=count))
        table.append(elementwise(w, prefix, cut="whole", label="scaling", width=width, count=count))
        return table


@frozen
class WindowedAttention(Part):
    """Attention inside square windows of an image, with a learned bias by distance (Swin).

    Attributes:
        grid: height and width in tokens; what fills no window is padded, and the padding is computed too.
        window: tokens along a side.
        bias_width: of a small network that makes the biases of distances, beside one learned scale per head (Swin v2); 0 for a table.

    Source: Liu et al. 2021 (arXiv 2103.14030), section 3.2; Liu et al. 2022 (arXiv 2111.09883), sections 3.2 and 3.3.
    """

    attention: Attention
    grid: tuple[int, int]
    window: int
    bias_width: int = 0

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of the attention over all windows, and of the biases: a table, or a network over all distances, once for all windows."""
        windows = -(-self.grid[0] // self.window) * -(-self.grid[1] // self.window)
        inside = replace(w, batch=w.batch * windows, seq_len=self.window**2)
        distances, heads = (2 * self.window - 1) ** 2, self.attention.heads
        table = self.attention.ops(inside, width, prefix, count)
        if not self.bias_width:
            return [*table, parameters(w, prefix, "position_bias", "attention", num=distances * heads, count=count)]
        project = partial(linear, w, f"{prefix}.position_bias", "linear", "attention", cut="whole", rows=distances, count=count)
        return [
            *table,
            parameters(w, prefix, "scale", "attention", num=heads, count=count),
            project(label="up", d_in=2, d_out=self.bias_width, bias=True, input_grad=False, recomputed=True),
            project(label="down", d_in=self.bias_width, d_out=heads, recomputed=True),
        ]


@frozen
class BiasedAttention(Part):
    """Attention between all tokens of an image, with a learned bias by distance (BEiT).

    Attributes:
        distances: rows of the table of biases: of patches, and three of the class token's.

    Source: Bao et al. 2021 (arXiv 2106.08254), section 2.2; transformers 5, BeitRelativePositionBias.
    """

    attention: Attention
    distances: int

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of the attention, and the table of biases."""
        biases = self.distances * self.attention.heads
        return [
            *self.attention.ops(w, width, prefix, count),
            parameters(w, prefix, "position_bias", "attention", num=biases, count=count),
        ]


@frozen
class Stage:
    """Layers at one resolution, then four neighbouring tokens merged to one of twice the width (Swin).

    Attributes:
        grid: height and width in tokens.
        width: D of this stage, whatever the stem's is.
        merges: whether the merge follows, as behind all stages but the last; there a norm does.
        norm_behind: whether the merge's norm stands behind its matrix (Swin v2), rather than before.
    """

    layers: Block
    grid: tuple[int, int]
    width: int
    merges: bool
    norm_behind: bool = False

    def ops(self, w: Workload, width: int, prefix: str = "layer") -> list[Op]:
        """Rows of the layers and the merge; an odd last row or column is padded."""
        here = replace(w, seq_len=self.grid[0] * self.grid[1])
        table = self.layers.ops(here, self.width, prefix)
        if not self.merges:
            table.append(edge_norm(here, "final", width=self.width, bias=True))
        else:
            after = replace(w, seq_len=-(-self.grid[0] // 2) * -(-self.grid[1] // 2))
            normed = (2 if self.norm_behind else 4) * self.width
            table.append(norm(after, f"{prefix}.merge", cut="whole", width=normed, bias=True))
            table.append(
                linear(
                    after,
                    prefix,
                    "projection",
                    "mlp",
                    cut="whole",
                    label="merge",
                    d_in=4 * self.width,
                    d_out=2 * self.width,
                    recomputed=True,
                )
            )
        return table
