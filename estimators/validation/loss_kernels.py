"""Peaks of single loss kernels against the laws that `fit` makes logits by: what grew from the smallest shape to each larger one.

A benchmark holds weights, inputs and gradients of its own beside the kernel; what of them does not grow drops out of the difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from estimators.frozen import field, frozen
from estimators.tuning.loss import LossMemory, loss_memory
from estimators.validation.table import LeftOutError, Record

MEBI = 2**20


@frozen
class Shape:
    """What a kernel is given.

    Attributes:
        rows, seq_len: sequences, and tokens of one.
        width, vocab: of the head; a kernel that is given logits has width 0.
    """

    rows: int
    seq_len: int
    width: int
    vocab: int

    @property
    def tokens(self) -> int:
        """Of all sequences."""
        return self.rows * self.seq_len

    @property
    def logits(self) -> int:
        """Of all tokens."""
        return self.tokens * self.vocab


@frozen
class Law:
    """A kernel in a benchmark.

    Attributes:
        loss: what the kernel itself holds.
        hidden_copies: 16-bit tensors of all hidden states that the benchmark holds: input, its gradient, a reference's input.
        token_bytes: of targets and masks.
        logit_bytes: more a logit that the benchmark holds: where logits are its input, their gradient of the pass before.
        head_copies: heads that it holds, gradients of the pass before among them; None where they cannot be told from what else it holds.
        fixed_bytes: workspaces of the matrix library, one for each direction.
        first_rows: of the smallest shape that is of the law's kind: below them Liger's losses have one chunk.
    """

    loss: Callable[[Shape], LossMemory]
    hidden_copies: int = 0
    token_bytes: int = 0
    logit_bytes: int = 0
    head_copies: int | None = None
    fixed_bytes: int = 0
    first_rows: int = 1

    def peak_bytes(self, shape: Shape) -> float:
        """What is held at once; of heads those that are known."""
        held = self.loss(shape)
        return (
            held.logits_bytes
            + held.head_gradient_bytes
            + 2 * (self.head_copies or 0) * shape.width * shape.vocab
            + 2 * self.hidden_copies * shape.tokens * shape.width
            + self.token_bytes * shape.tokens
            + self.logit_bytes * shape.logits
            + self.fixed_bytes
        )


def _sixteen_bit(shape: Shape) -> LossMemory:
    """torch's cross entropy of 16-bit logits: log-probabilities and two gradients of them."""
    return LossMemory(logits_bytes=6 * shape.logits)


def _by(path: str, *, size: int = 2, trained_head: int = 0, judged_rows: int = 0, divided: bool = False) -> Callable[[Shape], LossMemory]:
    def held(shape: Shape) -> LossMemory:
        return loss_memory(
            path,  # type: ignore[arg-type]
            shape.tokens,
            shape.width,
            shape.vocab,
            size=size,
            divided=divided,
            trained_head=trained_head,
            judged_tokens=judged_rows * shape.seq_len,
        )

    return held


WORKSPACES = 2 * (2**23 + 2**17)
"""Two of cuBLAS before Hopper. Source: torch, aten/src/ATen/cuda/CUDABlas.cpp, CUBLAS_WORKSPACE_CONFIG :4096:2:16:8."""

_PAIRS = Law(loss=_by("liger-fused", trained_head=2, judged_rows=2), hidden_copies=2, token_bytes=8)
_KEPT = Law(loss=_by("plain-kept"), hidden_copies=2, token_bytes=8)

LAWS: Mapping[tuple[str, str], Law] = {
    ("cross_entropy", "huggingface"): Law(loss=_by("plain", size=4), logit_bytes=4, head_copies=0, token_bytes=8),
    ("cross_entropy", "liger"): Law(loss=_by("liger", size=4), head_copies=0, token_bytes=8),
    ("fused_linear_cross_entropy", "huggingface"): Law(
        loss=_sixteen_bit, hidden_copies=2, token_bytes=8, head_copies=3, fixed_bytes=WORKSPACES
    ),
    ("fused_linear_cross_entropy", "liger"): Law(
        loss=_by("liger-fused", trained_head=2), hidden_copies=2, token_bytes=8, head_copies=3, fixed_bytes=WORKSPACES
    ),
    ("fused_linear_orpo_loss", "huggingface"): _KEPT,
    ("fused_linear_orpo_loss", "liger"): _PAIRS,
    ("fused_linear_cpo_loss", "huggingface"): _KEPT,
    ("fused_linear_cpo_loss", "liger"): _PAIRS,
    ("kto_loss", "huggingface"): _KEPT,
    ("kto_loss", "liger"): Law(loss=_by("liger-fused", trained_head=2, judged_rows=2), hidden_copies=2, token_bytes=8, first_rows=4),
    ("fused_linear_grpo_loss_token", "torch"): Law(
        loss=_by("plain-kept", divided=True), hidden_copies=3, token_bytes=12, head_copies=5, fixed_bytes=WORKSPACES
    ),
    ("fused_linear_grpo_loss_token", "liger"): Law(
        loss=_by("liger-fused", trained_head=2, judged_rows=1), hidden_copies=3, token_bytes=12, head_copies=5, fixed_bytes=WORKSPACES
    ),
}
"""Kernel and provider -> its law. Source of what a benchmark holds: Liger-Kernel, benchmark/scripts (both providers' heads are there)."""

