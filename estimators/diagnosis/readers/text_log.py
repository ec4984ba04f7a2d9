"""A log that a training printed: lines of known tools among whatever else stands in it, and what its first lines say of the run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from estimators.diagnosis.observed import Figure, Included, Missing, Observed, Setting, Skipped
from estimators.diagnosis.readers.bars import Bars
from estimators.diagnosis.readers.grammars import ARGUMENTS, DOTTED, FACTS, GRAMMARS, Field, Grammar
from estimators.diagnosis.readers.lines import Lines, number
from estimators.diagnosis.readers.metrics import Metrics, metric_of
from estimators.diagnosis.readers.readings import SHOWN, Course, Steps, digits_of, skipped
from estimators.errors import BadValueError
from estimators.frozen import replace

MOST_OF_HEAD = 20_000
"""Lines in which the configuration is looked for."""


class Printed:
    """The readings of one grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar, self.steps = grammar, Steps()
        self._head = re.compile(grammar.head)
        self._fields = [(field, re.compile(field.pattern)) for field in grammar.fields]
        self.lines = self.broken = self.spoilt = self.evaluation = 0
        self.runs = 1
        self._clean: dict[str, Course] = {}
        self._with_more: dict[str, Course] = {}
        self._is_spoilt = False

    def take(self, line: str) -> None:
        """A line, whatever it is."""
        grammar = self.grammar
        for text in grammar.spoils:
            self._is_spoilt |= text in line
        for mark in grammar.marks:
            if mark in line:
                break
        else:
            return
        if any(text in line for text in grammar.evaluation):
            self.evaluation += 1
            return
        head = self._head.search(line)
        if head is None:
            self.broken += grammar.id != "nanogpt"
            return
        values = list(self._values(line))
        if not values:
            self.broken += 1
            return
        self.lines += 1
        step = int(head["step"][:15]) if self._head.groups else self.lines
        if not self.steps.takes(step):
            return
        if self.steps.begins_again:
            self._clean.clear()
            self._with_more.clear()
            self.spoilt, self.runs = 0, self.runs + 1
        is_spoilt, self._is_spoilt = self._is_spoilt, False
        self.spoilt += is_spoilt
        courses = self._with_more if is_spoilt else self._clean
        for field, value, printed in values:
            course = courses.get(field.name)
            if course is None:
                course = courses[field.name] = self._course(field, is_spoilt)
            course.add(step, value, digits_of(printed) if course.number < SHOWN else 0)

    def _values(self, line: str) -> Iterator[tuple[Field, float, str]]:
        for field, pattern in self._fields:
            if (found := pattern.search(line)) is not None:
                printed = found["number"]
                value = float(printed.replace(",", ""))
                if 0 < value < math.inf:
                    yield field, value, printed

    def _course(self, field: Field, is_spoilt: bool) -> Course:
        source = f"{field.name} of {self.grammar.tool}'s log"
        includes: tuple[Included, ...] = ("evaluation", "saving") if is_spoilt else ()
        return Course(field.quantity, field.scope, source, size=field.size, includes=includes)

    @property
    def courses(self) -> list[Course]:
        """In the grammar's order: without readings that hold evaluation or saving, unless nearly all do."""
        clean = next(iter(self._clean.values()), None)
        chosen = self._clean if clean is not None and 4 * clean.number >= self.spoilt else self._with_more
        return [chosen[name] for name in dict.fromkeys(field.name for field in self.grammar.fields) if name in chosen]

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What is in no figure."""
        courses = self.courses
        first = courses[0].num_dropped if courses else 0
        is_clean = not courses or not courses[0].includes
        return (
            *skipped("readings of the first steps", first, "they hold compilation and start-up"),
            *skipped("readings after an evaluation or a checkpoint", self.spoilt if is_clean else 0, "it is in their time"),
            *skipped("lines of an evaluation", self.evaluation),
            *skipped("lines of steps that had been read", self.steps.repeated, "other ranks, or steps made again after a restart"),
            *skipped("lines that could not be read", self.broken, "cut, not a number, or with a decimal comma"),
        )


class TextLog:
    """Everything that one log says."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.printed = [Printed(grammar) for grammar in GRAMMARS]
        self.metrics, self.bars = Metrics(), Bars()
        self.facts: dict[str, int | str] = {}
        self.peak: float | None = None
        self.tokens_per_iteration: int | None = None
        for line in lines:
            self._take(line)

    def _take(self, line: str) -> None:
        for at in dict.fromkeys([at for text, at in _MARKED if text in line]):
            self.printed[at].take(line)
        if "{'" in line:
            self._dictionary(line)
        if "it/s" in line or "s/it" in line:
            self.bars.take(line)
        if self.lines.number <= MOST_OF_HEAD and _SAYS.search(line):
            self._fact(line)

    def _dictionary(self, line: str) -> None:
        pairs = {name: value for name, value in _PAIR.findall(line) if metric_of(name) is not None}
        if pairs:
            self.metrics.take(pairs, None)

    def _fact(self, line: str) -> None:
        for fact in FACTS:
            if fact.mark in line and (found := re.search(fact.pattern, line)) is not None:
                for group, field in fact.fields.items():
                    self._say(field, found[group])
        dotted = DOTTED.search(line)
        if dotted is not None and (name := ARGUMENTS.get(dotted["name"])):
            self._say(name, dotted["value"])
        if "tokens per iteration will be:" in line and (found := re.search(r"will be: ([\d,]*\d)", line)) is not None:
            self.tokens_per_iteration = int(found[1].replace(",", "")[:15])

    def _say(self, name: str, value: str | None) -> None:
        if value is None:
            return
        if name == "peak":
            self.peak = number(value) or None
        elif name == "hardware":
            self.facts[name] = value.strip()
        elif name == "recompute":
            self.facts[name] = value if value in ("full", "selective") else "none"
        elif (plain := value.replace(",", "")).isdecimal() and int(plain[:12]) > 0:
            self.facts[name] = int(plain[:12])

    def observed(self) -> Observed:
        """What it says.

        Raises:
            BadValueError: nothing that is known, or lines of two tools that are two runs.
        """
        found = sorted((each for each in self.printed if each.courses), key=lambda each: each.grammar.rank)
        if len([each for each in found if each.grammar.rank == 1]) > 1:
            both = " and ".join(f"{each.lines:,} of {each.grammar.tool}" for each in found if each.grammar.rank == 1)
            raise BadValueError(f"{self.lines.path!r} has lines of two trainings, {both}; expected the log of one")
        if found:
            return self._of_lines(found[0], others=[each.grammar.tool for each in found[1:]])
        if self.metrics.courses:
            missing = Missing(what="the step of a printed dictionary", flag="the same run's trainer_state.json")
            return self._with_facts(self.metrics.observed("dictionaries that a Trainer prints", missing=[missing]))
        if self.bars.main is not None:
            return self._with_facts(self.bars.observed())
        raise NothingKnownError

    def _of_lines(self, printed: Printed, others: list[str]) -> Observed:
        courses, grammar = printed.courses, printed.grammar
        figures: list[Figure] = [figure for course in courses if (figure := course.figure()) is not None]
        if self.tokens_per_iteration and grammar.id == "nanogpt":
            time = figures[0]
            rate = self.tokens_per_iteration / time.value
            how = f"{self.tokens_per_iteration:,} tokens per iteration, as its first lines say, over {time.source}"
            figures.insert(0, Figure(quantity="tokens_per_s", value=rate, source=how, digits=time.digits))
        restarts = printed.steps.restarts
        observed = Observed(
            figures=tuple(figures),
            setting=Setting(software=grammar.tool),
            series=tuple(series for course in courses[:1] if (series := course.series()) is not None),
            skipped=printed.skipped,
            read=f"{grammar.tool}'s log, {printed.lines:,} of {self.lines.number:,} lines",
            notes=(
                *grammar.notes,
                *([f"restarted {restarts} times: a step that was made twice counts once"] if restarts else []),
                *([f"{printed.runs} runs, one after another: the last one alone counts"] if printed.runs > 1 else []),
                *([f"lines of {', '.join(others)} stand in it, too, and are left out"] if others else []),
            ),
        )
        return self._with_facts(observed)

    def _setting(self) -> Setting:
        return Setting(**self.facts)  # type: ignore[arg-type]

    def _with_facts(self, observed: Observed) -> Observed:
        too_long = skipped("lines of more than 262,144 characters", self.lines.too_long)
        figures = observed.figures
        if self.peak:
            figures += (Figure(quantity="peak_flop_per_s", value=self.peak, scope="device", source="the log's first lines", digits=3),)
        setting = observed.setting.filled(self._setting())
        return replace(observed, setting=setting, figures=figures, skipped=(*observed.skipped, *too_long))


class NothingKnownError(Exception):
    """No line of a tool that is known."""


_MARKED = tuple((text, at) for at, grammar in enumerate(GRAMMARS) for text in (*grammar.marks, *grammar.spoils))
"""Texts of which a line has one if it is anything to a grammar, with the grammar's place."""

_SAYS = re.compile("|".join([*(re.escape(fact.mark) for fact in FACTS), re.escape(" ..."), "tokens per iteration will be"]))
_PAIR = re.compile(r"'([^']{1,80})': '?([-+\w.]{1,40})'?(?=, |})")
