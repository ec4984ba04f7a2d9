"""What a position of a latent stands for: pixels along a side, and frames of a video."""

from __future__ import annotations

from estimators.architectures.maps import Map
from estimators.frozen import frozen
from estimators.samples import Image


@frozen
class Compression:
    """What an autoencoder makes one position of.

    Attributes:
        side: pixels along a side.
        frames: of a video behind its first, which has a frame of the latent to itself.

    Source: Rombach et al. 2022 (arXiv 2112.10752), section 4.1: f = 8; Wan Team 2025 (arXiv 2503.20314): 4 x 8 x 8, the first frame by
        itself.
    """

    side: int = 8
    frames: int = 4

    def whole_frames(self, frames: int) -> int:
        """The frames that a latent stands for, where so many are asked: the first and whole groups, as diffusers' WanPipeline rounds.

        >>> Compression().whole_frames(80), Compression().whole_frames(81)
        (81, 81)
        """
        return frames // self.frames * self.frames + 1 if (frames - 1) % self.frames else frames

    def frames_of(self, frames: int) -> int:
        """Frames of the latent of a video.

        >>> Compression().frames_of(81)
        21
        """
        return 1 + (frames - 1) // self.frames

    def map_of(self, image: Image) -> Map:
        """Positions of the latent of an image in height and width."""
        return image.height // self.side, image.width // self.side


USUAL = Compression()
"""Of Stable Diffusion, DiT, PixArt, Flux and Wan 2.1."""
