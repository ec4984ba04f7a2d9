"""The dtype that a run computes in, and why."""

from __future__ import annotations

import dataclasses

from bench.backend.faster_dtype import CANDIDATES, faster_dtype_cpu
from bench.records.run_estimate import workload_of
from bench.runs.decisions.fit import demand_fit, fits
from bench.workloads.step_run import StepRun
from estimators.architectures.decoder import Decoder
from estimators.errors import BadValueError
from estimators.spec import Model, Workload

COMPUTE_DTYPES = ("fp32", "bf16", "fp16")
MAX_TRIAL_ROWS, MAX_TRIAL_WIDTH = 1024, 8192
"""Of the product that decides on a CPU: larger ones take longer and decide alike."""


def decide(asked: str | None, run: StepRun, model: Model) -> tuple[str, str]:
    """The dtype of compute, and why, in words.

    Of a fine-tuning its job's. As asked; else on a CPU the faster of those in which the run fits, measured; else bf16 where the GPU has it.

    Args:
        asked: the dtype of the request; None leaves it open.
        run: decided but for its dtype.

    Raises:
        BadValueError: a dtype that the task cannot run in.
        DoesNotFitError: the run fits in none.
    """
    if run.job is not None:
        demand_fit(run, model)
        is_asked = asked is not None or run.request.precision is not None
        return run.dtype, "as asked" if is_asked else f"as {run.job.recipe.framework} has it"
    in_dtype = {name: dataclasses.replace(run, dtype=name) for name in COMPUTE_DTYPES}
    if asked is not None:
        if asked not in COMPUTE_DTYPES:
            raise BadValueError(f"cannot compute in dtype {asked[:40]!r}; expected one of: {', '.join(COMPUTE_DTYPES)}")
        if asked == "fp16" and run.task == "train" and run.device.kind == "cpu":
            raise BadValueError("dtype fp16 needs a GPU to train, for its scaled gradients; expected fp32 or bf16 on a CPU")
        demand_fit(in_dtype[asked], model)
        return asked, "as asked"
    if run.device.kind != "cpu":
        name = "bf16" if run.device.has_bf16 else "fp16"
        demand_fit(in_dtype[name], model)
        return name, "the accelerator's usual" if name == "bf16" else "this GPU has no bf16"
    fitting = [name for name in CANDIDATES if fits(in_dtype[name], model)]
    if not fitting:
        demand_fit(in_dtype["bf16"], model)
    if len(fitting) == 1:
        return fitting[0], "the only one that fits"
    trial = faster_dtype_cpu(*_largest_product(run, model))
    return trial.winner, f"measured the faster here for {trial.shape}"


def _largest_product(run: StepRun, model: Model) -> tuple[int, int, int]:
    """Rows, outputs and inputs of the step's product with the largest matrix inside the layers, up to MAX_TRIAL_ROWS and _WIDTH."""
    workload = workload_of(run)
    is_language = isinstance(model, Decoder)
    inside = [op.mnk for op in model.ops(Workload() if is_language else workload) if op.kind == "matmul" and op.mnk and op.recomputed]
    inside = inside or [op.mnk for op in model.ops(workload) if op.kind == "matmul" and op.mnk]
    rows, n, k = max(inside, key=lambda mnk: mnk[1] * mnk[2])
    if is_language:
        rows = workload.num_tokens if run.task in ("train", "prefill") else workload.batch
    return min(rows, MAX_TRIAL_ROWS), min(n, MAX_TRIAL_WIDTH), min(k, MAX_TRIAL_WIDTH)
