"""Time on a calibrated machine: interpolation by hand, sums by hand, and nothing beyond the range in silence."""

import math

import pytest

from estimators.profile.interpolation import Grid, along
from estimators.profile.operator_times import HOST_MODES, Host, MachineProfile, OperatorCall, predict

LINES = (1, 16, 256)
RATE_FLOP_PER_S, LAUNCH_S = 1e11, 0.0


def ideal(m: int, n: int, k: int) -> float:
    """A machine without launch cost: 2 m n k over its rate."""
    return 2 * m * n * k / RATE_FLOP_PER_S


GRID = Grid(ms=LINES, ns=LINES, ks=LINES, seconds_s={(m, n, k): ideal(m, n, k) for m in LINES for n in LINES for k in LINES})


def machine(**changes: object) -> MachineProfile:
    made: dict[str, object] = {
        "exact": {"add[8]": 3e-6},
        "grids": {"fp32": GRID},
        "curves": {("add", "fp32"): ((100.0, 1e-6), (10_000.0, 1e-4))},
        "bytes_per_s": 1e9,
        "op_s": 1e-6,
        "hosts": dict.fromkeys(HOST_MODES, Host(fixed_s=1e-3, per_op_s=1e-6)),
    }
    return MachineProfile(**(made | changes))  # type: ignore[arg-type]


