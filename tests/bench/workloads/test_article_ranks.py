"""Several ranks: which one speaks, starting those that a launcher promised, and a real launch of two that counts once.

Run as a program, this file is the driver of the launch: it trains and saves a record, as `bench run` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.backend import device as devices
from bench.machine.ranks import is_main, launched, promised_num_ranks, promised_ranks_missing, start_promised_ranks
from bench.records import record
from bench.records.draft import Draft
from bench.records.learning import Learning
from bench.records.proof import Proof
from bench.records.request import Request
from bench.runs.decide import decide
from bench.runs.measure import keeps
from bench.workloads.article.engine import engine
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.workload import train_and_report
from estimators.facts.registry import model_entry
from tests.support.checkout import ROOT

LAUNCHERS_VARIABLES = ("RANK", "WORLD_SIZE", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "MASTER_ADDR")

ODD_BATCH = 33
"""Two ranks cannot share it evenly: one of them gets a filler in every step."""


def drive(out: Path) -> None:
    """Train a deep network as a rank of whatever launched this process; the main rank saves."""
    asked = Request(model="mlp", config=dict(model_entry("mlp").config), task="train", epochs=3, batch=ODD_BATCH, device="cpu")
    start_promised_ranks()
    run = decide(asked)
    assert isinstance(run, ArticleRun)
    draft = Draft(model=run.model, task=run.task, request=run.request, out=out)
    train_and_report(run, draft)
    if is_main():
        draft.save("complete")
    else:
        assert (draft.phases, draft.learning, draft.proof) == ([], Learning(), Proof()), "only the main rank's draft is filled"


def launch(out: Path, *launcher: str) -> record.Measurement:
    hidden = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "ACCELERATE_USE_CPU", "ACCELERATE_MIXED_PRECISION")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, *launcher, str(Path(__file__)), str(out)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = out.glob("*.json")  # one record, whatever the number of ranks
    return record.read(path)


def test_two_ranks_of_accelerate_launch_count_once_and_learn_what_one_process_learns(tmp_path: Path) -> None:
    one = launch(tmp_path / "one")
    two = launch(tmp_path / "two", "-m", "accelerate.commands.launch", "--num_processes", "2", "--cpu")
    assert (one.proof.num_ranks, two.proof.num_ranks) == (1, 2)
    assert one.proof.num_samples == two.proof.num_samples == 3 * (1405 // ODD_BATCH) * ODD_BATCH
    assert one.proof.num_steps == two.proof.num_steps
    # The same sums in another order: fp32 keeps about seven digits, and 126 steps of AdamW spread the last ones.
    for name in ("train_loss", "heldout_loss"):
        assert getattr(two.learning, name) == pytest.approx(getattr(one.learning, name), rel=1e-3)
    assert two.proof.loss_first == pytest.approx(one.proof.loss_first, rel=1e-5)
    steps = two.phase("train_step")
    assert steps is not None
    assert len(steps.samples_s) + len(steps.warmup_s) == two.proof.num_steps
    assert steps.items_per_sample == ODD_BATCH


MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("environment", "rank_and_size"),
    [
        ({}, None),
        ({**MEETING, "RANK": "0", "WORLD_SIZE": "2"}, (0, 2)),
        ({**MEETING, "RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
        ({**MEETING, "PMI_RANK": "3", "PMI_SIZE": "4"}, (3, 4)),
        ({**MEETING, "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({**MEETING, "MV2_COMM_WORLD_RANK": "1", "MV2_COMM_WORLD_SIZE": "2"}, (1, 2)),
        # Tasks that run side by side have no place to meet, or no number of them.
        ({"PMI_RANK": "1"}, None),
        ({"PMI_RANK": "1", "PMI_SIZE": "4"}, None),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}, None),
        ({"RANK": "3"}, None),
        ({**MEETING, "RANK": "3"}, None),
        ({**MEETING, "RANK": "0", "WORLD_SIZE": "1"}, None),
        # What no launcher sets.
        ({"RANK": "abc"}, None),
        ({"RANK": ""}, None),
        ({**MEETING, "RANK": "abc", "WORLD_SIZE": "2"}, None),
        ({**MEETING, "RANK": "-1", "WORLD_SIZE": "2"}, None),
        ({**MEETING, "RANK": "2", "WORLD_SIZE": "2"}, None),
        ({**MEETING, "RANK": "1", "WORLD_SIZE": "two"}, None),
    ],
)
def test_a_process_is_a_rank_where_a_launcher_told_it_its_number_their_number_and_where_to_meet(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], rank_and_size: tuple[int, int] | None
) -> None:
    for name in LAUNCHERS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() == rank_and_size
    assert is_main() is (rank_and_size is None or rank_and_size[0] == 0)


@pytest.mark.parametrize(
    "environment",
    [
        {"PMI_RANK": "1", "PMI_SIZE": "4"},  # accelerate alone waits for three others
        {"RANK": "abc", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"},  # accelerate alone ends in a ValueError
        {"WORLD_SIZE": "abc"},
    ],
)
def test_a_task_by_itself_trains_by_itself_whatever_a_launcher_left_in_its_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with engine(devices.choose("cpu"), "fp32") as (accelerator, _):
        assert (accelerator.num_processes, accelerator.is_main_process) == (1, True)
    assert environment.items() <= os.environ.items()


@pytest.mark.parametrize(
    ("rank", "task", "kept"), [("0", "train", True), ("1", "train", False), ("0", "generate", True), ("1", "generate", True)]
)
def test_a_rank_keeps_what_it_did_for_itself(monkeypatch: pytest.MonkeyPatch, rank: str, task: str, kept: bool) -> None:
    for name, value in {**MEETING, "RANK": rank, "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert keeps(task) is kept


# What `accelerate launch --cpu --num_processes 2` of accelerate 1.15 leaves in the environment of the one process it starts.
PROMISED = {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_a_promise_that_was_not_kept_is_seen() -> None:
    assert promised_ranks_missing(PROMISED)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"MASTER_ADDR": "127.0.0.1"},  # a cluster's own variable
        {name: value for name, value in PROMISED.items() if name != "MASTER_ADDR"},  # one process was asked for
        {**PROMISED, "ACCELERATE_USE_CPU": "False"},
        {**PROMISED, "RANK": "1", "WORLD_SIZE": "2"},  # started by torchrun
        {**PROMISED, "PMI_SIZE": "2", "PMI_RANK": "0"},  # started by MPI
    ],
)
def test_a_process_that_misses_no_ranks_is_left_alone(environment: dict[str, str]) -> None:
    assert not promised_ranks_missing(environment)


@pytest.mark.parametrize(
    ("words", "num_ranks"),
    [
        (["python3", "/usr/bin/accelerate", "launch", "--num_processes", "2", "--cpu", "-m", "bench", "run"], 2),
        (["python3", "/usr/bin/accelerate", "launch", "--num-processes=3", "--cpu", "train.py", "--num_processes", "7"], 3),
        (["python3", "/usr/bin/accelerate-launch", "--cpu", "--num_processes", "4", "train.py"], 4),
        (["python3", "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "4", "train.py"], 4),
        (["python3", "/lib/accelerate/commands/launch.py", "--cpu", "--num_processes", "4", "train.py"], 4),
        (["python3", "/usr/bin/accelerate", "launch", "--cpu", "train.py"], 1),
        (["python3", "/usr/bin/accelerate", "launch", "--num_processes", "many", "train.py"], None),
        (["/bin/bash"], None),
        ([], None),
    ],
)
def test_the_number_of_ranks_is_read_from_the_launchers_command_line(
    words: list[str], num_ranks: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promised_num_ranks(words) == num_ranks


def test_the_number_of_ranks_may_stand_in_a_configuration_of_accelerate(tmp_path: Path) -> None:
    config = tmp_path / "two.yaml"
    config.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nnum_processes: 2\nuse_cpu: true\nmixed_precision: 'no'\n"
    )
    assert promised_num_ranks(["accelerate", "launch", "--config_file", str(config), "train.py"]) == 2


if __name__ == "__main__":
    drive(Path(sys.argv[1]))
