"""Which ranks are given the same batches, by how a model lies on a mesh of four ranks: two replicas of two parts each."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore

from bench.callbacks.same_batches import batches_key

RANK = 1
X = torch.zeros(4, 8)


@pytest.fixture(scope="module")
def mesh() -> Iterator[DeviceMesh]:
    """Ranks 0, 1 hold one copy, 2, 3 the other; this process is rank 1 of a group that does not communicate."""
    dist.init_process_group("fake", rank=RANK, world_size=4, store=FakeStore())
    yield init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    dist.destroy_process_group()


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))


def cut(mesh: Any) -> nn.Module:
    return parallelize_module(network(), mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


def sharing(model: nn.Module, accelerator: Any = None) -> Any:
    key: Any = batches_key(model, accelerator, X)
    return None if key is None else key[0]


class TestCopies:
    def test_tensor_parallel_parts_share_their_batches(self, mesh: DeviceMesh) -> None:
        assert sharing(cut(mesh["tp"])) == (0, 1)
        assert sharing(cut(init_device_mesh("cpu", (4,)))) == (0, 1, 2, 3)

    def test_replicas_and_shards_of_them_do_not(self, mesh: DeviceMesh) -> None:
        whole = init_device_mesh("cpu", (4,))
        assert sharing(network()) is None
        assert sharing(DistributedDataParallel(network())) is None
        assert sharing(DistributedDataParallel(network(), process_group=mesh["dp"].get_group())) is None
        assert sharing(fully_shard(network(), mesh=whole)) is None
        assert sharing(fully_shard(network(), mesh=mesh)) is None  # sharded along one dimension, replicated along the other

    def test_of_both_together_the_parts_of_one_replica_do(self, mesh: DeviceMesh) -> None:
        assert sharing(fully_shard(cut(mesh["tp"]), mesh=mesh["dp"])) == (0, 1)
        assert sharing(DistributedDataParallel(cut(mesh["tp"]), device_mesh=mesh["dp"])) == (0, 1)

    def test_accelerates_mesh_names_what_no_parameter_shows(self, mesh: DeviceMesh) -> None:
        of_context = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp_shard", "cp"))
        assert sharing(network(), SimpleNamespace(torch_device_mesh=of_context)) == (0, 1)

    def test_megatrons_parts_have_one_place_among_their_replicas(self, mesh: DeviceMesh) -> None:
        model = DistributedDataParallel(network(), process_group=mesh["dp"].get_group())
        next(model.parameters()).tensor_model_parallel = True  # type: ignore[attr-defined]
        assert sharing(model) == ("place", 0, 2)


class TestBatches:
    """Of ranks that hold parts of one copy only those share a batch whose first one is the same."""

    @pytest.mark.parametrize(
        "other",
        [
            torch.ones(4, 8),
            torch.zeros(4, 4),
            torch.zeros(4, 8, dtype=torch.bfloat16),
            {"x": torch.zeros(4, 8), "labels": torch.ones(4)},
            [X, "another text"],
        ],
    )
    def test_a_part_of_a_sequence_is_not_the_whole(self, mesh: DeviceMesh, other: Any) -> None:
        model = cut(mesh["tp"])
        assert batches_key(model, None, X) == batches_key(model, None, X.clone())
        assert batches_key(model, None, X) != batches_key(model, None, other)

    def test_a_strided_batch_and_none_at_all_can_be_told(self, mesh: DeviceMesh) -> None:
        model = cut(mesh["tp"])
        wide = torch.arange(64.0).reshape(8, 8)
        assert batches_key(model, None, wide.T) == batches_key(model, None, wide.T.contiguous())
        assert batches_key(model, None, None) == batches_key(model, None, None)
