"""Environment: the machine, software and command behind a record. bench.machine.environment collects them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from bench.records.part import Part
from bench.records.typed_json import Above


class Project(Part):
    """Commit of the checkout, and whether its code differs from it."""

    commit: str | None
    dirty: bool | None


class Cpu(Part):
    """The processors of this process; None where the system does not tell."""

    model: str | None = None
    architecture: str | None = None
    logical_cores: int | None = None
    physical_cores: int | None = None
    affinity: tuple[int, ...] | None = None
    quota_cores: float | None = None
    governor: str | None = None
    turbo: bool | None = None
    numa_nodes: int | None = None
    load_1min: float | None = None


class HostMemory(Part):
    """Memory of the host, and the limit on this process's control groups."""

    total_bytes: int | None = None
    available_bytes: int | None = None
    limit_bytes: int | None = None


class Gpu(Part):
    """One GPU as its driver describes it; what it does not answer is None, with the reason."""

    uuid: str
    name: str | None = None
    memory_total_bytes: int | None = None
    power_limit_w: float | None = None
    ecc: bool | None = None
    mig: bool | None = None
    persistence: bool | None = None
    vbios: str | None = None
    unavailable: Mapping[str, str] = MappingProxyType({})


class Gpus(Part):
    """All GPUs that this process may see."""

    driver: str | None
    devices: tuple[Gpu, ...]
    note: str | None = None


class DeviceFacts(Part):
    """The device of a run as torch describes it: its identity, and the settings that change its speed."""

    kind: str | None = None
    index: int | None = None
    name: str | None = None
    uuid: str | None = None
    memory_total_bytes: int | None = None
    num_threads: int | None = None
    torch: str | None = None
    float32_matmul_precision: str | None = None
    cpu_capability: str | None = None
    compute_capability: str | None = None
    cuda: str | None = None
    hip: str | None = None
    cudnn: int | None = None
    cache_bytes: int | None = None


Ratio = Annotated[float, Above(0)]


class ObserverCost(Part):
    """What the instruments cost a step of `step_s`: time with them over time without, one ratio a round.

    Attributes:
        wall_ratios: of elapsed time; processor_ratios: of the processor time of all threads of the process.
    """

    step_s: float
    wall_ratios: tuple[Ratio, ...]
    processor_ratios: tuple[Ratio, ...]


class Environment(Part):
    """A record's `environment`. A group that is None could not be read; `unavailable` says why, by dotted name."""

    argv: tuple[str, ...] = ()
    variables: Mapping[str, str] = MappingProxyType({})
    system: str | None = None
    python: str | None = None
    versions: Mapping[str, str | None] | None = None
    project: Project | None = None
    cpu: Cpu | None = None
    memory: HostMemory | None = None
    gpu: Gpus | None = None
    unavailable: Mapping[str, str] = MappingProxyType({})
    device: DeviceFacts | None = None
    observer: ObserverCost | None = None
