"""Packages, and what a measurement loses without each. Versions come from the packages' metadata: nothing is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata

from bench.machine.doctor.item import Item, Verdict

GROUP = "software"

NEEDED: dict[str, tuple[Verdict, str, str]] = {
    "torch": ("untrusted", "nothing can be measured or counted on the meta device; estimates work", "pip install torch"),
    "transformers": ("untrusted", "no language model can be measured", "pip install transformers"),
    "accelerate": ("untrusted", "no training can be measured", "pip install accelerate"),
    "fvcore": ("costs", "FLOP are counted by one independent route less", "pip install fvcore"),
    "nvidia-ml-py": ("costs", "no power, energy, clocks or other users of a GPU", "pip install nvidia-ml-py"),
    "psutil": ("untrusted", "neither memory nor the load of other programs is read", "pip install psutil"),
    "pandas": ("costs", "records do not come as data frames; tables work", "pip install pandas"),
    "numpy": ("costs", "layouts cannot be searched, nor records be compared", "pip install numpy"),
    "matplotlib": ("costs", "no pictures; tables work", "pip install matplotlib"),
}
"""Package to the verdict where it is missing, what that costs, and how to get it."""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def items(version: Callable[[str], str | None] = _version) -> Iterator[Item]:
    """Each package's version, or what its absence costs."""
    for package, (verdict, cost, mend) in NEEDED.items():
        installed = version(package)
        if installed is None:
            yield Item(group=GROUP, what=package, found="not installed", verdict=verdict, cost=cost, mend=mend)
        else:
            yield Item(group=GROUP, what=package, found=installed)
