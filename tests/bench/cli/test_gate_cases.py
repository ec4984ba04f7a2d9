"""`compare` as a gate: what breaks off, is missing or cannot be never passes, what is slower is found, and what is wrong is one line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.records.environment import Cpu, DeviceFacts, Environment
from bench.records.proof import WatchedTraining
from bench.records.record import Measurement, Phase
from tests.support.changed_records import A100
from tests.support.selftest_records import TRAINED, run_of, saved, steady
from tests.support.tiny_models import record

OTHER_MACHINE = Environment(device=DeviceFacts(name="another device"), cpu=Cpu(model="a scripted processor"))
STEP = "train_step"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without runs/, where the newest self-test would be looked for."""
    monkeypatch.chdir(tmp_path)


def of_steps(num: int, seconds_s: float, *, by: str = "count", warmup: int = 0, **fields: Any) -> Measurement:
    phase = Phase(name=STEP, samples_s=steady(seconds_s, num), warmup_s=(seconds_s,) * warmup, stopped_by=by)
    return run_of((), phases=(phase,), **fields)


def judged(a: list[Measurement], b: list[Measurement], *options: str) -> int:
    return main(["compare", saved(Path("a"), *a), saved(Path("b"), *b), *options])


A = [of_steps(60, 1.0)]
OTHER = of_steps(60, 1.0, request={"batch": 2})

