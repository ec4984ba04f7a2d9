"""Which layouts each generation of software runs, of one layout or of thousands; the broken rule in one line."""

from __future__ import annotations

from typing import Any

from estimators.cost.layout import Layout
from estimators.errors import BadValueError
from estimators.frozen import frozen


@frozen
class Limits:
    """The most that a generation of software does.

    Attributes:
        single: degrees that it does not have: they are 1.
        zero: the highest ZeRO stage.
    """

    single: tuple[str, ...] = ()
    zero: int = 3


DATA_ALONE = Limits(single=("tp", "pp", "cp", "ep"))
"""FSDP, DDP or ZeRO around a model that is left whole: llm-foundry, transformers' Trainer and DeepSpeed's of 2021 to 2023.

Source: Narayanan et al. 2021 (arXiv 2104.04473), table 2, for DeepSpeed; transformers, docs/source/en/perf_train_gpu_many.md (4.36).
"""

NO_PIPELINE = Limits(single=("pp", "ep"))
"""transformers' Trainer of 2024 on: FSDP or ZeRO, tensor parallelism by plan, sequences by Ulysses; no pipeline, experts left whole.

Source: transformers, docs/source/en/perf_infer_gpu_multi.md and deepspeed.md; accelerate, concept_guides/context_parallelism.md.
"""

CLASSIC = Limits(single=("cp", "ep"), zero=1)
"""Megatron-LM, Megatron-DeepSpeed and InternLM's trainer until 2023: tensor and pipeline parallelism beside at most ZeRO-1.

Source: Le Scao et al. 2022 (arXiv 2211.05100), section 3.4; InternLM, doc/en/usage.md (zero1, tensor, pipeline).
"""

BY_STACK = {
    "deepspeed-2021": DATA_ALONE,
    "pytorch-2023": DATA_ALONE,
    "transformers-2023": DATA_ALONE,
    "transformers-qlora": DATA_ALONE,
    "transformers": NO_PIPELINE,
    "deepspeed-liger": NO_PIPELINE,
    "deepspeed-zero": NO_PIPELINE,
    "megatron-2021": CLASSIC,
    "megatron-2022-bf16": CLASSIC,
    "internlm-2023": CLASSIC,
}
"""Software of stacks.json that does not run every layout."""


def runs(stack_id: str, layout: Any) -> Any:
    """Whether software runs a layout; an array for an array of them."""
    limits = BY_STACK.get(stack_id, Limits())
    able = layout.zero <= limits.zero
    for name in limits.single:
        able = able & (getattr(layout, name) == 1)
    return able


def check_runs(stack_id: str, layout: Layout) -> None:
    """Demand that software runs a layout.

    Raises:
        BadValueError: it does not; names what, and what it has instead.
    """
    limits = BY_STACK.get(stack_id, Limits())
    for name in limits.single:
        if getattr(layout, name) != 1:
            raise BadValueError(f"software {stack_id} has no {name}={getattr(layout, name)}; expected {name}=1, or another --software")
    if layout.zero > limits.zero:
        raise BadValueError(f"software {stack_id} has no zero={layout.zero}; expected zero={limits.zero} at most, or another --software")
