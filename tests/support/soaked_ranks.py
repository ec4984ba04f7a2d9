"""Trainings of two ranks whose surroundings fail: jobs, the faults that strike them, and how each rank ended.

As a program it reads jobs from stdin, each a line of JSON, forks two ranks for each and writes how they ended, likewise.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.checkout import ROOT

ENDS = {"killed": signal.SIGKILL, "terminated": signal.SIGTERM}
"""Faults that end a rank."""

OTHERS = ("disk", "stderr closed", "stderr broken", "meter")

METERS = (
    "bench.callbacks.watcher.scalar_loss",
    "bench.callbacks.batches.named_parts",
    "bench.callbacks.flop_source.FlopSource.work_of",
    "bench.callbacks.pass_hooks.PassHooks._before",
    "bench.callbacks.pass_hooks.PassHooks._backward",
    "bench.callbacks.passes.PassLedger.settle",
    "bench.callbacks.steps.StepLog.begin",
    "bench.callbacks.steps.StepLog.end",
    "bench.callbacks.step_reading.StepReader.rows",
    "bench.callbacks.console.Console.show",
    "bench.callbacks.rates.figures",
    "bench.callbacks.rank_state.SampledParameters.changed",
    "bench.callbacks.energy.Energy.close",
    "bench.callbacks.exchange.RankExchange.leave",
    "bench.callbacks.exchange.RankExchange.hear",
    "bench.callbacks.exchange.RankExchange.is_main",
    "bench.callbacks.writer.Writer.autosave",
    "bench.callbacks.to_record.fill",
    "bench.backend.device.Device.peak_memory",
)
"""What raises in a rank that a meter fails."""


class BrokenMeterError(Exception):
    """A meter's."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What strikes one rank as a step begins, by its number; a full disk has room again `until` another."""

    what: str
    rank: int
    at: int
    until: int = 0
    meter: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One training: which kind of loop, how long, where its records go (None: unwatched), and what strikes it.

    Attributes:
        launched: whether the store of the ranks is a launcher's, which outlives them; else rank 0 serves it.
    """

    kind: str
    steps: int
    out: str | None
    faults: tuple[Fault, ...] = ()
    launched: bool = False


@dataclass(slots=True)
class Ended:
    """How one rank ended: its exit code, losses and parameters to the bit, and what it said on stderr; `hung`: it had to be killed."""

    code: int = 0
    losses: list[str] = field(default_factory=list)
    parameters: str = ""
    said: str = ""
    hung: bool = False


TRIES = 20
"""Of two ranks to find one another."""

CONNECTED = "connected\n"
"""Told by a rank before its first loss."""


def run(jobs: list[Job], timeout_s: float) -> Iterator[tuple[Ended, Ended]]:
    """How the ranks of each job ended, one job after the other; one of which nothing is heard for so long hangs."""
    import torch.distributed

    launchers = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"SOAK_TIMEOUT_S": str(timeout_s), "SOAK_STORE": str(launchers.port)}
    command = [sys.executable, str(Path(__file__))]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ranks:
        assert ranks.stdin is not None
        assert ranks.stdout is not None
        try:
            ranks.stdin.write("\n".join(json.dumps(asdict(job)) for job in jobs))
            ranks.stdin.close()
            for _ in jobs:
                first, second = json.loads(ranks.stdout.readline())
                yield Ended(**first), Ended(**second)
        finally:
            ranks.kill()


class Struck:
    """One rank as its steps begin and end: strikes it, and tells its losses."""

    def __init__(self, job: Job, rank: int, tell: int) -> None:
        self._faults, self._tell, self._step, self._meters = [f for f in job.faults if f.rank == rank], tell, 0, job.out is not None

    def connected(self) -> None:
        """The ranks have found one another."""
        os.write(self._tell, CONNECTED.encode())

    def begin(self) -> None:
        """A step begins."""
        for fault in self._faults:
            if fault.at == self._step:
                self._strike(fault)
            elif fault.what == "disk" and fault.until == self._step:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._step += 1

    def _strike(self, fault: Fault) -> None:
        if fault.what == "disk":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
        elif fault.what == "stderr closed":
            os.close(2)
        elif fault.what == "stderr broken":
            nobody, end = os.pipe()
            os.close(nobody)
            os.dup2(end, 2)
        elif fault.what == "meter":
            if self._meters:
                break_meter(fault.meter)
        else:
            os.kill(os.getpid(), ENDS[fault.what])

    def loss(self, value: Any) -> None:
        """A loss was computed."""
        os.write(self._tell, f"{float(value.detach()).hex()}\n".encode())

    def end(self, model: Any) -> None:
        """The training is through."""
        told = hashlib.sha256()
        for parameter in model.parameters():
            told.update(parameter.detach().numpy().tobytes())
        os.write(self._tell, f"parameters {told.hexdigest()}\n".encode())


def meter(name: str) -> tuple[Any, str]:
    """Where a function is kept, and its name there.

    Raises:
        AttributeError: no such function.
    """
    where, _, last = name.rpartition(".")
    try:
        owner: Any = importlib.import_module(where)
    except ImportError:
        module, _, kind = where.rpartition(".")
        owner = getattr(importlib.import_module(module), kind)
    getattr(owner, last)
    return owner, last


def break_meter(name: str) -> None:
    """From now on it raises."""

    def broken(*_: Any, **__: Any) -> Any:
        raise BrokenMeterError("a meter")

    setattr(*meter(name), broken)


def network() -> Any:
    """A few weights and a dropout, which draws."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2))


