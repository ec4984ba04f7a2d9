"""What a fine-tuning holds of its model, before anything is shared out: frozen weights as they are stored, and trained tensors."""

from __future__ import annotations

import functools
from typing import Any

from estimators.architectures.adapters import is_quantised, trained
from estimators.architectures.decoder import Decoder
from estimators.architectures.traced_decoder import as_decoder
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.memory.optimizers import TrainedTensor
from estimators.method import TrainingMethod
from estimators.spec import Op, Workload
from estimators.tuning.job import TuningJob
from estimators.units import DTYPE_BYTES
from estimators.weight_formats import PLAIN, stored_matrix

KEPT_AS_LOADED = ("gptq",)
"""Formats whose other weights peft's prepare_model_for_kbit_training leaves as they are.

Source: peft, utils/other.py (version 0.21).
"""


@frozen
class HeldWeights:
    """Bytes and tensors of one whole model.

    Attributes:
        layer_bytes: frozen matrices, vectors and experts of all layers.
        edge_bytes: frozen embedding, head, and norms.
        trained: tensors that training changes, adapters and others alike, with the bytes of an element as they are held.
        adapter_params: of the trained elements, those of adapters.
        largest_layer_bytes, largest_layer_params: of the largest layer without its adapters.
        largest_matrix: elements of the largest matrix inside a layer that is quantised; 0 for none.
        largest_adapted: elements of the largest matrix that has an adapter; 0 for none.
        edge_params: parameters of embedding, head and final norm.
        multiplied_params: of the model without adapters, those that a pass multiplies by, a head that the embedding is included.
        head_params: of them, the head's.
    """

    layer_bytes: int
    edge_bytes: int
    trained: tuple[TrainedTensor, ...]
    adapter_params: int
    largest_layer_bytes: int
    largest_layer_params: int
    largest_matrix: int
    largest_adapted: int
    edge_params: int
    multiplied_params: int
    head_params: int

    @property
    def frozen_bytes(self) -> int:
        """Of everything that training leaves as it is."""
        return self.layer_bytes + self.edge_bytes

    @property
    def trained_params(self) -> int:
        """Elements of what is trained."""
        return sum(tensor.params for tensor in self.trained)

    @property
    def trained_bytes(self) -> int:
        """Of them, as they are held."""
        return sum(tensor.params * tensor.size for tensor in self.trained)


def decoder_of(job: TuningJob) -> Decoder:
    """The job's model. Raises BadValueError where it is no decoder-only language model."""
    model = as_decoder(job.model)
    if model is None:
        raise BadValueError(
            f"a fine-tuning of {job.model.name}: expected a decoder-only language model; `estimate` bounds a training of any other"
        )
    return model


def weights_of(job: TuningJob) -> HeldWeights:
    """What the job holds of its model.

    Llama 3 8B in full: 8,030,261,248 parameters in bf16, no adapters. Mistral 7B v0.3 in nf4, all else in fp32: 3,328 MiB of codes and
    416.013671875 MiB of scales, and 1,025.015625 MiB of embedding, head and norms.

    Raises:
        BadValueError: a model that is no decoder, or that lacks what the method names.
    """
    return _weights_of(
        decoder_of(job),
        job.method,
        _edge_bytes(job),
        _norm_bytes(job),
        _adapter_bytes(job),
        int(DTYPE_BYTES[trained_dtype(job)]),
        _saved(job),
    )


def _saved(job: TuningJob) -> tuple[str, ...]:
    return job.saved_modules if job.trains_adapters else ()


def trained_dtype(job: TuningJob) -> str:
    """What weights that are trained in full are held in: fp32 where FSDP's mixed precision holds flat parameters, else as loaded."""
    return "fp32" if job.sharding == "fsdp" and job.autocast and not job.trains_adapters else job.weights_dtype


def _edge_bytes(job: TuningJob) -> int:
    return 4 if _is_prepared(job) and job.recipe.edge_dtype == "fp32 if quantised" else int(DTYPE_BYTES[job.weights_dtype])


def _norm_bytes(job: TuningJob) -> int:
    return 4 if _is_prepared(job) and job.recipe.edge_dtype != "as loaded" else int(DTYPE_BYTES[job.weights_dtype])


def _is_prepared(job: TuningJob) -> bool:
    """Whether what is not quantised was cast before adapters were put beside it; FSDP's flat parameters are of one dtype."""
    quantised = job.method.base_format != PLAIN and not job.method.base_format.startswith(KEPT_AS_LOADED)
    return quantised and job.trains_adapters and job.objective != "inference" and job.sharding != "fsdp"


def _adapter_bytes(job: TuningJob) -> int:
    habit, quantised = job.recipe.adapter_dtype, job.method.base_format != PLAIN
    low = habit == "compute" or (habit == "fp32 unless quantised" and (quantised or job.sharding == "zero-3"))
    return job.dtype_bytes if low else 4


