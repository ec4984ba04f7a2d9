"""The autoencoder between videos and latents of CogVideoX: chunks of frames that hand on what filters keep, norms that read the latent."""

from __future__ import annotations

from estimators.architectures.maps import Map, Residual, filter_rows, group_norm, on_map
from estimators.architectures.rows import elementwise
from estimators.architectures.video_autoencoder import CUBE, VideoAutoencoder
from estimators.frozen import frozen
from estimators.spec import Op, Workload

CHUNK, LATENT_CHUNK = 8, 2
"""Frames of a video and of a latent that go through at a time, the first chunk with what is over.

Source: num_sample_frames_batch_size and num_latent_frames_batch_size of diffusers' AutoencoderKLCogVideoX.
"""


def chunks_of(frames: int, chunk: int) -> tuple[int, ...]:
    """Frames of each chunk, as diffusers cuts them.

    >>> chunks_of(13, 2)
    (3, 2, 2, 2, 2, 2)
    """
    whole = max(frames // chunk, 1)
    return (min(frames, chunk + frames % chunk), *[chunk] * (whole - 1))


def _halved(frames: int) -> int:
    return frames // 2 if frames % 2 == 0 else 1 + (frames - 1) // 2


def _doubled(frames: int) -> int:
    return 2 * frames if frames % 2 == 0 else 1 + 2 * (frames - 1)


@frozen
class ChunkedAutoencoder(VideoAutoencoder):
    """Time is halved by averages and doubled by repeats; a filter in height and width follows. There is no attention.

    Each norm of the decoder is scaled and shifted by two filters of one position over the latent, enlarged to the map's size. An odd
    chunk's first frame has no twin in time.

    Source: Yang et al. 2024, CogVideoX (arXiv 2408.06072), section 2.1, as diffusers builds it.
    """

    def _encoder(self, w: Workload) -> list[Op]:
        z, below, chunks = self.latent_channels, self.channels[0], chunks_of(self.frames, CHUNK)
        sides: Map = (self.image.height, self.image.width)
        table = filter_rows(w, "encoder.in", "conv", (sum(chunks), *sides), (self.read_channels, below), taps=CUBE, data=True)
        for level, channels in enumerate(self.channels[1:]):
            for index in range(self.blocks):
                table += Residual(before=below, after=channels, taps=CUBE).ops(w, f"encoder.{level}.{index}", (sum(chunks), *sides))
                below = channels
            if level < len(self.halves_time):
                chunks = tuple(_halved(frames) for frames in chunks) if self.halves_time[level] else chunks
                before, sides = (sum(chunks), *sides), (sides[0] // 2, sides[1] // 2)
                table += filter_rows(w, f"encoder.{level}", "halve", before, (channels, channels), after=(sum(chunks), *sides))
        size = (sum(chunks), *sides)
        for index in range(2):
            table += Residual(before=below, after=below, taps=CUBE).ops(w, f"encoder.middle.{index}", size)
        table.append(group_norm(w, "encoder.out", "norm", size, below))
        table.append(elementwise(on_map(w, size), "encoder.out", "activation", cut="whole", width=below))
        return table + filter_rows(w, "encoder.out", "conv", size, (below, 2 * z), taps=CUBE)

    def _decoder(self, w: Workload) -> list[Op]:
        z, below = self.latent_channels, self.channels[-1]
        chunks = chunks_of(self.compression.frames_of(self.frames), LATENT_CHUNK)
        size: Map = (sum(chunks), *self.compression.map_of(self.image))
        table = filter_rows(w, "decoder.in", "conv", size, (z, below), taps=CUBE, data=not self.encodes)
        for index in range(2):
            table += self._block(w, f"decoder.middle.{index}", size, below, below)
        for level in reversed(range(len(self.channels) - 1)):
            channels = self.channels[level + 1]
            for index in range(self.blocks + 1):
                table += self._block(w, f"decoder.{level}.{index}", size, below, channels)
                below = channels
            if level:
                doubled = self.halves_time[len(self.halves_time) - level]
                chunks = tuple(_doubled(frames) for frames in chunks) if doubled else chunks
                size = (sum(chunks), size[1] * 2, size[2] * 2)
                table += filter_rows(w, f"decoder.{level}", "double", size, (channels, channels))
        return [
            *table,
            *self._norm(w, "decoder.out", "norm", size, below),
            elementwise(on_map(w, size), "decoder.out", "activation", cut="whole", width=below),
            *filter_rows(w, "decoder.out", "conv", size, (below, self.made_channels), taps=CUBE),
        ]

    def _norm(self, w: Workload, part: str, label: str, size: Map, channels: int) -> list[Op]:
        """A norm over groups of channels, and the filters over the latent that scale and shift what it makes."""
        data = not self.encodes
        return [
            group_norm(w, part, label, size, channels),
            *filter_rows(w, part, f"{label}_scale", size, (self.latent_channels, channels), taps=1, data=data),
            *filter_rows(w, part, f"{label}_shift", size, (self.latent_channels, channels), taps=1, data=data),
            elementwise(on_map(w, size), part, cut="whole", label=f"{label}_scaling", width=channels, reads=2),
        ]

    def _block(self, w: Workload, part: str, size: Map, before: int, after: int) -> list[Op]:
        """Two filters of 3 x 3 x 3 with such norms and activations before them, and a sum with the input."""
        here = on_map(w, size)
        return [
            *self._norm(w, part, "norm1", size, before),
            elementwise(here, part, "activation", cut="whole", label="activation1", width=before),
            *filter_rows(w, part, "conv1", size, (before, after), taps=CUBE),
            *self._norm(w, part, "norm2", size, after),
            elementwise(here, part, "activation", cut="whole", label="activation2", width=after),
            *filter_rows(w, part, "conv2", size, (after, after), taps=CUBE),
            *(filter_rows(w, part, "shortcut", size, (before, after), taps=1) if before != after else []),
            elementwise(here, part, "residual", cut="whole", width=after, reads=2, saved=False),
        ]
