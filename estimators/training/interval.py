"""How far a predicted step time may be off: quantiles of what was missed on sources that no fit had seen, wider where the case is new."""

from __future__ import annotations

import math

from estimators.cost.efficiency import efficiency_file
from estimators.spec import Hardware

COVERAGE = 0.8
"""Share of cases that the interval should hold."""

WIDER_LOW = 1.25
"""Factor on the interval's logarithm where products run below 16 bits: three sources only."""

WIDER_EXPERTS = 1.5
"""The same for mixtures of experts: two sources only."""

WIDER_UNMEASURED = 1.5
"""The same for a device whose matmul ceiling nobody measured, or on whose architecture no measured step ran."""


def has_measured_steps(hardware: Hardware) -> bool:
    """Whether any step that the constants were fitted on ran on the device's architecture."""
    return hardware.generation in efficiency_file()["interval"]["architectures"]


def interval(*, low: bool, experts: bool, unmeasured: bool, without: str = "") -> tuple[float, float]:
    """Factors on a predicted step time, below and above, that held 80 % of left-out cases.

    Args:
        low: whether products run below 16 bits.
        experts: whether the model is a mixture of experts.
        unmeasured: whether the device's ceiling is assumed, or its architecture in no measured step.
        without: the source that neither the constants nor these quantiles may know.
    """
    quantiles = efficiency_file()["interval"]
    bottom, top = quantiles["without"].get(without, quantiles["all"]) if without else quantiles["all"]
    wider = (WIDER_LOW if low else 1.0) * (WIDER_EXPERTS if experts else 1.0) * (WIDER_UNMEASURED if unmeasured else 1.0)
    return math.exp(min(bottom, 0.0) * wider), math.exp(max(top, 0.0) * wider)
