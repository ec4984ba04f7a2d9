"""U-Nets with attention to a text that take noise off a latent image (Stable Diffusion), and copies of their first half that steer them."""

from __future__ import annotations

from estimators.architectures.denoisers import Denoiser
from estimators.architectures.maps import Map, MapTransformer, Residual, filter_rows, group_norm, on_map, two_linear
from estimators.architectures.rows import elementwise
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.samples import Image
from estimators.spec import Op, Workload


@frozen
class UNet(Denoiser):
    """A U-Net whose levels may attend to a text.

    Attributes:
        channels: of each level, from the finest.
        blocks: residual blocks of a level on the way down; one more on the way up.
        layers: of the transformer behind each block of a level; 0 for none.
        heads: of each level's transformers.
        text_width, text_tokens: that cross-attention reads.
        latent_channels, made_channels: of what it reads, and of what it makes; inpainting reads a mask and what is masked as well.
        added: width of what is embedded beside the time step (SDXL's sizes and pooled text); 0 for nothing.
    """

    channels: tuple[int, ...]
    blocks: int
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    text_width: int
    text_tokens: int
    latent_channels: int = 4
    made_channels: int = 4
    added: int = 0

    def sized(self, image: Image) -> UNet:
        """The same on images of another size. Raises BadValueError where a level has no whole map."""
        whole = self.compression.side * 2 ** (len(self.channels) - 1)
        if image.height % whole or image.width % whole:
            raise BadValueError(f"{image}: {self.name} halves its latents; give sides that {whole} divides")
        return replace(self, image=image)

    def _transformer(self, level: int) -> MapTransformer | None:
        if not self.layers[level]:
            return None
        return MapTransformer(
            channels=self.channels[level],
            layers=self.layers[level],
            heads=self.heads[level],
            text_width=self.text_width,
            text_tokens=self.text_tokens,
        )

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch latents. Raises BadValueError for a phase, a length or a sample that it does not have."""
        self.demand(workload)
        w = replace(workload, sample=None)
        first, time = self.channels[0], 4 * self.channels[0]
        table, kept = self.way_down(w)
        skips, (size, below) = [channels for _, channels in kept], kept[-1]
        for level in reversed(range(len(self.channels))):
            for index in range(self.blocks + 1):
                block = Residual(before=below + skips.pop(), after=self.channels[level], time=time)
                table += self._block(w, f"up.{level}.{index}", level, block, size)
                below = self.channels[level]
            if level:
                size = (size[0] * 2, size[1] * 2)
                table += filter_rows(w, f"up.{level}", "double", size, (below, below))
        table.append(group_norm(w, "out", "norm", size, first))
        table.append(elementwise(on_map(w, size), "out", "activation", cut="whole", width=first))
        return (*table, *filter_rows(w, "out", "conv", size, (first, self.made_channels)))

    def way_down(self, w: Workload) -> tuple[list[Op], list[tuple[Map, int]]]:
        """Rows from the latent to the middle, and of each map that is kept on the way its size and channels."""
        size, first, time = self.latent, self.channels[0], 4 * self.channels[0]
        table = filter_rows(w, "in", "conv", size, (self.latent_channels, first), data=True)
        table += two_linear(w, "time", (first, time, time))
        table += two_linear(w, "added", (self.added, time, time)) if self.added else []
        kept, below = [(size, first)], first
        for level, channels in enumerate(self.channels):
            for index in range(self.blocks):
                table += self._block(w, f"down.{level}.{index}", level, Residual(before=below, after=channels, time=time), size)
                below = channels
                kept.append((size, channels))
            if level + 1 < len(self.channels):
                after = (size[0] // 2, size[1] // 2)
                table += filter_rows(w, f"down.{level}", "halve", size, (channels, channels), after=after)
                size = after
                kept.append((size, channels))
        return table + self._middle(w, size, below, time), kept

    def _block(self, w: Workload, prefix: str, level: int, block: Residual, size: Map) -> list[Op]:
        transformer = self._transformer(level)
        return block.ops(w, f"{prefix}.block", size) + (transformer.ops(w, f"{prefix}.transformer", size) if transformer else [])

    def _middle(self, w: Workload, size: Map, channels: int, time: int) -> list[Op]:
        block = Residual(before=channels, after=channels, time=time)
        last = max(level for level, layers in enumerate(self.layers) if layers)
        deepest = self._transformer(last)
        assert deepest is not None
        transformer = replace(deepest, channels=channels, heads=self.heads[-1])
        return [
            *block.ops(w, "middle.0.block", size),
            *transformer.ops(w, "middle.transformer", size),
            *block.ops(w, "middle.1.block", size),
        ]


@frozen
class ControlNet(UNet):
    """The way down of a U-Net and its middle, over a latent and a picture, each of whose maps a filter adds to the U-Net's own.

    Of one step by itself: what trains it also runs the U-Net, whose weights are frozen, forward and back.

    Attributes:
        picture_channels: that the picture has.
        narrowing: channels of the filters that bring it to the size of the latent, each half as high and wide as the one before.

    Source: Zhang et al. 2023, Adding Conditional Control to Text-to-Image Diffusion Models (arXiv 2302.05543), sections 3.1 and 3.2.
    """

    picture_channels: int
    narrowing: tuple[int, ...]

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch latents. Raises BadValueError for a phase, a length or a sample that it does not have."""
        self.demand(workload)
        w = replace(workload, sample=None)
        table, kept = self.way_down(w)
        table += self._picture(w)
        for index, (size, channels) in enumerate((*kept, kept[-1])):
            part = f"out.{index}" if index < len(kept) else "out.middle"
            table += filter_rows(w, part, "conv", size, (channels, channels), taps=1)
        return tuple(table)

    def _picture(self, w: Workload) -> list[Op]:
        """Filters over the picture, with an activation behind each but the last."""
        size: Map = (self.image.height, self.image.width)
        below = self.narrowing[0]
        table = filter_rows(w, "picture", "in", size, (self.picture_channels, below), data=True)
        for index, channels in enumerate(self.narrowing[1:]):
            table.append(elementwise(on_map(w, size), f"picture.{index}", "activation", cut="whole", label="activation1", width=below))
            table += filter_rows(w, f"picture.{index}", "conv", size, (below, below))
            table.append(elementwise(on_map(w, size), f"picture.{index}", "activation", cut="whole", label="activation2", width=below))
            after = (size[0] // 2, size[1] // 2)
            table += filter_rows(w, f"picture.{index}", "halve", size, (below, channels), after=after)
            size, below = after, channels
        table.append(elementwise(on_map(w, size), "picture", "activation", cut="whole", width=below))
        table += filter_rows(w, "picture", "out", size, (below, self.channels[0]))
        return [*table, elementwise(on_map(w, size), "picture", "residual", cut="whole", width=self.channels[0], reads=2, saved=False)]
