"""What comes before the layers: token tables, patches of an image, frames of a spectrogram."""

from __future__ import annotations

from typing import Protocol

from estimators.architectures.block import Norm
from estimators.architectures.rows import convolution, edge_norm, elementwise, linear, lookup, parameters, spare
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


class Stem(Protocol):
    """What turns input into one vector per token."""

    def ops(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows for a stack of layers of width D = `width`; the workload's seq_len is T."""
        ...


@frozen
class TokenStem:
    """Tokens are looked up, and their positions, and which segment they belong to.

    Attributes:
        vocab: V.
        shared: whether another stem owns the token table.
        positions: rows of a table of positions; 0 where attention knows them by itself.
        frozen_positions: whether training leaves that table as it is: sinusoids.
        token_types: rows of a table of segments; 0 for none.
        embedding_width: of the tables, where it differs from D: a projection leads in; None for D.
        projection_bias: whether that projection has a bias.
        always_projects: whether there is a projection even where the widths are equal.
        norm: behind the tables; None for none.
        norm_after_projection: whether the norm is as wide as D, or as the tables.
        bias_buckets, bias_heads: rows and width of a table of biases by distance, which all layers add to their scores.
    """

    vocab: int
    shared: bool = False
    positions: int = 0
    frozen_positions: bool = False
    token_types: int = 0
    embedding_width: int | None = None
    projection_bias: bool = True
    always_projects: bool = False
    norm: Norm | None = None
    norm_after_projection: bool = False
    bias_buckets: int = 0
    bias_heads: int = 0

    def ops(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows of the tables, their norm and the projection to `width`."""
        edge = self.embedding_width or width
        token = lookup(w, f"{prefix}embedding", "token", num_rows=self.vocab, width=edge)
        table = [replace(token, params=0) if self.shared else token]
        if self.positions:
            position = lookup(w, f"{prefix}embedding", "position", num_rows=self.positions, width=edge)
            table.append(replace(position, frozen=self.frozen_positions))
        if self.token_types:
            table.append(lookup(w, f"{prefix}embedding", "token_type", num_rows=self.token_types, width=edge))
        if self.bias_buckets:
            table.append(lookup(w, f"{prefix}embedding", "relative_bias", num_rows=self.bias_buckets, width=self.bias_heads))
        between: list[Op] = []
        if edge != width or self.always_projects:
            between = [
                linear(w, f"{prefix}embedding", "project_in", "embedding", cut="whole", d_in=edge, d_out=width, bias=self.projection_bias)
            ]
        if self.norm:
            normed = width if self.norm_after_projection else edge
            row = edge_norm(w, f"{prefix}embedding", width=normed, gain=self.norm.gain, bias=self.norm.bias)
            between = [*between, row] if self.norm_after_projection else [row, *between]
        return table + between


@frozen
class PatchStem:
    """An image cut into patches, each projected to one vector, and a few learned tokens beside them.

    Attributes:
        image, patch: height and width in pixels; a remainder that fills no patch is not looked at.
        channels: of the image.
        bias: of the projection.
        extra_tokens: class token, distillation token.
        spare_tokens: learned tokens that no step uses: the mask token of pre-training.
        positions: whether every token has a learned position.
        table_positions: whether those are a table that is looked up, or one parameter.
        norm: behind it; None for none.
        position_rows: rows of the positions where that is not one per token: the image has another size than they were trained for, and
            they are interpolated, or registers have none; 0 for one per token.
        resampled: whether they are interpolated by a product with weights made of the image's size, whatever it is (SigLIP 2).
    """

    image: tuple[int, int]
    patch: tuple[int, int]
    channels: int
    bias: bool = True
    extra_tokens: int = 1
    spare_tokens: int = 0
    positions: bool = True
    table_positions: bool = False
    norm: Norm | None = None
    position_rows: int = 0
    resampled: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        """Patches in height and width."""
        return self.image[0] // self.patch[0], self.image[1] // self.patch[1]

    @property
    def tokens(self) -> int:
        """Tokens of one image.

        >>> PatchStem(image=(224, 224), patch=(16, 16), channels=3).tokens
        197
        """
        return self.grid[0] * self.grid[1] + self.extra_tokens

    def sized(self, image: tuple[int, int]) -> PatchStem:
        """The same on images of another size: as many positions as it has are interpolated, which costs no FLOP under the convention."""
        return replace(self, image=image, position_rows=self.position_rows or self.tokens)

    def ops(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows of the projection, the learned tokens and the positions."""
        rows = self.position_rows or self.tokens
        table = [
            convolution(
                w,
                f"{prefix}embedding",
                "patch",
                "embedding",
                channels_in=self.channels,
                channels_out=width,
                taps=self.patch[0] * self.patch[1],
                in_positions=self.image[0] * self.image[1],
                out_positions=self.grid[0] * self.grid[1],
                bias=self.bias,
                input_grad=False,
            )
        ]
        if self.extra_tokens:
            table.append(parameters(w, f"{prefix}embedding", "learned_tokens", "embedding", num=self.extra_tokens * width))
        if self.spare_tokens:
            table.append(spare(f"{prefix}embedding", "spare_tokens", "embedding", num=self.spare_tokens * width))
        if self.positions and self.resampled:
            part, each = f"{prefix}embedding", self.tokens * w.batch
            row = linear(w, part, "linear", "embedding", cut="whole", label="position", d_in=rows, d_out=width, rows=each, input_grad=False)
            table.append(row)
        elif self.positions and self.table_positions:
            table.append(lookup(w, f"{prefix}embedding", "position", num_rows=rows, width=width))
        elif self.positions:
            table.append(parameters(w, f"{prefix}embedding", "position", "embedding", num=rows * width))
        if self.norm:
            table.append(edge_norm(w, f"{prefix}embedding", width=width, gain=self.norm.gain, bias=self.norm.bias))
        return table


@frozen
class FrameStem:
    """A spectrogram under two filters of 3 frames, the second of which halves their number; fixed positions (Whisper).

    Attributes:
        bins: mel bins per frame.
        positions: frames that are left: tokens of the encoder.
    """

    bins: int
    positions: int

    @property
    def window_s(self) -> float:
        """Seconds of audio that fill it: a frame is 10 ms, and two make a position.

        Source: Radford et al. 2022, Whisper (arXiv 2212.04356), section 2.2.
        """
        return self.positions / 50

    def ops(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows of both convolutions and the positions, which no training changes."""
        frames = 2 * self.positions
        table: list[Op] = []
        for name, channels, out in (("conv1", self.bins, frames), ("conv2", width, self.positions)):
            table.append(
                convolution(
                    w,
                    f"{prefix}embedding",
                    name,
                    "embedding",
                    channels_in=channels,
                    channels_out=width,
                    taps=3,
                    in_positions=frames,
                    out_positions=out,
                    bias=True,
                    input_grad=name != "conv1",
                )
            )
            table.append(elementwise(w, f"{prefix}embedding.{name}", "activation", cut="whole", width=width * out // self.positions))
        position = lookup(w, f"{prefix}embedding", "position", num_rows=self.positions, width=width)
        return [*table, replace(position, frozen=True)]
