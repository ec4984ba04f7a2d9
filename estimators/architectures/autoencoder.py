"""The autoencoder between images and latents (AutoencoderKL of Stable Diffusion, DiT, PixArt and Flux)."""

from __future__ import annotations

from estimators.architectures.maps import Map, Residual, attention_over, filter_rows, group_norm, on_map
from estimators.architectures.rows import elementwise
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.samples import Image
from estimators.spec import Model, Op, Source, Workload


@frozen
class Autoencoder(Model):
    """One half of it, or both.

    Attributes:
        runs: the class of diffusers that this is.
        image: in pixels.
        channels: of each level, from the finest.
        blocks: residual blocks of a level of the encoder; the decoder has one more.
        latent_channels: of the latent.
        turns_latent: whether the encoder ends, and the decoder begins, with a filter of one position over the latent's channels.
        encodes, decodes: whether a step runs the encoder, and the decoder; each half that does not run holds no parameters here.

    Source: Rombach et al. 2022 (arXiv 2112.10752), appendix G, as diffusers builds it.
    """

    name: str
    source: Source
    runs: str
    image: Image
    channels: tuple[int, ...]
    blocks: int
    latent_channels: int
    turns_latent: tuple[bool, bool] = (True, True)
    encodes: bool = True
    decodes: bool = True

    @property
    def sample(self) -> Image:
        """The image."""
        return self.image

    def sized(self, image: Image) -> Autoencoder:
        """The same on images of another size. Raises BadValueError where a level has no whole map."""
        least = 2 ** (len(self.channels) - 1)
        if image.height % least or image.width % least:
            raise BadValueError(f"{image}: {self.name} halves its maps; give sides that {least} divides")
        return replace(self, image=image)

    @property
    def encoder(self) -> Autoencoder:
        """That half."""
        return replace(self, decodes=False)

    @property
    def decoder(self) -> Autoencoder:
        """That half."""
        return replace(self, encodes=False)

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch images. Raises BadValueError for a phase, a length or a sample that it does not have."""
        if workload.phase not in self.phases or workload.seq_len != 1:
            raise BadValueError(f"phase {workload.phase!r} of {workload.seq_len} tokens: {self.name} has forward and train, of samples")
        self.demand_sample(workload)
        w, size = replace(workload, sample=None), (self.image.height, self.image.width)
        least = (size[0] >> (len(self.channels) - 1), size[1] >> (len(self.channels) - 1))
        return (*(self._encoder(w, size) if self.encodes else []), *(self._decoder(w, least) if self.decodes else []))

    def _encoder(self, w: Workload, size: Map) -> list[Op]:
        below, last, z = self.channels[0], self.channels[-1], self.latent_channels
        table = filter_rows(w, "encoder.in", "conv", size, (3, below), data=True)
        for level, channels in enumerate(self.channels):
            for index in range(self.blocks):
                table += Residual(before=below, after=channels).ops(w, f"encoder.{level}.{index}", size)
                below = channels
            if level + 1 < len(self.channels):
                after = (size[0] // 2, size[1] // 2)
                table += filter_rows(w, f"encoder.{level}", "halve", size, (channels, channels), after=after)
                size = after
        table += self._middle(w, "encoder.middle", size, last)
        table += self._edge(w, "encoder.out", size, (last, 2 * z))
        return table + (filter_rows(w, "encoder.out", "latent", size, (2 * z, 2 * z), taps=1) if self.turns_latent[0] else [])

    def _decoder(self, w: Workload, size: Map) -> list[Op]:
        last, z, turns = self.channels[-1], self.latent_channels, self.turns_latent[1]
        table = filter_rows(w, "decoder.in", "latent", size, (z, z), taps=1, data=not self.encodes) if turns else []
        table += filter_rows(w, "decoder.in", "conv", size, (z, last), data=not (turns or self.encodes))
        table += self._middle(w, "decoder.middle", size, last)
        below = last
        for level in reversed(range(len(self.channels))):
            for index in range(self.blocks + 1):
                table += Residual(before=below, after=self.channels[level]).ops(w, f"decoder.{level}.{index}", size)
                below = self.channels[level]
            if level:
                size = (size[0] * 2, size[1] * 2)
                table += filter_rows(w, f"decoder.{level}", "double", size, (below, below))
        return table + self._edge(w, "decoder.out", size, (below, 3))

    @staticmethod
    def _middle(w: Workload, prefix: str, size: Map, channels: int) -> list[Op]:
        here, block = on_map(w, size), Residual(before=channels, after=channels)
        return [
            *block.ops(w, f"{prefix}.0", size),
            group_norm(w, f"{prefix}.attention", "norm", size, channels),
            *attention_over(here, f"{prefix}.attention", channels, 1, bias=True),
            elementwise(here, f"{prefix}.attention", "residual", cut="whole", width=channels, reads=2, saved=False),
            *block.ops(w, f"{prefix}.1", size),
        ]

    @staticmethod
    def _edge(w: Workload, prefix: str, size: Map, channels: tuple[int, int]) -> list[Op]:
        return [
            group_norm(w, prefix, "norm", size, channels[0]),
            elementwise(on_map(w, size), prefix, "activation", cut="whole", width=channels[0]),
            *filter_rows(w, prefix, "conv", size, channels),
        ]
