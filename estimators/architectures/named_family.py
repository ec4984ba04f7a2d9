"""Which family a configuration is read as: by its model_type, or by the class that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estimators.architectures import FAMILIES

SAME_CLASS = {"kimi_k2": "deepseek_v3", "mimo": "qwen2"}
"""model_type that transformers does not know -> the family whose class its authors' own code takes over as it is."""

CLASS_ENDS = ("for", "lmheadmodel", "doubleheadsmodel", "model", "withlmheadmodel")
"""What the name of a class of transformers goes on with behind its family's, in lower case."""


def family_of(config: Mapping[str, Any]) -> str | None:
    """The family of a model_type, or, where that is absent or unknown, of the class that `architectures` names first.

    None for no family of ours, and by a class for a configuration of several parts, whose sizes it would not have.

    >>> family_of({"model_type": "kimi_k2"}), family_of({"architectures": ["Gemma3ForCausalLM"]})
    ('deepseek_v3', 'gemma3_text')
    """
    given = config.get("model_type")
    if isinstance(given, str) and (given in FAMILIES or given in SAME_CLASS):
        return SAME_CLASS.get(given, given)
    named = config.get("architectures")
    nested = any(isinstance(part, dict) and "model_type" in part for part in config.values())
    if nested or not isinstance(named, list) or not named or not isinstance(named[0], str):
        return None
    written = named[0].casefold()
    spelt = {family.replace("_", "").replace("-", "").removesuffix("text"): family for family in sorted(FAMILIES)}
    fitting = (name for begin, name in spelt.items() if written.startswith(begin) and written.removeprefix(begin).startswith(CLASS_ENDS))
    return next(fitting, None)
