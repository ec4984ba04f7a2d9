"""Where traced op tables are kept, or why none can be, so that the second question about a configuration needs no torch."""

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

TRACER = 5
"""Raised when the same configuration would be traced to another table."""

MAX_BYTES = 64 * 2**20


def _packages(config: Mapping[str, Any]) -> tuple[str, str]:
    """By whose classes a configuration is traced, and on what."""
    return ("diffusers" if is_of_diffusers(config) else "transformers"), "torch"


TABLE, REASON = ".json", ".reason"
"""What names of files end with, by what is in them."""


def kept(config: Mapping[str, Any], name: str) -> TracedModel | None:
    """The table of a configuration as it was traced before, by the versions of packages that are installed; None for none.

    Where transformers is not installed, any version's will do.
    """
    for path in _kept_as(config, TABLE, any_version=True):
        with suppress(OSError, ValueError, BadConfigError):
            return replace(from_json(json.loads(text_file.read(path, max_bytes=MAX_BYTES)), path), name=name)
    return None


def kept_reason(config: Mapping[str, Any]) -> str | None:
    """Why the installed versions of packages could not trace a configuration before; None where they did not try."""
    for path in _kept_as(config, REASON, any_version=False):
        with suppress(OSError, ValueError):
            return text_file.read(path, max_bytes=MAX_BYTES)
    return None


def keep(config: Mapping[str, Any], found: TracedModel | str, versions: tuple[str, str]) -> None:
    """Keep a table, or the reason why there is none, for the next question; where nothing can be written, that traces again.

    Args:
        versions: of the packages that it was traced by: transformers or diffusers, and torch.
    """
    text, ending = (found, REASON) if isinstance(found, str) else (as_json(found), TABLE)
    own_cache.keep(os.path.join(_folder(), f"{_key(config)}-{'-'.join(versions)}{ending}"), text)


def _kept_as(config: Mapping[str, Any], ending: str, *, any_version: bool) -> list[str]:
    """Files that are kept of a configuration, by the versions that are installed, or where none is by any."""
    folder, key, packages = _folder(), _key(config), _packages(config)
    try:
        files = sorted(file for file in os.listdir(folder) if file.startswith(key) and file.endswith(ending))
    except OSError:
        return []
    if any_version and not all(_is_installed(package, "") for package in packages):
        return [os.path.join(folder, file) for file in files]
    by = ((file, file.removesuffix(ending).split("-")[1:]) for file in files)
    return [os.path.join(folder, file) for file, versions in by if all(map(_is_installed, packages, versions))]


def _folder() -> str:
    return own_cache.folder("traced")


def _key(config: Mapping[str, Any]) -> str:
    """Of all that a table hangs on: how its matrices are held is no part of it."""
    traced = {name: _without_format(value) for name, value in config.items() if name != "quantization_config"}
    written = json.dumps([TRACER, traced], sort_keys=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()[:32]


def _without_format(value: Any) -> Any:
    return {name: each for name, each in value.items() if name != "quantization_config"} if isinstance(value, dict) else value


def _is_installed(package: str, version: str) -> bool:
    """Whether a version of a package lies on the path, told by the folder of its metadata; any, for an empty one."""
    if version:
        return any(os.path.isdir(os.path.join(place, f"{package}-{version}.dist-info")) for place in sys.path)
    return any(os.path.isdir(os.path.join(place, package)) for place in sys.path if place)
