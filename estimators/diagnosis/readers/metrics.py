"""Metrics by the names under which tools write them, in JSON, CSV, printed dictionaries and exports: unit and scope are the name's."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

from estimators.diagnosis.observed import Figure, Included, Missing, Observed, Quantity, Scope, Setting
from estimators.diagnosis.readers.lines import number
from estimators.diagnosis.readers.readings import SHOWN, Course, Steps, digits_of, skipped
from estimators.frozen import frozen

WHOLE_RUN: tuple[Included, ...] = ("first steps", "evaluation", "saving")


@frozen
class Metric:
    """A name that a tool writes.

    Attributes:
        name: whole, or the end of it behind a slash.
        quantity, scope, size: what it is, of what, and its unit in base units.
        tool: that writes it; empty of names that several have.
        includes, cumulative: as of a figure.
        note: what has to be known of it.
        is_last_resort: whether it counts only where nothing else is written.
    """

    name: str
    quantity: Quantity
    scope: Scope
    size: float = 1.0
    tool: str = ""
    includes: tuple[Included, ...] = ()
    cumulative: bool = False
    note: str = ""
    is_last_resort: bool = False


_TRAINABLE = (
    "counts tokens that bear a loss, of one GPU, as axolotl does since 0.19; before, it was the job's total, or the last micro-batch alone"
)
_ITEMS = "items are what length_fn gives for a whole batch, taken for its tokens; one that gives a sample's loses a factor of the batch"
_BATCHES = "a batch is taken for a step: with accumulate_grad_batches it is a part of one"
_REAL = "llm-foundry counts tokens without padding, Composer alone what the loader says"
_SINCE = "a mean since the run's start"
_WHOLE = "the whole run over its time: first steps, evaluation and saving are in it"

METRICS: tuple[Metric, ...] = (
    Metric(name="tokens/train_per_sec_per_gpu", quantity="tokens_per_s", scope="device", tool="axolotl", note=_TRAINABLE),
    Metric(name="throughput/device/tokens_per_sec", quantity="tokens_per_s", scope="device", tool="composer", note=_REAL),
    Metric(name="throughput/tokens_per_sec", quantity="tokens_per_s", scope="job", tool="composer"),
    Metric(name="throughput/device/samples_per_sec", quantity="samples_per_s", scope="device", tool="composer"),
    Metric(name="throughput/samples_per_sec", quantity="samples_per_s", scope="job", tool="composer"),
    Metric(name="throughput/batches_per_sec", quantity="steps_per_s", scope="job", tool="composer"),
    Metric(name="throughput/device/flops_per_sec", quantity="flop_per_s", scope="device", tool="composer"),
    Metric(name="throughput/device/mfu", quantity="mfu_fraction", scope="device", tool="composer"),
    Metric(name="throughput(tps)", quantity="tokens_per_s", scope="device", tool="torchtitan"),
    Metric(name="time_metrics/end_to_end(s)", quantity="step_time_s", scope="job", tool="torchtitan"),
    Metric(name="mfu(%)", quantity="mfu_fraction", scope="device", size=0.01, tool="torchtitan"),
    Metric(name="train/tok_per_sec", quantity="tokens_per_s", scope="job", tool="nanochat"),
    Metric(name="train/dt", quantity="step_time_s", scope="job", tool="nanochat"),
    Metric(name="train/mfu", quantity="mfu_fraction", scope="device", size=0.01, tool="nanochat"),
    Metric(name="device/items_per_sec", quantity="tokens_per_s", scope="device", tool="Lightning", note=_ITEMS),
    Metric(name="items_per_sec", quantity="tokens_per_s", scope="job", tool="Lightning", note=_ITEMS),
    Metric(name="device/samples_per_sec", quantity="samples_per_s", scope="device", tool="Lightning"),
    Metric(name="samples_per_sec", quantity="samples_per_s", scope="job", tool="Lightning"),
    Metric(name="device/flops_per_sec", quantity="flop_per_s", scope="device", tool="Lightning"),
    Metric(name="device/mfu", quantity="mfu_fraction", scope="device", tool="Lightning"),
    Metric(name="device/batches_per_sec", quantity="steps_per_s", scope="job", tool="Lightning", note=_BATCHES, is_last_resort=True),
    Metric(name="train_speed(s/it)", quantity="step_time_s", scope="job", tool="ms-swift", cumulative=True, note=_SINCE),
    Metric(name="train_tokens_per_second", quantity="tokens_per_s", scope="job", tool="transformers", cumulative=True, note=_SINCE),
    Metric(name="train_samples_per_second", quantity="samples_per_s", scope="job", tool="transformers", includes=WHOLE_RUN, note=_WHOLE),
    Metric(name="train_steps_per_second", quantity="steps_per_s", scope="job", tool="transformers", includes=WHOLE_RUN, note=_WHOLE),
    Metric(name="step_time", quantity="step_time_s", scope="job", tool="TRL"),
)
"""The most direct first. Sources: the tools' code, in the versions that docs/diagnose.md names."""

