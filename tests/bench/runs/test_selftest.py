"""`selftest`: what it runs by a scripted clock, what it says of records made by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bench.backend import device as devices
from bench.backend.kernel import matmul_kernel
from bench.cli.main import main
from bench.records.asked import Asked
from bench.records.draft import write
from bench.records.environment import DeviceFacts
from bench.records.learning import Learning
from bench.records.record import Measurement, read_folder
from bench.runs import selftest
from reports.checks.crosscheck import crosscheck, failed
from reports.views.records.selftest import tables
from tests.support.scripted_clock import ScriptedClock
from tests.support.selftest_records import selftest_record

SMALL = selftest.Amount(rounds=4, samples_per_round=5, pairs=20, sleeps=3)


class SteadyClock(ScriptedClock):
    """Every call of the kernel takes 5 ms of scripted time."""

    def __init__(self) -> None:
        super().__init__(iter(lambda: 0.005, None), resolution_s=1e-6)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> SteadyClock:
    clock = SteadyClock()
    kernel = selftest.Kernel(
        step=clock.step, clock=clock, flop=10**9, what="a scripted kernel", device=DeviceFacts(name="a scripted device")
    )
    monkeypatch.setattr(selftest, "kernel", lambda _: kernel)
    return clock


def test_the_double_is_two_calls_and_everything_known_is_found(scripted: SteadyClock, tmp_path: Path) -> None:
    made = selftest.measure(amount=SMALL, device_name=None, out=tmp_path, say=lambda _: None)
    checks = crosscheck(made)
    sleeps = [check.metric for check in checks if "sleep" in check.metric]  # which really slept, and may have been woken late
    assert [check.metric for check in failed(checks) if check.metric not in sleeps] == []
    assert len(sleeps) == 1
    assert made.phase("single").samples_s == pytest.approx([0.005] * 20)  # type: ignore[union-attr]
    assert made.phase("double").samples_s == pytest.approx([0.010] * 20)  # type: ignore[union-attr]
    assert len(made.phase("a").samples_s) == len(made.phase("b").samples_s) == 20  # type: ignore[union-attr]
    assert read_folder(tmp_path)[0] == [made]


def test_rounds_take_turns_and_neither_is_always_first() -> None:
    called: list[str] = []
    clock = ScriptedClock([])
    selftest.in_turns([lambda: called.append("a"), lambda: called.append("b")], clock, turns=3, samples=2)
    assert "".join(called) == "aabbbbaaaabb"


def test_a_self_test_that_is_interrupted_keeps_what_it_has(
    scripted: SteadyClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # 100 calls of warm-up, 40 of the rounds, and into the pairs
    monkeypatch.setattr(scripted, "_script", iter([0.005] * 150 + [KeyboardInterrupt]))
    with pytest.raises(KeyboardInterrupt):
        selftest.measure(amount=SMALL, device_name=None, out=tmp_path, say=lambda _: None)
    (record,), _ = read_folder(tmp_path)
    assert (record.status, record.status_reason) == ("partial", "interrupted by the user")
    assert [phase.name for phase in record.phases] == ["a", "b"]
    assert main(["report", str(tmp_path), "-v"]) == 1
    assert "run ended" in capsys.readouterr().out


def test_the_regression_trains_at_a_rate_and_not_at_zero() -> None:
    # the first loss is the mean of 4 x^2 over x = -1 ... 1 in quarters: 4 * 2 * (1 + 9/16 + 1/4 + 1/16) / 9
    trained, idle = selftest.regression(0.1), selftest.regression(0.0)
    assert trained.loss_first == idle.loss_first == idle.loss_last == pytest.approx(4 * 2 * 1.875 / 9)
    assert trained.loss_last < trained.loss_first


def test_the_kernel_is_the_smallest_product_that_lasts_and_its_flop_are_two_n_cubed() -> None:
    step, flop, shape = matmul_kernel(devices.choose("cpu"), least_s=0.0)
    assert (flop, shape) == (2 * 128**3, "x[128, 128] · W[128, 128]ᵀ in fp32")
    assert step().shape == (128, 128)  # type: ignore[attr-defined]


def test_without_torch_a_loop_of_python_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bench.backend.kernel", None)
    chosen = selftest.kernel(None)
    assert chosen.flop is None
    assert chosen.step() == sum(turn & 7 for turn in range(selftest.PYTHON_TURNS))
    with pytest.raises(ImportError):
        selftest.kernel("cpu")


def test_the_tables_state_the_floor_and_the_smallest_visible_difference() -> None:
    floor, checks = tables(selftest_record(drift=0.1))
    assert floor.facts["noise_floor_fraction"] == pytest.approx(0.3, rel=0.01)
    assert floor.facts["detectable_fraction"] > floor.facts["noise_floor_fraction"]
    # 1 GFLOP in a median of about 5.75 ms
    assert floor.facts["kernel_flop_per_s"] == pytest.approx(1e9 / 0.00575, rel=0.02)
    assert checks.facts["checks_failed"] == 1, "such a machine shows only what is above a quarter"


@pytest.mark.parametrize(("change", "code"), [({}, 0), ({"sleep_s": 0.03}, 1), ({"drift": 0.06}, 1)])
def test_the_verb_exits_by_its_checks(
    change: dict[str, Any], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    amounts = []

    def measured(*, amount: selftest.Amount, **_: Any) -> Measurement:
        amounts.append(amount)
        return selftest_record(**change)

    monkeypatch.setattr(selftest, "measure", measured)
    assert main(["selftest", "--quick", "--out", str(tmp_path), "--format", "json"]) == code
    out, err = capsys.readouterr()
    assert json.loads(out)["checks"]["checks_failed"] == code
    assert err.startswith("· record: ")
    assert amounts == [selftest.QUICK]


def test_a_device_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "--device", "gpu", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: device 'gpu' is unknown")
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_a_folder_leaves_self_tests_out_and_of_one_alone_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = selftest_record()
    write(made, tmp_path / "one.json")
    assert main(["report", str(tmp_path / "one.json"), "-v"]) == 0
    alone = capsys.readouterr().out
    assert main(["report", str(tmp_path), "-v"]) == 0
    assert capsys.readouterr().out == alone
    run = dataclasses.replace(
        made, run_id="run", request=Asked(model="linreg-1d", task="train"), phases=(), status="partial", learning=Learning()
    )
    write(run, tmp_path / "two.json")
    main(["report", str(tmp_path), "-v"])
    out = capsys.readouterr().out
    assert "linreg-1d" in out
    assert "Self-test" not in out
