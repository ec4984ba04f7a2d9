"""Configurations that make no sense: each is one line that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.errors import BadConfigError


def refused(config: Mapping[str, Any], match: str) -> None:
    """Demand that the configuration is refused in one line."""
    with pytest.raises(BadConfigError, match=match) as caught:
        model_from_config(config, "hostile")
    assert "\n" not in str(caught.value)
