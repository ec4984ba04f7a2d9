"""Calibrations made by hand: a CPU's with every part, and an H100's."""

import dataclasses

from bench.records.calibration import Calibration, Entry, Reference
from bench.records.environment import DeviceFacts
from bench.records.record import Ceiling
from estimators.profile.operator_times import HOST_MODES

DEVICE = DeviceFacts(kind="cpu", name="Some CPU @ 2 GHz", uuid=None, num_threads=2, torch="2.0", cpu_capability="AVX2")


def entry(key: str, seconds_s: float, role: str = "curve", **fields: object) -> Entry:
    made = {"kind": "add", "group": "memory", "dtype": "fp32", "num_bytes": 100, "flop": 0}
    return Entry(key=key, role=role, samples_s=(seconds_s, seconds_s, 9.0), **(made | fields))  # type: ignore[arg-type]


def whole() -> Calibration:
    references = [
        Reference(mode=mode, num_ops=ops, work_s=1e-3, samples_s=(1e-3 + 1e-4 + ops * 1e-6,) * 3)
        for mode in HOST_MODES
        for ops in (100, 500)
    ]
    return Calibration(
        created_utc="2026-01-01T00:00:00+00:00",
        device=DEVICE,
        ceilings=(Ceiling(kind="copy", value=1e10, dtype="fp32", shape="", samples_s=(1.0,), work=10**10),),
        entries=(entry("small", 1e-6), entry("large", 1e-4, num_bytes=10_000), entry("mine", 5e-6, "own", num_bytes=1000)),
        references=tuple(references),
        op_s=1e-6,
    )


def of_an_h100() -> Calibration:
    def rate(kind: str, value: float, dtype: str = "bf16") -> Ceiling:
        return Ceiling(kind=kind, value=value, dtype=dtype, shape="", samples_s=(1.0,), work=1)

    return dataclasses.replace(
        whole(),
        device=DeviceFacts(kind="cuda", name="NVIDIA H100 80GB HBM3", memory_total_bytes=85_029_158_912),
        ceilings=(
            *whole().ceilings,
            rate("matmul burst", 700e12),
            rate("matmul sustained", 600e12),
            rate("matmul sustained", 50e12, "fp32"),
            rate("all-reduce", 300e9, "fp32"),
        ),
        entries=(*whole().entries, entry("product", 2.0, "grid", dtype="bf16", flop=1_300 * 10**12, mnk=(1, 1, 1))),
    )
