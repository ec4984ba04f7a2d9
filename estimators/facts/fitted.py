"""Constants that were fitted to measured rows, in data files that hold them as fitted on all sources, and without each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.errors import BadValueError


def fitted_values(body: Mapping[str, Any], without: str = "") -> dict[str, float]:
    """The constants of such a file, as fitted on all sources or on all but one.

    >>> body = {"constants": {"a": {"value": 1.0}, "b": {"value": 2.0}}, "without": {"nobody": {"b": 3.0}}}
    >>> fitted_values(body), fitted_values(body, "nobody")
    ({'a': 1.0, 'b': 2.0}, {'a': 1.0, 'b': 3.0})

    Raises:
        BadValueError: no fit without that source is in the file.
    """
    values = {name: constant["value"] for name, constant in body["constants"].items()}
    if not without:
        return values
    if without not in body["without"]:
        raise BadValueError(f"no fit without {without!r}; there is one for: {', '.join(body['without'])}")
    return {**values, **body["without"][without]}
