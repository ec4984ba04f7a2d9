"""Packages, and what a measurement loses without each. Versions come from the packages' metadata: nothing is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata

from bench.machine.doctor.item import Item, Verdict
from estimators.extras import install_line

GROUP = "software"

NEEDED: dict[str, tuple[Verdict, str]] = {
    "torch": ("untrusted", "nothing can be measured or counted on the meta device; estimates work"),
    "transformers": ("untrusted", "no language model can be measured"),
    "accelerate": ("untrusted", "no training can be measured"),
    "fvcore": ("costs", "FLOP are counted by one independent route less"),
    "nvidia-ml-py": ("costs", "no power, energy, clocks or other users of a GPU"),
    "psutil": ("untrusted", "neither memory nor the load of other programs is read"),
    "pandas": ("costs", "records do not come as data frames; tables work"),
    "numpy": ("costs", "layouts cannot be searched, nor records be compared"),
    "matplotlib": ("costs", "no pictures; tables work"),
}
"""Package to the verdict where it is missing, and what that costs."""

IMPORTED_AS = {"nvidia-ml-py": "pynvml"}
"""Package to the name that is imported, where it is another."""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def items(version: Callable[[str], str | None] = _version) -> Iterator[Item]:
    """Each package's version, or what its absence costs."""
    for package, (verdict, cost) in NEEDED.items():
        installed = version(package)
        if installed is None:
            mend = install_line(IMPORTED_AS.get(package, package))
            yield Item(group=GROUP, what=package, found="not installed", verdict=verdict, cost=cost, mend=mend)
        else:
            yield Item(group=GROUP, what=package, found=installed)
