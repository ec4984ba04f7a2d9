"""What a kernel or an operator of torch does, by its name: kernels by kernel_names.csv, operators by their groups."""

from __future__ import annotations

import functools

from estimators.facts import data
from estimators.profile.operator_groups import UNFUSED_ATTENTION, group_of

OPTIMIZER, MATMUL, ATTENTION, UNFUSED = "optimizer", "matmul", "attention", "unfused attention"
ELEMENTWISE, COPY, OTHER, COMMUNICATION, HOST = "elementwise", "copy", "other", "communication", "host"

CLASSES = (OPTIMIZER, MATMUL, ATTENTION, UNFUSED, ELEMENTWISE, COPY, OTHER, COMMUNICATION, HOST)
"""In the order in which time that several have at once is given to one of them. `unfused attention` is products and softmax that write
their scores; of kernels the softmax alone, as its products are named like others. `host` is what operators on a processor take to be
dispatched."""

COLUMNS = ("text", "where", "class", "source")
_COPIES = ("copy_", "_to_copy", "_copy_from")
_COMMUNICATION = ("c10d::", "gloo:", "nccl:", "record_param_comms")


@functools.cache
def _kernel_names() -> tuple[tuple[str, bool, str], ...]:
    rows = data.read_rows(data.file("kernel_names.csv"), COLUMNS)
    return tuple(
        (row.text("text"), row.text("where", choices=("starts", "has")) == "starts", row.text("class", choices=CLASSES)) for row in rows
    )


@functools.lru_cache(maxsize=4096)
def class_of_kernel(name: str) -> str:
    """The class of a GPU's kernel: the first row of kernel_names.csv whose text it has.

    >>> class_of_kernel("nvjet_tst_128x256"), class_of_kernel("ncclDevKernel_AllReduce_Sum_bf16_RING_LL"), class_of_kernel("mine")
    ('matmul', 'communication', 'other')
    """
    said = name.casefold().removeprefix("void ")
    return next((kind for text, starts, kind in _kernel_names() if (said.startswith(text) if starts else text in said)), OTHER)


@functools.lru_cache(maxsize=4096)
def class_of_operator(name: str) -> str:
    """The class of an operator on a processor, of its own time.

    >>> class_of_operator("aten::addmm"), class_of_operator("aten::bmm"), class_of_operator("aten::view"), class_of_operator("MulBackward0")
    ('matmul', 'unfused attention', 'host', 'host')
    """
    if name.startswith(_COMMUNICATION):
        return COMMUNICATION
    if name.startswith(("cpp_fused", "graph_")):  # torch.compile's
        return ELEMENTWISE
    space, _, plain = name.rpartition("::")
    if space not in ("aten", "mkldnn"):
        return HOST
    if "convolution" in plain or "conv2d" in plain or "linear" in plain:
        return MATMUL
    if plain in UNFUSED_ATTENTION:
        return UNFUSED
    return COPY if plain in _COPIES else _OF_GROUP[group_of(plain)]


_OF_GROUP = {"matmul": MATMUL, "attention": ATTENTION, "memory": ELEMENTWISE, "view": HOST}
