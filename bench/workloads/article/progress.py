"""How far a training is and how it learns, for a person who watches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

from bench.records.learning import CurvePoint
from bench.sampling import progress


class Progress:
    """One line with the epochs done and the latest losses. Drawn between epochs only, never by a thread beside the steps."""

    def __init__(self, name: str, epochs: int, *, shown: bool) -> None:
        self._name, self._epochs = name, epochs
        self._stack = ExitStack()
        self._draw = self._stack.enter_context(progress.line(shown=shown))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def show(self, epoch: int, curve: Sequence[CurvePoint]) -> None:
        """Show that `epoch` epochs are done, and the latest losses; a few times per second at most."""
        if self._draw is not None:
            self._draw(lambda: self._text(epoch, curve))

    def _text(self, epoch: int, curve: Sequence[CurvePoint]) -> str:
        losses = f", train {curve[-1].train_loss:.4f}, held out {curve[-1].heldout_loss:.4f}" if curve else ""
        return f"training {self._name}: {epoch} of {self._epochs} epochs{losses}"
