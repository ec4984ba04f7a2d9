"""Item: one finding of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from estimators.advice import Advice

Verdict = Literal["good", "costs", "untrusted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that was checked.

    Attributes:
        group: device, processor, memory, software, storage, clock.
        what: its name.
        found: what is there, for people; says so where nothing is.
        verdict: good; costs, where a measurement lacks or loses something; untrusted, where its figures would not hold.
        cost: what a measurement loses.
        mend: what to do about it.
    """

    group: str
    what: str
    found: str
    verdict: Verdict = "good"
    cost: str = ""
    mend: str = ""

    @property
    def advice(self) -> Advice | None:
        """What to do, what is there, what it costs, and how to see that it is gone; None where nothing costs."""
        if self.verdict == "good":
            return None
        return Advice(id=f"{self.group}: {self.what}", what=self.mend, evidence=self.found, worth=self.cost, check="python -m bench doctor")

    def __post_init__(self) -> None:
        assert (self.verdict == "good") == (not self.cost), f"{self.what}: a cost goes with a verdict"
        assert not self.cost or self.mend, f"{self.what}: what costs has a remedy"
