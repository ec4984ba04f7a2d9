"""measure(request): decide, estimate, check that it fits, count, measure the ceilings, run, keep.

Whatever stops a run after its record was begun leaves a readable record, partial or failed, or none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench import environment
from bench.record import Draft, Measurement
from bench.request import Request
from bench.workloads.article.ranks import is_main
from estimators.errors import DoesNotFitError, SixndError

Say = Callable[[str], None]
"""Tells the user what is happening; goes to stderr."""


def measure(request: Request, *, hub_id: str | None, out: Path, say: Say) -> Measurement:
    """Run one request and write its record.

    Args:
        request: sizes may be open; the record holds what was decided.
        hub_id: the checkpoint's name in the hub's local cache, if the model has one.
        out: folder of records.

    Raises:
        RequestError: the request cannot be met; nothing was measured.
        DoesNotFitError: more memory than there is, before or during the run.
        KeyboardInterrupt: after a partial record was saved.
    """
    draft = Draft(model=request.model, task=request.task, request=request.to_dict(), out=out)
    draft.environment = environment.collect()
    try:
        if is_article(request):
            from bench.workloads.article import task as article_task

            article_task.measure(request, draft, say)
        else:
            from bench.workloads.language import task as language_task

            language_task.measure(request, draft, hub_id, say)
    except KeyboardInterrupt:
        if is_main():
            draft.save("partial", "interrupted by the user")
            say(f"kept what was measured: {draft.path}")
        raise
    except SixndError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            draft.save("failed", f"{type(error).__name__}: {str(error)[:500]}")
            raise
        draft.save("failed", "out of memory")
        raise DoesNotFitError(
            f"out of memory during {request.task}; take a smaller --batch or --seq-len, or slices with --layers; "
            f"kept what was measured: {draft.path}"
        ) from None
    return draft.save("complete") if is_main() else draft.measurement("complete")


def is_article(request: Request) -> bool:
    """Whether the model is trained as the article's models are: dense networks and the small GPT."""
    return request.config.get("model_type") == "dense_network" or (request.model == "tiny-gpt" and request.task == "train")


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
