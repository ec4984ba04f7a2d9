"""Kinds of training loop of two ranks, watched or not, whose steps begin where faults may strike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from tests.support.soak_faults import Job, Struck


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
