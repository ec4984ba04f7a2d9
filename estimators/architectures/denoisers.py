"""Networks that take noise off a latent: what all have in common, and transformers over patches (DiT)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

from estimators.architectures.latents import USUAL, Compression
from estimators.architectures.maps import Map, attention_over, two_linear
from estimators.architectures.rows import convolution, edge_norm, elementwise, linear, lookup, norm
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.samples import Clip, Image
from estimators.spec import Model, Op, Source, Workload

FREQUENCIES = 256
"""Sines and cosines that embed a time step, of DiT and what came after it."""


@frozen
class Denoiser(Model):
    """What all kinds have in common: one step takes noise off one latent of each sample.

    Attributes:
        runs: the class of diffusers that this is counted as.
        image: whose latent it is, in pixels.
        frames: of the video whose latent it is; 0 for an image.
        compression: what one position of that latent stands for.
    """

    name: str
    source: Source
    runs: str
    image: Image
    frames: int = 0
    compression: Compression = USUAL

    @property
    def sample(self) -> Image | Clip:
        """The image or the video whose latent it is."""
        return Clip(image=self.image, frames=self.frames) if self.frames else self.image

    @property
    def latent_frames(self) -> int:
        """Frames of the latent; 1 of an image."""
        return self.compression.frames_of(self.frames) if self.frames else 1

    def lasting(self, frames: int) -> Self:
        """The same on videos of so many frames, give or take what fills a latent. Raises BadValueError where it makes images."""
        if not self.frames:
            raise BadValueError(f"{frames:,} frames: {self.name} makes images, not videos; leave --video out")
        return replace(self, frames=self.compression.whole_frames(frames))

    @property
    def latent(self) -> Map:
        """Positions of the latent in height and width."""
        return self.compression.map_of(self.image)

    @property
    def one_pass(self) -> str:
        """Why guidance takes no second pass of a step; empty where it does."""
        return ""

    @property
    def begins_with_image(self) -> bool:
        """Whether it reads the latent of a video's beginning beside the one that it takes noise off."""
        return False

    @property
    def t5_tokens(self) -> int:
        """Tokens that it reads of a text encoder without a table of positions; 0 where it has none."""
        return 0

    @abstractmethod
    def sized(self, image: Image) -> Self:
        """The same on images of another size. Raises BadValueError for one that it does not read."""

    def demand(self, workload: Workload) -> None:
        """Refuse phases, lengths and samples that it does not have. Raises BadValueError."""
        if workload.phase not in self.phases or (workload.seq_len, workload.context_len, workload.source_len) != (1, 0, 0):
            raise BadValueError(f"phase {workload.phase!r} of {workload.seq_len} tokens: {self.name} has forward and train, of samples")
        self.demand_sample(workload)


@frozen
class PatchTransformer(Denoiser):
    """A transformer over the patches of a latent.

    Attributes:
        width, layers, heads: D, L, N.
        patch: side in positions of the latent.
        latent_channels, out_channels: that it reads, and makes, at each position.
        most_patches: along a side, that its table of positions has; 0 where they are computed anew.
    """

    width: int
    layers: int
    heads: int
    patch: int
    latent_channels: int
    out_channels: int
    most_patches: int = 0

    @property
    def grid(self) -> Map:
        """Patches in height and width."""
        return self.latent[0] // self.patch, self.latent[1] // self.patch

    @property
    def num_patches(self) -> int:
        """Patches of a sample."""
        return self.latent_frames * self.grid[0] * self.grid[1]

    def sized(self, image: Image) -> Self:
        """The same on images of another size. Raises BadValueError for one without whole patches, or of more than it has positions for."""
        whole = self.compression.side * self.patch
        if image.height % whole or image.width % whole:
            raise BadValueError(f"{image}: {self.name} reads patches of {whole} pixels; give sides that this divides")
        longest = self.most_patches * whole
        if longest and max(image.height, image.width) > longest:
            raise BadValueError(f"{image}: {self.name} has positions for sides of up to {longest:,} pixels")
        return replace(self, image=image)

    def patches_in(self, w: Workload) -> Op:
        """The filter that makes a vector of each patch."""
        return convolution(
            w,
            "embedding",
            "patch",
            "embedding",
            channels_in=self.latent_channels,
            channels_out=self.width,
            taps=self.patch**2,
            in_positions=self.num_patches * self.patch**2,
            out_positions=self.num_patches,
            bias=True,
            input_grad=False,
        )

    def patches_out(self, here: Workload) -> list[Op]:
        """The last norm, and the matrix that makes a patch of each vector."""
        out = self.patch**2 * self.out_channels
        return [
            edge_norm(here, "out", width=self.width, gain=False, bias=False),
            linear(here, "out", "projection", "head", cut="whole", label="patch", d_in=self.width, d_out=out, bias=True),
        ]


@frozen
class DiT(PatchTransformer):
    """A transformer over the patches of a latent, steered by scales and shifts that a time step and a class make.

    Counted as diffusers' class, whose layers each have embeddings of the time step and the class of their own; the paper's code has one
    for all, and 675 M parameters where diffusers has 750 M.

    Attributes:
        classes: that it is steered by; one more row stands for none.

    Source: Peebles and Xie 2023, Scalable Diffusion Models with Transformers (arXiv 2212.09748), figure 3 and table 1.
    """

    classes: int

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch latents. Raises BadValueError for a phase, a length or a sample that it does not have."""
        self.demand(workload)
        w, d, count = replace(workload, sample=None), self.width, self.layers
        here = replace(w, seq_len=self.num_patches)
        steering = [replace(op, count=count - 1) for op in two_linear(w, "layer.steering", (FREQUENCIES, d, d))] if count > 1 else []
        labels = replace(lookup(replace(w, seq_len=1), "layer.steering", "token_type", num_rows=self.classes + 1, width=d), count=count)
        table = [
            self.patches_in(w),
            *steering,
            *two_linear(w, "layer.first_steering", (FREQUENCIES, d, d), times=2),  # the head is steered by the first layer's
            labels,
            replace(
                linear(w, "layer.steering", "projection", "mlp", cut="whole", label="scales", d_in=d, d_out=6 * d, bias=True, rows=w.batch),
                count=count,
            ),
            norm(here, "layer", cut="whole", width=d, gain=False, bias=False, count=2 * count),
            elementwise(here, "layer", cut="whole", label="scaling", width=d, count=4 * count),
            *attention_over(here, "layer.attention", d, self.heads, count=count, bias=True),
            linear(here, "layer.mlp", "up", "mlp", cut="columns", d_in=d, d_out=4 * d, bias=True, count=count, recomputed=True),
            elementwise(here, "layer.mlp", "activation", cut="columns", width=4 * d, count=count),
            linear(here, "layer.mlp", "down", "mlp", cut="rows", d_in=4 * d, d_out=d, bias=True, count=count, recomputed=True),
            elementwise(here, "layer", "residual", cut="whole", width=d, reads=2, count=2 * count, saved=False),
            linear(w, "out", "projection", "mlp", cut="whole", label="scales", d_in=d, d_out=2 * d, bias=True, rows=w.batch),
            *self.patches_out(here),
        ]
        return tuple(table)
