"""Time to first token as clients measure it, from what the mean field says of steps: servers and clients add to it."""

from __future__ import annotations

import functools

from estimators.cost.array_math import Lane
from estimators.facts.fitted import fitted_values
from estimators.frozen import frozen
from estimators.serving.constants import constants_file
from estimators.serving.engines import Engine
from estimators.serving.mean_field import Steady


@frozen
class FirstToken:
    """What a client sees of an engine's first token.

    Attributes:
        reading: factor on the time from admission to the first token: tokenising, scheduling, streaming, and prompts that come in bursts.
        wave: share of a benchmark's requests that arrive all at once, when it begins.
        held: tokens that a benchmark's server holds back before it streams them.
    """

    reading: Lane
    wave: Lane = 0.0
    held: Lane = 0.0

    @property
    def has_wave(self) -> bool:
        """Whether the first wave counts."""
        return bool(self.wave)

    def seconds(self, load: Steady) -> Lane:
        """Time to first token of a load."""
        wave_s = self.wave * load.first_wave_s if self.has_wave else 0.0
        return self.reading * load.ttft_s + wave_s + self.held * load.itl_s


@functools.cache
def first_token(engine: Engine, source: str | None = None, without: str = "") -> FirstToken:
    """The first token of an engine under a steady load, or in a closed loop of a benchmark that begins with a wave.

    Args:
        source: whose closed loop; empty for anybody's, None for a steady load.
        without: a source that the constants must not have seen.

    Raises:
        BadValueError: no fit without that source is in the file.
    """
    values = fitted_values(constants_file(), without)
    reading = values[f"{engine.id}.first_reading"]
    if source is None:
        return FirstToken(reading=reading)
    own = f"{source}.{engine.id}"
    return FirstToken(reading=values.get(f"reading.{own}", reading), wave=values["first_wave"], held=values.get(f"held.{own}", 0.0))
