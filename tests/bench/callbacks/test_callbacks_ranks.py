"""Several ranks of one watched training: one record, tokens summed, the slowest time, energy once per device.

Run as a program, this file is one rank of the launch: it trains by DDP, by FSDP or by the Trainer, as its first argument says.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.callbacks import energy, ranks, to_record
from bench.callbacks.steps import Step
from bench.cli.main import main
from bench.machine.meters.readings import Readings
from bench.machine.ranks import start_promised_ranks
from bench.records import record
from bench.records.asked import Asked
from bench.records.draft import Draft
from tests.support.checkout import ROOT
from tests.support.quiet_machine import failed_by_itself
from tests.support.watched_trainings import batches, run

STEPS = 6


def step(seconds: float, *, wait_s: float = 0.0, rows: int = 2, padding: int | None = 0, loss: float | None = 1.0) -> Step:
    return Step(host_s=seconds, device_s=None, wait_s=wait_s, exposed_wait_s=wait_s, shapes=((rows, 8),), num_padding=padding, loss=loss)


def report(rank: int, *steps: Step, uuid: str | None = None, params_changed: bool = True, batches: str | None = None) -> ranks.RankReport:
    return ranks.RankReport(
        rank=rank,
        device="a scripted device",
        uuid=uuid,
        steps=steps,
        power={},
        peak_bytes={"peak_rss": 10 * (rank + 1)},
        params_changed=params_changed,
        params_finite=True,
        observer_s=0.0,
        batches=batches,
    )


def test_tokens_are_summed_and_the_slowest_rank_gives_the_time() -> None:
    whole = ranks.joined_steps([report(0, step(1.0, padding=3), step(2.0)), report(1, step(4.0, wait_s=0.5, rows=3), step(1.0, loss=3.0))])
    assert whole.periods_s == (4.5, 2.0)
    assert whole.waits_s == (0.5, 0.0)
    assert whole.items == (2 * 8 - 3 + 3 * 8, 2 * 2 * 8)
    assert whole.paddings == (3, 0)
    assert whole.losses == (1.0, 2.0)


def test_a_step_that_not_every_rank_took_is_that_of_those_that_did_and_an_unknown_padding_stays_unknown() -> None:
    whole = ranks.joined_steps([report(0, step(1.0, padding=None), step(3.0, loss=5.0)), report(1, step(2.0, loss=3.0))])
    assert (whole.periods_s, whole.items, whole.losses, whole.paddings) == ((2.0, 3.0), (32, 16), (2.0, 5.0), (None, 0))


def test_batches_that_several_ranks_were_given_count_once_by_the_rank_that_took_most_steps() -> None:
    parts = [report(0, step(1.0), batches="a"), report(1, step(2.0), step(1.0), batches="a"), report(2, step(1.0), batches="b"), report(3)]
    assert [each.rank for each in ranks.distinct(parts)] == [1, 2, 3]
    whole = ranks.joined_steps(parts)
    assert (whole.periods_s, whole.items) == ((2.0, 1.0), (32, 16))
    assert [row.same_batches_as for row in ranks.rows(parts, skip=0)] == [1, None, None, None]


def test_a_report_without_room_keeps_its_totals_and_its_first_steps() -> None:
    whole = report(1, *[step(1.0 + number / 7, rows=1 + number % 5) for number in range(400)])
    assert ranks.unpacked(ranks.packed(whole, 2**20)) == whole
    for room_bytes in (len(ranks.packed(whole, 2**20)) - 1, 1500, 0):
        sent = ranks.unpacked(ranks.packed(whole, room_bytes))
        assert (sent.num_steps, sent.num_items) == (400, 400 * 3 * 8)
        assert sent.steps == whole.steps[: len(sent.steps)]
        assert (0 < len(sent.steps) < 400) is (room_bytes > 0)


def test_skew_is_that_of_the_median_steps() -> None:
    rows = ranks.rows([report(0, *[step(1.0)] * 3), report(1, *[step(1.5)] * 3)], skip=1)
    assert ranks.skew_fraction(rows) == pytest.approx(0.5)
    assert ranks.skew_fraction(rows[:1]) is None


@pytest.mark.parametrize("changed", [(True, True), (True, False), (False, True), (False, False)])
def test_the_parameters_changed_where_they_did_on_every_rank(changed: tuple[bool, bool], tmp_path: Path) -> None:
    draft = Draft(model="tiny", task="train", request=Asked(model="tiny", task="train"), out=tmp_path)
    reports = [report(rank, step(1.0), params_changed=held) for rank, held in enumerate(changed)]
    to_record.fill(draft, reports, Readings(values={}, unavailable={}), item="token", clock="host", stopped_by="count")
    assert draft.proof.params_changed is all(changed)


def watts(energy_j: float | None, window_s: float, limit_w: float = 700.0) -> dict[str, float | None]:
    return {"energy_j": energy_j, "window_s": window_s, "power_limit_w": limit_w, "max_temperature_c": 60.0}


def test_energy_counts_once_per_physical_device() -> None:
    # Two ranks share GPU-a, the second of which watched it longer; a third has GPU-b.
    merged, missing = energy.over_ranks([("GPU-a", watts(90.0, 9.0)), ("GPU-a", watts(100.0, 10.0)), ("GPU-b", watts(50.0, 10.0))])
    assert (merged["energy_j"], merged["power_limit_w"], merged["window_s"], missing) == (150.0, 1400.0, 10.0, {})


def test_energy_of_which_one_device_is_missing_is_unavailable() -> None:
    merged, missing = energy.over_ranks([("GPU-a", watts(100.0, 10.0)), ("GPU-b", watts(None, 10.0))])
    assert merged["energy_j"] is None
    assert missing == {"energy_j": "not every rank's device answered"}


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "3"},
        {"PMI_RANK": "1", "PMI_SIZE": "4"},
        {"RANK": "abc"},
        {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
    ],
)
def test_a_process_without_a_group_leaves_its_own_record_whatever_its_launcher_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = run(tmp_path, batches(3))
    texts = [finding.text for finding in made.warnings if finding.code == "NotReduced"]
    assert (made.status, made.proof.num_tokens, made.proof.num_ranks) == ("complete", 3 * 32, 1)
    joined = "process 1 of 2 that a launcher started: no process group of torch joined them, so each has a record"
    assert texts == ([joined] if "MASTER_ADDR" in environment else [])


def drive(how: str, out: Path) -> None:
    """One rank of a training of two."""
    if how == "accelerate":
        start_promised_ranks()
    import torch
    from accelerate import Accelerator
    from torch import distributed as dist

    from bench.callbacks import Watch, watch
    from tests.support.tiny_models import CEILINGS
    from tests.support.watched_trainings import tiny_model

    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    if how == "trainer":
        from tests.support.trainings_by_trainer import callback, trainer

        trainer(out, callback(out), num_rows=2 * 2 * STEPS).train()
    elif how == "accelerate":
        accelerator = Accelerator(cpu=True)
        model = tiny_model()
        model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-3))
        with Watch(model, accelerator, out=out / "runs", every=0, ceilings=CEILINGS) as w:
            for batch in batches(STEPS, rows=2 + rank, padding=1):
                with w.step(batch):
                    loss = model(**batch).loss
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                    w.loss(loss)
    else:
        from torch.distributed.fsdp import fully_shard

        dist.init_process_group("gloo")
        sharded: Any = tiny_model()
        for block in sharded.transformer.h:
            fully_shard(block, mesh=dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),)))
        fully_shard(sharded, mesh=dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),)))
        adamw = torch.optim.AdamW(sharded.parameters(), lr=1e-3)
        watched = watch(batches(STEPS, rows=2 + rank, padding=1), sharded, out=out / "runs", every=0, ceilings=CEILINGS)
        for batch in watched:
            loss = sharded(**batch).loss
            loss.backward()
            adamw.step()
            adamw.zero_grad()
            watched.loss(loss)
    if dist.is_initialized():
        dist.destroy_process_group()


LAUNCHERS = {
    "accelerate": ["-m", "accelerate.commands.launch", "--num_processes", "2", "--cpu"],
    "trainer": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
    "fsdp": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
}


def launch(out: Path, how: str) -> record.Measurement:
    """Two ranks; accelerate's launcher starts one for --cpu without MPI, which then starts the two that were promised."""
    hidden = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "ACCELERATE_USE_CPU", "ACCELERATE_MIXED_PRECISION")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = LAUNCHERS[how]
    done = subprocess.run(
        [sys.executable, *launcher, str(Path(__file__)), how, str(out)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = (out / "runs").glob("*.json")  # one record, whatever the number of ranks
    return record.read(path)


@pytest.mark.parametrize("how", ["accelerate", "fsdp", pytest.param("trainer", marks=pytest.mark.slow)])
def test_two_ranks_leave_one_record_that_report_and_compare_read(how: str, tmp_path: Path) -> None:
    made = launch(tmp_path, how)
    assert (made.status, made.proof.num_ranks, made.proof.num_steps) == ("complete", 2, STEPS)
    assert failed_by_itself(made) == ()
    # By hand: rows of 16 positions, one with padding: 2 rows on one rank and 3 on the other; the Trainer's rows have 2 of padding each.
    each = 2 * 2 * 14 if how == "trainer" else (2 * 16 - 1) + (3 * 16 - 1)
    assert made.proof.watched.tokens_per_step == (each,) * STEPS
    rows = made.proof.watched.ranks
    assert [row.rank for row in rows] == [0, 1]
    assert sum(row.num_items for row in rows) == made.proof.num_tokens == each * STEPS
    assert made.proof.watched.skew_fraction >= 0
    assert made.power["energy_j"] is None
    assert "memory_needed" in made.unavailable or how != "fsdp"
    assert main(["report", str(tmp_path / "runs"), "-v"]) == 0
    assert main(["compare", str(tmp_path / "runs"), str(tmp_path / "runs")]) == 0


if __name__ == "__main__":
    drive(sys.argv[1], Path(sys.argv[2]))
