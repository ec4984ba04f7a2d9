"""The cross-check: every rule holds for a sound record, and a twin that breaks the rule fails it and the exit code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selftest_records import IDLE, TRAINED, selftest_record
from tiny import CEILINGS, record

from bench.cli.main import main
from bench.draft import write
from bench.presets import preset
from bench.record import Count, Finding, Measurement, Phase
from estimators.registry import hardware
from estimators.units import MEBI
from reports.check import Check
from reports.crosscheck import RULES, crosscheck, failed
from reports.rates import all_rates, rates, works
from reports.views.checks import check_table

A100 = hardware("a100-sxm4-80gb")
"""312 TFLOP/s in bf16, 19.5 in fp32, 2,039 GB/s."""

TASKS = ("generate", "decode", "prefill", "train")


def by_metric(made: Measurement) -> dict[str, Check]:
    checks = crosscheck(made)
    assert len({check.metric for check in checks}) == len(checks)
    return {check.metric: check for check in checks}


def failures(made: Measurement) -> list[str]:
    return [check.metric for check in failed(crosscheck(made))]


def exit_code(made: Measurement, folder: Path) -> int:
    folder.mkdir(exist_ok=True)
    write(made, folder / f"{made.run_id}.json")
    return main(["report", str(folder)])


@pytest.mark.parametrize("task", TASKS)
def test_a_sound_record_passes_every_check_and_exits_0(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = record(task, hardware=A100)
    assert [check.ok for check in crosscheck(made)] == [True] * len(crosscheck(made))
    assert exit_code(made, tmp_path) == 0
    capsys.readouterr()


def with_phase(made: Measurement, name: str, **fields: Any) -> Measurement:
    return dataclasses.replace(made, phases=tuple(dataclasses.replace(p, **fields) if p.name == name else p for p in made.phases))


def with_proof(made: Measurement, **fields: Any) -> Measurement:
    return dataclasses.replace(made, proof=made.proof | fields)


def with_count(made: Measurement, index: int, **fields: Any) -> Measurement:
    return dataclasses.replace(
        made, counts=tuple(dataclasses.replace(count, **fields) if i == index else count for i, count in enumerate(made.counts))
    )


def with_rule(made: Measurement, **fields: Any) -> Measurement:
    first, *others = made.estimate["rules"]
    return dataclasses.replace(made, estimate=made.estimate | {"rules": [first | fields, *others]})


def with_ceiling(made: Measurement, kind: str, value: float) -> Measurement:
    return dataclasses.replace(made, ceilings=tuple(dataclasses.replace(c, value=value) if c.kind == kind else c for c in CEILINGS))


def seconds_at(made: Measurement, phase: str, **rate: float) -> float:
    """The time at which a phase has the rate: flop_per_s or bytes_per_s."""
    said = made.estimate["phases"][phase]
    ((name, value),) = rate.items()
    return (said["flop"]["full"] if name == "flop_per_s" else said["min_bytes"]) / value


def at_rate(task: str, phase: str, factor: float, **rate: float) -> Measurement:
    made = record(task, hardware=A100)
    seconds = seconds_at(made, phase, **{name: value * factor for name, value in rate.items()})
    # ceilings out of the way, so that the datasheet alone judges
    return dataclasses.replace(with_phase(made, phase, samples_s=(seconds, seconds)), ceilings=())


def slices(per_layer_s: float = 1.0, samples_s: tuple[float, ...] = (2.0,), value_s: float = 4.0) -> Measurement:
    made = record("train", hardware=A100)
    line = {"shallow_layers": 1, "deep_layers": 2, "full_layers": 4, "per_layer_s": per_layer_s, "fixed_s": 0.0, "value_s": value_s}
    line |= {"phase": "train_step", "residual_fraction": 0.01, "items_per_sample": 8, "item": "token"}
    phases = (Phase(name="train_step@1", samples_s=(1.0,)), Phase(name="train_step@2", samples_s=samples_s))
    proof = {name: value for name, value in made.proof.items() if name != "num_params"}
    return dataclasses.replace(made, phases=phases, extrapolation=line, proof=proof)


def gpu(**fields: Any) -> Measurement:
    held = {"peak_rss": 1, "torch_allocated": 10**9, "torch_reserved": 10**9}
    power = {"energy_j": 400.0, "power_limit_w": 400.0, "window_s": 1.0}
    made = {"memory_bytes": held | fields.pop("memory", {}), "power": power | fields.pop("watched", {})}
    return record("prefill", **made, **fields)


def rigorous(made: Measurement) -> Measurement:
    return dataclasses.replace(made, request=made.request | {"preset": "rigorous", "preset_values": preset("rigorous").to_dict()})


def busy(made: Measurement) -> Measurement:
    return dataclasses.replace(made, power={"other_processors_fraction": 0.3}, environment={"device": {"kind": "cpu"}})


PEAK_FLOP_PER_S, PEAK_BYTES_PER_S = A100.peak("fp32"), A100.memory_bytes_per_s

TWINS: dict[str, tuple[Callable[[], Measurement], Callable[[], Measurement], list[str]]] = {
    "torch counts one parameter more": (
        lambda: record("train"),
        lambda: with_count(record("train"), 1, value=record("train").counts[1].value + 1),  # type: ignore[operator]
        ["params, torch meta"],
    ),
    "fvcore counts one FLOP less": (
        lambda: record("prefill"),
        lambda: with_count(record("prefill"), 4, value=record("prefill").counts[4].value - 1),  # type: ignore[operator]
        ["prefill_flop, fvcore x2"],
    ),
    "the op table lacks a quantity that torch counts": (
        lambda: record("prefill"),
        lambda: with_count(record("prefill"), 2, quantity="another_flop"),
        ["prefill_flop, torch meta", "prefill_flop, fvcore x2"],
    ),
    "the model that ran has other parameters": (
        lambda: record("decode"),
        lambda: with_proof(record("decode"), num_params=1),
        ["params, the model that ran"],
    ),
    "a rule's named parts leave one FLOP over": (
        lambda: record("train"),
        lambda: with_rule(record("train"), flop=record("train").estimate["rules"][0]["flop"] + 1),
        ["train_step: 6·N·D, all parameters"],
    ),
    "the Trainer's own figure is another one": (
        lambda: with_trainer_rule(0),
        lambda: with_trainer_rule(6),
        ["training_flop, Trainer rule"],
    ),
    "a sample is faster than its physics bound": (
        lambda: at_rate("prefill", "prefill", 0.5, bytes_per_s=PEAK_BYTES_PER_S),
        lambda: with_phase(record("prefill", hardware=A100), "prefill", samples_s=(1.0, 1e-9, 1.0)),
        ["prefill: fastest sample against the physics bound"],
    ),
    "MFU above 1": (
        lambda: at_rate("train", "train_step", 0.001, flop_per_s=PEAK_FLOP_PER_S),
        lambda: at_rate("train", "train_step", 1.01, flop_per_s=PEAK_FLOP_PER_S),
        ["train_step: fastest sample against the physics bound", "train_step: MFU", "train_step: bandwidth over peak"],
    ),
    "bandwidth above peak": (
        lambda: at_rate("decode", "decode", 0.99, bytes_per_s=PEAK_BYTES_PER_S),
        lambda: at_rate("decode", "decode", 1.01, bytes_per_s=PEAK_BYTES_PER_S),
        ["decode: fastest sample against the physics bound", "decode: bandwidth over peak"],
    ),
    "the matmul ceiling is beaten by more than its tolerance": (
        lambda: with_ceiling(record("train"), "matmul", record("train").estimate["phases"]["train_step"]["flop"]["full"] / 1.09),
        lambda: with_ceiling(record("train"), "matmul", record("train").estimate["phases"]["train_step"]["flop"]["full"] / 1.11),
        ["train_step: share of matmul ceiling"],
    ),
    "the bandwidth ceiling is beaten by more than its tolerance": (
        lambda: with_ceiling(record("prefill"), "bandwidth", record("prefill").estimate["phases"]["prefill"]["min_bytes"] / 1.09),
        lambda: with_ceiling(record("prefill"), "bandwidth", record("prefill").estimate["phases"]["prefill"]["min_bytes"] / 1.11),
        ["prefill: share of bandwidth ceiling"],
    ),
    "a token too few was generated": (
        lambda: record("generate"),
        lambda: with_proof(record("generate"), num_new_tokens=4),
        ["tokens generated"],
    ),
    "the passes had other shapes": (
        lambda: record("generate"),
        lambda: with_proof(record("generate"), forward_shapes_as_planned=False),
        ["forward passes as estimated"],
    ),
    "there was a pass more than planned": (
        lambda: record("generate"),
        lambda: with_proof(record("generate"), num_forward_passes=6),
        ["forward passes as estimated"],
    ),
    "the logits are no numbers": (
        lambda: record("prefill"),
        lambda: with_proof(record("prefill"), logits_finite=False),
        ["logits are finite"],
    ),
    "a loss was no number": (
        lambda: record("train"),
        lambda: with_proof(record("train"), loss_first=None, loss_last=None, loss_finite=False),
        ["loss is finite and falls"],
    ),
    "the loss stood still": (lambda: record("train"), lambda: with_proof(record("train"), loss_last=5.0), ["loss is finite and falls"]),
    "the loss rose": (lambda: record("train"), lambda: with_proof(record("train"), loss_last=5.1), ["loss is finite and falls"]),
    "the parameters did not change": (
        lambda: record("train"),
        lambda: with_proof(record("train"), params_changed=False),
        ["parameters changed"],
    ),
    "less memory was held than the weights need": (
        lambda: record("train"),
        lambda: record("train", memory_bytes={"peak_rss": record("train").estimate["memory_bytes"]["weights"] - 1}),
        ["peak_rss against the estimated weights"],
    ),
    "a GPU held less than the weights": (
        lambda: gpu(),
        lambda: gpu(memory={"torch_allocated": 1}),
        ["torch_allocated against the estimated weights"],
    ),
    "more was allocated than reserved": (
        lambda: gpu(),
        lambda: gpu(memory={"torch_reserved": 10**9 - 1}),
        ["torch_allocated within torch_reserved"],
    ),
    "more energy than the limit allows": (
        # 400 W for 1.0 s and two counter steps of 0.1 s: 480 J
        lambda: gpu(watched={"energy_j": 480.0}),
        lambda: gpu(watched={"energy_j": 481.0}),
        ["energy against power limit x time"],
    ),
    "nothing was timed": (
        lambda: record("prefill"),
        lambda: record("prefill", phases=(Phase(name="load", samples_s=(1.0,)), Phase(name="prefill", samples_s=()))),
        ["timed samples"],
    ),
    "a sample took no time": (
        lambda: record("prefill"),
        lambda: with_phase(record("prefill"), "prefill", samples_s=(1.0, 0.0)),
        ["timed samples above 0 s"],
    ),
    "the run was stopped": (
        lambda: record("train"),
        lambda: record("train", status="partial", status_reason="interrupted by the user"),
        ["run ended"],
    ),
    "the run failed": (lambda: record("train"), lambda: record("train", status="failed", status_reason="out of memory"), ["run ended"]),
    "a self-test's clock is too coarse": (
        selftest_record,
        lambda: selftest_record(clock_resolution_s=0.0001),
        ["clock is fine enough"],
    ),
    "a sleep was cut short": (selftest_record, lambda: selftest_record(sleep_s=0.019), ["a sleep of known length"]),
    "a sleeper was woken late": (selftest_record, lambda: selftest_record(sleep_s=0.0221), ["a sleep of known length"]),
    "a clock that does not wait for the device": (
        selftest_record,
        lambda: selftest_record(double=1.0),
        ["twice the work takes twice the time", "doubled work is found"],
    ),
    "the same work has a winner": (selftest_record, lambda: selftest_record(drift=0.0, b=1.2), ["A against A has no winner"]),
    "a loop that trains nothing passes for a training": (
        selftest_record,
        lambda: selftest_record(idle_loop=TRAINED),
        ["a training that does not train is caught"],
    ),
    "a training is taken for idle": (
        selftest_record,
        lambda: selftest_record(training_loop=IDLE),
        ["a training that trains passes"],
    ),
    "a self-test without rounds": (selftest_record, lambda: selftest_record(rounds=2), ["noise floor"]),
    "a layer takes no time": (lambda: slices(), lambda: slices(per_layer_s=0.0), ["time added by a layer"]),
    "a slice was not timed": (lambda: slices(), lambda: slices(samples_s=()), ["slices timed"]),
    "more integrated power than the limit allows": (
        # 480 J and the 5 % of a power reading: 504 J
        lambda: gpu(watched={"sampled_energy_j": 504.0}),
        lambda: gpu(watched={"sampled_energy_j": 505.0}),
        ["integrated power against power limit x time"],
    ),
    "torch reserved more than NVML saw of the process": (
        lambda: gpu(memory={"nvml_process": 10**9, "nvml_device": 2 * 10**9}),
        lambda: gpu(memory={"nvml_process": 9 * 10**8, "nvml_device": 2 * 10**9}),
        ["torch_reserved within nvml_process"],
    ),
    "the process held more than the whole device": (
        lambda: gpu(memory={"nvml_process": 2 * 10**9, "nvml_device": 2 * 10**9}),
        lambda: gpu(memory={"nvml_process": 2 * 10**9, "nvml_device": 10**9}),
        ["nvml_process within nvml_device"],
    ),
    "the gradient was zero": (
        lambda: with_proof(record("train"), grad_norm=0.5),
        lambda: with_proof(record("train"), grad_norm=0.0),
        ["norm of the last gradient"],
    ),
    "there was no gradient": (
        lambda: with_proof(record("train"), grad_norm=0.5),
        lambda: with_proof(record("train"), grad_norm=None),
        ["norm of the last gradient"],
    ),
    "a step took fewer tokens than were asked for": (
        lambda: record("train"),
        lambda: with_phase(record("train"), "train_step", items_per_sample=7),
        ["tokens of a train_step sample"],
    ),
    "the samples scatter": (
        # the middle of the deviations is 0.4 of the median: 0.59 as a standard deviation
        lambda: with_phase(record("prefill"), "prefill", samples_s=(1.0, 1.0, 1.1, 1.1, 0.9, 0.9)),
        lambda: with_phase(record("prefill"), "prefill", samples_s=(1.0, 1.0, 1.4, 1.4, 0.6, 0.6)),
        ["prefill: spread of the samples"],
    ),
    "the samples scatter more than a strict preset allows": (
        lambda: with_phase(record("prefill"), "prefill", samples_s=(1.0, 1.0, 1.1, 1.1, 0.9, 0.9)),
        lambda: with_phase(rigorous(record("prefill")), "prefill", samples_s=(1.0, 1.0, 1.1, 1.1, 0.9, 0.9)),
        ["prefill: spread of the samples"],
    ),
    "a strict run never settled": (
        lambda: with_phase(record("prefill"), "prefill", samples_s=(1.0,) * 6, settled=False),
        lambda: with_phase(rigorous(record("prefill")), "prefill", samples_s=(1.0,) * 6, settled=False),
        ["prefill: warm-up settled"],
    ),
    "another process had the GPU": (
        lambda: gpu(),
        lambda: gpu(warnings=(Finding(code="DeviceShared", text="1 other process had the GPU during the window"),)),
        ["the GPU was this run's alone"],
    ),
    "other programs had the processors of a strict run": (
        lambda: busy(record("prefill")),
        lambda: rigorous(busy(record("prefill"))),
        ["processors taken by other programs"],
    ),
    "a strict run was throttled": (
        lambda: gpu(watched={"throttled_fraction": 0.5}),
        lambda: rigorous(gpu(watched={"throttled_fraction": 0.5})),
        ["clocks over the window"],
    ),
    "a strict run was throttled between the looks": (
        lambda: gpu(watched={"throttled_fraction": 0.0, "thermal_capped_s": 0.0}),
        lambda: rigorous(gpu(watched={"throttled_fraction": 0.0, "thermal_capped_s": 0.2})),
        ["clocks over the window"],
    ),
    "the extrapolated value beats the physics bound": (
        lambda: slices(),
        lambda: slices(value_s=1e-12),
        [
            "train_step: extrapolated value against the physics bound",
            "train_step: MFU",
            "train_step: bandwidth over peak",
            "train_step: share of matmul ceiling",
            "train_step: share of bandwidth ceiling",
        ],
    ),
}
"""What is wrong with the twin: the sound record, the twin, and the checks that fail."""


def with_trainer_rule(more: int) -> Measurement:
    made = record("train")
    ours = next(rule for rule in made.estimate["rules"] if rule["name"] == "transformers' Trainer")
    trainer = Count(quantity="training_flop", route="Trainer rule", value=ours["flop"] + more, tag="derived")
    return dataclasses.replace(made, counts=(*made.counts, trainer))


@pytest.mark.parametrize("wrong", TWINS)
def test_each_rule_fails_its_twin_and_the_exit_code(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound, twin, metrics = TWINS[wrong]
    assert failures(sound()) == []
    assert failures(twin()) == metrics
    assert exit_code(sound(), tmp_path / "sound") == 0
    assert exit_code(twin(), tmp_path / "twin") == 1
    capsys.readouterr()


def test_every_rule_has_a_twin() -> None:
    fired = {rule.__name__ for _, twin, _ in TWINS.values() for rule in RULES if failed(tuple(rule(twin())))}
    assert fired == {rule.__name__ for rule in RULES}


def test_a_route_that_could_not_count_is_not_judged_and_does_not_fail() -> None:
    made = with_count(record("prefill"), 4, value=None, tag="unavailable", reason="fvcore cannot trace it: RuntimeError")
    check = by_metric(made)["prefill_flop, fvcore x2"]
    assert (check.ok, check.explanation) == (None, "fvcore cannot trace it: RuntimeError")
    assert failures(made) == []
    assert check_table(crosscheck(made)).title.endswith("0 failed, 1 could not be judged")


def test_what_fits_into_the_caches_may_be_read_faster_than_memory() -> None:
    min_bytes = record("prefill").estimate["phases"]["prefill"]["min_bytes"]
    slow = with_ceiling(record("prefill"), "bandwidth", min_bytes / 2)
    cached = dataclasses.replace(slow, environment={"device": {"cache_bytes": 32 * MEBI}})
    assert failures(slow) == ["prefill: share of bandwidth ceiling"]
    assert failures(cached) == []
    check = by_metric(cached)["prefill: share of bandwidth ceiling"]
    assert check.ok is None
    assert "fits into this machine's caches" in check.explanation


def test_each_decode_sample_is_held_against_the_bound_of_its_own_context() -> None:
    """A fast first step may beat the bound of a later one, whose cache is longer, without beating physics."""
    made = record("decode", hardware=A100)
    bounds = [step["bound_s"] for step in made.estimate["phases"]["decode"]["steps"]]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[3]
    honest = with_phase(made, "decode", samples_s=tuple(bound * 1.0000001 for bound in bounds))
    assert "decode: fastest sample against the physics bound" not in failures(honest)
    swapped = with_phase(made, "decode", samples_s=tuple(bound * 1.0000001 for bound in reversed(bounds)))
    assert "decode: fastest sample against the physics bound" in failures(swapped)


def test_rates_are_those_worked_by_hand() -> None:
    """GPT-2 of 4 layers and width 32, 8 tokens: forward 2·8·(4·12·32² + 32·128) + 4·4·8²·32 - last row's head alone."""
    made = with_phase(record("prefill"), "prefill", samples_s=(0.5,))
    layers = 2 * 8 * 4 * 12 * 32 * 32 + 4 * (4 * 8 * 8 * 32)
    flop = layers + 2 * 1 * 32 * 128
    (reached,) = all_rates(made)
    assert reached.work.flop == flop
    assert reached.flop_per_s == 2 * flop
    assert reached.ceiling_fraction == 2 * flop / 1e12
    assert (reached.mfu, reached.work.bound_s, reached.bandwidth_fraction) == (None, None, None)
    params = made.estimate["params"]
    assert reached.rule_s == max(2 * params * 8 / 1e12, 4 * params / 1e11)


