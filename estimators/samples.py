"""What one sample of a model that does not read text alone is: an image of a size, audio of a length, a video, images beside a text."""

from __future__ import annotations

from estimators.errors import BadValueError
from estimators.frozen import frozen

MAX_SIDE = 10**5
MAX_AUDIO_S = 10**6


@frozen
class Image:
    """One image.

    Attributes:
        height, width: in pixels.
    """

    height: int
    width: int

    def __post_init__(self) -> None:
        if not (1 <= self.height <= MAX_SIDE and 1 <= self.width <= MAX_SIDE):
            raise BadValueError(f"an image of {self.height} x {self.width} pixels; expected sides from 1 to {MAX_SIDE:,}")

    def __str__(self) -> str:
        return f"an image of {self.height} x {self.width} pixels"


@frozen
class Audio:
    """One recording.

    Attributes:
        duration_s: its length.
    """

    duration_s: float

    def __post_init__(self) -> None:
        if not 0 < self.duration_s <= MAX_AUDIO_S:
            raise BadValueError(f"audio of {self.duration_s:g} s; expected more than 0, at most {MAX_AUDIO_S:,}")

    def __str__(self) -> str:
        return f"{self.duration_s:g} s of audio"


MAX_IMAGES = 10**4
MAX_FRAMES = 10**5


@frozen
class Clip:
    """A video that is made.

    Attributes:
        image: size of each frame.
        frames: how many.
    """

    image: Image
    frames: int

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= MAX_FRAMES:
            raise BadValueError(f"a video of {self.frames:,} frames; expected from 1 to {MAX_FRAMES:,}")

    def __str__(self) -> str:
        return f"a video of {self.frames:,} frames of {self.image.height} x {self.image.width} pixels"


@frozen
class Example:
    """A text with images, or with a video.

    Attributes:
        image: size of each image, or of the video.
        images: how many of them; 0 with a video.
        frames: that are taken from the video; 0 without one.
        text_tokens: tokens of the text, those of a chat template among them, without those that stand for images.
    """

    image: Image
    images: int = 1
    frames: int = 0
    text_tokens: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.images <= MAX_IMAGES or not 0 <= self.frames <= MAX_FRAMES or self.text_tokens < 0:
            raise BadValueError(
                f"{self.images} images, {self.frames} frames, {self.text_tokens} tokens; expected from 0, at most {MAX_IMAGES:,} images "
                f"and {MAX_FRAMES:,} frames"
            )
        if bool(self.images) == bool(self.frames):
            raise BadValueError(f"{self.images} images and {self.frames} frames of a video; expected one of the two")

    def __str__(self) -> str:
        size = f"{self.image.height:,} x {self.image.width:,} pixels"
        seen = f"{self.frames:,} frames" if self.frames else f"{self.images:,} image{'s' if self.images > 1 else ''}"
        return f"{seen} of {size} and {self.text_tokens:,} tokens of text"


@frozen
class Spoken:
    """A recording with a text.

    Attributes:
        audio: the recording.
        text_tokens: tokens of the text, those of a chat template among them, without those that stand for the recording.
    """

    audio: Audio
    text_tokens: int = 0

    def __post_init__(self) -> None:
        if self.text_tokens < 0:
            raise BadValueError(f"{self.text_tokens} tokens of text; expected from 0")

    def __str__(self) -> str:
        return f"{self.audio} and {self.text_tokens:,} tokens of text"


Sample = Image | Audio | Clip | Example | Spoken
