"""What the power meter reads of a scripted GPU at scripted times."""

from bench.machine.meters.power import PowerMeter
from bench.machine.meters.readings import Readings
from tests.support.fake_nvml import FakeGpu, FakeNvml

NEVER_S = 1e6  # the sampling thread sleeps: the test takes every sample itself


def metered(gpu: FakeGpu, times_s: list[float]) -> Readings:
    """Readings of a meter that samples at the given times: the first and last as the window's ends."""
    library = FakeNvml(gpu)
    meter = PowerMeter(gpu.uuid, library=library, interval_s=NEVER_S, now=iter(times_s).__next__)
    with meter:
        for _ in times_s[1:-1]:
            meter.sample()
        assert library.open_sessions == 1
    assert library.open_sessions == 0
    return meter.readings()


def codes(readings: Readings) -> list[str]:
    return [finding.code for finding in readings.findings]
