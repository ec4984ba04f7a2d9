"""Progress bars of tqdm in any log: of several the one that ran the longest."""

from __future__ import annotations

import re

from estimators.diagnosis.observed import Observed
from estimators.diagnosis.readers.grammars import N
from estimators.diagnosis.readers.lines import number
from estimators.diagnosis.readers.readings import SHOWN, Course, Steps, digits_of, skipped

_BAR = re.compile(rf"(?:^|[\s|])(?P<step>\d+)/(?P<of>\d+) \[(?P<clock>[\d:]+)<[^,\]]*, +{N}(?P<unit>s/it|it/s)")
_LIKE_A_BAR = re.compile(r"\d+/\d+ \[[\d:]+<")
_NO_TRAINING = re.compile(r"eval|valid|test|map|token|load|sav|download|generat|predict|shard", re.IGNORECASE)

MOST_BARS = 64


class Bar:
    """One bar: its steps' times, as shown."""

    def __init__(self, of: int) -> None:
        self.of, self.steps, self.elapsed_s = of, Steps(), 0.0
        self.course = Course("step_time_s", "job", "s/it of a progress bar")
        self.last = 0


class Bars:
    """All bars of a log."""

    def __init__(self) -> None:
        self.broken = self.others = self.lines = 0
        self._bars: dict[tuple[str, int], Bar] = {}

    def take(self, line: str) -> None:
        """A line, whatever it is."""
        found = _BAR.search(line)
        if found is None:
            self.broken += _LIKE_A_BAR.search(line) is not None and ("s/it" in line or "it/s" in line)
            return
        name = line[: found.start()].partition("%")[0].rstrip("0123456789 ")[-60:]
        value, of = number(found["number"]), int(found["of"][:15])
        key = (name, of)
        bar = self._bars.get(key)
        if not value or (bar is None and (len(self._bars) >= MOST_BARS or _NO_TRAINING.search(name))):
            self.others += 1
            return
        if bar is None:
            bar = self._bars[key] = Bar(of)
        step = int(found["step"][:15])
        if bar.steps.takes(step):
            self.lines += 1
            bar.course.add(
                step, value if found["unit"] == "s/it" else 1 / value, digits_of(found["number"]) if bar.course.number < SHOWN else 0
            )
            bar.elapsed_s, bar.last = _seconds(found["clock"]), step

    @property
    def main(self) -> Bar | None:
        """The one that ran the longest; None where there is none."""
        return max(self._bars.values(), key=lambda bar: (bar.elapsed_s, bar.of), default=None)

    def observed(self) -> Observed:
        """What the main bar says."""
        bar = self.main
        assert bar is not None
        figure = bar.course.figure()
        assert figure is not None
        series = bar.course.series()
        mean = f"; since its start {bar.elapsed_s / bar.last:.3g} s each" if bar.last and bar.elapsed_s else ""
        return Observed(
            figures=(figure,),
            series=(series,) if series else (),
            skipped=(
                *skipped("readings of the first steps", bar.course.num_dropped, "they hold compilation and start-up"),
                *skipped("lines of other bars", self.others + self.lines - bar.course.number),
                *skipped("bars that could not be read", self.broken, "cut, not a number, or with a decimal comma"),
            ),
            read=f"a progress bar of {bar.of:,} steps, {bar.course.number:,} readings",
            notes=(f'"it" is taken for a step of the optimizer, as in a Trainer{mean}',),
        )


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.split(":")[:4]:
        total = 60 * total + float(part[:9] or 0)
    return total
