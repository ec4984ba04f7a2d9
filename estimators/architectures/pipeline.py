"""A diffusion pipeline: encoders, a denoiser that runs many times or two that share the steps, and the autoencoder behind it."""

from __future__ import annotations

from estimators.architectures.autoencoder import Autoencoder
from estimators.architectures.decoder import Decoder
from estimators.architectures.denoisers import Denoiser
from estimators.architectures.encoder import Encoder
from estimators.architectures.unets import ControlNet
from estimators.architectures.video_autoencoder import VideoAutoencoder
from estimators.architectures.vision import VisionTransformer
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


STEPS_OF_TRAINING = 1000
"""Levels of noise that a denoiser was trained at, from 999 down to 0 (num_train_timesteps of diffusers' schedulers)."""


@frozen
class Handover:
    """At which step a second denoiser takes over.

    Attributes:
        boundary: share of the levels of noise below which it does.
        shift: of the schedule, by which it has more steps at much noise than at little.

    Source: Wan-Video/Wan2.2: `boundary` and `sample_shift` of wan/configs; diffusers' WanPipeline and UniPCMultistepScheduler.
    """

    boundary: float
    shift: float

    def early(self, steps: int) -> int:
        """Steps of so many that the first denoiser runs: those whose level of noise is not below the boundary.

        Noise falls from 1 to 1 / STEPS_OF_TRAINING in `steps` equal parts; a level u of it becomes s u / (1 + (s - 1) u).

        >>> Handover(boundary=0.875, shift=12.0).early(40)
        26
        """
        part = (1 - 1 / STEPS_OF_TRAINING) / steps
        levels = (1 - step * part for step in range(steps))
        shifted = (self.shift * u / (1 + (self.shift - 1) * u) for u in levels)
        return sum(min(int(STEPS_OF_TRAINING * s), STEPS_OF_TRAINING - 1) >= STEPS_OF_TRAINING * self.boundary for s in shifted)


@frozen
class Pipeline:
    """What makes an image or a video of a text, or an image of a class.

    Attributes:
        image: that it was made for.
        encoders: of the text, some a language model whose states are read; none for a model that is steered by a class.
        image_encoder: of the image that a video begins with; None for none.
        control: what steers the denoiser by a picture, beside it in every step; None for nothing.
        late: the denoiser that takes over when the noise is low, and `handover` when; None for one denoiser alone.
    """

    name: str
    source: Source
    denoiser: Denoiser
    autoencoder: Autoencoder | VideoAutoencoder
    encoders: tuple[Encoder | Decoder, ...] = ()
    image_encoder: VisionTransformer | None = None
    control: ControlNet | None = None
    late: Denoiser | None = None
    handover: Handover | None = None

    @property
    def denoisers(self) -> tuple[Denoiser, ...]:
        """One, or the one for much noise and the one for little."""
        return (self.denoiser,) if self.late is None else (self.denoiser, self.late)

    @property
    def num_parts(self) -> int:
        """Networks that it is made of, the autoencoder as one."""
        return len(self.encoders) + len(self.denoisers) + 1 + (self.image_encoder is not None) + (self.control is not None)

    @property
    def image(self) -> Image:
        """The image that it is about."""
        return self.denoiser.image

    def sized(self, image: Image) -> Pipeline:
        """The same on images of another size. Raises BadValueError for one that its denoiser does not read."""
        control, late = self.control and self.control.sized(image), self.late and self.late.sized(image)
        return replace(self, denoiser=self.denoiser.sized(image), control=control, late=late)

    def lasting(self, frames: int) -> Pipeline:
        """The same on videos of so many frames. Raises BadValueError where it makes images."""
        return replace(self, denoiser=self.denoiser.lasting(frames), late=self.late and self.late.lasting(frames))

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
        if self.image_encoder is not None:
            runs.append(Run(part="image encoder", model=self.image_encoder, times=1, workload=once))
        autoencoder = self.autoencoder.sized(self.image)
        if isinstance(autoencoder, VideoAutoencoder):
            autoencoder = autoencoder.lasting(self.denoiser.frames or 1)
        if self.denoiser.begins_with_image:
            runs.append(Run(part="video encoder", model=autoencoder.encoder, times=1, workload=once))
        if self.control is not None:
            runs.append(Run(part="control", model=self.control, times=steps * twice, workload=once))
        return (
            *runs,
            *(Run(part=part, model=model, times=count * twice, workload=once) for part, model, count in self._steps(steps)),
            Run(part="decoder", model=autoencoder.decoder, times=1, workload=once),
        )

    def _steps(self, steps: int) -> list[tuple[str, Denoiser, int]]:
        """What each denoiser is called, and how many of the steps it takes."""
        if self.late is None or self.handover is None:
            return [("denoiser", self.denoiser, steps)]
        early = self.handover.early(steps)
        return [("denoiser, high noise", self.denoiser, early), ("denoiser, low noise", self.late, steps - early)]

    def _tokens_of(self, encoder: Encoder | Decoder) -> int:
        """To which a prompt is padded: rows of a table of positions, else what the denoiser reads."""
        return encoder.max_positions if encoder.positions else self.denoiser.t5_tokens or encoder.max_positions
