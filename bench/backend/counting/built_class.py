"""Which class of transformers a configuration is, and that class on meta."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from bench.backend.config_fields import integer
from bench.backend.model_classes import OLD_NAMES
from bench.backend.models import hf_config
from bench.backend.on_meta import on_meta
from estimators.architectures.builders.prediction import uncounted_prediction
from estimators.architectures.builders.vision import TEXT_PARTS
from estimators.architectures.named_family import is_kin
from estimators.architectures.own_code import SAME_SIZE, unread_size
from estimators.errors import BadConfigError


def parse(config: Mapping[str, Any]) -> tuple[Any, str, str]:
    """transformers' configuration of what is counted, the class that it names, and what is left out.

    Of several kinds of input the language part is counted, if it is a causal language model. No class of transformers has the layers
    that predict further tokens.

    Raises:
        BadConfigError: transformers knows neither the type nor that of its language part.
    """
    parsed, named, left_out = _parsed(config)
    return parsed, named, "; ".join(said for said in (left_out, uncounted_prediction(config)) if said)


def _parsed(config: Mapping[str, Any]) -> tuple[Any, str, str]:
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    model_type = str(config.get("model_type"))
    if model_type not in CONFIG_MAPPING_NAMES and (its := _type_of_class(config)) in CONFIG_MAPPING_NAMES:
        model_type, config = its, {**config, "model_type": its}
    if model_type in LIGHTNING:
        model_type, config = "minimax", _lightning(config)
    if model_type in CONFIG_MAPPING_NAMES:
        parsed = hf_config(config)
        _demand_sizes_read(config, parsed)
        text = parsed.get_text_config(decoder=True)
        others = sorted(key for key in parsed.sub_configs if getattr(parsed, key, None) not in (None, text))
        if len(others) < len(parsed.sub_configs) and _writes_by(parsed, text):
            return text, "", f"{', '.join(others) or 'the other parts'}, and what joins them: only the language part is counted"
        return parsed, _class_named(config), ""
    for key in TEXT_PARTS:
        part = config.get(key)
        if isinstance(part, dict) and part.get("model_type") in CONFIG_MAPPING_NAMES:
            left_out = f"all but {key}: transformers does not know {model_type[:40]!r}, and code of its own is never executed"
            return hf_config(part), _class_named(part), left_out
    version = f"transformers {transformers.__version__}"
    nameless = config.get("model_type") is None and config.get("architectures")
    unknown = f"of the class that architectures names, {version} has none" if nameless else f"{version} does not know {model_type[:40]!r}"
    if config.get("auto_map"):
        raise BadConfigError(
            f"{unknown}, and its own code (auto_map) is never executed here; where a family has the same layers, write its name as "
            "model_type (python -m bench list families); or build it with trust_remote_code and count that with sixnd.count"
        )
    without = f"model_type {model_type[:40]!r} has no op table and {version} does not know it"
    without = f"it has no model_type, and {unknown}" if nameless else without
    raise BadConfigError(f"{without}; expected a type that transformers has, or one of: python -m bench list families")


LIGHTNING = ("minimax_m1", "minimax_text_01")
"""Types of code of their own that transformers has as MiniMax, with other words for which layers attend to all tokens."""


def _lightning(config: Mapping[str, Any]) -> dict[str, Any]:
    """MiniMax-Text-01 and M1 as transformers has them. Raises BadConfigError for layers that it has not."""
    kinds, layers = config.get("attn_type_list"), config.get("num_hidden_layers")
    if not isinstance(kinds, list) or len(kinds) != layers or not all(kind in (0, 1) for kind in kinds):
        raise BadConfigError(f"attn_type_list is {str(kinds)[:60]!r}; expected {layers} times 0 or 1: 1 for attention to all tokens")
    if config.get("shared_intermediate_size") not in (None, 0):
        said = str(config["shared_intermediate_size"])[:40]
        raise BadConfigError(f"shared_intermediate_size is {said!r}; expected 0: transformers' MiniMax has no shared experts")
    return {**config, "model_type": "minimax", "layer_types": ["full_attention" if kind else "linear_attention" for kind in kinds]}


def _demand_sizes_read(config: Mapping[str, Any], parsed: Any) -> None:
    """Refuse sizes under names that transformers' class of the type does not read: it would build its defaults.

    Raises:
        BadConfigError: there is one.
    """
    read = _names(parsed)
    text = parsed.get_text_config(decoder=True)
    flat = text is not parsed and not any(isinstance(config.get(key), Mapping) for key in parsed.sub_configs)
    in_text = set() if text is parsed else {key for key in _names(text) if key in config and integer(text, key) == config[key]}
    for group in SAME_SIZE:
        given = [key for key in group if type(config.get(key)) is int]
        expected = next((key for key in group if key in read), "")
        if given and not (read | in_text).intersection(given) and (expected or flat):
            raise unread_size("config", expected or f"text_config.{given[0]}", given[0], config)


def _names(parsed: Any) -> set[str]:
    """Fields that a configuration's class reads, and those that it writes them as."""
    return {*inspect.signature(type(parsed)).parameters, *parsed.attribute_map, *parsed.attribute_map.values()}


