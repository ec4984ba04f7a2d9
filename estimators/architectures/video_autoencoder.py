"""The autoencoder between videos and latents of Wan (AutoencoderKLWan): filters over frames as well, the first frame by itself.

Wan 2.2's 5B has one of its own, which reads squares of pixels as channels, and adds what a level reads, averaged or repeated, to what it
makes.
"""

from __future__ import annotations

from estimators.architectures.latents import Compression
from estimators.architectures.maps import Map, attention_over, filter_rows, on_map
from estimators.architectures.rows import elementwise, norm
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.samples import Clip, Image
from estimators.spec import Model, Op, Source, Workload

CUBE, LINE = 27, 3
"""Positions under a filter of 3 x 3 x 3, and under one of three frames."""


@frozen
class VideoAutoencoder(Model):
    """One half of it, or both.

    A chunk of frames goes through at a time and filters keep the frames before it, so that each frame is filtered once. The first frame of
    all is neither halved nor doubled in time.

    Attributes:
        runs: the class of diffusers that this is.
        image: of one frame, in pixels.
        frames: of the video.
        channels, decoder_channels: of each half: of its first or last filter, and behind it of each level, from the finest.
        blocks: residual blocks of a level of the encoder; the decoder has one more.
        halves_time: of each level but the last, whether frames are halved behind it.
        latent_channels: of the latent; read_channels and made_channels: of the video.
        square: side in pixels of what is folded into those channels; 1 for a pixel.
        residual: whether what a level reads is added to what it makes; then no level of the decoder halves its channels.
        encodes, decodes: whether a step runs the encoder, and the decoder; each half that does not run holds no parameters here.

    Source: Wan Team 2025, Wan (arXiv 2503.20314), as diffusers builds it.
    """

    name: str
    source: Source
    runs: str
    image: Image
    frames: int
    channels: tuple[int, ...]
    decoder_channels: tuple[int, ...]
    blocks: int
    halves_time: tuple[bool, ...]
    latent_channels: int
    read_channels: int
    made_channels: int
    square: int = 1
    residual: bool = False
    encodes: bool = True
    decodes: bool = True

    @property
    def sample(self) -> Clip:
        """The video."""
        return Clip(image=self.image, frames=self.frames)

    @property
    def compression(self) -> Compression:
        """What one position of its latent stands for."""
        return Compression(side=self.square * 2 ** len(self.halves_time), frames=2 ** sum(self.halves_time))

    def sized(self, image: Image) -> VideoAutoencoder:
        """The same on frames of another size. Raises BadValueError where a level has no whole map."""
        least = self.compression.side
        if image.height % least or image.width % least:
            raise BadValueError(f"{image}: {self.name} halves its maps; give sides that {least} divides")
        return replace(self, image=image)

    def lasting(self, frames: int) -> VideoAutoencoder:
        """The same on videos of so many frames, give or take what fills a latent."""
        return replace(self, frames=self.compression.whole_frames(frames))

    @property
    def encoder(self) -> VideoAutoencoder:
        """That half."""
        return replace(self, decodes=False)

    @property
    def decoder(self) -> VideoAutoencoder:
        """That half."""
        return replace(self, encodes=False)

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch videos. Raises BadValueError for a phase, a length or a sample that it does not have."""
        if workload.phase not in self.phases or workload.seq_len != 1:
            raise BadValueError(f"phase {workload.phase!r} of {workload.seq_len} tokens: {self.name} has forward and train, of samples")
        self.demand_sample(workload)
        w = replace(workload, sample=None)
        return (*(self._encoder(w) if self.encodes else []), *(self._decoder(w) if self.decodes else []))

    def _encoder(self, w: Workload) -> list[Op]:
        sides = self.image.height // self.square, self.image.width // self.square
        size, z, below = (self.frames, *sides), self.latent_channels, self.channels[0]
        table = filter_rows(w, "encoder.in", "conv", size, (self.read_channels, below), taps=CUBE, data=True)
        for level, channels in enumerate(self.channels[1:]):
            for index in range(self.blocks):
                table += _residual(w, f"encoder.{level}.{index}", size, below, channels)
                below = channels
            if level < len(self.halves_time):
                after = (size[0], size[1] // 2, size[2] // 2)
                table += filter_rows(w, f"encoder.{level}", "halve", size, (channels, channels), after=after)
                size = after
                if self.halves_time[level]:
                    fewer = ((size[0] - 1) // 2, *size[1:])
                    read = (size[0] - 1, *size[1:])
                    table += filter_rows(w, f"encoder.{level}", "halve_time", read, (channels, channels), taps=LINE, after=fewer)
                    size = (1 + fewer[0], *size[1:])
            table += self._sum(w, f"encoder.{level}", size, below)
        table += _middle(w, "encoder.middle", size, below)
        table += _edge(w, "encoder.out", size, (below, 2 * z))
        return table + filter_rows(w, "encoder.out", "latent", size, (2 * z, 2 * z), taps=1)

    def _decoder(self, w: Workload) -> list[Op]:
        z, coarsest = self.latent_channels, self.decoder_channels[-1]
        size: Map = (self.compression.frames_of(self.frames), *self.compression.map_of(self.image))
        table = filter_rows(w, "decoder.in", "latent", size, (z, z), taps=1, data=not self.encodes)
        table += filter_rows(w, "decoder.in", "conv", size, (z, coarsest), taps=CUBE)
        table += _middle(w, "decoder.middle", size, coarsest)
        below = coarsest
        for level in reversed(range(len(self.halves_time) + 1)):
            channels = self.decoder_channels[level + 1]
            for index in range(self.blocks + 1):
                table += _residual(w, f"decoder.{level}.{index}", size, below, channels)
                below = channels
            if level:
                if self.halves_time[level - 1]:
                    later = (size[0] - 1, *size[1:])
                    table += filter_rows(w, f"decoder.{level}", "double_time", later, (channels, 2 * channels), taps=LINE)
                    size = (1 + 2 * later[0], *size[1:])
                size, below = (size[0], size[1] * 2, size[2] * 2), channels if self.residual else channels // 2
                table += filter_rows(w, f"decoder.{level}", "double", size, (channels, below))
                table += self._sum(w, f"decoder.{level}", size, below)
        return table + _edge(w, "decoder.out", size, (below, self.made_channels))

    def _sum(self, w: Workload, part: str, size: Map, channels: int) -> list[Op]:
        """What a level read, averaged or repeated to the size of what it made, added to that."""
        if not self.residual:
            return []
        return [elementwise(on_map(w, size), part, "residual", cut="whole", width=channels, reads=2, saved=False)]


def _norm(w: Workload, part: str, label: str, size: Map, channels: int) -> Op:
    return norm(on_map(w, size), part, cut="whole", label=label, width=channels, bias=False, recomputed=False)


def _residual(w: Workload, prefix: str, size: Map, before: int, after: int) -> list[Op]:
    """Two filters of 3 x 3 x 3 with norms and activations before them, and a sum with the input."""
    here = on_map(w, size)
    return [
        _norm(w, prefix, "norm1", size, before),
        elementwise(here, prefix, "activation", cut="whole", label="activation1", width=before),
        *filter_rows(w, prefix, "conv1", size, (before, after), taps=CUBE),
        _norm(w, prefix, "norm2", size, after),
        elementwise(here, prefix, "activation", cut="whole", label="activation2", width=after),
        *filter_rows(w, prefix, "conv2", size, (after, after), taps=CUBE),
        *(filter_rows(w, prefix, "shortcut", size, (before, after), taps=1) if before != after else []),
        elementwise(here, prefix, "residual", cut="whole", width=after, reads=2, saved=False),
    ]


def _middle(w: Workload, prefix: str, size: Map, channels: int) -> list[Op]:
    """Two residual blocks, and attention within each frame between them."""
    by_frame = on_map(replace(w, batch=w.batch * size[0]), size[1:])
    return [
        *_residual(w, f"{prefix}.0", size, channels, channels),
        _norm(w, f"{prefix}.attention", "norm", size, channels),
        *attention_over(by_frame, f"{prefix}.attention", channels, 1, bias=True),
        elementwise(by_frame, f"{prefix}.attention", "residual", cut="whole", width=channels, reads=2, saved=False),
        *_residual(w, f"{prefix}.1", size, channels, channels),
    ]


def _edge(w: Workload, prefix: str, size: Map, channels: tuple[int, int]) -> list[Op]:
    return [
        _norm(w, prefix, "norm", size, channels[0]),
        elementwise(on_map(w, size), prefix, "activation", cut="whole", width=channels[0]),
        *filter_rows(w, prefix, "conv", size, channels, taps=CUBE),
    ]
