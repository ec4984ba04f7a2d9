"""The traced op table of a configuration that has no other: kept from before, or traced now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.machine.ranks import say
from estimators.architectures.from_config import is_of_diffusers, model_from_config
from estimators.architectures.traced import TracedModel, with_stored
from estimators.architectures.traced_file import from_json, is_traced
from estimators.errors import NoOpTableError, RequestError
from estimators.spec import Model


def model_of(config: Mapping[str, Any], name: str) -> Model:
    """The model that a JSON object describes: a configuration, by its family's op table or by one that is traced, or such a table itself.

    Where the table is a traced one, that is said on stderr.

    Raises:
        BadConfigError: it describes no countable model.
    """
    if is_traced(config):
        found = from_json(config, name)
    else:
        try:
            return model_from_config(config, name)
        except NoOpTableError as error:
            found = with_stored(traced_model(config, name, error), config)
    say(f"{name}: op table traced from {found.traced_from}")
    return found


def traced_model(config: Mapping[str, Any], name: str, without: NoOpTableError) -> TracedModel:
    """The op table of a configuration without one of its own, traced by transformers if that was not tried before.

    Args:
        name: of the model, for messages.
        without: what was said of the configuration, where it has no op table of its own.

    Raises:
        NoOpTableError: transformers cannot build it, or what it builds does not run on meta; with the reason.
    """
    from estimators.facts.traced_tables import keep, kept, kept_reason  # deferred: most configurations have a table of their own

    if (found := kept(config, name)) is not None:
        return found
    if (reason := kept_reason(config)) is not None:
        raise NoOpTableError(f"{without}; and none could be traced: {reason}")
    try:
        if is_of_diffusers(config):
            from bench.backend.tracing.diffusers_class import trace_class as trace
            from bench.backend.tracing.diffusers_class import versions
        else:
            from bench.backend.tracing.trace import trace_config as trace
            from bench.backend.tracing.trace import versions
    except ImportError as error:
        raise NoOpTableError(f"{without}; tracing one needs torch and transformers: {error}") from error
    try:
        found = trace(config, name)
    except RequestError as error:
        keep(config, str(error), versions())
        raise NoOpTableError(f"{without}; and none could be traced: {error}") from error
    keep(config, found, versions())
    return found
