"""The op table beside torch's counter, fvcore and, where it is installed, calflops: time and exactness, on the same models in one run.

Run with: python -m pytest tests/bench/backend/test_bench_counting.py --benchmark-only

Time is judged in ratios, or in turns of a bare loop: what the table of a model costs where a turn takes 30 ns, as on the
machine that the lines were drawn on. The figures go into the benchmark's extra_info (--benchmark-json).
"""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from bench.backend import model_classes
from bench.backend.counting import meta
from estimators.architectures.decoder import op_table
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Case, Model, Workload

MODELS = (
    *("gpt2", "phi-2", "llama-2-7b", "olmoe-1b-7b", "mixtral-8x7b", "mamba-130m"),
    *("bert-base-uncased", "t5-small", "vit-base-patch16-224", "resnet-50"),
)
LARGEST = ("deepseek-v3", "llama-3.1-405b")
MIN_LEAD = 50
"""How many times as long every other counter takes at the least, on each of these models; a quiet machine finds 200 to 20,000."""

TURNS_PER_MS = 33_000
"""Of the bare loop below, at 30 ns each."""


def least_s(work: Callable[[], object], rounds: int) -> float:
    """The least of many: whatever else the machine does only ever adds time."""

    def once() -> float:
        start_s = time.perf_counter()
        work()
        return time.perf_counter() - start_s

    return min(once() for _ in range(rounds))


def loop() -> int:
    total = 0
    for i in range(TURNS_PER_MS):
        total += i & 7
    return total


def loaded(name: str) -> Model:
    entry = model_entry(name)
    return model_from_config(entry.config, entry.id, entry.source)


def workload_of(model: Model, phase: Any = "forward", batch: int = 1) -> Workload:
    """Of one token where there are no sequences, and of 16 where fvcore traces a scan token by token."""
    longest = 16 if model.name.startswith("mamba") else 128
    return Workload(phase=phase, batch=batch, seq_len=min(longest, getattr(model, "max_positions", 1) or longest))


