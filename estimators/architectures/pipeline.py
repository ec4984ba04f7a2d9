"""A diffusion pipeline: text encoders, a denoiser that runs many times, and the autoencoder behind it."""

from __future__ import annotations

from estimators.architectures.autoencoder import Autoencoder
from estimators.architectures.denoisers import Denoiser
from estimators.architectures.encoder import Encoder
from estimators.architectures.video_autoencoder import VideoAutoencoder
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.samples import Image
from estimators.spec import Model, Source, Workload

MAX_STEPS = 10**4

OfImages = Denoiser | Autoencoder | VideoAutoencoder
"""Parts that work on an image of a size, or on a video of one."""


@frozen
class Run:
    """One part of a generation.

    Attributes:
        part: what it is called.
        times: how often it runs for one image or video.
        workload: of one run for one of them.
    """

    part: str
    model: Model
    times: int
    workload: Workload


@frozen
class Pipeline:
    """What makes an image or a video of a text, or an image of a class.

    Attributes:
        image: that it was made for.
        encoders: of the text; none for a model that is steered by a class.
    """

    name: str
    source: Source
    denoiser: Denoiser
    autoencoder: Autoencoder | VideoAutoencoder
    encoders: tuple[Encoder, ...] = ()

    @property
    def image(self) -> Image:
        """The image that it is about."""
        return self.denoiser.image

    def sized(self, image: Image) -> Pipeline:
        """The same on images of another size. Raises BadValueError for one that its denoiser does not read."""
        return replace(self, denoiser=self.denoiser.sized(image))

    def lasting(self, frames: int) -> Pipeline:
        """The same on videos of so many frames. Raises BadValueError where it makes images."""
        return replace(self, denoiser=self.denoiser.lasting(frames))

    def generation(self, steps: int, *, guidance: bool, dtype: str = "bf16") -> tuple[Run, ...]:
        """What runs to make one image, or one video.

        Args:
            steps: of the denoiser.
            guidance: whether each step runs it twice, with the text or the class and without, where it needs a second pass.

        Raises:
            BadValueError: no number of steps from 1 to MAX_STEPS.

        Source: Ho and Salimans 2022, Classifier-Free Diffusion Guidance (arXiv 2207.12598), algorithm 2.
        """
        if not 1 <= steps <= MAX_STEPS:
            raise BadValueError(f"{steps:,} denoising steps; expected from 1 to {MAX_STEPS:,}")
        twice, once = 2 if guidance and not self.denoiser.one_pass else 1, Workload(dtype=dtype)
        runs = [
            Run(
                part=f"text encoder {index}" if len(self.encoders) > 1 else "text encoder",
                model=encoder,
                times=twice,
                workload=replace(once, seq_len=self._tokens_of(encoder)),
            )
            for index, encoder in enumerate(self.encoders, start=1)
        ]
        decoder = self.autoencoder.decoder.sized(self.image)
        if isinstance(decoder, VideoAutoencoder):
            decoder = decoder.lasting(self.denoiser.frames)
        return (
            *runs,
            Run(part="denoiser", model=self.denoiser, times=steps * twice, workload=once),
            Run(part="decoder", model=decoder, times=1, workload=once),
        )

    def _tokens_of(self, encoder: Encoder) -> int:
        """To which a prompt is padded: rows of a table of positions, else what the denoiser reads."""
        return encoder.max_positions if encoder.positions else self.denoiser.t5_tokens or encoder.max_positions
