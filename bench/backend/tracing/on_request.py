"""The traced op table of a configuration that has no other: kept from before, or traced now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.architectures.traced import TracedModel
from estimators.errors import NoOpTableError, RequestError


def traced_model(config: Mapping[str, Any], name: str, without: NoOpTableError) -> TracedModel:
    """The op table of a configuration without one of its own, traced by transformers if it was not before.

    Args:
        name: of the model, for messages.
        without: what was said of the configuration, where it has no op table of its own.

    Raises:
        NoOpTableError: transformers cannot build it, or what it builds does not run on meta; with the reason.
    """
    from estimators.facts.traced_tables import keep, kept  # deferred: most configurations have a table of their own

    if (found := kept(config, name)) is not None:
        return found
    try:
        from bench.backend.tracing.trace import trace_config, versions
    except ImportError as error:
        raise NoOpTableError(f"{without}; tracing one needs torch and transformers: {error}") from error
    try:
        found = trace_config(config, name)
    except RequestError as error:
        raise NoOpTableError(f"{without}; and none could be traced: {error}") from error
    keep(config, found, versions())
    return found