class Called(nn.Module):
    """A model of transformers that takes its keyword arguments in order: calflops takes tensors only."""

    def __init__(self, model: nn.Module, names: tuple[str, ...], fixed: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.names, self.fixed = model, names, dict(fixed)

    def forward(self, *values: torch.Tensor) -> Any:
        return self.model(**dict(zip(self.names, values, strict=True)), **self.fixed)


def calflops_count(module: nn.Module, workload: Workload) -> int:
    """Twice its multiply-adds, on meta."""
    from calflops import calculate_flops

    if module.config.model_type in model_classes.KINDS:
        named, fixed = model_classes.step_inputs(module, workload), {}
    else:  # a cache keeps transformers from looking into the positions, which meta cannot
        named, fixed = {"input_ids": torch.zeros(workload.batch, workload.seq_len, dtype=torch.long, device="meta")}, {"use_cache": True}
    called = Called(module, tuple(named), fixed).eval()
    _, macs, _ = calculate_flops(called, args=list(named.values()), print_results=False, output_as_string=False)
    return round(2 * macs)


def others(module: nn.Module, workload: Workload) -> dict[str, Callable[[], int | float | None]]:
    """Counter -> its figure for a module that is already built, which spares it the larger part of its time."""
    found: dict[str, Callable[[], int | float | None]] = {
        "torch": lambda: meta.torch_count(module, workload).forward_flop,
        "fvcore": lambda: meta.fvcore_model_count(module, workload).value,
    }
    if importlib.util.find_spec("calflops"):
        found["calflops"] = lambda: calflops_count(module, workload)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_op_table_is_exact_and_the_fastest_by_far(benchmark: BenchmarkFixture, name: str) -> None:
    """From a configuration to parameters, FLOP and bytes, against the other counters' forward pass alone."""

    def ours() -> int:
        op_table.cache_clear()
        model = loaded(name)
        return estimate(Case(model=model, workload=workload_of(model))).forward_flop

    flop = benchmark(ours)
    ours_s = least_s(ours, rounds=20)
    module, workload = meta.meta_model(model_entry(name).config), workload_of(loaded(name))
    figures, times_s = {}, {}
    for counter, counted in others(module, workload).items():
        figures[counter] = counted()
        times_s[counter] = least_s(counted, rounds=2)
    benchmark.extra_info["figure_over_ours"] = {counter: None if figure is None else figure / flop for counter, figure in figures.items()}
    benchmark.extra_info["time_over_ours"] = {counter: took_s / ours_s for counter, took_s in times_s.items()}
    assert figures["torch"] == flop
    assert min(times_s.values()) >= MIN_LEAD * ours_s, benchmark.extra_info["time_over_ours"]


def test_fvcore_does_not_see_how_bloom_scores_its_attention(benchmark: BenchmarkFixture) -> None:
    """It has no handle for baddbmm: 30 layers of 32 heads, each 2·128·128·128 FLOP for 128 tokens and heads of width 128."""
    workload = Workload(seq_len=128)
    flop = benchmark(lambda: estimate(Case(model=loaded("bloom-7b1"), workload=workload)).forward_flop)
    theirs = meta.fvcore_model_count(meta.meta_model(model_entry("bloom-7b1").config), workload).value
    assert theirs == flop - 30 * 32 * 2 * 128**3


def test_calflops_does_not_see_the_experts_of_mixtral(benchmark: BenchmarkFixture) -> None:
    """It patches functions of Python, and the experts multiply by an operator: 2 of 8 in 32 layers, three matrices of 4096 x 14336 each."""
    pytest.importorskip("calflops", reason="calflops is no dependency; pip install calflops compares with it")
    workload = Workload(seq_len=128)
    flop = benchmark(lambda: estimate(Case(model=loaded("mixtral-8x7b"), workload=workload)).forward_flop)
    theirs = calflops_count(meta.meta_model(model_entry("mixtral-8x7b").config), workload)
    assert theirs == flop - 2 * 128 * 32 * 2 * 3 * 4096 * 14336


def made_anew(model: Model) -> object:
    """The op table, not the one that was made before."""
    op_table.cache_clear()
    return model.ops(workload_of(model))


def test_every_shipped_op_table_takes_less_than_a_millisecond(benchmark: BenchmarkFixture) -> None:
    models = {name: loaded(name) for name in model_ids()}
    tables_s = {name: least_s(lambda m=model: made_anew(m), rounds=7) for name, model in models.items()}
    slowest = max(tables_s, key=tables_s.__getitem__)
    limit_s = least_s(loop, rounds=50)
    benchmark(lambda: made_anew(models[slowest]))
    benchmark.extra_info.update(slowest=slowest, slowest_s=tables_s[slowest], sum_s=sum(tables_s.values()), loop_s=limit_s)
    assert tables_s[slowest] < limit_s, f"{slowest}: {tables_s[slowest] / limit_s:.2f} times {TURNS_PER_MS} turns of a bare loop"


@pytest.mark.parametrize("name", LARGEST)
@pytest.mark.parametrize("phase", ["train", "forward", "prefill"])
def test_the_largest_models_take_less_than_five_milliseconds_from_their_configuration(
    benchmark: BenchmarkFixture, name: str, phase: str
) -> None:
    def ours() -> object:
        op_table.cache_clear()
        return loaded(name).ops(Workload(phase=phase, seq_len=4096))  # type: ignore[arg-type]

    benchmark(ours)
    took_s, limit_s = least_s(ours, rounds=20), 5 * least_s(loop, rounds=50)
    benchmark.extra_info["over_limit"] = took_s / limit_s
    assert took_s < limit_s


def test_a_thousand_models_and_workloads_take_less_than_two_seconds(benchmark: BenchmarkFixture) -> None:
    """Every shipped model, read from its configuration, by phase and batch."""
    grid = list(itertools.product(model_ids(), ("train", "forward"), (1, 8, 64)))[:1000]
    assert len(grid) == 1000

    def sweep() -> int:
        models: dict[str, Model] = {}
        for name, phase, batch in grid:
            model = models[name] = models.get(name) or loaded(name)
            estimate(Case(model=model, workload=workload_of(model, phase, batch)))
        return len(models)

    benchmark.pedantic(sweep, rounds=5, warmup_rounds=1)
    took_s, limit_s = least_s(sweep, rounds=3), 2000 * least_s(loop, rounds=50)
    benchmark.extra_info["over_limit"] = took_s / limit_s
    assert took_s < limit_s
