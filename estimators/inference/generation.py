"""Prefill, decode and whole generations with beams, as sums of single steps."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.counting.estimate import estimate, flop_by_component
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.spec import Case, Estimate, Hardware, Model, Workload


@frozen
class Generation:
    """A prompt's prefill and the decode steps after it.

    The first new token comes from the prefill, so `new_tokens` tokens take new_tokens - 1 decode steps; step i finds
    prompt + i - 1 tokens in the cache. With beams every step runs batch · beams sequences, the prefill too, as
    transformers runs it.

    Attributes:
        flop: by convention, whole generation.
        bound_s: sum of the bounds of the steps; None without hardware.
        peak_memory_bytes: by part, at the last step.
    """

    rows: int
    prompt_tokens: int
    new_tokens: int
    prefill: Estimate
    decode: tuple[Estimate, ...]

    @property
    def flop(self) -> dict[str, int]:
        """By convention, of the whole generation."""
        return {name: flop + sum(step.flop[name] for step in self.decode) for name, flop in self.prefill.flop.items()}

    @property
    def min_bytes(self) -> int:
        """Bytes that must cross the memory bus."""
        return self.prefill.min_bytes + sum(step.min_bytes for step in self.decode)

    @property
    def bound_s(self) -> float | None:
        """Seconds, never beaten."""
        if self.prefill.step_time_bound_s is None:
            return None
        return self.prefill.step_time_bound_s + sum(step.step_time_bound_s or 0.0 for step in self.decode)

    @property
    def peak_memory_bytes(self) -> dict[str, int]:
        """By part, when the cache is largest."""
        return dict((self.decode[-1] if self.decode else self.prefill).memory_bytes)


def generation(
    model: Model,
    *,
    prompt_tokens: int,
    new_tokens: int,
    batch: int = 1,
    beams: int = 1,
    dtype: str = "bf16",
    hardware: Hardware | None = None,
) -> Generation:
    """Estimate a whole generation.

    Args:
        prompt_tokens: tokens of each prompt.
        new_tokens: tokens generated after each.
        batch, beams: prompts, and beams per prompt.

    Raises:
        BadValueError: a size below 1.
    """
    if min(prompt_tokens, new_tokens, batch, beams) < 1:
        raise BadValueError(f"prompt {prompt_tokens}, new tokens {new_tokens}, batch {batch}, beams {beams}: expected whole numbers from 1")
    rows = batch * beams
    prefill, *decode = (
        estimate(Case(model=model, workload=workload, hardware=hardware))
        for workload in _steps(rows, prompt_tokens=prompt_tokens, new_tokens=new_tokens, dtype=dtype)
    )
    return Generation(rows=rows, prompt_tokens=prompt_tokens, new_tokens=new_tokens, prefill=prefill, decode=tuple(decode))


def generation_flop_by_component(model: Model, *, prompt_tokens: int, new_tokens: int, rows: int) -> dict[str, int]:
    """FLOP of a whole generation under `full` by component, the most first; they add up to `Generation.flop`.

    Args:
        rows: prompts times beams.
    """
    totals: dict[str, int] = {}
    for workload in _steps(rows, prompt_tokens=prompt_tokens, new_tokens=new_tokens, dtype="bf16"):
        for name, flop in flop_by_component(model.ops(workload), workload).items():
            totals[name] = totals.get(name, 0) + flop
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _steps(rows: int, *, prompt_tokens: int, new_tokens: int, dtype: str) -> Iterator[Workload]:
    """The prefill, then each decode step."""
    yield Workload(phase="prefill", batch=rows, seq_len=prompt_tokens, dtype=dtype)
    for step in range(new_tokens - 1):
        yield Workload(phase="decode", batch=rows, context_len=prompt_tokens + step, dtype=dtype)
