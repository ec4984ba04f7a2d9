"""A clock that only moves when a scripted step says so."""

from collections.abc import Callable, Iterable


class ScriptedClock:
    """Each call of `step` takes the next time of the script; an exception in the script is raised instead."""

    name = "scripted"

    def __init__(self, script: Iterable[float | type[BaseException]], resolution_s: float = 1e-9) -> None:
        self.resolution_s = resolution_s
        self.calls = 0
        self._script = iter(script)
        self._at_s = 0.0

    def step(self) -> None:
        self.calls += 1
        entry = next(self._script)
        if isinstance(entry, type):
            raise entry
        self._at_s += entry

    def now(self) -> float:
        return self._at_s

    def time(self, step: Callable[[], object]) -> float:
        before_s = self._at_s
        step()
        return self._at_s - before_s