def _writes_by(parsed: Any, text: Any) -> bool:
    """Whether a model of several parts writes text, and the part that does is a whole language model: a decoder without an encoder."""
    from transformers.models.auto import modeling_auto

    tasks = ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "SPEECH_SEQ_2_SEQ")
    writes = any(parsed.model_type in getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES") for task in tasks)
    alone = text.model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return writes and alone and not any(getattr(part, "is_encoder_decoder", False) for part in (parsed, text))


def _type_of_class(config: Mapping[str, Any]) -> str:
    """The model type of the class that `architectures` names first; empty where it names none that transformers has."""
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
    return str(getattr(getattr(_class_of(name), "config_class", None), "model_type", "")) if name else ""


def _class_of(name: str) -> Any:
    """A class of transformers; None where it has none of that name.

    Raises:
        BadConfigError: it needs a package that is not installed.
    """
    import transformers

    try:
        found = getattr(transformers, name, None)
        hasattr(found, "_from_config")  # what stands for a class whose package is missing raises here
        return found
    except ImportError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = next((line for line in lines if "requires" in line), (lines or ["a package is missing"])[-1])
        raise BadConfigError(f"transformers cannot import {name[:60]!r}: {said[:160]}") from None


ENDINGS = ("ForCausalLM", "ForConditionalGeneration")
"""Of classes that are told by these: authors name their own code's class otherwise than transformers does the same one."""


def _classes_of(model_type: str) -> list[str]:
    """Classes of transformers with a head, of a type."""
    from transformers.models.auto import modeling_auto

    tasks = ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ")
    named = (getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES").get(model_type) for task in tasks)
    return [name for name in named if isinstance(name, str)]


def _class_named(config: Mapping[str, Any]) -> str:
    """What `architectures` names first; where transformers has no such class, the type's own with the same head; empty for nothing.

    Raises:
        BadConfigError: a class that transformers does not have: its head could only be guessed.
    """
    import transformers

    named = config.get("architectures") or [""]
    if not isinstance(named, list) or not isinstance(named[0], str):
        raise BadConfigError(f"architectures is {str(named)[:60]!r}; expected a list of names of classes")
    name = OLD_NAMES.get(named[0], named[0])
    if name.endswith(ENDINGS) and is_kin(name, str(config.get("model_type"))) and not hasattr(_class_of(name), "_from_config"):
        name = next((found for found in _classes_of(str(config.get("model_type"))) if found.endswith(name[name.rindex("For") :])), name)
    if name and not hasattr(_class_of(name), "_from_config"):
        if not is_kin(name, str(config.get("model_type"))):
            raise BadConfigError(
                f"architectures names {name[:60]!r}, and model_type is {str(config.get('model_type'))[:40]!r}: which of the two it is "
                "cannot be told, and no class here is the first; expected both of one model"
            )
        raise BadConfigError(
            f"architectures names {name[:60]!r}, which transformers {transformers.__version__} does not have; "
            "leave architectures out to count the type's usual class"
        )
    return name


PREFERRED = (
    "MASKED_LM",
    "CAUSAL_LM",
    "IMAGE_TEXT_TO_TEXT",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "SPEECH_SEQ_2_SEQ",
    "CTC",
    "ZERO_SHOT_IMAGE_CLASSIFICATION",
    "IMAGE_CLASSIFICATION",
    "ZERO_SHOT_OBJECT_DETECTION",
    "OBJECT_DETECTION",
    "TEXT_TO_WAVEFORM",
    "TEXT_TO_SPECTROGRAM",
    "MULTIMODAL_LM",
)
"""What a type's usual class is for, the likeliest first: transformers' own name of the mapping. After these its plain model, then any."""


def usual_class(model_type: str) -> str:
    """The class of transformers that a checkpoint of the type most often is; empty where it has none."""
    from transformers.models.auto import modeling_auto

    named = {key: value for key, value in vars(modeling_auto).items() if key.startswith("MODEL_") and key.endswith("MAPPING_NAMES")}
    first = [*(f"MODEL_FOR_{task}_MAPPING_NAMES" for task in PREFERRED), "MODEL_MAPPING_NAMES", *sorted(named)]
    found = next((named[key][model_type] for key in first if model_type in named.get(key, ())), "")
    return found if isinstance(found, str) else found[0]


def build(parsed: Any, named: str) -> nn.Module:
    """The class on meta, the usual one of the type where none is named. Raises BadConfigError where transformers cannot build it."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_MAPPING_NAMES

    if not named and parsed.model_type not in {**MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, **MODEL_MAPPING_NAMES}:
        named = usual_class(parsed.model_type)
    if named.endswith("ForSequenceClassification") and getattr(parsed, "pad_token_id", 0) is None:
        parsed.pad_token_id = 0  # such a class looks for the last token that is not padding, and refuses batches otherwise
    usual = transformers.AutoModelForCausalLM if parsed.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else transformers.AutoModel
    maker: Any = _class_of(named) if named else usual
    build = getattr(maker, "_from_config", None) or maker.from_config
    for options in ({"attn_implementation": "eager"}, {}):
        try:
            return on_meta(partial(build, parsed, **options))
        except Exception as error:  # a field that makes no sense fails wherever transformers first uses it
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    raise BadConfigError(f"transformers cannot build {parsed.model_type!r} from this configuration: {reason}")
