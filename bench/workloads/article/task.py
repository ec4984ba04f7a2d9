"""One run of an article's model, from what was decided to a filled draft: estimate, counts and ceilings first, then the training."""

from __future__ import annotations

from collections.abc import Callable

from bench.backend.counting.crosscheck_counts import dense_counts, language_counts
from bench.machine.ranks import is_main
from bench.records.draft import Draft
from bench.records.environment import Environment
from bench.records.run_estimate import predict
from bench.workloads.article.networks import build
from bench.workloads.article.run import ArticleRun
from bench.workloads.article.workload import train_and_report
from bench.workloads.preparation import add_ceilings, add_observer_cost, demand_memory
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config

Say = Callable[[str], None]


def measure(run: ArticleRun, draft: Draft, say: Say, predict_step: Callable[[], object] | None = None) -> None:
    """Estimate, check that it fits, count, measure the ceilings, train; on ranks other than the main one only train.

    Args:
        predict_step: predicts the step from a calibration.

    Raises:
        DoesNotFitError: more memory than there is.
    """
    if is_main():
        _prepare(run, draft, say, brief=predict_step is None and not run.is_text)
        if predict_step is not None:
            predict_step()
    train_and_report(run, draft)


def _prepare(run: ArticleRun, draft: Draft, say: Say, *, brief: bool) -> None:
    model, device = model_from_config(run.config, run.model), run.device
    draft.environment |= Environment(device=device.describe())
    draft.estimate = predict(model, run, device.hardware())
    demand_memory(
        f"{run.model} with batch {run.batch}",
        draft.estimate.memory_bytes,
        device,
        "take a smaller --batch, --neurons or --hidden-layers",
    )
    say(f"{run.model}: {draft.estimate.params:,} parameters, batch {run.batch}, on {device.name}")
    draft.counts = language_counts(run, model) if isinstance(model, Decoder) else dense_counts(run, model, build)
    add_ceilings(draft, device, run.dtype, brief=brief)
    add_observer_cost(draft, device, run.preset.overhead_rounds)
    say(f"training: {run.epochs:,} epochs of {len(run.subject.train):,} samples")
