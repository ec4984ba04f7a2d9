"""Segment Anything: a tower in windows over an image, and a small decoder that makes masks of its map for a point."""

from __future__ import annotations

from functools import partial

from estimators.architectures.attention import Attention
from estimators.architectures.encoder import Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.part import Part
from estimators.architectures.rows import convolution, edge_norm, elementwise, linear, norm, parameters, spare
from estimators.architectures.stems import PatchStem
from estimators.architectures.vision import demand_samples
from estimators.frozen import frozen, replace
from estimators.samples import Image
from estimators.spec import Model, Op, Source, Workload


@frozen
class AxisBiasedAttention(Part):
    """Attention in square windows, or over a whole map, with biases that each query makes of its distance in height and in width.

    Attributes:
        side: of the map in tokens.
        window: tokens along a side of a window; 0 for the whole map. What fills no window is padded, and the padding is computed too.
        biased: whether there are biases.

    Source: Li et al. 2021, MViTv2 (arXiv 2112.01526), section 4.1; Kirillov et al. 2023 (arXiv 2304.02643), appendix A.
    """

    attention: Attention
    side: int
    window: int
    biased: bool

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of the attention over all windows, and of the biases: each query times a table of its own row's distances."""
        along, windows = (self.window, (-(-self.side // self.window)) ** 2) if self.window else (self.side, 1)
        inside = replace(w, batch=w.batch * windows, seq_len=along**2)
        table = self.attention.ops(inside, width, prefix, count)
        if not self.biased:
            return table
        h, rows = self.attention.head_width, inside.num_tokens * self.attention.heads
        product = partial(linear, w, prefix, "linear", "attention", cut="whole", d_in=h, d_out=along, rows=rows, count=count)
        axes = [product(label=label, recomputed=True, reads=(f"{prefix}.query_key_value",)) for label in ("height", "width")]
        return [*table, *(replace(op, params=(2 * along - 1) * h) for op in axes)]


@frozen
class MaskDecoder:
    """Layers in which a few tokens and the image's map attend to each other, and what makes masks of both.

    Attributes:
        width: D.
        layers: how many.
        own: attention among the tokens.
        across: attention of the tokens to the map, and of the map to the tokens, in the layers.
        last: of the tokens to the map, behind them.
        feed_forward: of the tokens.
        masks: that are made, each by a token and a network of its own.
        quality_width, quality_layers: of the network that says how good they are.
    """

    width: int
    layers: int
    own: Attention
    across: Attention
    last: Attention
    feed_forward: FeedForward
    masks: int
    quality_width: int
    quality_layers: int

    def ops(self, w: Workload, positions: int, point_tokens: int) -> list[Op]:
        """Rows over batch maps of so many positions, with the tokens of a point beside those of the masks."""
        d, count, tokens = self.width, self.layers, 1 + self.masks + point_tokens
        written, mapped = replace(w, seq_len=tokens), replace(w, seq_len=positions)
        to_map, to_tokens = replace(written, source_len=positions), replace(mapped, source_len=tokens)
        table = [
            parameters(w, "decoder", "tokens", "embedding", num=(1 + self.masks) * d),
            *self.own.ops(written, d, "decoder.layer.attention", count),
            *self.across.ops(to_map, d, "decoder.layer.to_map", count),
            *self.feed_forward.ops(written, d, "decoder.layer.mlp", count),
            *self.across.ops(to_tokens, d, "decoder.layer.to_tokens", count),
            norm(written, "decoder.layer", cut="whole", width=d, bias=True, count=3 * count),
            norm(mapped, "decoder.layer", cut="whole", label="map_norm", width=d, bias=True, count=count),
            *self.last.ops(to_map, d, "decoder.final", 1),
            edge_norm(written, "decoder", width=d, bias=True),
            *self._enlarged(mapped),
        ]
        return [*table, *self._heads(w, positions)]

    def _enlarged(self, mapped: Workload) -> list[Op]:
        """The map enlarged twice, to four times its height and width: filters of 2 x 2 that do not overlap."""
        d, table = self.width, list[Op]()
        for name, d_in, d_out, rows in (("up1", d, d // 4, mapped.num_tokens), ("up2", d // 4, d // 8, 4 * mapped.num_tokens)):
            row = linear(mapped, "decoder", "projection", "head", cut="whole", label=name, d_in=d_in, d_out=4 * d_out, rows=rows)
            larger = replace(mapped, seq_len=4 * rows // mapped.batch)
            table.append(replace(row, params=row.params + d_out))
            if name == "up1":
                table.append(edge_norm(larger, "decoder.up1", width=d_out, bias=True))
            table.append(elementwise(larger, f"decoder.{name}", "activation", cut="whole", width=d_out, recomputed=False))
        return table

    def _heads(self, w: Workload, positions: int) -> list[Op]:
        """A network for each mask's token, the product with the map, and the network of quality."""
        d, one = self.width, partial(linear, w, "decoder", "projection", "head", cut="whole", bias=True, rows=w.batch)
        table = [
            one(label="mask.in", d_in=d, d_out=d, count=self.masks),
            one(label="mask.middle", d_in=d, d_out=d, count=self.masks),
            one(label="mask.out", d_in=d, d_out=d // 8, count=self.masks),
        ]
        pixels, inner = 16 * positions, d // 8
        flop = 2 * w.batch * self.masks * pixels * inner
        size = w.bytes_of(w.batch * (self.masks * inner + pixels * inner))
        table.append(
            Op(
                name="decoder.masks",
                component="head",
                kind="attention",
                part="",
                role="similarity",
                cut="whole",
                flop=flop,
                backward_flop=2 * flop,
                activation_bytes=size + w.bytes_of(w.batch * self.masks * pixels),
                saved_bytes=size,
                mnk=(self.masks, pixels, inner),
                reads=("decoder.mask.out", "decoder.up2"),
            )
        )
        q, middle = self.quality_width, self.quality_layers - 2
        table.append(one(label="quality.in", d_in=d, d_out=q))
        if middle > 0:
            table.append(one(label="quality.middle", d_in=q, d_out=q, count=middle))
        table.append(one(label="quality.out", d_in=q, d_out=self.masks))
        return table


POINT_TOKENS = 2
"""Of one point and no box: its own, and one that stands for no box.

Source: Kirillov et al. 2023 (arXiv 2304.02643), appendix A; transformers 5.24, SamPromptEncoder.
"""

KINDS_OF_POINT = 4
"""Learned vectors of points: outside, inside, and two corners of a box."""


@frozen
class SegmentAnything(Model):
    """Masks of an image for one point.

    Attributes:
        runs: the class of transformers that this is.
        tower: over patches; its stem is a PatchStem.
        mask_channels: of the filters over a mask that is given, which nobody gives here.
    """

    name: str
    source: Source
    runs: str
    tower: Tower
    decoder: MaskDecoder
    mask_channels: int

    @property
    def stem(self) -> PatchStem:
        """The tower's."""
        assert isinstance(self.tower.stem, PatchStem)
        return self.tower.stem

    @property
    def sample(self) -> Image:
        """An image of the only size that its positions and windows are laid out for; a point comes with it."""
        return Image(height=self.stem.image[0], width=self.stem.image[1])

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch images. Raises BadValueError for a phase, a length or a size that it does not have."""
        demand_samples(self.name, workload, self.phases)
        self.demand_sample(workload)
        w = replace(workload, seq_len=self.stem.tokens)
        return (*self.tower.ops(w), *self._neck(w), *self._prompt(w), *self.decoder.ops(w, self.stem.tokens, POINT_TOKENS))

    def _neck(self, w: Workload) -> list[Op]:
        d, positions, table = self.decoder.width, self.stem.tokens, list[Op]()
        for name, channels, taps in (("conv1", self.tower.width, 1), ("conv2", d, 9)):
            table.append(
                convolution(
                    w,
                    "neck",
                    name,
                    "convolution",
                    channels_in=channels,
                    channels_out=d,
                    taps=taps,
                    in_positions=positions,
                    out_positions=positions,
                )
            )
            table.append(edge_norm(w, f"neck.{name}", width=d, bias=True))
        return table

    def _prompt(self, w: Workload) -> list[Op]:
        """Directions in the plane that positions are multiplied with: those of the map once, those of points for each image."""
        d, c = self.decoder.width, self.mask_channels
        directions = partial(linear, w, "prompt", "linear", "embedding", cut="whole", d_in=2, d_out=d // 2, input_grad=False)
        filters = (c // 4 * 4 + c // 4) + (c * c // 4 * 4 + c) + (d * c + d) + 2 * (c // 4) + 2 * c
        return [
            directions(label="positions", rows=self.stem.tokens),
            directions(label="point_positions", rows=w.batch * POINT_TOKENS, owned=False),
            parameters(w, "prompt", "points", "embedding", num=(KINDS_OF_POINT + 2) * d),
            spare("prompt", "mask_filters", "embedding", num=filters),
        ]