def batches(rank: int, count: int) -> Iterator[Any]:
    import torch

    generator = torch.Generator().manual_seed(rank)
    return (torch.randn(4, 8, generator=generator) for _ in range(count))


def watching(job: Job) -> dict[str, Any]:
    return {"out": job.out, "every": 20, "ceilings": False}


def plain(job: Job, rank: int, struck: Struck, joins: bool = False) -> None:
    """A loop of one's own over DistributedDataParallel; with `join`, rank 1 has fewer batches."""
    import torch
    from torch.distributed.algorithms.join import Join
    from torch.nn.parallel import DistributedDataParallel

    from bench.callbacks import watch

    net = DistributedDataParallel(network())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    data: Any = batches(rank, job.steps - rank * job.steps // 10 if joins else job.steps)
    if job.out is not None:
        data = watch(data, net, **watching(job))
    with Join([net]) if joins else nullcontext():
        for batch in data:
            struck.begin()
            loss = net(batch).pow(2).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            struck.loss(loss)
            if job.out is not None:
                data.loss(loss)
    struck.end(net)


def join(job: Job, rank: int, struck: Struck) -> None:
    """Uneven ranks."""
    plain(job, rank, struck, joins=True)


def by_accelerate(job: Job, rank: int, struck: Struck) -> None:
    """A loop of accelerate, two batches a step."""
    import torch
    from accelerate import Accelerator

    from bench.callbacks import Watch

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    net = network()
    net, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.01))
    with ExitStack() as stack:
        watched = None if job.out is None else stack.enter_context(Watch(net, accelerator, **watching(job)))
        for batch in batches(rank, 2 * job.steps):
            with accelerator.accumulate(net), nullcontext() if watched is None else watched.step(batch):
                struck.begin()
                loss = net(batch).pow(2).mean()
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                struck.loss(loss)
                if watched is not None:
                    watched.loss(loss)
    struck.end(net)


