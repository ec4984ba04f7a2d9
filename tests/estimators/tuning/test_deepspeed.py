"""DeepSpeed's printed tables, to their last digit."""

from __future__ import annotations

import pytest

from estimators.tuning.deepspeed import Printed, zero_2, zero_3

PARAMS, LARGEST, DEVICES = 2_851_000_000, 32_000_000, 8
"""A 3B model on one node of eight, as DeepSpeed's documentation prints it (docs/code-docs/source/memory.rst)."""


def printed(line: Printed) -> tuple[float, float]:
    return round(line.host_bytes / 2**30, 2), round(line.device_bytes / 2**30, 2)


def test_zero_2_is_what_deepspeed_prints() -> None:
    assert printed(zero_2(PARAMS, DEVICES, offload=True)) == (127.45, 5.31)
    assert printed(zero_2(PARAMS, DEVICES)) == (127.45, 15.93)


@pytest.mark.parametrize(
    ("optimizer", "parameters", "zero_init", "host", "device"),
    [
        (True, True, True, 71.69, 0.12),
        (True, True, False, 127.45, 0.12),
        (True, False, True, 63.72, 0.78),
        (True, False, False, 127.45, 0.78),
        (False, False, True, 1.43, 6.09),
        (False, False, False, 127.45, 6.09),
    ],
)
def test_zero_3_is_what_deepspeed_prints(optimizer: bool, parameters: bool, zero_init: bool, host: float, device: float) -> None:
    line = zero_3(PARAMS, LARGEST, DEVICES, optimizer=optimizer, parameters=parameters, zero_init=zero_init)
    assert printed(line) == (host, device)
