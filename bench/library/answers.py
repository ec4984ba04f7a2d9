"""Answers: the tables of a verb, with their single values as attributes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from estimators.frozen import replace
from estimators.printable import printable
from reports.render import render
from reports.screen import Screen, Ways
from reports.table import Table

WAYS = Ways(whole=".text(verbose=True)", data=".to_dict()")
"""How a screen's reader asks an answer for more."""


def _as_keyword(option: str) -> str:
    """An option of the command line as a function takes it.

    >>> _as_keyword("--explain (how each figure came about)"), _as_keyword("--convention all (every tool's count)")
    ('explain=True (how each figure came about)', "convention='all' (every tool's count)")
    """
    found = re.fullmatch(r"--([a-z-]+)(?: ([a-z]+))?( \(.*\))?", option)
    if found is None:
        return option.removeprefix("--").replace(" ", "=", 1) if option.startswith("--") else option
    value = repr(found[2]) if found[2] else "True"
    return f"{found[1].replace('-', '_')}={value}{found[3] or ''}"


class Answer:
    """What a verb answers.

    Every single value of the verb's json is an attribute. One that a class lists and that this question has no value for is
    None; `unavailable` may say why.

    Attributes:
        unavailable: name of a figure -> why there is none.
    """

    unavailable: dict[str, str] | None

    def __init__(self, tables: Sequence[Table], exit_code: int = 0, screen: Screen | None = None, data: Sequence[Table] = ()) -> None:
        self._tables = tuple(tables)
        self._exit_code = exit_code
        self._screen = screen
        self._data = tuple(data)

    @property
    def good(self) -> bool:
        """Whether the verb would exit with 0: no check failed, nothing is impossible or slower."""
        return self._exit_code == 0

    def tables(self) -> list[Table]:
        """The tables of the verb's json: what it prints, what was asked first, then what is too long to be read."""
        return [*self._tables, *self._data]

    def to_dict(self) -> Any:
        """What the verb prints with --format json; a list where its tables have no names."""
        return json.loads(render(self.tables(), "json")) if self._tables else {}

    def text(self, *, verbose: bool = False) -> str:
        """What the verb prints, as wide as it does: one screen, or with `verbose` every table and note."""
        from bench.cli import appearance  # deferred, as the next: who reads attributes prints nothing
        from reports.screen import screen_lines

        width = appearance.num_columns(sys.stdout)
        if verbose or self._screen is None:
            return render(self._tables, "text", width=width) if self._tables else ""
        screen = replace(self._screen, more=[_as_keyword(option) for option in self._screen.more])
        return "\n".join(printable(line) for line, _ in screen_lines(screen, width, num_tables=len(self._tables), ways=WAYS))

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._tables[0].title if self._tables else 'nothing'}>"

    def _repr_html_(self) -> str:
        return render(self._tables, "html") if self._tables else ""

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._facts(), *self._listed()})

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for table in reversed(self.tables()):
            facts |= table.facts
        return facts

    @classmethod
    def _listed(cls) -> set[str]:
        return {name for base in cls.__mro__ if issubclass(base, Answer) for name in base.__annotations__}

    if not TYPE_CHECKING:  # a type checker knows the listed attributes alone, and finds one misspelt

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            facts = self._facts()
            if name in facts or name in self._listed():
                return facts.get(name)
            from estimators.errors import near_misses

            near = near_misses(name, {*facts, *self._listed()})
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise AttributeError(f"{type(self).__name__} has no {name!r}{hint}")


class EstimateAnswer(Answer):
    """Of `estimate`: a whole training with `tokens`, else single steps."""

    model: str
    params: int
    hardware: str | None
    num_devices: int | None
    dtype: str | None
    seq_len: int | None
    training_flop: int | None
    training_flop_by_convention: dict[str, int] | None
    utilization_fraction: float | None
    wall_days: float | None
    gpu_days: float | None
    gpu_hours: float | None
    energy_j: float | None
    co2_kg: float | None
    cost_usd_low: float | None
    cost_usd_median: float | None
    cost_usd_high: float | None
    step_time_s: float | None
    tokens_per_s: float | None
    days_low: float | None
    days_high: float | None
    plan_with_days: float | None
    plan_at_best_days: float | None
    plan_at_worst_days: float | None
    sign_for_gpu_hours: float | None
    mfu_fraction: float | None
    mfu_full_fraction: float | None
    mfu_causal_fraction: float | None
    layout: str | None
    global_batch: int | None
    needed_bytes: float | None
    fits: bool | None
    verdict: str | None
    implied_utilization_fraction: float | None
    deadline_num_devices: int | None
    budget_tokens: int | None
    forward_flop: int | None
    forward_time_bound_s: float | None
    train_step_flop: int | None
    train_step_time_bound_s: float | None
    generation_flop: int | None
    generation_time_bound_s: float | None
    engine: str | None
    weights: str | None
    prefill_s: float | None
    decode_step_s: float | None
    generation_s: float | None
    generation_low_s: float | None
    generation_high_s: float | None
    generation_fits: bool | None
    training_memory_bytes: int | None
    inference_memory_bytes: int | None


