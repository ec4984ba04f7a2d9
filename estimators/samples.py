"""What one sample of a model that reads no text is: an image of a size, or audio of a length."""

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


Sample = Image | Audio
