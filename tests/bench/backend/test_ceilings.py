"""Ceilings: the best of several shapes under a scripted clock, and small real ones."""

import math
from types import SimpleNamespace

import pytest
import torch

from bench.backend import ceilings
from bench.backend.device import choose
from bench.statistics import robust
from estimators.errors import UnavailableError
from tests.support.scripted_clock import ScriptedClock

CPU = choose("cpu")
MIB = 2**20


class ByWork(ScriptedClock):
    """Reads one second for each unit of work of the step it is given, divided by the step's speed."""

    def __init__(self) -> None:
        super().__init__([])

    def time(self, step) -> float:  # type: ignore[no-untyped-def]
        step()
        self._at_s += step.seconds
        return step.seconds


class Step:
    def __init__(self, seconds: float, error: str = "") -> None:
        self.seconds, self.error, self.calls = seconds, error, 0

    def __call__(self) -> None:
        self.calls += 1
        if self.error:
            raise RuntimeError(self.error)


def best(*trials: ceilings._Trial, max_time_s: float = 1000.0) -> ceilings.Ceiling:
    device = SimpleNamespace(clock=ByWork, name="CPU")
    return ceilings._best("matmul", "bf16", device, iter(trials), max_time_s)  # type: ignore[arg-type]


def trial(shape: str, work: int, seconds: float, error: str = "") -> ceilings._Trial:
    return ceilings._Trial(shape=shape, work=work, step=Step(seconds, error))


def test_the_highest_median_rate_is_kept_with_its_raw_samples() -> None:
    ceiling = best(trial("slow", 100, 2.0), trial("fast", 300, 3.0), trial("middle", 80, 1.0))
    assert (ceiling.shape, ceiling.value, ceiling.work) == ("fast", 100.0, 300)
    assert ceiling.work / robust.median(ceiling.samples_s) == ceiling.value
    assert (ceiling.kind, ceiling.dtype) == ("matmul", "bf16")


def test_by_its_fastest_sample_a_ceiling_is_what_the_machine_does_while_it_is_free() -> None:
    """50 a second in most samples; 100 in the one that no other program delayed."""

    class Delayed(Step):
        def __call__(self) -> None:
            super().__call__()
            self.seconds = 1.0 if self.calls == 4 else 2.0

    one, other = (ceilings._Trial(shape=name, work=100, step=Delayed(2.0)) for name in ("one", "other"))
    device = SimpleNamespace(clock=ByWork, name="CPU")
    found = [ceilings._best("matmul", "bf16", device, iter([t]), 30.0, fastest=f) for t, f in ((one, False), (other, True))]  # type: ignore[arg-type]
    assert [ceiling.value for ceiling in found] == [50.0, 100.0]


def test_the_best_two_take_turns_until_the_time_is_up_and_the_others_stop_early() -> None:
    slow, fast, middle = trial("slow", 100, 2.0), trial("fast", 300, 3.0), trial("middle", 80, 1.0)
    best(slow, fast, middle, max_time_s=100.0)
    assert len(slow.samples_s) == 2
    assert len(fast.samples_s) == len(middle.samples_s)
    # 12 s for two samples of each, then turns of 4 s until 100 s: 22 more
    assert len(fast.samples_s) == 2 + 22


def test_a_candidate_that_would_take_more_than_half_of_the_time_left_is_not_tried() -> None:
    # at 50 per second, three runs of 200 take 12 s, and half of the 16 s that the first candidate left is 8 s
    huge = trial("huge", 200, 1.0)
    assert best(trial("small", 100, 2.0), huge, max_time_s=20.0).shape == "small"
    assert huge.step.calls == 0  # type: ignore[attr-defined]


def test_five_samples_are_taken_however_little_time_there_is() -> None:
    assert len(best(trial("only", 100, 50.0), max_time_s=1.0).samples_s) == 5


