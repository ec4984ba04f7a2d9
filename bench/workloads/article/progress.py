"""A progress line on stderr, there only while a person watches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

REFRESH_S = 0.2


class Progress:
    """One line with the epochs done and the latest losses. Drawn between epochs only, never by a thread beside the steps."""

    def __init__(self, name: str, epochs: int, *, shown: bool) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} epochs"), TimeRemainingColumn())
        self._bar = RichProgress(*columns, console=console, transient=True, auto_refresh=False, disable=not (shown and console.is_terminal))
        self._name = name
        self._task = self._bar.add_task(f"training {name}", total=epochs)
        self._drawn = 0.0

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def show(self, epoch: int, curve: Sequence[dict[str, float]]) -> None:
        """Show that `epoch` epochs are done, and the latest losses; a few times per second at most."""
        text = f"training {self._name}"
        if curve:
            text += f"  train {curve[-1]['train_loss']:.4f}  held out {curve[-1]['heldout_loss']:.4f}"
        now = time.monotonic()
        if now - self._drawn >= REFRESH_S:
            self._drawn = now
            self._bar.update(self._task, completed=epoch, description=text, refresh=True)
