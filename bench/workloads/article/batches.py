"""Batches that every number of ranks can share without a sample counted twice.

Accelerate evens out a batch between ranks by repeating samples. Here it is filled up with rows of weight 0 instead:
they take part in no loss, no gradient and no count, so that R ranks do exactly the work of one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

Batch = tuple[Tensor, Tensor, Tensor]
"""Inputs, targets, and weights: 1 for a sample, 0 for a filler."""


class Rows(Dataset[Batch]):
    """Samples as whole tensors; index `len(rows)` is the filler.

    A batch is taken in one piece: fetching sample by sample would outweigh the step.
    """

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        assert len(inputs) == len(targets)
        self.num_rows = len(inputs)
        self.inputs = torch.cat([inputs, torch.zeros_like(inputs[:1])])
        self.targets = torch.cat([targets, torch.zeros_like(targets[:1])])
        self.weights = torch.ones(self.num_rows + 1)
        self.weights[-1] = 0

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, index: int) -> Batch:
        return self.inputs[index], self.targets[index], self.weights[index]

    def __getitems__(self, indices: Tensor) -> Batch:
        return self.inputs[indices], self.targets[indices], self.weights[indices]

    def first(self, count: int) -> Rows:
        """The first `count` samples, or all of them where there are fewer."""
        return Rows(self.inputs[: min(count, self.num_rows)], self.targets[: min(count, self.num_rows)])


class Batches(Sampler[Tensor]):
    """Indices of one batch after another, each batch filled up to a multiple of the number of ranks.

    Args:
        rows: how many samples there are.
        size: samples in a batch.
        num_ranks: how many ranks share a batch; each takes an equal slice.
        shuffle: a new order every epoch, the same on every rank; the samples that do not fill a last batch wait for
            the next epoch's order. None goes through all samples in order, and fills up the last batch.
    """

    drop_last = True

    def __init__(self, rows: int, size: int, num_ranks: int, shuffle: torch.Generator | None) -> None:
        self.rows, self.size, self.shuffle = rows, size, shuffle
        self.batch_size = -(-size // num_ranks) * num_ranks
        self.filler = rows

    def __len__(self) -> int:
        return self.rows // self.size if self.shuffle else -(-self.rows // self.size)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(self.rows, generator=self.shuffle) if self.shuffle else torch.arange(self.rows)
        for start in range(0, len(self) * self.size, self.size):
            batch = order[start : start + self.size]
            yield torch.cat([batch, torch.full((self.batch_size - len(batch),), self.filler)])


def loader(rows: Rows, size: int, *, num_ranks: int, seed: int | None) -> DataLoader[Batch]:
    """A loader to be prepared by accelerate with split_batches; `seed` None goes through the rows once, in order."""
    shuffle = None if seed is None else torch.Generator().manual_seed(seed)
    return DataLoader(rows, batch_sampler=Batches(len(rows), size, num_ranks, shuffle), collate_fn=_as_it_is)


def _as_it_is(batch: Batch) -> Batch:
    return batch
