"""Families of models: one frozen dataclass each, and the one table that says which model_type is built how."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from estimators.architectures.builders import dense_network, gpt2, llama, mistral, phi
from estimators.spec import Model, Source

if TYPE_CHECKING:
    from estimators.hf_config import Fields

FAMILIES: dict[str, Callable[[Fields, str, Source], Model]] = {
    "dense_network": dense_network,
    "gpt2": gpt2,
    "llama": llama,
    "mistral": mistral,
    "phi": phi,
}
"""model_type of config.json -> builder."""
