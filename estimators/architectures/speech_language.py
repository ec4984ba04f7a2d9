"""A whole model that hears (Qwen2-Audio, Voxtral): Whisper's encoder over windows of 30 s, what projects its features, a decoder."""

from __future__ import annotations

import math

from estimators.architectures.encoder import Tower
from estimators.architectures.joined import Joined, Side
from estimators.architectures.stems import FrameStem
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.samples import Audio, Spoken
from estimators.spec import Op, Phase, Workload

HOP_S = 0.01
"""From one frame of a spectrogram to the next.

Source: Radford et al. 2022, Whisper (arXiv 2212.04356), section 2.2.
"""


@frozen
class Hearing:
    """What a processor makes of a recording.

    Attributes:
        window_s: that the tower hears at once; what is shorter is padded to it.
        positions: of the tower in a window.
        merge: positions that make a token.
        in_windows: whether a longer recording is heard in several windows, each of them whole (Voxtral); else it must fit in one, and
            what is padded makes no tokens (Qwen2-Audio).
    """

    window_s: float
    positions: int
    merge: int
    in_windows: bool

    def windows(self, audio: Audio) -> int:
        """Windows that the tower hears. Raises BadValueError for a recording that it would cut off."""
        if not self.in_windows and audio.duration_s > self.window_s:
            raise BadValueError(f"{audio}: its processor keeps the first {self.window_s:g} s of a recording; give at most that")
        return math.ceil(audio.duration_s / self.window_s)

    def tokens(self, audio: Audio) -> int:
        """Tokens of the text that are features of it.

        >>> Hearing(window_s=30.0, positions=1500, merge=4, in_windows=True).tokens(Audio(duration_s=70.0))
        1125
        >>> Hearing(window_s=30.0, positions=1500, merge=2, in_windows=False).tokens(Audio(duration_s=10.0))
        250

        Raises:
            BadValueError: as `windows`.
        """
        windows = self.windows(audio)
        if self.in_windows:
            return windows * (self.positions // self.merge)
        frames = math.ceil(round(audio.duration_s / HOP_S, 6))
        return max(0, ((frames - 1) // 2 + 1 - self.merge) // self.merge + 1)


@frozen
class SpeechLanguage(Joined):
    """The whole of a model that hears a recording and reads a text.

    Attributes:
        audio: the tower; its stem is a FrameStem.
        hearing: how its processor cuts a recording.
        example: what each sample is.
    """

    audio: Tower
    hearing: Hearing
    example: Spoken

    @property
    def tower_side(self) -> Side:
        """What hears."""
        return "audio"

    @property
    def sample(self) -> Spoken:
        """The example."""
        return self.example

    @property
    def audio_tokens(self) -> int:
        """Tokens of an example that are features of its recording. Raises BadValueError for one that is cut off."""
        return self.hearing.tokens(self.example.audio)

    @property
    def sequence_tokens(self) -> int:
        """Tokens that the language part reads of one example."""
        return max(1, self.audio_tokens + self.example.text_tokens)

    def below(self, w: Workload) -> tuple[list[Op], list[list[Op]]]:
        """The rows of the tower over all windows, and of the projector, which reads what is padded as well."""
        stem = self.audio.stem
        assert isinstance(stem, FrameStem)
        reading: Phase = "train" if w.phase == "train" else "forward"
        windows = w.batch * self.hearing.windows(self.example.audio)
        inside = replace(w, phase=reading, batch=windows, seq_len=stem.positions, context_len=0)
        return self.audio.ops(inside, "audio."), [self.projector.ops(w, windows * stem.positions, "projector")]
