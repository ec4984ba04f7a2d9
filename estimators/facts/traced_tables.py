"""Where traced op tables are kept, so that the second question about a configuration needs no torch."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from estimators import own_cache, text_file
from estimators.architectures.from_config import is_of_diffusers
from estimators.architectures.traced import TracedModel
from estimators.architectures.traced_file import as_json, from_json
from estimators.errors import BadConfigError
from estimators.frozen import replace

TRACER = 4
"""Raised when the same configuration would be traced to another table."""

MAX_BYTES = 64 * 2**20


def _packages(config: Mapping[str, Any]) -> tuple[str, str]:
    """By whose classes a configuration is traced, and on what."""
    return ("diffusers" if is_of_diffusers(config) else "transformers"), "torch"


def kept(config: Mapping[str, Any], name: str) -> TracedModel | None:
    """The table of a configuration as it was traced before, by the versions of packages that are installed; None for none.

    Where transformers is not installed, any version's will do.
    """
    folder, key = _folder(), _key(config)
    try:
        files = sorted(file for file in os.listdir(folder) if file.startswith(key) and file.endswith(".json"))
    except OSError:
        return None
    packages = _packages(config)
    absent = not all(_is_installed(package, "") for package in packages)
    for file in files:
        versions = file.removesuffix(".json").split("-")[1:]
        if absent or all(_is_installed(package, version) for package, version in zip(packages, versions, strict=False)):
            with suppress(OSError, ValueError, BadConfigError):
                path = os.path.join(folder, file)
                return replace(from_json(json.loads(text_file.read(path, max_bytes=MAX_BYTES)), path), name=name)
    return None


def keep(config: Mapping[str, Any], model: TracedModel, versions: tuple[str, str]) -> None:
    """Keep a table for the next question; where nothing can be written, the next question traces again.

    Args:
        versions: of the packages that it was traced by: transformers or diffusers, and torch.
    """
    own_cache.keep(os.path.join(_folder(), f"{_key(config)}-{'-'.join(versions)}.json"), as_json(model))


def _folder() -> str:
    return own_cache.folder("traced")


def _key(config: Mapping[str, Any]) -> str:
    written = json.dumps([TRACER, config], sort_keys=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()[:32]


def _is_installed(package: str, version: str) -> bool:
    """Whether a version of a package lies on the path, told by the folder of its metadata; any, for an empty one."""
    if version:
        return any(os.path.isdir(os.path.join(place, f"{package}-{version}.dist-info")) for place in sys.path)
    return any(os.path.isdir(os.path.join(place, package)) for place in sys.path if place)