def by_trainer(job: Job, rank: int, struck: Struck) -> None:
    """transformers' Trainer with the callback."""
    import torch
    from torch import nn
    from transformers import Trainer, TrainingArguments

    from bench.callbacks import SixndCallback

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.net(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    class Told(Trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            struck.begin()
            loss = super().training_step(*args, **kwargs)
            struck.loss(loss)
            return loss

    rows = [{"x": x[0], "labels": int(x[1, 0] > 0)} for x in batches(0, 64)]
    arguments = TrainingArguments(
        output_dir=str(Path(job.out or ".") / "out"),
        use_cpu=True,
        ddp_backend="gloo",
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        logging_steps=50,
        max_steps=job.steps,
        per_device_train_batch_size=4,
    )
    callbacks = [] if job.out is None else [SixndCallback(**watching(job))]
    trainer = Told(model=Classifier(), args=arguments, train_dataset=rows, callbacks=callbacks)  # type: ignore[arg-type]
    trainer.train()
    struck.end(trainer.model)


def by_lightning(job: Job, rank: int, struck: Struck) -> None:
    """Lightning's Trainer with the callback."""
    import lightning.pytorch as package
    import torch

    from bench.callbacks import lightning_callback

    class Module(package.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, number: int) -> Any:
            struck.begin()
            loss = self.net(batch).pow(2).mean()
            struck.loss(loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    callbacks = [] if job.out is None else [lightning_callback(**watching(job))]
    loader = torch.utils.data.DataLoader(torch.cat(list(batches(0, 64))), batch_size=4)
    module = Module()
    ranks = {"accelerator": "cpu", "devices": 2, "strategy": "ddp"}
    package.Trainer(max_steps=job.steps, max_epochs=-1, callbacks=callbacks, **ranks, **quiet).fit(module, loader)
    struck.end(module)


KINDS: dict[str, Callable[[Job, int, Struck], None]] = {
    "plain": plain,
    "join": join,
    "trainer": by_trainer,
    "accelerate": by_accelerate,
    "lightning": by_lightning,
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def fork(job: Job, places: dict[str, str], timeout_s: float) -> tuple[int, int] | bool:
    """Two ranks of a job.

    Returns:
        In a rank its number, and where it tells its losses. In the parent, once both have ended, whether they had found one another:
        then it has said how they ended. Connections are refused now and then on a machine that has much else to do.
    """
    pids, pipes = [], []
    for rank in (0, 1):
        (told, tell), (said, say) = os.pipe(), os.pipe()
        if (pid := os.fork()) == 0:
            os.environ |= places | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            os.dup2(say, 2)
            os.close(say)
            return rank, tell
        os.close(tell)
        os.close(say)
        pids.append(pid)
        pipes += [told, said]
    ended, texts = (Ended(), Ended()), ["", "", "", ""]

    heard_s = time.monotonic()

    def drain(number: int) -> None:
        nonlocal heard_s
        with open(pipes[number], encoding="utf-8", errors="replace") as pipe:
            for line in pipe:
                texts[number] += line
                heard_s = time.monotonic()

    drains = [threading.Thread(target=drain, args=(number,)) for number in range(4)]
    for thread in drains:
        thread.start()
    while alive := [rank for rank in (0, 1) if not has_ended(pids[rank], ended[rank])]:
        is_alone = len(alive) == 1 and not all(texts[2 * rank] for rank in (0, 1))
        if is_alone or time.monotonic() - heard_s > timeout_s:
            for rank in alive:
                ended[rank].hung = True
                os.kill(pids[rank], signal.SIGKILL)
        time.sleep(0.02)
    for thread in drains:
        thread.join()
    if not all(texts[2 * rank].startswith(CONNECTED) for rank in (0, 1)):
        return False
    for rank in (0, 1):
        *ended[rank].losses, last = texts[2 * rank].removeprefix(CONNECTED).splitlines() or [""]
        if last.startswith("parameters"):
            ended[rank].parameters = last
        elif last:
            ended[rank].losses.append(last)
        ended[rank].said = texts[2 * rank + 1]
    print(json.dumps([asdict(each) for each in ended]), flush=True)
    return True


def has_ended(pid: int, ended: Ended) -> bool:
    if pid in _reaped:
        return True
    found, status = os.waitpid(pid, os.WNOHANG)
    if found:
        _reaped.add(pid)
        ended.code = os.waitstatus_to_exitcode(status)
    return bool(found)


_reaped: set[int] = set()


def ready(kinds: set[str]) -> None:
    """What ranks import is imported once, in what they are forked from; their watchers write early and often."""
    import torch._dynamo
    import torch.distributed

    from bench.callbacks import console, exchange, flop_source, writer  # noqa: F401

    for kind, name in (("trainer", "transformers.trainer"), ("accelerate", "accelerate"), ("lightning", "lightning.pytorch")):
        if kind in kinds:
            importlib.import_module(name)
    torch.set_num_threads(1)
    console.LEAST_LINE_S = 0.05
    writer.EARLY_S = writer.AUTOSAVE_S = 0.05


def main() -> None:
    """Every job, one after the other; in a rank, its training and no more."""
    jobs = [Job(**{**told, "faults": tuple(Fault(**each) for each in told["faults"])}) for told in map(json.loads, sys.stdin)]
    ready({job.kind for job in jobs})
    rendezvous = itertools.count()
    for job in jobs:
        for _ in range(TRIES):
            forked = fork(job, places(job, next(rendezvous)), float(os.environ["SOAK_TIMEOUT_S"]))
            if isinstance(forked, tuple):
                train(job, *forked)
                return
            if forked:
                break
        else:
            raise TimeoutError(f"two ranks did not find one another in {TRIES} tries")


def places(job: Job, number: int) -> dict[str, str]:
    """Where ranks find one another, as launchers tell them: a store of their own, or one that outlives them."""
    port = os.environ["SOAK_STORE"] if job.launched else str(free_port())
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": str(number)}
    return told | {"TORCHELASTIC_USE_AGENT_STORE": str(job.launched), "TORCHELASTIC_RESTART_COUNT": str(number)}


def train(job: Job, rank: int, tell: int) -> None:
    """One rank."""
    import torch.distributed

    struck = Struck(job, rank, tell)
    torch.distributed.init_process_group("gloo")
    struck.connected()
    KINDS[job.kind](job, rank, struck)


if __name__ == "__main__":
    main()
