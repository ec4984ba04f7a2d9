"""The project's own format for the article's small models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.dense import DenseNetwork
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def dense_network(f: Fields, name: str, source: Source) -> DenseNetwork:
    """`widths` and `activation`."""
    activation = f.choice("activation", "sigmoid", ("sigmoid", "relu", "tanh", "none"))
    return DenseNetwork(name=name, source=source, widths=f.integers("widths", minimum_length=2), activation=activation)