CASES: dict[str, tuple[list[Measurement], list[Measurement], str, int, str]] = {
    "W55 B failed at step 40 of 60, twice as fast": (
        A,
        [of_steps(40, 0.5, by="interrupt", status="failed", status_reason="RuntimeError: device-side assert")],
        "INCOMPARABLE",
        2,
        "0-run is failed: RuntimeError: device-side assert",
    ),
    "W55 B partial with all of 60 samples": (
        A,
        [of_steps(60, 0.5, status="partial", status_reason="interrupted by the user")],
        "INCOMPARABLE",
        2,
        "0-run is partial: interrupted by the user",
    ),
    "W55 B lost its main phase": (
        [run_of((), phases=(Phase(name=STEP, samples_s=steady(1.0)), Phase(name="host_step", samples_s=steady(1.0))))],
        [run_of((), phases=(Phase(name="host_step", samples_s=steady(0.5)),))],
        "INCOMPARABLE",
        2,
        "0-run lost its main phase: it holds no timed train_step",
    ),
    "W55 B took fewer steps than it was asked for": (
        [of_steps(60, 1.0, request={"steps": 60})],
        [of_steps(40, 0.5, request={"steps": 60})],
        "INCOMPARABLE",
        2,
        "0-run was cut short: 40 of 60 steps that were asked for",
    ),
    "W56 a case is missing in B": ([*A, OTHER], A, "INCOMPARABLE", 2, "B has nothing like it"),
    "W56 a case is only in B": (A, [*A, OTHER], "SAME", 0, ""),
    "W57 the same": (A, A, "SAME", 0, ""),
    "W57 twice as slow": (A, [of_steps(60, 2.0)], "SLOWER", 1, ""),
    "W57 twice as slow on another machine": (A, [of_steps(60, 2.0, environment=OTHER_MACHINE)], "SLOWER", 1, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_a_gate_case_has_its_verdict_and_its_exit_code(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, verdict, code, reason = CASES[case]
    assert judged(a, b) == code
    out, err = capsys.readouterr()
    assert out.startswith(f"{verdict}: ")
    assert err.count("\n") == (code == 2)
    assert reason in err
    if "another machine" in case:
        assert "The two sides ran on different machines" in out


def test_w57_no_baseline_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "nowhere", saved(Path("b"), *A)]) == 2
    assert capsys.readouterr().err.startswith("error: no record or folder 'nowhere'")


@pytest.mark.parametrize(("given", "code"), [("3%", 1), ("3 %", 1), ("0.03", 1), (" 0.03 ", 1), ("90%", 1), ("100%", 0)])
def test_w58_a_threshold_is_a_share_or_percent(given: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(A, [of_steps(60, 1.95)], "--threshold", given) == code
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("given", ["3", "3.0", "1", "5", " 3", "1e1", "100"])
def test_w58_a_bare_number_that_is_meant_in_percent_is_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(A, [of_steps(60, 2.0)], "--threshold", given) == 2
    out, err = capsys.readouterr()
    number = float(given)
    assert (out, err.count("\n")) == ("", 1)
    assert f"for {number:g} % write {number / 100:g} or {number:g}%" in err


@pytest.mark.parametrize("given", ["300%", "-3%", "0", "0%", "nan", "inf", "-1", "1e400", "%", "3%%", "three"])
def test_w58_what_is_no_share_is_one_line(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(A, [of_steps(60, 2.0)], f"--threshold={given}") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


IMPOSSIBLE = [
    "1" + "0" * 400,
    "1e308",
    "1e40",
    "2e9",
    "0",
    "0.0",
    "-1.0",
    "-1e-3",
    "5e-324",
    "1e-30",
    "1e-12",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
]


@pytest.mark.parametrize("at", [None, 0, 30])
@pytest.mark.parametrize("text", IMPOSSIBLE, ids=lambda text: text[:9])
def test_w59_a_time_that_no_clock_gives_is_one_line_and_no_verdict(text: str, at: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    """All samples of a record, its first or one in the middle; whichever side it is on."""
    sides = [saved(Path(name), of_steps(60, seconds_s)) for name, seconds_s in (("a", 1.0), ("b", 0.9))]
    file = next(Path("b").glob("*.json"))
    body = json.loads(file.read_text())
    samples = ["0.9"] * 60
    samples[slice(None) if at is None else slice(at, at + 1)] = [text] * (60 if at is None else 1)
    body["phases"][0]["samples_s"] = "HERE"
    file.write_text(json.dumps(body).replace('"HERE"', f"[{', '.join(samples)}]"))
    for first, second in (sides, sides[::-1]):
        assert main(["compare", first, second]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize("text", ["NaN", "1e308"])
def test_a_repeat_with_an_impossible_time_is_not_left_out_of_the_gate(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    sides = [saved(Path(name), *(of_steps(20, s, run_id=f"r{at}") for at in range(3))) for name, s in (("a", 1.0), ("b", 1.0))]
    file = Path("b/1-r1.json")
    body = json.loads(file.read_text())
    body["phases"][0]["samples_s"] = "HERE"
    file.write_text(json.dumps(body).replace('"HERE"', f"[{text}]"))
    assert main(["compare", *sides]) == 2
    assert "b/1-r1.json'" in capsys.readouterr().err


def test_a_file_that_is_no_record_is_named_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    sides = [saved(Path(name), *A) for name in ("a", "b")]
    (Path("b") / "package.json").write_text('{"name": "x"}')
    assert main(["compare", *sides]) == 0
    assert "package.json' is not a record of this tool" in capsys.readouterr().err


FASTER_FOR_NO_GOOD: dict[str, Callable[[Measurement], Measurement]] = {
    "failed": lambda run: dataclasses.replace(run, status="failed", status_reason="killed"),
    "partial": lambda run: dataclasses.replace(run, status="partial", status_reason="was still running when this was written"),
    "interrupted": lambda run: dataclasses.replace(run, phases=(dataclasses.replace(run.phases[0], stopped_by="interrupt"),)),
    "nothing timed": lambda run: dataclasses.replace(run, phases=()),
    "no sample": lambda run: dataclasses.replace(run, phases=(dataclasses.replace(run.phases[0], samples_s=()),)),
    "only what comes first": lambda run: dataclasses.replace(run, phases=(dataclasses.replace(run.phases[0], name="first"),)),
    "fewer epochs": lambda run: dataclasses.replace(
        run, request=run.request.replaced(epochs=3), phases=(Phase(name="epoch", samples_s=(20.0,)), *run.phases)
    ),
}


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("what", FASTER_FOR_NO_GOOD)
def test_one_broken_repeat_of_three_on_either_side_keeps_the_gate_shut(what: str, side: str, capsys: pytest.CaptureFixture[str]) -> None:
    sides = {name: [of_steps(20, s, run_id=f"{name}{at}") for at in range(3)] for name, s in (("a", 1.0), ("b", 0.5))}
    assert judged(sides["a"], sides["b"]) == 0
    capsys.readouterr()
    if what == "fewer epochs":  # what was asked for is the same for all
        whole = (Phase(name="epoch", samples_s=(20.0,) * 3),)
        for name, held in sides.items():
            sides[name] = [dataclasses.replace(r, request=r.request.replaced(epochs=3), phases=(*whole, *r.phases)) for r in held]
        sides[side][1] = FASTER_FOR_NO_GOOD[what](dataclasses.replace(sides[side][1], phases=sides[side][1].phases[1:]))
    else:
        sides[side][1] = FASTER_FOR_NO_GOOD[what](sides[side][1])
    assert judged(sides["a"], sides["b"]) == 2
    assert f"1-{side}1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "fine",
    [
        of_steps(20, 1.0, by="time", request={"steps": 60}),
        of_steps(20, 1.0, by="target", request={"steps": 60}),
        of_steps(50, 1.0, warmup=10, request={"steps": 60}),
        of_steps(60, 1.0, request={"steps": 60}),
        of_steps(60, 1.0, request={"steps": 60, "epochs": 3}),
    ],
    ids=["its time was up", "precise enough", "with its warm-up", "all", "before its epochs"],
)
def test_a_run_that_ended_as_it_was_asked_to_is_evidence(fine: Measurement, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged([fine], [fine]) == 0
    assert capsys.readouterr().out.startswith("SAME")


def test_a_step_that_beats_physics_is_not_faster(capsys: pytest.CaptureFixture[str]) -> None:
    """A tenth of its bound on an A100 is no step of that work; ten times its bound is one."""

    def run(of_bound: float) -> Measurement:
        made = record("train", hardware=A100)
        bound_s = made.estimate.phases[STEP].bound_s
        assert bound_s is not None
        return dataclasses.replace(made, phases=(Phase(name=STEP, samples_s=steady(of_bound * bound_s)),))

    assert judged([run(20)], [run(10)]) == 0
    capsys.readouterr()
    assert judged([run(20)], [run(0.1)]) == 2
    assert (
        "is faster than physics allows (train_step: fastest sample against the physics bound: 0.10 times the bound)"
        in capsys.readouterr().err
    )


def watched(tokens: tuple[int, ...], seconds_s: float) -> Measurement:
    num = len(tokens)
    seen = WatchedTraining(
        data_wait_s=(0.0,) * num,
        tokens_per_step=tokens,
        padding_per_step=(0,) * num,
        losses=(1.0,) * num,
        training_flop=None,
        hardware_flop=None,
        ranks=(),
        skew_fraction=None,
        observer_s=0.0,
    )
    return of_steps(num, seconds_s, proof=TRAINED.replaced(watched=seen))


def test_a_watched_training_that_left_out_its_long_steps_is_not_faster(capsys: pytest.CaptureFixture[str]) -> None:
    a, b = watched((64,) * 30 + (512,) * 30, 1.0), watched((64,) * 30, 0.5)
    assert judged([a], [b]) == 2
    assert "a step of A held 288 tokens or samples on average, one of B 64: they did not do the same work" in capsys.readouterr().err


def test_a_watched_training_of_fewer_equal_steps_is_the_same_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged([watched((64,) * 60, 1.0)], [watched((64,) * 30, 0.5)]) == 0
    assert capsys.readouterr().out.startswith("FASTER")


def test_a_training_that_really_broke_off_is_incomparable_and_the_whole_one_is_judged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading's script of W55; its pauses pass on a clock of the test's own, since a busy machine's may be no evidence."""
    import random
    import time

    import torch
    from torch import nn

    from bench.callbacks import Watch

    at_s, drawn = [1000.0], random.Random(0)

    def later(seconds: float) -> float:
        at_s[0] += seconds
        return at_s[0]

    monkeypatch.setattr(time, "perf_counter", lambda: later(1e-6))

    def go(out: str, pause_s: float, *, dies: bool = False) -> None:
        torch.manual_seed(0)
        net = nn.Linear(8, 2)
        optimizer, batch = torch.optim.SGD(net.parameters(), lr=0.01), torch.randn(4, 8)
        with Watch(net, out=out, every=0, ceilings=False, name="net") as w:
            for step in range(60):
                if dies and step == 40:
                    raise RuntimeError("device-side assert")
                with w.step(batch):
                    loss = net(batch).pow(2).mean()
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    w.loss(loss)
                    later(pause_s * drawn.uniform(1, 1.02))

    go("a", 0.008)
    with pytest.raises(RuntimeError, match="device-side assert"):
        go("b", 0.004, dies=True)
    assert main(["compare", "a", "b"]) == 2
    assert "error: INCOMPARABLE: B cannot be held against A" in capsys.readouterr().err
    go("c", 0.024)
    assert main(["compare", "a", "c", "--threshold", "3%"]) == 1
    assert capsys.readouterr().out.startswith("SLOWER: B takes ")