LOADER = {"time_metrics/data_loading(%)": 0.01}
"""Names of the share of time that a training waits for data, and their unit."""

STEP_NAMES = ("step", "trainer/global_step", "global_step", "_step", "iteration", "iter", "batch", "global_step/max_steps")
_NOT_TRAINING = re.compile(r"(?:^|[/_| ])(?:eval|val|valid|validate|validation|test|predict|sanity_check)(?:[/_| ]|$)", re.IGNORECASE)


@functools.lru_cache(maxsize=512)
def metric_of(name: str) -> Metric | None:
    """What a name means; None for one that is not known, or is of an evaluation.

    >>> metric_of("train/device/items_per_sec").scope, metric_of("validate/device/items_per_sec")
    ('device', None)
    """
    plain = name.strip().replace("|", "/")
    if _NOT_TRAINING.search(plain):
        return None
    return next((metric for metric in METRICS if plain == metric.name or plain.endswith("/" + metric.name)), None)


def step_of(row: Mapping[str, object]) -> int | None:
    """The step that a row says; None where it says none."""
    for name in STEP_NAMES:
        value = row.get(name)
        found = number(value.partition("/")[0] if isinstance(value, str) else value)
        if found is not None and 0 <= found < 2**53:
            return int(found)
    return None


class Metrics:
    """The known metrics of rows that come one after another."""

    def __init__(self) -> None:
        self.rows = self.unread = 0
        self.courses: dict[str, Course] = {}
        self.steps = Steps()
        self.shares: dict[str, Course] = {}
        self.runs = 1

    def take(self, row: Mapping[str, object], step: int | None) -> bool:
        """One row. False where nothing known stands in it."""
        found = [(name, metric) for name in row if (metric := metric_of(str(name))) is not None]
        shares = [name for name in row if str(name) in LOADER]
        if not found and not shares:
            return False
        self.rows += 1
        if step is not None and not self.steps.takes(step):
            return True
        if self.steps.begins_again:
            self.courses.clear()
            self.runs += 1
        for name, metric in found:
            if row[name] in (None, ""):
                continue
            value = number(row[name])
            if value is None or value <= 0:
                self.unread += 1
                continue
            course = self.courses.get(metric.name)
            if course is None:
                course = self.courses[metric.name] = _course(metric, str(name))
            course.add(self.rows if step is None else step, value, digits_of(row[name]) if course.number < SHOWN else 0)
        for name in shares:
            if (part := number(row[name])) is not None and 0 <= part * LOADER[str(name)] <= 1:
                self.shares.setdefault("loader", Course("mfu_fraction", "job", str(name))).add(self.rows, part * LOADER[str(name)])
        return True

    def metrics(self) -> list[Metric]:
        """What was read, the most direct first; of what is a last resort nothing where there is more."""
        found = [metric for metric in METRICS if metric.name in self.courses]
        plain = [metric for metric in found if not metric.is_last_resort]
        return [metric for metric in (plain or found) if not plain or metric.tool == plain[0].tool]

    def observed(
        self, what: str, *, missing: Iterable[Missing] = (), setting: Setting | None = None, notes: Iterable[str] = ()
    ) -> Observed:
        """What was read.

        Args:
            what: was read, such as ``Lightning's metrics.csv``.
        """
        metrics = self.metrics()
        courses = [self.courses[metric.name] for metric in metrics]
        figures: list[Figure] = [figure for course in courses if (figure := course.figure()) is not None]
        tool = metrics[0].tool if metrics else ""
        shares = {name: figure.value for name, course in self.shares.items() if (figure := course.figure()) is not None}
        return Observed(
            figures=tuple(figures),
            setting=(setting or Setting()).filled(Setting(software=tool)),
            series=tuple(series for course in courses[:1] if not course.cumulative and (series := course.series()) is not None),
            shares=shares,
            skipped=(
                *skipped("readings of the first steps", courses[0].num_dropped if courses else 0, "they hold compilation and start-up"),
                *skipped("values that are no positive number", self.unread),
                *skipped("rows of steps that had been read", self.steps.repeated, "other ranks, or steps made again after a restart"),
            ),
            missing=tuple(missing),
            read=f"{what}, {self.rows:,} rows with known metrics",
            notes=(
                *dict.fromkeys(f"{metric.name}: {metric.note}" for metric in metrics if metric.note),
                *notes,
                *([f"{self.runs} runs, one after another: the last one alone counts"] if self.runs > 1 else []),
            ),
        )


def _course(metric: Metric, name: str) -> Course:
    source = f"{name} of {metric.tool}" if metric.tool else name
    return Course(metric.quantity, metric.scope, source, size=metric.size, includes=metric.includes, cumulative=metric.cumulative)