def test_mfu_is_full_flop_over_the_dense_peak() -> None:
    made = with_phase(record("train", hardware=A100), "train_step", samples_s=(0.25,))
    (reached,) = all_rates(made)
    assert reached.mfu == pytest.approx(4 * made.estimate["phases"]["train_step"]["flop"]["full"] / 19.5e12)


def test_a_device_without_a_peak_for_the_dtype_has_neither_mfu_nor_bound() -> None:
    v100 = hardware("v100-sxm2-32gb")
    assert "bf16" not in v100.peak_flop_per_s
    made = record("train", hardware=v100)
    assert made.estimate["peak_flop_per_s"] == v100.peak("fp32")
    from tiny import SIZES, asked

    from bench.prediction import predict
    from estimators.hf_config import model_from_config

    request = asked("gpt2", "train", dtype="bf16", **SIZES["train"])
    said = predict(model_from_config(request.config, "x"), request, v100)
    assert said["peak_flop_per_s"] is None
    assert said["phases"]["train_step"]["bound_s"] is None
    unknown = dataclasses.replace(made, estimate=said)
    assert not [check for check in crosscheck(unknown) if "MFU" in check.metric or "bound" in check.metric]


def test_a_phase_that_the_estimate_does_not_know_has_no_rates() -> None:
    made = record("generate")
    between = made.phase("between")
    assert between is not None
    assert rates(made, between) is None
    assert works(made, between) == []
