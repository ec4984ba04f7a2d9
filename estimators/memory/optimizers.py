"""Bytes of optimizer state per trained parameter, the fp32 master weight not among them."""

from __future__ import annotations

from estimators.errors import BadValueError
from estimators.training.sequence_cost import Work

STATE_BYTES = {"adamw": 8.0, "adamw-8bit": 2.0, "sgd": 0.0, "sgd-momentum": 4.0}
"""AdamW keeps two fp32 moments (Kingma and Ba 2014, arXiv 1412.6980), in 8 bits a byte each (Dettmers et al. 2021, arXiv
2110.02861, blocks of 2,048 values share one fp32 scale, left out here); plain gradient descent nothing, with momentum one."""

OPTIMIZERS = (*STATE_BYTES, "adafactor", "muon")


def optimizer_bytes(work: Work, optimizer: str) -> float:
    """State bytes per parameter, averaged over the model.

    Adafactor keeps a row and a column of each matrix, 4·(n + k) bytes, no first moment (Shazeer and Stern 2018, arXiv
    1804.04235, section 3). Muon keeps one momentum for matrices of layers, 4 bytes, and AdamW's 8 for embedding, head and
    vectors (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

    Raises:
        BadValueError: an unknown optimizer.
    """
    if optimizer in STATE_BYTES:
        return STATE_BYTES[optimizer]
    if optimizer not in OPTIMIZERS:
        raise BadValueError(f"optimizer {optimizer!r} is unknown; expected one of: {', '.join(OPTIMIZERS)}")
    inner = [p for p in work.products if p.cut != "vocabulary"]
    matrices = sum(p.count * p.experts * p.n * p.k for p in inner)
    if optimizer == "muon":
        return 8 - 4 * min(1.0, matrices / work.params)
    lines = sum(p.count * p.experts * (p.n + p.k) for p in inner)
    tables = sum(work.vocab + work.width for size in (work.embedding_params, work.head_params) if size)
    vectors = max(0, work.params - matrices - work.embedding_params - work.head_params)
    return 4 * (lines + tables + vectors) / work.params
