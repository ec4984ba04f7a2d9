"""`compare --across`: what was stated to differ may, all else may not; what a meter wanders by is no difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.records.environment import Cpu, DeviceFacts, Environment, Gpu, Gpus, HostMemory, ObserverCost, Project
from bench.records.record import Measurement, Phase
from bench.statistics.surroundings import surroundings
from tests.support.selftest_records import MACHINE, run_of, saved, steady

ELSEWHERE = Environment(device=DeviceFacts(name="another device"), cpu=Cpu(model="a scripted processor"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without runs/, where the newest self-test would be looked for."""
    monkeypatch.chdir(tmp_path)


def judged(a: list[Measurement], b: list[Measurement], *options: str) -> int:
    return main(["compare", saved(Path("a"), *a), saved(Path("b"), *b), *options, "-v"])


def of_batch(batch: int, seconds_s: float) -> Measurement:
    phase = Phase(name="train_step", samples_s=steady(seconds_s), items_per_sample=8 * batch)
    return run_of((), phases=(phase,), request={"batch": batch})


@pytest.mark.parametrize(
    ("change", "across", "said"),
    [
        ({"request": {"dtype": "bf16"}}, "dtype", "differs as stated: dtype: fp32 against bf16"),
        (
            {"request": {"dtype": "bf16", "config": {"dtype": "bfloat16"}}},
            "dtype,device",
            "differs as stated: dtype: fp32 against bf16",
        ),
        (
            {"environment": ELSEWHERE},
            "device",
            "differs as stated: device: a scripted device, a scripted processor against another device, a scripted processor",
        ),
        ({"request": {"dtype": "bf16"}, "environment": ELSEWHERE}, "device, dtype", "differs as stated: dtype: fp32 against bf16"),
    ],
    ids=["dtype", "dtype that is in the configuration too", "device", "both"],
)
def test_what_is_stated_may_differ_and_is_named_and_unstated_it_may_not(
    change: dict[str, Any], across: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run_of(steady(1.0), request={"config": {"dtype": "float32"}} if "config" in change.get("request", {}) else {})
    assert judged([a], [run_of(steady(0.5), **change)], "--across", across) == 0
    out = capsys.readouterr().out
    assert out.startswith("FASTER")
    assert said in " ".join(out.split())
    assert judged([a], [run_of(steady(0.5), **change)]) == 2
    capsys.readouterr()


def test_a_difference_that_was_not_stated_is_refused_beside_one_that_was(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        judged([run_of(steady(1.0))], [run_of(steady(0.5), request={"dtype": "bf16", "seq_len": 16})], "--across", "dtype,device,batch")
        == 2
    )
    assert "another sequence length: 8 against 16" in capsys.readouterr().err


def test_another_machine_is_refused_unless_stated_where_b_is_no_slower(capsys: pytest.CaptureFixture[str]) -> None:
    for seconds_s in (0.5, 1.0):
        assert judged([run_of(steady(1.0))], [run_of(steady(seconds_s), environment=ELSEWHERE)]) == 2
        assert "if that is meant: --across device, or --normalise ceiling" in capsys.readouterr().err


def test_batches_are_compared_by_the_item(capsys: pytest.CaptureFixture[str]) -> None:
    """Four times the batch in three times the time: three quarters of the time a token; four times the batch in five times is slower."""
    assert judged([of_batch(1, 1.0)], [of_batch(4, 3.0)], "--across", "batch", "--format", "json") == 0
    body = json.loads(capsys.readouterr().out)
    (row,) = body["rows"]
    assert body["verdict"] == "FASTER"
    assert (row["a_s_per_item"], row["b_s_per_item"]) == (pytest.approx(1 / 8, rel=1e-3), pytest.approx(3 / 32, rel=1e-3))
    assert judged([of_batch(1, 1.0)], [of_batch(4, 5.0)], "--across", "batch") == 1
    assert "Times are those of a token or sample" in capsys.readouterr().out


def test_of_several_that_could_be_meant_none_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged([of_batch(1, 1.0)], [of_batch(2, 1.0), of_batch(4, 1.0)], "--across", "batch") == 2
    assert "across batch, 1 of A are like 2 of B: leave one of them on each side" in capsys.readouterr().err


def test_the_same_case_is_preferred_to_one_that_differs_as_stated(capsys: pytest.CaptureFixture[str]) -> None:
    assert judged([of_batch(1, 1.0)], [of_batch(1, 1.0), of_batch(4, 1.0)], "--across", "batch") == 0
    out = capsys.readouterr().out
    assert out.startswith("SAME")
    assert "differs as stated" not in out
    assert "Only in B: gpt2 train, batch 4" in out


@pytest.mark.parametrize("given", ["model", "dtype,model", "", "dtype,", "Dtype", "x" * 100])
def test_an_unknown_name_is_one_line(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged([of_batch(1, 1.0)], [of_batch(1, 1.0)], f"--across={given}") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "expected some of batch, device, dtype" in err


def place(**fields: Any) -> Measurement:
    return run_of(steady(1.0), environment=MACHINE | Environment(**fields))


def gpu(watts: float, uuid: str = "GPU-1") -> Gpus:
    return Gpus(driver="570.1", devices=(Gpu(uuid=uuid, name="a scripted device", power_limit_w=watts),))


def cpu(load: float) -> Cpu:
    return Cpu(model="a scripted processor", logical_cores=8, load_1min=load)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (place(memory=HostMemory(total_bytes=10**10, available_bytes=10)), place(memory=HostMemory(total_bytes=10**10, available_bytes=9))),
        (place(memory=HostMemory(total_bytes=10**10)), place(memory=HostMemory(total_bytes=10**10 + 4096))),
        (place(gpu=gpu(700.0)), place(gpu=gpu(699.3))),
        (place(cpu=cpu(0.1)), place(cpu=cpu(2.0))),
        (
            place(observer=ObserverCost(step_s=1.0, wall_ratios=(1.01,), processor_ratios=(1.0,))),
            place(observer=ObserverCost(step_s=1.1, wall_ratios=(1.02,), processor_ratios=(1.0,))),
        ),
        (place(argv=("x",)), place(argv=("y",))),
        (
            run_of(steady(1.0), request={"repeat": 1, "num_repeats": 3, "repeat_group": "ab"}),
            run_of(steady(1.0), request={"repeat": 2, "num_repeats": 3, "repeat_group": "cd"}),
        ),
        (place(unavailable={"cpu": "x"}), place(unavailable={})),
    ],
    ids=["free memory", "memory total", "power limit", "load", "observer", "argv", "repeats", "reasons"],
)
def test_what_a_meter_wanders_by_is_no_difference(a: Measurement, b: Measurement) -> None:
    assert list(surroundings([a], [b])) == []
    assert list(surroundings([a, b], [b])) == []


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        (place(versions={"torch": "2.12"}), place(versions={"torch": "2.13"}), ("environment.versions.torch", "2.12", "2.13")),
        (place(gpu=gpu(700.0)), place(gpu=gpu(500.0)), ("environment.gpu.devices.0.power_limit_w", "700.0", "500.0")),
        (
            place(device=DeviceFacts(name="a scripted device", num_threads=4)),
            place(device=DeviceFacts(name="a scripted device", num_threads=8)),
            ("environment.device.num_threads", "4", "8"),
        ),
        (
            place(memory=HostMemory(total_bytes=10**10)),
            place(memory=HostMemory(total_bytes=2 * 10**10)),
            ("environment.memory.total_bytes", "10000000000", "20000000000"),
        ),
        (place(cpu=cpu(0.1)), place(cpu=cpu(6.0)), ("environment.cpu.load_1min", "0.1 of 8 processors", "6.0 of 8 processors")),
        (
            place(project=Project(commit="a", dirty=False)),
            place(project=Project(commit="b", dirty=False)),
            ("environment.project.commit", "a", "b"),
        ),
        (place(variables={"OMP_NUM_THREADS": "1"}), place(variables={}), ("environment.variables.OMP_NUM_THREADS", "1", "none")),
    ],
    ids=["versions", "power limit", "threads", "memory total", "load", "commit", "variables"],
)
def test_what_is_another_environment_is_told(
    a: Measurement, b: Measurement, told: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(surroundings([a], [b])) == [told]
    assert judged([a], [b]) == 0
    out = capsys.readouterr().out
    assert told[0] in out
    name = told[0].removeprefix("environment.")
    assert (f"not the same environment: {name}" in out) is not name.startswith("project.")
