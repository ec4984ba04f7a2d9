"""The autoencoder between videos and latents of HunyuanVideo: windows of frames that overlap, each with attention over all its frames."""

from __future__ import annotations

from collections import Counter

from estimators.architectures.maps import Map, Residual, attention_over, filter_rows, group_norm, on_map
from estimators.architectures.rows import elementwise
from estimators.architectures.video_autoencoder import CUBE, VideoAutoencoder
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload

WINDOW, STRIDE = 16, 12
"""Frames of a window behind its first, and from one window to the next; a shorter video is read at once.

Source: tile_sample_min_num_frames and tile_sample_stride_num_frames of diffusers' AutoencoderKLHunyuanVideo.
"""


def windows_of(frames: int, window: int, stride: int) -> tuple[int, ...]:
    """Frames of each window, as diffusers cuts them.

    >>> windows_of(33, 4, 3)
    (5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 3)
    """
    return (frames,) if frames <= window else tuple(min(window + 1, frames - first) for first in range(0, frames, stride))


@frozen
class WindowedAutoencoder(VideoAutoencoder):
    """Frames that two windows have in common are filtered in both; a window's first frame is neither halved nor doubled in time.

    Heights and widths are not cut up: what `enable_tiling` of diffusers does is not counted.

    Source: Kong et al. 2024, HunyuanVideo (arXiv 2412.03603), section 4.1, as diffusers builds it.
    """

    def _encoder(self, w: Workload) -> list[Op]:
        z, below, windows = self.latent_channels, self.channels[0], windows_of(self.frames, WINDOW, STRIDE)
        sides: Map = (self.image.height, self.image.width)
        table = filter_rows(w, "encoder.in", "conv", (sum(windows), *sides), (self.read_channels, below), taps=CUBE, data=True)
        for level, channels in enumerate(self.channels[1:]):
            for index in range(self.blocks):
                table += Residual(before=below, after=channels, taps=CUBE).ops(w, f"encoder.{level}.{index}", (sum(windows), *sides))
                below = channels
            if level < len(self.halves_time):
                before = (sum(windows), *sides)
                windows = tuple((frames - 1) // 2 + 1 for frames in windows) if self.halves_time[level] else windows
                sides = (sides[0] // 2, sides[1] // 2)
                after = (sum(windows), *sides)
                table += filter_rows(w, f"encoder.{level}", "halve", before, (channels, channels), taps=CUBE, after=after)
        size = (sum(windows), *sides)
        table += _middle(w, "encoder.middle", windows, sides, below)
        table += _edge(w, "encoder.out", size, (below, 2 * z))
        return table + filter_rows(w, "encoder.out", "latent", size, (2 * z, 2 * z), taps=1)

    def _decoder(self, w: Workload) -> list[Op]:
        z, below, period = self.latent_channels, self.channels[-1], self.compression.frames
        windows = windows_of(self.compression.frames_of(self.frames), WINDOW // period, STRIDE // period)
        sides = self.compression.map_of(self.image)
        table = filter_rows(w, "decoder.in", "latent", (sum(windows), *sides), (z, z), taps=1, data=not self.encodes)
        table += filter_rows(w, "decoder.in", "conv", (sum(windows), *sides), (z, below), taps=CUBE)
        table += _middle(w, "decoder.middle", windows, sides, below)
        for level in reversed(range(len(self.channels) - 1)):
            channels = self.channels[level + 1]
            for index in range(self.blocks + 1):
                table += Residual(before=below, after=channels, taps=CUBE).ops(w, f"decoder.{level}.{index}", (sum(windows), *sides))
                below = channels
            if level:
                doubled = self.halves_time[len(self.halves_time) - level]
                windows = tuple(1 + 2 * (frames - 1) for frames in windows) if doubled else windows
                sides = (sides[0] * 2, sides[1] * 2)
                table += filter_rows(w, f"decoder.{level}", "double", (sum(windows), *sides), (channels, channels), taps=CUBE)
        return table + _edge(w, "decoder.out", (sum(windows), *sides), (below, self.made_channels))


def _middle(w: Workload, prefix: str, windows: tuple[int, ...], sides: Map, channels: int) -> list[Op]:
    """Two residual blocks, and attention over the positions of each window between them, whose weights all windows share."""
    size, block, part = (sum(windows), *sides), Residual(before=channels, after=channels, taps=CUBE), f"{prefix}.attention"
    table = [*block.ops(w, f"{prefix}.0", size), group_norm(w, part, "norm", size, channels)]
    for index, (frames, times) in enumerate(Counter(windows).items()):
        here = on_map(replace(w, batch=w.batch * times), (frames, *sides))
        rows = attention_over(here, part if not index else f"{part}.{index}", channels, 1, bias=True)
        table += rows if not index else [replace(op, params=0, weight_bytes=0) for op in rows]
    return [
        *table,
        elementwise(on_map(w, size), part, "residual", cut="whole", width=channels, reads=2, saved=False),
        *block.ops(w, f"{prefix}.1", size),
    ]


def _edge(w: Workload, prefix: str, size: Map, channels: tuple[int, int]) -> list[Op]:
    return [
        group_norm(w, prefix, "norm", size, channels[0]),
        elementwise(on_map(w, size), prefix, "activation", cut="whole", width=channels[0]),
        *filter_rows(w, prefix, "conv", size, channels, taps=CUBE),
    ]