def head_is_wide(job: TuningJob) -> bool:
    """Whether embedding and head are fp32."""
    return _edge_bytes(job) == 4


def norms_are_wide(job: TuningJob) -> bool:
    """Whether norms are fp32, and the residual stream with them."""
    return _norm_bytes(job) == 4


def adapters_are_wide(job: TuningJob) -> bool:
    """Whether adapters are fp32."""
    return _adapter_bytes(job) == 4


@functools.lru_cache(maxsize=128)
def _weights_of(
    model: Any, method: TrainingMethod, edge_size: int, norm_size: int, adapter_size: int, trained_size: int, saved: tuple[str, ...]
) -> HeldWeights:
    w, matrix = Workload(phase="train"), stored_matrix(method.base_format)
    table = (trained(model, method) if method.rank or method.frozen_layers is not None else model).ops(w)
    is_frozen = method.rank > 0 or matrix is not None
    plain = edge_size if matrix else trained_size

    def size_of(op: Op) -> int:
        """Bytes of one copy of a frozen row."""
        if op.kind == "norm":
            return op.params * (norm_size if is_frozen else trained_size)
        if _is_edge(op):
            return op.params * (edge_size if is_frozen else trained_size)
        if matrix and op.mnk and is_quantised(op, method.base_format, method.quantises_experts):
            _, n, k = op.mnk
            num, rest = divmod(op.params, n * k)
            return num * matrix.num_bytes(n, k) + rest * edge_size
        return op.params * plain

    layers, edges, adapters, tensors = 0, 0, 0, list[TrainedTensor]()
    inputs: dict[str, int] = {}
    adapted: dict[str, int] = {}
    base = [op for op in table if op.role != "adapter"]
    head = sum(op.mnk[1] * op.mnk[2] for op in base if op.component == "head" and op.kind == "matmul" and op.mnk)
    for op in table:
        if op.role == "adapter":
            adapters += op.count * op.params
            tensors += _tensors(op, model.width, adapter_size)
            first = next((name for name in op.reads if name in inputs), None)
            if op.mnk and first is not None:
                adapted[op.name] = op.mnk[1] * inputs[first]
                if method.dora:
                    adapters += op.count * op.mnk[1]
                    tensors.append(TrainedTensor(rows=op.mnk[1], count=op.count, size=adapter_size))
            elif op.mnk:
                inputs[op.name] = op.mnk[2]
        elif not is_frozen and not op.frozen:
            tensors += _tensors(op, model.width, trained_size)
        elif _is_edge(op):
            edges += op.count * size_of(op)
        else:
            layers += op.count * size_of(op)
    for name in saved:
        tensors.append(TrainedTensor(rows=model.vocab, columns=model.width, size=edge_size, is_table=name == "embedding"))
    blocks = [(block.count, block.ops(w, model.width)) for block in model.blocks]
    quantised = [
        op.mnk[1] * op.mnk[2]
        for _, ops in blocks
        for op in ops
        if matrix and op.mnk and is_quantised(op, method.base_format, method.quantises_experts)
    ]
    return HeldWeights(
        layer_bytes=layers,
        edge_bytes=edges,
        trained=tuple(tensors),
        adapter_params=adapters,
        largest_layer_bytes=max(sum(op.count * size_of(op) for op in ops) // count for count, ops in blocks),
        largest_layer_params=max(sum(op.count * op.params for op in ops) // count for count, ops in blocks),
        largest_matrix=max(quantised, default=0),
        largest_adapted=max(adapted.values(), default=0),
        edge_params=sum(op.count * op.params for op in table if _is_edge(op)),
        multiplied_params=head + sum(op.count * _matrices(op) for op in base if not _is_edge(op)),
        head_params=head,
    )


def _matrices(op: Op) -> int:
    """Elements of a row's matrices, without their biases."""
    if op.kind != "matmul" or not op.mnk:
        return 0
    each = op.mnk[1] * op.mnk[2]
    return op.params // each * each


def _is_edge(op: Op) -> bool:
    """Whether a row stands outside the layers."""
    return op.component in ("embedding", "head") or op.role == "edge_norm"


def _tensors(op: Op, width: int, size: int) -> list[TrainedTensor]:
    """The tensors of a row: matrices and their biases, a table, or a vector."""
    if op.mnk and op.kind == "matmul":
        _, n, k = op.mnk
        num, rest = divmod(op.params, n * k)
        whole = [TrainedTensor(rows=n, columns=k, count=op.count * num, size=size, is_linear=True)] if num else []
        return whole + ([TrainedTensor(rows=rest, count=op.count, size=size)] if rest else [])
    if op.component == "embedding" and op.params % width == 0:
        return [TrainedTensor(rows=op.params // width, columns=width, count=op.count, size=size, is_table=True)]
    return [TrainedTensor(rows=op.params, count=op.count, size=size)]
