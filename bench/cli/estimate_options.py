"""What `estimate` is asked, typed."""

from __future__ import annotations

from bench.cli.data_options import DataOptions
from bench.cli.sample_options import Video
from estimators.frozen import frozen


@frozen
class Options(DataOptions):
    """Options of `estimate`; None where one was not given.

    Attributes:
        tokens: of the whole training.
        claimed_s, deadline_s, budget_usd, budget_gpu_days: the question put the other way round.
        batch, prompt_tokens, new_tokens, num_beams: of single steps and a generation.
        engine, weights: that a generation runs on; `weights` is a format of the checkpoint's matrices.
        images_total, audio_hours: what an epoch of a model of images, or of speech, is.
        images, video, audio, text_tokens, freeze: as `SampleOptions` has them.
    """

    tokens: int | None
    hardware: str | None
    claimed_s: float | None
    deadline_s: float | None
    budget_usd: int | None
    budget_gpu_days: int | None
    batch: int | None
    prompt_tokens: int | None
    new_tokens: int | None
    num_beams: int | None
    engine: str | None
    weights: str | None
    images_total: int | None
    audio_hours: float | None
    images: int | None
    video: Video | None
    audio: float | None
    text_tokens: int | None
    freeze: tuple[str, ...] | None

    @property
    def frames(self) -> int | None:
        """Of --video."""
        return self.video.frames if self.video else None

    @property
    def about_a_generation(self) -> bool:
        """Whether a prompt and tokens after it are asked about."""
        return self.prompt_tokens is not None or self.new_tokens is not None

    @property
    def about_samples(self) -> bool:
        """Whether a training on images, videos or audio is asked about."""
        asked = (self.images_total, self.audio_hours, self.images, self.video, self.audio, self.text_tokens, self.freeze)
        return any(value is not None for value in asked)

    @property
    def counts_devices(self) -> bool:
        """Whether a number of devices means something: of a training or a generation, and not of single steps."""
        return self.about_a_training or self.about_a_generation

    @property
    def about_a_data_set(self) -> bool:
        """Whether a fine-tuning on a data set is asked about."""
        asked = (self.method or None, self.data, self.tokenizer, self.lengths, self.examples, self.mean_tokens, self.p95_tokens)
        return any(value is not None for value in (*asked, self.measured_step_s))

    @property
    def about_a_training(self) -> bool:
        """Whether a whole training is asked about, and not single steps."""
        asked = (self.tokens, self.claimed_s, self.deadline_s, self.budget_usd, self.budget_gpu_days)
        return any(value is not None for value in asked)