class PlanAnswer(Answer):
    """Of `plan`: the best layout, and with several kinds of device the one to take."""

    model: str
    hardware: str
    num_devices: int
    global_batch: int
    layout: str
    step_time_s: float
    mfu_fraction: float | None
    mfu_convention: str
    low_s: float
    high_s: float
    memory_bytes: float
    num_legal: int
    num_fitting: int
    tokens: int | None
    run_s: float | None
    gpu_hours: float | None
    cost_usd: float | None


class FitAnswer(Answer):
    """Of `fit`; `good` is False where it does not fit. With `largest` the largest, with `menu` a row per model in the first table."""

    model: str | None
    hardware: str
    num_devices: int | None
    verdict: str | None
    fits: bool | None
    allocated_bytes: int | None
    allocated_low_bytes: int | None
    allocated_high_bytes: int | None
    reserve_bytes: int | None
    device_memory_bytes: int
    left_bytes: int | None
    decides: str | None
    runner_up: str | None
    runner_up_bytes: int | None
    nvidia_smi_low_bytes: int | None
    nvidia_smi_high_bytes: int | None
    host_bytes: int | None
    framework: str | None
    is_framework_assumed: bool | None
    quantity: str | None
    largest: int | None
    limited_by: str | None


class HardwareAnswer(Answer):
    """Of `compare_hardware`: one row per kind of device in the first table."""

    model: str
    params: int
    tokens: int
    seq_len: int
    num_devices: int | None


class ClaimAnswer(Answer):
    """Of `check_claim`; `good` is False where physics forbids the claim."""

    verdict: str
    possible: bool
    least_fraction: float
    least_wall_s: float
    claimed_wall_s: float
    claimed_gpu_days: float
    usual_wall_s: float
    implied_utilization_fraction: float
    implied_utilization_fraction_by_convention: dict[str, float]
    percentile_fraction: float
    num_published: int
    num_below: int
    scope: str


class DiagnosisAnswer(Answer):
    """Of `diagnose`; `good` is False where the run is slow, its figures are wrong, or a fact is missing that decides."""

    verdict: str
    causes: list[str]
    explained_by: list[str]
    tied: bool
    value: float | None
    unit: str
    item: str
    observed_items_per_s_per_device: float | None
    expected_items_per_s_per_device: float | None
    expected_low_items_per_s_per_device: float | None
    expected_high_items_per_s_per_device: float | None
    ratio: float | None
    mfu_fraction: float | None
    least_fraction: float | None
    bound_tokens_per_s: float | None
    expected_tokens_per_s: float | None
    percentile_fraction: float | None
    num_published: int | None
    missing: list[str]
    read: str
    changes: list[dict[str, Any]]


class ModelAnswer(Answer):
    """Of `show`: the operations are the rows of the first table."""

    model: str | None
    phase: str | None
    params: int | None
    trainable_params: int | None
    active_params: int | None
    embedding_params: int | None
    params_by_component: dict[str, int] | None
    forward_flop: int | None
    prefill_flop: int | None
    decode_flop: int | None
    training_flop: int | None


class CountAnswer(Answer):
    """Of `count`: modules are the rows of the first table."""

    model: str
    params: int
    trainable_params: int
    forward_flop: int
    backward_flop: int | None
    fvcore_forward_flop: int | None
    by_operator: dict[str, int]
    unseen_operators: list[str]
    counted_on: str


class RecordsAnswer(Answer):
    """Of `measure` and `report`; `good` is False where a check failed."""

    model: str | None
    run_id: str | None
    status: str | None
    params: int | None
    train_step_s: float | None
    train_step_flop: int | None
    memory_needed_bytes: int | None


class ComparisonAnswer(Answer):
    """Of `compare`; `good` is False where B is slower or cannot be compared."""

    verdict: str
    threshold_fraction: float
    confidence: float
    noise_floor_fraction: float | None
