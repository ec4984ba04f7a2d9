"""The article's models, really trained: linear regressions, sums of sigmoids, deep networks, a spam classifier, a small GPT.

What may be asked before anything runs is here without torch: `plan`, `configure`, `steady_batch`, `is_main`.
"""

from __future__ import annotations

from bench.machine.ranks import is_main, start_promised_ranks
from bench.records.draft import Draft
from bench.records.request import Request
from bench.workloads.article.hyperparameters import Plan, configure, plan

__all__ = ["Plan", "configure", "is_main", "plan", "run", "start_promised_ranks", "steady_batch"]


def steady_batch(request: Request) -> int:
    """Samples in one optimizer step, over all ranks. Reads or draws the views where all training days make one batch.

    Raises:
        BadValueError, UnavailableError: as `plan`, and where the user's own data cannot be used.
    """
    decided = plan(request)
    if decided.batch is not None:
        return decided.batch
    from bench.workloads.article import views

    return views.load(request.data, seed=request.seed, days=decided.days).num_train(decided.days)


def run(request: Request, draft: Draft) -> None:
    """Train the model that the request describes, and add what was measured and learned to the draft.

    Phases: load, epoch, train_step, and generate for the language model. Also proof, learning, memory_bytes, and
    the reasons for what is unavailable. In a run of several ranks every rank must call this; only the main
    rank's draft is filled.

    Raises:
        BadValueError, UnavailableError: the request cannot be trained; one line says why.
        KeyboardInterrupt: interrupted; what was measured so far is in the draft.
    """
    from bench.workloads.article.workload import train_and_report

    train_and_report(request, draft)
