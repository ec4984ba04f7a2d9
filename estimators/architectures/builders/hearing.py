"""Whole models that hear: Whisper's encoder and a projector beside the language part that `vision.nested_language_part` builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from estimators.architectures.builders.speech import encoder_of_whisper
from estimators.architectures.builders.vision import nested_language_part, nested_part
from estimators.architectures.encoder import Tower
from estimators.architectures.projector import Projector
from estimators.architectures.speech_language import Hearing, SpeechLanguage
from estimators.architectures.stems import FrameStem
from estimators.errors import NoOpTableError
from estimators.frozen import replace
from estimators.samples import Spoken
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.decoder import Decoder
    from estimators.architectures.fields import Fields

Built = tuple[Tower, Projector, Hearing, str]
"""Tower, projector, how a recording is cut, and the class of transformers."""


def hearing(f: Fields, name: str, source: Source, example: Spoken) -> SpeechLanguage:
    """The whole of a model that hears, on examples of one kind.

    Raises:
        BadConfigError: fields of the tower that make no sense.
        NoOpTableError: a family whose tower, or a language part, that no op table is of.
    """
    family = f.config["model_type"]
    known = ", ".join(sorted(HEARING))
    if family not in HEARING:
        raise NoOpTableError(f"{name}: model_type {family!r} has no op table with audio beside text; these have: {known}")
    keys = nested_part(f.config)
    if not keys:
        raise NoOpTableError(f"{name}: text_config is of no family that has an op table")
    language = replace(nested_language_part(f, name, source, keys), left_out="")
    audio, projector, heard, runs = HEARING[family](f, f.part("audio_config", f.config.get("audio_config") or {}), language)
    return SpeechLanguage(
        name=name, source=source, runs=runs, projector=projector, language=language, audio=audio, hearing=heard, example=example
    )


def _tower(a: Fields) -> tuple[Tower, FrameStem, int]:
    """Whisper's encoder as its third large version has it; its stem and its feed-forward's width."""
    tower, inner = encoder_of_whisper(a, width=1280, layers=32, heads=20, inner=5120, bins=128)
    stem = tower.stem
    assert isinstance(stem, FrameStem)
    return tower, stem, inner


def _qwen2_audio(f: Fields, a: Fields, language: Decoder) -> Built:
    """Qwen2-Audio: two positions are averaged, and one matrix follows. The tower's norm, behind the mean there, is counted before it."""
    tower, stem, _ = _tower(a)
    projector = Projector(width=tower.width, merge=2, pooled=True, widths=(language.width,), biases=(True,))
    heard = Hearing(window_s=stem.window_s, positions=stem.positions, merge=2, in_windows=False)
    return tower, projector, heard, "Qwen2AudioForConditionalGeneration"


def _voxtral(f: Fields, a: Fields, language: Decoder) -> Built:
    """Voxtral: as many positions are joined as make the width of the tower's feed-forward, and two matrices follow."""
    tower, stem, inner = _tower(a)
    merge, rest = divmod(inner, tower.width)
    if rest or stem.positions % merge:
        raise a.fail("intermediate_size", inner, f"a multiple of {tower.width} that divides {stem.positions} positions")
    projector = Projector(width=tower.width, merge=merge, widths=(language.width, language.width), biases=(False, False))
    heard = Hearing(window_s=stem.window_s, positions=stem.positions, merge=merge, in_windows=True)
    return tower, projector, heard, "VoxtralForConditionalGeneration"


HEARING: dict[str, Callable[[Fields, Fields, Decoder], Built]] = {"qwen2_audio": _qwen2_audio, "voxtral": _voxtral}
"""model_type -> what builds its tower, its projector and how it hears."""
