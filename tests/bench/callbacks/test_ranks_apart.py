"""Ranks that end apart, break off, die or do not watch: nobody waits longer than is said, and nothing that was measured is lost.

Run as a program, this file is one rank of a training of two, which goes through the trainings of CASES.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from bench.callbacks import Watch, watch
from tests.support.checkout import ROOT
from tests.support.watched_trainings import only_record

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
"""A batch of 4 samples."""


def launchers_store() -> dist.TCPStore:
    """As torchrun's, which outlives every rank and every group."""
    return dist.TCPStore("127.0.0.1", int(sys.argv[2]), is_master=False)


def drive(out: Path) -> None:
    """One rank of two: every training of CASES unwatched and then watched, and what each took and ended with."""
    from datetime import timedelta

    from torch.distributed.algorithms.join import Join
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    rank = int(sys.argv[3])
    dist.init_process_group(
        "gloo", store=dist.PrefixStore("first", launchers_store()), rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    mesh = init_device_mesh("cpu", (2,))
    said: dict[str, Any] = {}

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))

    def train(
        net: nn.Module, num_batches: int, folder: Path | None, at_step: Callable[[int], bool] = lambda _: False, *, block: bool
    ) -> None:
        """As many steps, or until `at_step` says that it is enough; in a `with` block it is known to be a break."""
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        given = [{"input_ids": torch.zeros(4, 16, dtype=torch.long), "x": X}] * num_batches
        watched: Any = watch(given, net, out=folder, every=0, ceilings=False) if folder else given
        with watched if folder and block else nullcontext():
            for number, batch in enumerate(watched):
                if at_step(number):
                    break
                loss = net(batch["x"]).pow(2).mean()
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                if folder:
                    watched.loss(loss)

    def fail(number: int) -> bool:
        if rank == 1 and number == 3:
            raise ValueError("a bad sample")
        return False

    def join(net: nn.Module, folder: Path | None, num_batches: int) -> None:
        with Join([net]):  # type: ignore[list-item]
            train(net, num_batches, folder, block=False)

    replicas = {"join": lambda net, to: join(net, to, (6, 4)[rank]), "join_first": lambda net, to: join(net, to, (4, 6)[rank])}
    replicas["alone"] = lambda net, to: train(net, 6, to if rank == 0 else None, block=False)
    replicas["other_alone"] = lambda net, to: train(net, 6, to if rank == 1 else None, block=False)
    by_themselves = {
        "raises": lambda net, to: train(net, 6, to, fail, block=True),
        "break": lambda net, to: train(net, 6, to, lambda number: rank == 1 and number == 3, block=True),
    }
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    makers: dict[str, tuple[Callable[[], nn.Module], Any]] = {
        **{name: (lambda: DistributedDataParallel(network()), run) for name, run in replicas.items()},
        **{name: (network, run) for name, run in by_themselves.items()},
        "tensor": (lambda: parallelize_module(network(), mesh, plan), lambda net, to: train(net, 6, to, block=False)),
    }

    def outcome(make: Callable[[], nn.Module], train_it: Any, folder: Path | None) -> tuple[float, list[Any], str]:
        net, error = make(), ""
        dist.barrier()
        began_s = time.monotonic()
        try:
            train_it(net, folder)
        except ValueError as raised:
            error = str(raised)
        took_s = time.monotonic() - began_s
        return took_s, [getattr(p, "_local_tensor", p).tolist() for p in net.parameters()], error

    for name, (make, train_it) in makers.items():
        bare, watched = outcome(make, train_it, None), outcome(make, train_it, out / name)
        said[name] = {"longer_s": watched[0] - bare[0], "same": bare[1:] == watched[1:], "error": watched[2]}

    net = DistributedDataParallel(network())
    with Watch(net, out=out / "destroy", every=0, ceilings=False) as w:
        for _ in range(6):
            with w.step({"input_ids": torch.zeros(4, 16, dtype=torch.long)}):
                net(X).pow(2).mean().backward()
        dist.destroy_process_group()
    (out / f"{rank}.json").write_text(json.dumps(said))

    def die(number: int) -> bool:
        if rank == 1 and number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    dist.init_process_group("gloo", store=dist.PrefixStore("second", launchers_store()), rank=rank, world_size=2)
    train(network(), 6, out / "killed", die, block=False)
    (out / "went_on").touch()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the records of two ranks, in a folder for each training."""
    out = tmp_path_factory.mktemp("ranks")
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # of the launcher, which this process is
    command = [sys.executable, str(Path(__file__)), str(out), str(store.port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen([*command, str(rank)], env=environment, cwd=ROOT, stderr=subprocess.PIPE) for rank in (0, 1)]
    try:
        errors = [process.communicate(timeout=240)[1].decode() for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, -signal.SIGKILL], errors
    return out


CASES: dict[str, tuple[str, int, int, list[int], list[int]]] = {
    # Status, steps, tokens (64 a step), steps of each rank, ranks that are missing.
    "join": ("complete", 6, 10 * 64, [6, 4], []),
    "join_first": ("complete", 6, 10 * 64, [4, 6], []),
    "alone": ("complete", 6, 6 * 64, [6], [1]),
    "other_alone": ("complete", 6, 6 * 64, [6], [0]),
    "raises": ("partial", 6, 9 * 64, [6, 3], []),
    "break": ("complete", 6, 9 * 64, [6, 3], []),
    "tensor": ("complete", 6, 6 * 64, [6, 6], []),
    "destroy": ("complete", 6, 12 * 64, [6, 6], []),
    "killed": ("partial", 6, 6 * 64, [6], [1]),
}
"""Also: two trainings that were cut along the model, one whose group was destroyed inside the block, and one that lost a rank."""


@pytest.mark.parametrize("case", CASES)
def test_a_training_of_two_ranks_leaves_one_record_of_all_that_was_seen(two_ranks: Path, case: str) -> None:
    status, num_steps, num_tokens, by_rank, missing = CASES[case]
    made = only_record(two_ranks / case)
    watched = made.proof.watched
    assert (made.status, made.proof.num_steps, made.proof.num_tokens) == (status, num_steps, num_tokens)
    assert [row.num_steps for row in watched.ranks] == by_rank
    assert list(watched.silent_ranks) == missing
    codes = {finding.code for finding in made.warnings}
    assert ("NotReduced" in codes) is bool(missing)
    assert ("UnevenRanks" in codes) is (len({*by_rank}) > 1)
    assert ("SharedBatches" in codes) is (case == "tensor")
    assert sum(watched.tokens_per_step) == num_tokens


@pytest.mark.parametrize("rank", [0, 1])
def test_the_trainings_end_as_they_do_unwatched(two_ranks: Path, rank: int) -> None:
    said = json.loads((two_ranks / f"{rank}.json").read_text())
    assert all(each["same"] for each in said.values()), said
    assert said["raises"]["error"] == ("a bad sample" if rank == 1 else "")
    assert all(each["longer_s"] < 30 for each in said.values()), said  # the first of them imports what counts; a hang takes 60 s
    assert (two_ranks / "went_on").exists()


if __name__ == "__main__":
    drive(Path(sys.argv[1]))
