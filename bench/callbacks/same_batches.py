"""Which ranks are given the same batches: those that hold parts of one copy of the model (tensor, sequence and context parallelism).

Equal batches alone tell nothing: replicas that train on constant data compute each of them. Nor does the cut of the model alone: a
context-parallel rank may be given its part of every sequence. So both must hold: a shared copy, and a first batch that is the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

MODEL_DIMS = ("tp", "cp", "sp", "tensor_parallel", "context_parallel", "sequence_parallel")
"""Names of the dimensions of accelerate's and Lightning's meshes along which one copy of the model lies."""

SAMPLED = 1024
"""Elements of a tensor that are compared."""


def batches_key(model: nn.Module, accelerator: Any, batch: Any) -> Hashable | None:
    """The same for ranks that are given the same batches; None where this rank's are its own.

    Args:
        batch: this rank's first; on a device it is read once.
    """
    copy = _copy_in_mesh(model, accelerator) or _place_in_data_group(model)
    return None if copy is None else (copy, _fingerprint(batch))


def _copy_in_mesh(model: nn.Module, accelerator: Any) -> Hashable | None:
    """The ranks that hold one copy of the model, where a device mesh tells; the most that any mesh names."""
    copies = [_line(mesh, _model_dims(mesh)) for mesh in _named_meshes(accelerator)]
    sharded: dict[Any, set[int]] = {}
    for parameter in model.parameters():
        spec: Any = getattr(parameter, "_st_info", parameter)  # DDP keeps a DTensor's placement beside its own part
        if (mesh := getattr(spec, "device_mesh", None)) is not None:
            cut = {dim for dim, placement in enumerate(spec.placements) if not placement.is_replicate()}
            sharded[mesh] = sharded.get(mesh, set()) | cut
    data_ranks = _data_ranks(model)
    for mesh, cut in sharded.items():
        copies.append(_line(mesh, [dim for dim in sorted(cut) if not set(_line(mesh, [dim])) <= data_ranks]))
    largest = max(copies, key=len, default=())
    return largest if len(largest) > 1 else None


def _named_meshes(accelerator: Any) -> Iterator[Any]:
    mesh = getattr(accelerator, "torch_device_mesh", None)
    if mesh is not None:
        yield mesh


def _model_dims(mesh: Any) -> list[int]:
    return [dim for dim, name in enumerate(mesh.mesh_dim_names or ()) if name in MODEL_DIMS]


def _line(mesh: Any, dims: Sequence[int]) -> tuple[int, ...]:
    """Ranks of a mesh that differ from this one along those dimensions alone."""
    own = mesh.get_coordinate()
    if own is None:
        return ()
    place = tuple(slice(None) if dim in dims else at for dim, at in enumerate(own))
    return tuple(sorted(mesh.mesh[place].reshape(-1).tolist()))


def _data_ranks(model: nn.Module) -> set[int]:
    """Ranks over which gradients are averaged, as DDP and FSDP say; none where neither is there."""
    ranks: set[int] = set()
    for part in model.modules():
        for name in ("process_group", "_inter_node_pg"):  # of DDP and FSDP 1
            group = getattr(part, name, None)
            if isinstance(group, dist.ProcessGroup):
                ranks |= set(dist.get_process_group_ranks(group))
        state = part._get_fsdp_state() if hasattr(part, "_get_fsdp_state") else None
        for group in getattr(state, "_fsdp_param_groups", ()):
            mesh = group.mesh_info.mesh
            ranks |= set(_line(mesh, range(mesh.ndim)))
    return ranks


def _place_in_data_group(model: nn.Module) -> Hashable | None:
    """This rank's place in its group of replicas, where Megatron has cut the layers: ranks of one place hold one copy."""
    if not any(getattr(parameter, "tensor_model_parallel", False) for parameter in model.parameters()):
        return None
    ranks = sorted(_data_ranks(model))
    if dist.get_rank() not in ranks:
        return None
    return ("place", ranks.index(dist.get_rank()), len(ranks))


def _fingerprint(batch: Any) -> int:
    """A checksum of shapes, kinds and some elements of every tensor of a batch."""
    told = 0
    for leaf in torch.utils._pytree.tree_leaves(batch):
        if isinstance(leaf, torch.Tensor):
            own = leaf.detach()
            own = own.to_local() if hasattr(own, "to_local") else own
            some = own.reshape(-1)[:: max(1, own.numel() // SAMPLED)].cpu().contiguous()
            told = zlib.crc32(some.view(torch.uint8).numpy().tobytes(), zlib.crc32(repr((leaf.shape, leaf.dtype)).encode(), told))
        else:
            told = zlib.crc32(repr(leaf)[:200].encode(), told)
    return told