FIRST_ORPO_TOKENS = 4096
"""Sequences at which the benchmark's own ORPO was of another version, whose logits stayed in 16 bits."""


@frozen
class ScoredKernel:
    """One peak.

    Attributes:
        group: the kernel, its provider and the shape but for what is varied.
        measured_bytes, predicted_bytes: what it is above the group's smallest; None for the smallest itself.
        peak_error: predicted over measured of the peak itself, less 1; None where the benchmark holds what nobody states.
        skipped: why nothing is predicted; empty where something is.
    """

    id: str
    group: tuple[str, ...] = field(default=())
    measured_bytes: float | None = None
    predicted_bytes: float | None = None
    peak_error: float | None = None
    skipped: str = ""

    @property
    def name(self) -> str:
        """The kernel and its provider."""
        return ", ".join(self.group[:2])

    @property
    def error(self) -> float | None:
        """Of what grew, predicted over measured, less 1."""
        return self.predicted_bytes / self.measured_bytes - 1 if self.predicted_bytes and self.measured_bytes else None


ROUNDED = 0.002
"""Share of what grows that torch's allocator may add: it leaves a block whole where less than 1 MiB would be cut off."""

SMALLEST = "the smallest shape, from which others are counted"


def scored_kernels(records: Sequence[Record]) -> list[ScoredKernel]:
    """Every peak beside what its law says of it, in the order of the records."""
    found: list[ScoredKernel] = []
    smallest: dict[tuple[str, ...], tuple[float, float]] = {}
    for record in records:
        try:
            group, law, shape, measured = _read(record)
        except LeftOutError as reason:
            found.append(ScoredKernel(id=record.id, skipped=str(reason)))
            continue
        said = law.peak_bytes(shape)
        error = said / measured - 1 if law.head_copies is not None else None
        before = smallest.setdefault(group, (measured, said))
        if before == (measured, said):
            found.append(ScoredKernel(id=record.id, group=group, peak_error=error, skipped=SMALLEST))
            continue
        grown = measured - before[0], said - before[1]
        found.append(ScoredKernel(id=record.id, group=group, measured_bytes=grown[0], predicted_bytes=grown[1], peak_error=error))
    return found


def _read(record: Record) -> tuple[tuple[str, ...], Law, Shape, float]:
    """The group, law, shape and measured bytes of a row. Raises LeftOutError."""
    if record.broken:
        raise LeftOutError(record.broken)
    kernel, provider = record.text("kernel"), record.text("provider")
    law, mebibytes = LAWS.get((kernel, provider)), record.number("memory_mib")
    if law is None:
        raise LeftOutError(f"kernel {kernel[:40]!r} of {provider[:40]!r} is no loss that `fit` has a law for")
    if not mebibytes:
        raise LeftOutError("no memory in the row")
    shape = _shape(record)
    if (kernel, provider) == ("fused_linear_orpo_loss", "huggingface") and shape.seq_len == FIRST_ORPO_TOKENS:
        raise LeftOutError("the benchmark's own loss was of another version, which kept logits in 16 bits")
    if shape.rows < law.first_rows:
        raise LeftOutError("one chunk is all of it: nothing is added up")
    fixed = (record.text("config"),) if record.text("x_name") != "V" else ()
    return (kernel, provider, *fixed), law, shape, mebibytes * MEBI


def _shape(record: Record) -> Shape:
    """What is varied, and what is not. Raises LeftOutError."""
    try:
        config = json.loads(record.text("config"))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise record.fail("config", 'a JSON object such as {"B": 8, "T": 2048}')
    sizes = {name: value for name, value in config.items() if isinstance(value, int)} | {record.text("x_name"): record.needed("x_value")}
    try:
        if "BT" in sizes:
            return Shape(rows=1, seq_len=sizes["BT"], width=sizes["H"], vocab=sizes["V"])
        return Shape(rows=sizes["B"], seq_len=sizes["T"], width=sizes.get("H", 0), vocab=sizes["V"])
    except KeyError as missing:
        raise LeftOutError(f"no {missing.args[0]} in the row's shape") from None
