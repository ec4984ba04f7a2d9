"""Presets, repeats in fresh processes, and what the instruments cost."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.backend.device import choose
from bench.backend.training_evidence import gradient_norm
from bench.cli.main import main
from bench.records.asked import Asked
from bench.records.draft import Draft
from bench.records.environment import ObserverCost
from bench.records.record import Measurement, read_folder
from bench.runs import observer_overhead, repeats
from bench.sampling import presets
from bench.workloads.preparation import add_observer_cost
from estimators.errors import UnavailableError
from reports.views.records.repeats import middle, repeats_table
from tests.support.checkout import ROOT
from tests.support.tiny_models import asked, record, write_config

Run = Callable[..., Measurement]


def test_each_preset_is_more_thorough_than_the_one_before() -> None:
    for less, more in zip(list(presets.PRESETS.values()), list(presets.PRESETS.values())[1:], strict=False):
        for kind in ("cpu", "cuda", "mps"):
            assert less.max_samples[kind] < more.max_samples[kind]
            assert less.warmup_max[kind] < more.warmup_max[kind]
        assert less.target_fraction > more.target_fraction
        assert (less.max_time_s, less.idle_s, less.overhead_rounds) < (more.max_time_s, more.idle_s, more.overhead_rounds)


def test_only_the_most_thorough_preset_repeats_and_fails_a_disturbed_run() -> None:
    """What its own line of help promises: three fresh processes, and a disturbed run fails."""
    assert {name: each.repeats for name, each in presets.PRESETS.items()} == {"quick": 1, "standard": 1, "rigorous": 3}
    assert [name for name, each in presets.PRESETS.items() if each.strict] == ["rigorous"]
    spreads = [each.spread_fraction for each in presets.PRESETS.values()]
    assert spreads[2] < spreads[1] == spreads[0]


@pytest.mark.parametrize(("name", "samples"), [("quick", 3), ("standard", 5)])
def test_a_preset_s_cap_holds_and_all_of_it_is_in_the_record(
    name: str, samples: int, measured: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = presets.PRESETS[name].replaced(target_fraction=1e-9)  # so that the cap alone stops the loop
    monkeypatch.setitem(presets.PRESETS, name, changed)
    made = measured("phi", "prefill", seq_len=8, preset=name)
    phase = made.phase("prefill")
    assert phase is not None
    assert (len(phase.samples_s), phase.stopped_by) == (samples, "count")
    assert made.request.preset == name
    assert made.request.preset_values == changed


def test_steps_override_a_preset(measured: Run) -> None:
    phase = measured("phi", "train", seq_len=8, preset="rigorous", steps=2).phase("train_step")
    assert phase is not None
    assert len(phase.samples_s) == 2


def test_an_unknown_preset_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--model", "phi-2", "--preset", "rigourous", "--out", str(tmp_path / "runs")]) == 2
    assert "unknown preset 'rigourous'; did you mean 'rigorous'?" in capsys.readouterr().err


def test_repeats_of_a_suite_or_under_a_launcher_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["run", "--suite", "article", "--repeats", "2", "--out", str(tmp_path / "runs")]) == 2
    assert "--repeats 2 starts processes of its own and cannot repeat a suite" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["run", "--model", "phi-2", "--repeats", "2", "--out", str(tmp_path / "runs")]) == 2
    assert "cannot repeat a launcher's processes" in capsys.readouterr().err


# --- repeats ---


def test_a_child_answers_with_the_path_of_its_record(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench"])
    (request,) = repeats.requests(asked("gpt2", "prefill", seq_len=8, steps=1, preset="quick"), 1)
    body = {"request": request.to_dict(), "hub_id": None, "out": str(tmp_path), "argv": ["bench", "run"]}
    said = repeats.answer(json.dumps(body))
    ((made,), _) = read_folder(tmp_path)
    assert said == {"record": str(tmp_path / f"{made.run_id}.json")}
    assert (made.request.repeat, made.request.num_repeats, made.environment.argv) == (1, 1, ("bench", "run"))


def test_a_child_that_is_refused_answers_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench"])
    body = {"request": asked("gpt2", "prefill", seq_len=10**6).to_dict(), "hub_id": None, "out": str(tmp_path), "argv": []}
    assert "more than the 128 positions" in repeats.answer(json.dumps(body))["error"]


def scripted_child(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import json, sys; asked = json.load(sys.stdin); {code}")


def test_every_repeat_is_a_process_of_its_own_and_knows_its_number(tmp_path: Path) -> None:
    child = scripted_child(
        "import os, pathlib; asked['request']['seed'] = os.getpid(); "
        "path = pathlib.Path(asked['out']) / f\"{asked['request']['repeat']}.json\"; "
        "text = pathlib.Path(asked['out'], 'sound').read_text(); body = json.loads(text); body['request'] = asked['request']; "
        "path.write_text(json.dumps(body)); print(json.dumps({'record': str(path)}))"
    )
    (tmp_path / "sound").write_text(record("prefill").to_json())
    said: list[str] = []
    made = list(repeats.run(asked("gpt2", "prefill"), 3, hub_id=None, out=tmp_path, say=said.append, child=child))
    assert [each.request.repeat for each in made] == [1, 2, 3]
    assert len({each.request.seed for each in made} | {os.getpid()}) == 4
    assert len({each.request.repeat_group for each in made}) == 1
    assert said[1] == "repeat 2 of 3, in a process of its own"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print(json.dumps({'error': 'no room'}))", "repeat 1 of 2: no room"),
        ("sys.exit(7)", "repeat 1 of 2: its process ended with code 7"),
    ],
)
def test_a_repeat_that_fails_says_why(code: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=reason):
        list(repeats.run(asked("gpt2", "prefill"), 2, hub_id=None, out=tmp_path, say=lambda _: None, child=scripted_child(code)))


def timed(*seconds_s: float, repeat: int) -> Measurement:
    made = record("prefill")
    return dataclasses.replace(
        made,
        run_id=str(repeat),
        request=made.request.replaced(repeat=repeat),
        phases=tuple(dataclasses.replace(phase, samples_s=seconds_s) for phase in made.phases),
    )


def test_the_table_of_repeats_has_the_median_and_how_far_apart_they_are() -> None:
    made = [timed(1.0, 1.0, repeat=1), timed(1.5, 1.5, repeat=2), timed(1.25, 1.25, repeat=3)]
    table = repeats_table(made)
    assert table.title == "3 repeats in fresh processes: 1.25 s, 40.0 % from fastest to slowest"
    assert table.facts == {"num_repeats": 3, "num_timed": 3, "median_s": 1.25, "between_fraction": 0.4}
    assert [row["num_failed"] for row in table.rows] == [0, 0, 0]
    assert middle(made).run_id == "3"


def test_repeats_that_timed_nothing_have_no_median() -> None:
    made = [timed(repeat=1), timed(repeat=2)]
    assert repeats_table(made).title == "2 repeats in fresh processes"
    assert [row["num_failed"] for row in repeats_table(made).rows] == [1, 1]
    assert middle(made).run_id == "2"


@pytest.mark.slow
def test_two_repeats_from_the_command_line(tmp_path: Path) -> None:
    config = str(write_config(tmp_path / "tiny-gpt2", "gpt2"))
    command = [sys.executable, "-m", "bench", "run", "--config", config, "--task", "prefill", "--seq-len", "8", "--preset", "quick"]
    done = subprocess.run(
        [*command, "--repeats", "2", "--out", str(tmp_path / "runs"), "--format", "json"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    records, _ = read_folder(tmp_path / "runs")
    assert [each.request.repeat for each in records] == [1, 2]
    assert json.loads(done.stdout)["num_timed"] == 2


# --- what measuring costs ---


def test_the_cost_of_the_instruments_is_measured_by_turns_and_recorded(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    draft = Draft(model="m", task="prefill", request=Asked(model="m", task="prefill", preset="standard"), out=tmp_path)
    add_observer_cost(draft, choose("cpu"), 1)
    cost = draft.environment.observer
    assert cost.step_s == 0.01
    assert len(cost.wall_ratios) == len(cost.processor_ratios) == 1
    assert all(ratio > 0 for ratio in cost.wall_ratios + cost.processor_ratios)
    assert observer_overhead.observer_cost(choose("cpu"), 1) is cost  # once per process


def test_a_preset_without_rounds_leaves_the_cost_out_and_says_so(tmp_path: Path) -> None:
    draft = Draft(model="m", task="prefill", request=Asked(model="m", task="prefill", preset="quick"), out=tmp_path)
    add_observer_cost(draft, choose("cpu"), 0)
    assert "observer" not in draft.environment
    assert draft.unavailable["observer"] == "not measured by --preset quick"


@pytest.mark.parametrize(
    ("ratios", "costly"),
    [([1.05] * 6, True), ([1.005] * 6, False), ([0.9, 1.05, 1.05, 1.05, 1.05, 1.05], False), ([1.5], False)],
    ids=["5 %", "0.5 %", "one round says otherwise", "one round alone says nothing"],
)
def test_costly_instruments_are_reported_only_beyond_the_rounds_scatter(ratios: list[float], costly: bool) -> None:
    cost = ObserverCost(step_s=0.01, wall_ratios=tuple(ratios), processor_ratios=())
    assert (observer_overhead.finding(cost) is not None) is costly


# --- the gradient ---


def test_the_norm_of_gradients_by_hand() -> None:
    """Of 3 and of (0, 4): sqrt(9 + 16) = 5."""
    model = torch.nn.ParameterList([torch.zeros(1), torch.zeros(2)])
    assert gradient_norm(model) is None
    model[0].grad, model[1].grad = torch.tensor([3.0]), torch.tensor([0.0, 4.0])
    assert gradient_norm(model) == 5.0
    model[0].grad = torch.tensor([float("nan")])
    assert gradient_norm(model) is None


@pytest.mark.parametrize("task", ["train"])
def test_a_real_training_leaves_a_gradient_in_its_proof(task: str, measured: Run) -> None:
    assert measured("gpt2", task, seq_len=8, steps=2, preset="quick").proof.grad_norm > 0
