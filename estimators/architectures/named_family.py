"""Which family a configuration is read as: by its model_type, or by the class that it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from estimators.architectures import FAMILIES, OWN_CODE

SAME_CLASS = {"kimi_k2": "deepseek_v3", "mimo": "qwen2"}
"""model_type that transformers does not know -> the family whose class its authors' own code takes over as it is."""

CLASS_ENDS = ("for", "lmheadmodel", "doubleheadsmodel", "model", "withlmheadmodel")
"""What the name of a class of transformers goes on with behind its family's, in lower case."""


ALIKE = 4
"""Letters that the names of a class and of its model type begin with alike, at least."""


def is_kin(named: str, model_type: str) -> bool:
    """Whether a class is called after a model type, as far as the first letters say.

    >>> is_kin("BailingMoeV2_5ForCausalLM", "bailing_hybrid"), is_kin("Grok1ForCausalLM", "git")
    (True, False)
    """
    written, family = (re.sub(r"[^a-z0-9]", "", name.casefold()) for name in (named, model_type))
    return bool(family) and written.startswith(family[:ALIKE])


def family_of(config: Mapping[str, Any]) -> str | None:
    """The family of a model_type, or, where that is absent or unknown, of the class that `architectures` names first.

    None for no family of ours, and by a class for a configuration of several parts, whose sizes it would not have.

    >>> family_of({"model_type": "kimi_k2"}), family_of({"architectures": ["Gemma3ForCausalLM"]})
    ('deepseek_v3', 'gemma3_text')
    """
    given = config.get("model_type")
    if given == "llava" and config.get("text_config") is None and config.get("mm_vision_tower"):
        return "llava_llama"  # as its authors published it
    if isinstance(given, str) and (given in FAMILIES or given in OWN_CODE or given in SAME_CLASS):
        return SAME_CLASS.get(given, given)
    named = config.get("architectures")
    nested = any(isinstance(part, dict) and "model_type" in part for part in config.values())
    if nested or not isinstance(named, list) or not named or not isinstance(named[0], str):
        return None
    written = named[0].casefold()
    known = [*FAMILIES, *(name for name in OWN_CODE if not given or is_kin(named[0], str(given)))]
    spelt = {family.replace("_", "").replace("-", "").removesuffix("text"): family for family in sorted(known)}
    fitting = (name for begin, name in spelt.items() if written.startswith(begin) and written.removeprefix(begin).startswith(CLASS_ENDS))
    return next(fitting, None)
