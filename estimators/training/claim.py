"""A claimed training held against every convention, against the published runs and against physics."""

from __future__ import annotations

from typing import Literal

from estimators.counting.flop_by_tool import count
from estimators.counting.translate import Reading, least, observe
from estimators.facts.percentile import Standing, standing
from estimators.facts.tool_conventions import tools
from estimators.frozen import frozen
from estimators.spec import Hardware, Model, Recompute
from estimators.training.at_utilization import implied_utilization

Verdict = Literal[
    "impossible",
    "above every published run",
    "among the fastest tenth",
    "ordinary",
    "among the slowest tenth",
    "below every published run",
]
TENTH = 0.1
COMPARED = "gpt-3"
"""Published runs are compared by 6·N·D, which is what most of their shares are derived by."""


@frozen
class Claim:
    """What a claimed training implies.

    Attributes:
        readings: one per tool, in the order of tool_conventions.csv.
        least: share of the dense peak that FLOP which no kernel may skip take; above 1 the claim is impossible.
        standing: by 6·N·D over active parameters.
        wall_s, recompute: as claimed.
    """

    readings: tuple[Reading, ...]
    least: float
    standing: Standing
    wall_s: float
    recompute: Recompute

    @property
    def possible(self) -> bool:
        """Whether physics allows it."""
        return self.least <= 1

    @property
    def least_wall_s(self) -> float:
        """The shortest time in which those devices could have done it, every product at the dense peak."""
        return self.wall_s * self.least

    @property
    def usual_wall_s(self) -> float:
        """The time at the median share of the published runs."""
        return self.wall_s * self.standing.share / self.standing.median

    @property
    def verdict(self) -> Verdict:
        """Where the claim stands, physics first."""
        below = self.standing.percentile_fraction
        if not self.possible:
            return "impossible"
        if below == 1:
            return "above every published run"
        if below >= 1 - TENTH:
            return "among the fastest tenth"
        if below == 0:
            return "below every published run"
        return "among the slowest tenth" if below < TENTH else "ordinary"


def check_claim(
    model: Model,
    *,
    tokens: int,
    seq_len: int,
    hardware: Hardware,
    num_devices: int,
    wall_s: float,
    dtype: str = "bf16",
    recompute: Recompute = "none",
) -> Claim:
    """Judge a training of `tokens` tokens on `num_devices` devices in `wall_s` seconds.

    Args:
        seq_len: tokens per sequence, on which attention depends.
        recompute: whether the run recomputed activations; conventions that count it ask for it.

    Raises:
        BadValueError: devices out of range, no peak for the dtype, or not a decoder-only language model.
    """
    flop = count(tools()[COMPARED], model, seq_len).flop * tokens // seq_len
    share = implied_utilization(flop, hardware=hardware, num_devices=num_devices, wall_s=wall_s, dtype=dtype, allow_above_peak=True)
    device_s = num_devices * wall_s
    readings = tuple(
        observe(tool, model, seq_len=seq_len, tokens_per_s=tokens / device_s, hardware=hardware, recompute=recompute, dtype=dtype)
        for tool in tools().values()
    )
    at_least = least(readings[0], model, hardware=hardware, dtype=dtype)
    assert at_least is not None
    return Claim(
        readings=readings,
        least=at_least.training,
        standing=standing(share, hardware, tokens=tokens, device_s=device_s),
        wall_s=wall_s,
        recompute=recompute,
    )
