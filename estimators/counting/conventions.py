"""Named conventions of counting FLOP. One multiply-add is two FLOP in all of them."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.errors import UnknownNameError
from estimators.frozen import frozen
from estimators.spec import Op, Workload


@frozen
class Convention:
    """What a FLOP count includes.

    Attributes:
        includes: one line for the head of a table.
        used_by: who counts so.
    """

    name: str
    includes: str
    used_by: str


CONVENTIONS: dict[str, Convention] = {
    c.name: c
    for c in (
        Convention(
            name="full",
            includes="every matrix product, the whole attention square, the head; no recomputation",
            used_by="torch.utils.flop_counter, nanoGPT; PaLM and llm-foundry, whose 6·N·D counts the input embeddings as well",
        ),
        Convention(
            name="causal",
            includes="as full, with half of the attention square, less behind a window",
            used_by="Megatron-LM since 2025, MaxText and DeepSeek, of models without windows",
        ),
        Convention(
            name="hardware",
            includes="as full, plus the forward pass that activation checkpointing runs again",
            used_by="Megatron-LM 2021, HFU of llm-foundry",
        ),
    )
}


def convention(name: str) -> Convention:
    """The convention of that name. Raises UnknownNameError."""
    if name not in CONVENTIONS:
        raise UnknownNameError("convention", name, CONVENTIONS, "python -m bench list conventions")
    return CONVENTIONS[name]


def step_flop(ops: Sequence[Op], workload: Workload) -> dict[str, int]:
    """FLOP of one step under each convention; a training step is forward and backward, other phases forward alone.

    With T tokens attending to themselves, `causal` counts T²/2 pairs where `full` counts T²; behind a window of W < T, W·T - W²/2.
    """
    forward = sum(op.count * op.flop for op in ops)
    unseen = sum(op.count * op.unseen_flop for op in ops)
    recomputed = 0
    if workload.phase == "train":
        forward += sum(op.count * op.backward_flop for op in ops)
        unseen += sum(op.count * op.backward_unseen_flop for op in ops)
        if workload.recompute == "full":
            recomputed = sum(op.count * op.flop for op in ops if op.recomputed)
    return {"full": forward, "causal": forward - unseen, "hardware": forward + recomputed}


def op_flop(op: Op, workload: Workload, convention: str) -> int:
    """FLOP of all copies of one operation in the step: forward, and backward where the step trains.

    Summed over a table it is that convention's of `step_flop`.

    Args:
        convention: full, causal or hardware.
    """
    training = workload.phase == "train"
    flop = op.flop + (op.backward_flop if training else 0)
    if convention == "causal":
        flop -= op.unseen_flop + (op.backward_unseen_flop if training else 0)
    if convention == "hardware" and training and workload.recompute == "full" and op.recomputed:
        flop += op.flop
    return op.count * flop


def usual_convention(ops: Sequence[Op]) -> str:
    """What a share of peak counts where nobody asked for another convention.

    `full`, as most published shares do, where every query sees all its past; `causal` where a window or a chunk hides a part of it,
    because no kernel multiplies what lies behind, and a share of the whole square could pass the peak.
    """
    return "causal" if any(_has_window(op) for op in ops) else "full"


def _has_window(op: Op) -> bool:
    """Whether a window or a chunk hides some of the step's own tokens, and not just those that lie ahead of a query."""
    if op.role != "scores" or not op.mnk or not op.unseen_flop:
        return False
    t, keys, _ = op.mnk
    return 2 * op.unseen_flop * keys != op.flop * t


def model_and_hardware_flop(ops: Sequence[Op], workload: Workload) -> tuple[int, int]:
    """FLOP of one step that an MFU and an HFU count, under the usual convention: of the model, and with what is recomputed."""
    unseen = usual_convention(ops) == "causal"
    model = step_flop(ops, workload)["causal" if unseen else "full"]
    if workload.phase != "train" or workload.recompute != "full":
        return model, model
    return model, model + sum(op.count * (op.flop - (op.unseen_flop if unseen else 0)) for op in ops if op.recomputed)


def surplus_flop(ops: Sequence[Op], workload: Workload) -> int:
    """FLOP of one step that transformers runs beside those of `full`, though no result depends on them."""
    run = [op for op in ops if op.surplus_flop]
    backward = sum(op.count * (op.surplus_flop * op.backward_flop // op.flop) for op in run) if workload.phase == "train" else 0
    return sum(op.count * op.surplus_flop for op in run) + backward


def unskippable_flop(ops: Sequence[Op], workload: Workload) -> int:
    """FLOP that no kernel may skip: `full` less every masked query-key pair, without recomputation."""
    total = sum(op.count * (op.flop - op.masked_flop) for op in ops)
    if workload.phase == "train":
        total += sum(op.count * (op.backward_flop - op.backward_masked_flop) for op in ops)
    return total
