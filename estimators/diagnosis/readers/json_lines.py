"""Logs of one JSON object a line: LLaMA-Factory's, ms-swift's, and whatever else writes metrics under names that are known."""

from __future__ import annotations

import re
from typing import Any

from estimators.diagnosis.observed import Figure, Missing, Observed, Setting
from estimators.diagnosis.readers.lines import Lines, json_object, number
from estimators.diagnosis.readers.metrics import Metrics, step_of
from estimators.diagnosis.readers.readings import Course, digits_of, skipped
from estimators.diagnosis.readers.text_log import NothingKnownError
from estimators.diagnosis.readers.windows import WHOLE_SECONDS, Windows
from estimators.frozen import replace

_CLOCK = re.compile(r"(?:(?P<days>\d{1,5}) days?, )?(?P<hours>\d{1,6}):(?P<minutes>\d{2}):(?P<seconds>\d{2}(?:\.\d+)?)")


def seconds_of(clock: object) -> float | None:
    """A clock such as ``1 day, 0:03:13`` in seconds; None for anything else.

    >>> seconds_of("0:03:13"), seconds_of("3m 13s")
    (193.0, None)
    """
    found = _CLOCK.fullmatch(clock.strip()) if isinstance(clock, str) and len(clock) < 40 else None
    if found is None:
        return None
    return 86400.0 * int(found["days"] or 0) + 3600.0 * int(found["hours"]) + 60.0 * int(found["minutes"]) + float(found["seconds"])


class JsonLines:
    """Everything that one file says."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.metrics = Metrics()
        self.factory = LlamaFactory()
        self.swift = Swift()
        self.broken = self.other = 0
        for line in lines:
            if not line.strip():
                continue
            row = json_object(line)
            if row is None:
                self.broken += 1
            elif "current_steps" in row and "elapsed_time" in row:
                self.factory.take(row)
            elif "global_step/max_steps" in row or "train_speed(s/it)" in row:
                self.swift.take(row)
            elif not self.metrics.take(row, step_of(row)):
                self.other += 1

    def observed(self) -> Observed:
        """What the kind that most lines are of says.

        Raises:
            NothingKnownError: no line holds anything known.
        """
        rows = {"factory": self.factory.rows, "swift": self.swift.rows, "metrics": self.metrics.rows}
        kind = max(rows, key=lambda name: rows[name])
        if not rows[kind]:
            raise NothingKnownError
        if kind == "metrics" and not self.metrics.courses:
            raise NothingKnownError
        found = {"factory": self.factory.observed, "swift": self.swift.observed}
        observed = found[kind]() if kind in found else self.metrics.observed("JSON lines")
        left = sum(count for name, count in rows.items() if name != kind) + self.other
        return replace(
            observed,
            skipped=(
                *observed.skipped,
                *skipped("lines without a known metric", left),
                *skipped("lines that are no JSON object", self.broken, "cut, or something else"),
                *skipped("lines of more than 262,144 characters", self.lines.too_long),
            ),
        )


class LlamaFactory:
    """``trainer_log.jsonl``."""

    def __init__(self) -> None:
        self.rows = self.evaluations = 0
        self.tokens = Windows("tokens_per_s", "tokens between two logs of trainer_log.jsonl", WHOLE_SECONDS)
        self.times = Windows("step_time_s", "time between two logs of trainer_log.jsonl", WHOLE_SECONDS)
        self.throughput: tuple[float, int] | None = None
        self.last: tuple[float, float] | None = None

    def take(self, row: dict[str, Any]) -> None:
        """One line."""
        self.rows += 1
        if "loss" not in row and "throughput" not in row:
            self.evaluations += "eval_loss" in row
        step, clock, tokens = number(row["current_steps"]), seconds_of(row["elapsed_time"]), number(row.get("total_tokens"))
        if step is None or clock is None or step < 0 or clock <= 0:
            return
        self.last = (step, clock)
        self.times.take(int(step), step, clock)
        if tokens:
            self.tokens.take(int(step), tokens, clock)
        rate = number(row.get("throughput"))
        if rate is not None and rate > 0:
            self.throughput = (rate, digits_of(row["throughput"]))

    def observed(self) -> Observed:
        """Tokens between logs, else the throughput since the start, else steps."""
        figures: list[Figure] = []
        windows, times = self.tokens.course.figure(), self.times.course.figure()
        told = self.tokens if windows is not None else self.times
        if windows is not None:
            figures.append(windows)
        elif self.throughput is not None:
            rate, digits = self.throughput
            figures.append(
                Figure(quantity="tokens_per_s", value=rate, source="throughput of trainer_log.jsonl", digits=digits, cumulative=True)
            )
        if times is not None:
            figures.append(times)
        elif self.last is not None and self.last[0] > 0:
            step, clock = self.last
            how = "elapsed_time over current_steps of trainer_log.jsonl"
            digits = digits_of(f"{clock:.0f}")
            figures.append(
                Figure(
                    quantity="step_time_s", value=clock / step, source=how, digits=max(digits, 2), includes=("first steps", "evaluation")
                )
            )
        counted = any(figure.quantity == "tokens_per_s" for figure in figures)
        flag = "include_num_input_tokens_seen of the training's arguments"
        series = told.course.series()
        return Observed(
            figures=tuple(figures),
            setting=Setting(software="LLaMA-Factory"),
            series=(series,) if series else (),
            skipped=(*told.skipped, *skipped("logs of an evaluation", self.evaluations)),
            missing=() if counted else (Missing(what="tokens", why="throughput is written only where they are counted", flag=flag),),
            read=f"LLaMA-Factory's trainer_log.jsonl, {self.rows:,} logs",
            notes=(
                "tokens are the job's; elapsed_time shows whole seconds",
                *(["throughput is a mean since the start: first steps and evaluation are in it"] if windows is None and counted else []),
            ),
        )


class Swift:
    """``logging.jsonl`` of ms-swift."""

    def __init__(self) -> None:
        self.rows = 0
        self.speed: tuple[float, int] | None = None
        self.mfu: float | None = None
        self.times = Windows("step_time_s", "between two logs of ms-swift's logging.jsonl")

    def take(self, row: dict[str, Any]) -> None:
        """One line."""
        self.rows += 1
        speed, step = number(row.get("train_speed(s/it)")), step_of(row)
        if speed is None or speed <= 0:
            return
        self.speed = (speed, digits_of(row["train_speed(s/it)"]))
        if step:
            self.times.take(step, step, step * speed)
        self.mfu = number(row.get("MFU")) or self.mfu

    def observed(self) -> Observed:
        """The time of a step between logs, else the mean since the start."""
        course: Course = self.times.course
        figure, series = course.figure(), course.series()
        if figure is None and self.speed is not None:
            value, digits = self.speed
            figure = Figure(
                quantity="step_time_s", value=value, source="train_speed(s/it) of logging.jsonl", digits=digits, cumulative=True
            )
        judged = "is total_flos over the time without loading and over a peak that is measured there: not judged"
        mfu = [f"MFU of {self.mfu:.4g} {judged}"] if self.mfu else []
        return Observed(
            figures=(figure,) if figure is not None else (),
            setting=Setting(software="ms-swift"),
            series=(series,) if series else (),
            skipped=self.times.skipped,
            read=f"ms-swift's logging.jsonl, {self.rows:,} logs",
            notes=(
                "train_speed is of a step of the optimizer, a mean since the start"
                + ("; what lies between logs is taken" if course.number else ": first steps are in it"),
                *mfu,
            ),
        )