def test_a_dtype_that_the_device_cannot_multiply_in_is_refused_in_one_line() -> None:
    with pytest.raises(UnavailableError, match=r"^CPU cannot do matmul in bf16: not implemented for 'Half'; name another with --dtype$"):
        best(trial("first", 1, 1.0, error="not implemented for 'Half'\nstack"))


def test_a_shape_that_fails_after_others_ran_is_left_out() -> None:
    assert best(trial("small", 100, 1.0), trial("large", 900, 1.0, error="out of memory")).shape == "small"


@pytest.mark.parametrize("dtype_name", ["fp32", "bf16"])
def test_a_real_matmul_ceiling_counts_two_flop_per_multiply_add(monkeypatch: pytest.MonkeyPatch, dtype_name: str) -> None:
    monkeypatch.setitem(ceilings._SQUARE, "cpu", (64,))
    monkeypatch.setitem(ceilings._LAYER, "cpu", ())
    ceiling = ceilings.matmul_ceiling(CPU, dtype_name, max_time_s=0.05)
    assert (ceiling.shape, ceiling.work) == ("x[64, 64] · W[64, 64]ᵀ", 2 * 64**3)
    assert ceiling.value == ceiling.work / robust.median(ceiling.samples_s)


def test_layer_shapes_are_tried_beside_square_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ceilings._SQUARE, "cpu", (16, 32))
    monkeypatch.setitem(ceilings._LAYER, "cpu", ((8, 64, 16),))
    products = []
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, w: products.append((x.shape[0], *w.shape)))
    ceilings.matmul_ceiling(CPU, "fp32", max_time_s=0.01)
    assert set(products) == {(16, 16, 16), (8, 64, 16), (32, 32, 32)}


def test_a_real_bandwidth_ceiling_is_over_arrays_of_the_working_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "working_set_bytes", lambda device: MIB)
    ceiling = ceilings.bandwidth_ceiling(CPU, max_time_s=0.05)
    assert ceiling.kind == "bandwidth"
    assert ceiling.shape.endswith(", 1 MiB arrays")
    assert ceiling.work in (MIB, 2 * MIB, 3 * MIB)


def test_streams_count_the_bytes_of_the_arrays_they_touch() -> None:
    # McCalpin, STREAM: a copy moves two arrays, a triad three; sum and matrix-vector read one, a dot product two
    counted = {t.shape.split(",")[0]: t.work for t in ceilings._streams(MIB, CPU)}
    assert counted == {"sum": MIB, "matrix-vector product": MIB, "dot product": 2 * MIB, "copy": 2 * MIB, "triad": 3 * MIB}


def test_streams_do_what_they_are_called() -> None:
    steps = {t.shape.split(",")[0]: t.step for t in ceilings._streams(MIB, CPU)}
    # a and c are independent draws of b's size: b b would be MIB / 4 = 262,144 on average, b c is near 0
    assert abs(float(steps["dot product"]())) < 10 * math.sqrt(MIB / 4)
    copied = steps["copy"]().clone()
    assert float(steps["sum"]()) == pytest.approx(float(copied.double().sum()), abs=1.0)
    assert steps["matrix-vector product"]().shape == (MIB // 4 // 2**13,)
    assert not torch.equal(steps["triad"](), copied)


@pytest.mark.parametrize(
    ("kind", "caches", "free", "expected"),
    [
        ("cpu", 32 * MIB, 10**12, 256 * MIB),
        ("cpu", 1152 * MIB, 10**12, 4608 * MIB),
        ("cpu", 32 * MIB, 2**30, 128 * MIB),
        ("cuda", 32 * MIB, 10**12, 1024 * MIB),
    ],
    ids=["at least", "large caches", "little memory", "gpu"],
)
def test_the_working_set_is_far_beyond_the_caches_and_within_the_memory(kind: str, caches: int, free: int, expected: int) -> None:
    device = SimpleNamespace(kind=kind, cache_bytes=lambda: caches, memory_available_bytes=lambda: free)
    assert ceilings.working_set_bytes(device) == expected  # type: ignore[arg-type]