def call(**fields: object) -> OperatorCall:
    return OperatorCall(**({"key": "k", "kind": "add", "group": "memory", "dtype": "fp32"} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("mnk", [(1, 1, 1), (4, 4, 4), (3, 50, 200), (256, 256, 256), (16, 2, 77)])
def test_a_constant_rate_is_interpolated_exactly(mnk: tuple[int, int, int]) -> None:
    seconds, inside = GRID.seconds(mnk)
    assert inside
    assert math.isclose(seconds, ideal(*mnk), rel_tol=1e-12)  # log time is linear in log size, so the logarithms are exact


@pytest.mark.parametrize("mnk", [(512, 16, 16), (16, 1024, 16), (16, 16, 4096)])
def test_beyond_the_grid_the_edge_rate_goes_on_and_it_is_said(mnk: tuple[int, int, int]) -> None:
    seconds, inside = GRID.seconds(mnk)
    assert not inside
    assert math.isclose(seconds, ideal(*mnk), rel_tol=1e-12)


def test_a_curve_is_straight_in_both_logarithms_and_says_where_it_ends() -> None:
    curve = ((10.0, 2.0), (1000.0, 8.0))
    assert along(curve, 100.0) == (pytest.approx(4.0), True)  # the geometric mean of 2 and 8, half way in log size
    assert along(curve, 5.0) == (2.0, False)
    assert along(curve, 4000.0) == (32.0, False)
    assert along(curve, 10.0) == (2.0, True)


def test_each_operator_says_how_its_time_was_had() -> None:
    profile = machine()
    product = call(group="matmul", kind="mm", mnk=(4, 4, 4))
    assert profile.seconds(call(key="add[8]")) == (3e-6, "exact")
    assert profile.seconds(product)[1] == "interpolated"
    assert profile.seconds(call(group="matmul", kind="mm", mnk=(1024, 4, 4)))[1] == "extrapolated"
    assert profile.seconds(call(num_bytes=1000)) == (pytest.approx(1e-5), "interpolated")
    assert profile.seconds(call(num_bytes=10)) == (1e-6, "extrapolated")
    assert profile.seconds(call(kind="unheard_of", num_bytes=1000)) == (pytest.approx(1e-6 + 1e-6), "stand-in")
    assert profile.seconds(call(group="view")) == (0.0, "free")


def test_a_curve_that_never_left_the_launch_says_nothing_of_larger_sizes() -> None:
    """3 us for 8 bytes, where a launch takes 1 us as 1,000 bytes do: a megabyte takes 3 us and 1 ms more, not 125,000 launches."""
    profile = machine(curves={("div", "fp32"): ((8.0, 3e-6),), ("add", "fp32"): ((8.0, 3e-6), (1000.0, 4e-6))})
    assert profile.seconds(call(kind="div", num_bytes=1_000_008)) == (pytest.approx(3e-6 + 1e-3), "stand-in")
    assert profile.seconds(call(kind="div", num_bytes=8)) == (3e-6, "interpolated")
    assert profile.seconds(call(kind="div", num_bytes=4)) == (3e-6, "extrapolated")
    assert profile.seconds(call(num_bytes=1_000_000)) == (pytest.approx(4e-3), "extrapolated")  # its last size weighs: the rate goes on


def test_a_prediction_is_the_sum_of_its_parts_by_hand() -> None:
    calls = [
        call(key="add[8]", count=10),
        call(key="mm", group="matmul", kind="mm", mnk=(16, 16, 16), count=2),
        call(key="adamw", group="optimizer", kind="adamw", num_bytes=1000),
        call(key="view", group="view", kind="view", count=7),
    ]
    found = predict(calls, machine(), "forward")
    product_s = 2 * 2 * 16**3 / RATE_FLOP_PER_S
    assert found.num_ops == 20
    assert found.parts_s == {
        "matmul": pytest.approx(product_s),
        "attention": 0.0,
        "memory": pytest.approx(3e-5),
        "optimizer": pytest.approx(1e-6 + 1e-6),
        "host": pytest.approx(1e-3 + 20e-6),
    }
    assert found.seconds_s == pytest.approx(math.fsum(found.parts_s.values()))
    assert sum(found.basis_fraction.values()) == pytest.approx(1.0)
    assert found.weakest == ("adamw", "mm")


def test_what_lies_beyond_the_calibration_is_never_passed_over() -> None:
    inside = predict([call(num_bytes=1000)], machine(), "forward")
    beyond = predict([call(num_bytes=1000), call(key="far", num_bytes=10**7)], machine(), "forward")
    assert inside.extrapolated_fraction == 0
    assert beyond.extrapolated_fraction > 0.9
    assert beyond.weakest[0] == "far"


def test_a_machine_without_the_dtype_falls_back_and_says_so() -> None:
    assert machine(grids={}).seconds(call(group="matmul", kind="mm", mnk=(4, 4, 4), num_bytes=100))[1] == "stand-in"


def test_an_operator_without_a_curve_of_its_dtype_takes_that_of_fp32() -> None:
    assert machine().seconds(call(dtype="bf16", num_bytes=1000)) == (pytest.approx(1e-5), "interpolated")  # half way in log bytes


def test_what_stands_in_for_an_unmeasured_operator_counts_as_beyond_the_calibration() -> None:
    # 1 us launch and 1000 bytes at 1 GB/s are 2 us, beside 3 us of an operator measured at its own shape
    found = predict([call(key="add[8]"), call(key="new", kind="unheard_of", num_bytes=1000)], machine(), "forward")
    assert found.extrapolated_fraction == pytest.approx(2 / 5)


def test_the_weakest_are_those_that_cost_the_step_most_not_the_slowest_call() -> None:
    often, once = call(key="often", num_bytes=1000, count=5), call(key="once", num_bytes=2000)  # 5 x 10 us against 20 us
    assert predict([once, often], machine(), "forward").weakest == ("often", "once")


@pytest.mark.parametrize(
    ("num_bytes", "per_op_s"),
    [(0, 4e-6), (50_000, 7e-6), (100_000, 10e-6), (1_000_000, 20e-6), (10_000_000, 30e-6), (10**12, 30e-6)],
)
def test_an_operator_costs_the_host_more_where_the_steps_bytes_empty_its_caches(num_bytes: int, per_op_s: float) -> None:
    """Ten operators: nothing beside them, half of the first point, the points, halfway in the logarithm, beyond the last."""
    host = Host(fixed_s=1e-4, per_op_s=4e-6, passing=((1e4, 10e-6), (1e6, 30e-6)))
    assert host.seconds(10, num_bytes) == pytest.approx(1e-4 + 10 * per_op_s)
    assert Host(fixed_s=1e-4, per_op_s=4e-6).seconds(10, num_bytes) == pytest.approx(1e-4 + 4e-5)


def test_a_prediction_asks_the_host_with_the_bytes_that_its_operators_touch() -> None:
    warm = machine()
    cold = machine(hosts=dict.fromkeys(HOST_MODES, Host(fixed_s=0.0, per_op_s=1e-6, passing=((1.0, 2e-6),))))
    touched, view = call(num_bytes=400, count=3), call(group="view", num_bytes=10**9)
    assert predict([touched, view], cold, "forward").parts_s["host"] == pytest.approx(4 * 2e-6)
    assert predict([view], cold, "forward").parts_s["host"] == pytest.approx(1e-6)
    assert predict([touched, view], warm, "forward").parts_s["host"] == pytest.approx(1e-3 + 4e-6)
