"""What machine, software and command made a record. Never raises; imports neither torch nor transformers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import psutil

from bench.machine.meters import cgroup, memory, nvml
from bench.program import redacted
from bench.records.environment import Cpu, Environment, Gpus, HostMemory, Project
from estimators.errors import UnavailableError
from estimators.units import KIBI, MEBI

_CPUS = Path("/sys/devices/system/cpu")

Group = TypeVar("Group")

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "sixnd",
    "torch",
    "transformers",
    "accelerate",
    "fvcore",
    "numpy",
    "nvidia-ml-py",
    "pandas",
    "triton",
    "tokenizers",
    "safetensors",
)
VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "KMP_AFFINITY",
    "GOMP_CPU_AFFINITY",
    "OMP_PROC_BIND",
    "ONEDNN_MAX_CPU_ISA",
    "LD_PRELOAD",
    "MALLOC_CONF",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "NVIDIA_TF32_OVERRIDE",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
)
"""Variables that change what is measured. Nothing else of the environment is recorded: it may hold secrets."""


def collect(argv: Sequence[str] | None = None) -> Environment:
    """The environment as a record keeps it.

    Args:
        argv: the command line; None takes this process's own. Where the checkout lies is left out.

    Returns:
        Groups of figures; where one could not be had it is None and `unavailable` says why, by dotted name.
    """
    unavailable: dict[str, str] = {}
    return Environment(
        argv=tuple(redacted(part.removeprefix(f"{PROJECT}{os.sep}")) for part in (sys.argv if argv is None else argv)),
        variables={name: redacted(os.environ[name]) for name in VARIABLES if name in os.environ},
        system=platform.platform(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=_group("versions", _versions, unavailable),
        project=_group("project", _project, unavailable),
        cpu=_group("cpu", _cpu, unavailable),
        memory=_group("memory", _memory, unavailable),
        gpu=_group("gpu", _gpu, unavailable),
        unavailable=unavailable,
    )


def _group(name: str, read: Callable[[dict[str, str]], Group | None], unavailable: dict[str, str]) -> Group | None:
    try:
        return read(unavailable)
    except Exception as error:  # an odd machine may fail in any way, and a measurement must not be lost to it
        unavailable[name] = f"{type(error).__name__}: {error}"
        return None


def _versions(unavailable: dict[str, str]) -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
            unavailable[f"versions.{package}"] = "not installed"
    return versions


def _project(unavailable: dict[str, str]) -> Project:
    """Commit of this checkout, and whether its code differs from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PROJECT), *arguments]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environ["GIT_OPTIONAL_LOCKS"] = "0"
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True, env=environ).stdout.strip()

    try:
        if shutil.which("git") is None:
            raise UnavailableError("git is not installed")
        if Path(git("rev-parse", "--show-toplevel")).resolve() != PROJECT:
            raise UnavailableError("installed, not run from a checkout")
        dirty = bool(git("status", "--porcelain", "--", "bench", "estimators", "reports"))
        return Project(commit=git("rev-parse", "HEAD"), dirty=dirty)
    except UnavailableError as error:
        reason = str(error)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        reason = "not in a git checkout with a commit, or git refuses to read it"
    unavailable["project.commit"] = unavailable["project.dirty"] = reason
    return Project(commit=None, dirty=None)


def _cpu(unavailable: dict[str, str]) -> Cpu:
    affinity = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None
    cpu = Cpu(
        model=cpu_model(),
        architecture=platform.machine(),
        logical_cores=psutil.cpu_count(),
        physical_cores=psutil.cpu_count(logical=False),
        affinity=affinity,
        quota_cores=cgroup.cpu_limit(),
        governor=_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        turbo=turbo(),
        numa_nodes=len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) or None,
        load_1min=load_1min(),
    )
    reasons = {"quota_cores": "no CPU quota on this process's control groups", "governor": "the kernel shows no frequency governor here"}
    reasons |= {"turbo": "the kernel does not tell whether turbo is on"}
    for name, value in cpu.stated().items():
        if value is None:
            unavailable[f"cpu.{name}"] = reasons.get(name, "the system does not tell")
    return cpu


def cpu_model() -> str | None:
    """The processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(("model name", "Model", "Hardware")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def turbo(root: Path = _CPUS) -> bool | None:
    """Whether the processor may clock above its base rate; None where the kernel does not tell.

    Source: Linux kernel documentation, admin-guide/pm/intel_pstate.rst (no_turbo) and admin-guide/pm/cpufreq.rst (boost).
    """
    off, on = _line(str(root / "intel_pstate" / "no_turbo")), _line(str(root / "cpufreq" / "boost"))
    if off in ("0", "1"):
        return off == "0"
    return on == "1" if on in ("0", "1") else None


def cpu_cache_bytes(cpus: Path = _CPUS) -> int:
    """All last-level caches of this machine together; 0 where the system does not tell."""
    sizes: dict[int, dict[tuple[int, str], int]] = {}
    for index in cpus.glob("cpu[0-9]*/cache/index[0-9]*"):
        try:
            level, size, shared = ((index / name).read_text().strip() for name in ("level", "size", "shared_cpu_list"))
        except OSError:
            continue
        if level.isdecimal() and size[:-1].isdecimal() and size[-1] in "KM":
            sizes.setdefault(int(level), {})[int(level), shared] = int(size[:-1]) * (KIBI if size[-1] == "K" else MEBI)
    return sum(sizes[max(sizes)].values()) if sizes else 0


def load_1min() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _line(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _memory(unavailable: dict[str, str]) -> HostMemory:
    host, limit = memory.host_memory(), cgroup.memory_limit()
    if limit is None:
        unavailable["memory.limit_bytes"] = "no memory limit on this process's control groups"
    limit_bytes = None if limit is None else limit.limit_bytes
    return HostMemory(total_bytes=host.total_bytes, available_bytes=host.available_bytes, limit_bytes=limit_bytes)


def _gpu(unavailable: dict[str, str]) -> Gpus | None:
    try:
        with nvml.session() as library:
            seen = nvml.visible(library)
            driver, reason = nvml.ask(library, "nvmlSystemGetDriverVersion")
            if driver is None:
                unavailable["gpu.driver"] = reason
            return Gpus(driver=driver, devices=tuple(nvml.describe(library, uuid) for uuid in seen.uuids), note=seen.note)
    except UnavailableError as error:
        unavailable["gpu"] = str(error)
        return None
