"""The meters inside the user's training: a plain loop, accelerate, transformers' Trainer, Lightning.

    for batch in watch(loader, model): ...                # a plain loop
    with Watch(model, accelerator) as w, w.step(batch): ...   # accelerate, or anything
    Trainer(..., callbacks=[SixndCallback()])
    Trainer(..., callbacks=[lightning_callback()])        # Lightning's

All write the record that `run` writes, so that `report` reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from estimators.extras import needed_by

with needed_by("watching a training"):
    from bench.callbacks.loop import watch
    from bench.callbacks.watcher import Watch

if TYPE_CHECKING:
    from bench.callbacks.lightning import lightning_callback
    from bench.callbacks.trainer import SixndCallback

__all__ = ["SixndCallback", "Watch", "lightning_callback", "watch"]


def __getattr__(name: str) -> Any:
    """What needs transformers or Lightning is imported when it is asked for."""
    if name == "SixndCallback":
        with needed_by("SixndCallback"):
            from bench.callbacks.trainer import SixndCallback

        return SixndCallback
    if name == "lightning_callback":
        from bench.callbacks.lightning import lightning_callback

        return lightning_callback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
