"""Families of models: a few frozen dataclasses, and the one table that says which model_type is built how.

Builders are named by module and function and imported when they are asked for, so that a lookup costs one family.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from estimators.spec import Model, Source

if TYPE_CHECKING:
    from estimators.hf_config import Fields

FAMILIES: dict[str, str] = {
    "dense_network": "dense.dense_network",
    "gpt2": "gpt.gpt2",
    "llama": "llama.llama",
    "mistral": "llama.mistral",
    "phi": "gpt.phi",
}
"""model_type of config.json -> module.function in `builders`."""


def builder(model_type: str) -> Callable[[Fields, str, Source], Model]:
    """The function that builds a family's dataclass from a config's fields. `model_type` is a key of FAMILIES."""
    module, function = FAMILIES[model_type].split(".")
    found: Callable[[Fields, str, Source], Model] = getattr(import_module(f"estimators.architectures.builders.{module}"), function)
    return found
