"""A Hugging Face config.json -> a Model of some family. Strict: a field that is there must make sense."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from estimators import text_file
from estimators.architectures import FAMILIES, OWN_CODE, builder
from estimators.architectures.builders.prediction import uncounted_prediction
from estimators.architectures.decoder import Decoder
from estimators.architectures.fields import Fields
from estimators.architectures.named_family import SAME_CLASS, family_of, is_kin
from estimators.architectures.own_code import HEADED, demand_experts, demand_read
from estimators.architectures.quantised import quantisation
from estimators.errors import BadConfigError, NoOpTableError, near_misses
from estimators.frozen import replace
from estimators.spec import Model, Source

MAX_CONFIG_BYTES = 8 * 2**20


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a config.json, or the one inside a checkpoint folder.

    Raises:
        BadConfigError: not there, too large, not JSON, nested too deeply, or no object; one line.
    """
    file = os.fspath(path)  # not pathlib: it costs 5 ms to import
    if os.path.isdir(file):
        file = os.path.join(file, "config.json")
    expected = "expected a Hugging Face config.json or a folder that holds one"
    try:
        if not os.path.isfile(file):
            raise BadConfigError(f"no config file at {str(path)!r}; {expected}")
        if os.path.getsize(file) > MAX_CONFIG_BYTES:
            raise BadConfigError(f"{file!r} has {os.path.getsize(file):,} bytes; {expected}, at most {MAX_CONFIG_BYTES:,} bytes")
        config = _read_json(file)
    except OSError as error:
        raise BadConfigError(f"cannot read {file!r}: {error.strerror}; {expected}") from None
    except RecursionError:
        raise BadConfigError(f"{file!r} is nested too deeply to be a model's configuration; {expected}") from None
    except ValueError as error:
        place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "a number or a character"
        raise BadConfigError(f"{file!r} is not valid JSON ({place}); {expected}") from None
    if not isinstance(config, dict):
        raise BadConfigError(f"{file!r} holds a {type(config).__name__}, not an object; {expected}")
    return config


def _read_json(file: str) -> Any:
    return json.loads(text_file.read(file, max_bytes=MAX_CONFIG_BYTES))


def model_from_config(config: Mapping[str, Any], name: str, source: Source | None = None) -> Model:
    """The model that a configuration describes.

    Args:
        config: the parsed config.json.
        name: for the model and for messages.
        source: where the configuration comes from.

    Raises:
        BadConfigError: no model_type or class of diffusers, or fields that are missing, out of range or contradict each other.
        NoOpTableError: a model_type, or a class in `architectures` or of diffusers, that no op table is of.
    """
    return _read(config, name, source)[0]


def defaults_taken(config: Mapping[str, Any], name: str) -> dict[str, object]:
    """Fields that the configuration does not have -> what the model type's own class in transformers takes for them.

    Fields of a part stand under its name and a dot; one may follow from another field, such as as many key-value heads as heads.

    Raises:
        BadConfigError, NoOpTableError: as `model_from_config`.
    """
    return _read(config, name, None)[1].taken


def is_of_diffusers(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is one that diffusers writes, which names its class, rather than a type of transformers."""
    return "_class_name" in config and "model_type" not in config


def _read(config: Mapping[str, Any], name: str, source: Source | None) -> tuple[Model, Fields]:
    if is_of_diffusers(config):
        from estimators.architectures.builders.diffusion import part_from  # deferred: most configurations are of transformers

        of_diffusers = Fields(config, name)
        return part_from(of_diffusers, name, source or Source(title=name)), of_diffusers
    given = config.get("model_type")
    model_type = family_of(config) or given
    if not isinstance(model_type, str):
        error = BadConfigError if config.get("model_type") is not None or not config.get("architectures") else NoOpTableError
        raise error(f"{name}: {_no_model(config)}")
    fields, read_as = Fields(config, name), ""
    if model_type != given:
        by = "it runs" if isinstance(given, str) and given in SAME_CLASS else "architectures names"
        fields, read_as = (
            Fields({**config, "model_type": model_type}, name),
            f", read as {model_type}, whose class {by}",
        )
    source = source or Source(title=name + read_as)
    if model_type in FAMILIES or model_type in OWN_CODE:
        if config.get("add_cross_attention") is True:
            raise NoOpTableError(
                f"{name}: add_cross_attention is true; the op table of {model_type!r} has no attention to another sequence"
            )
        model = builder(model_type)(fields, name, source)
        if not model.runs:
            _demand_language_head(fields)
        if model_type in FAMILIES:
            model = _of_known_class(model, fields, given)
    else:
        model = _read_part(fields, model_type, source)
    if isinstance(model, Decoder):
        unread = "" if model.prediction else uncounted_prediction(config)
        left_out = "; ".join(said for said in (model.left_out, unread) if said)
        model = replace(model, stored=quantisation(config, name, model.components), left_out=left_out)
    return model, fields


def _of_known_class(model: Model, f: Fields, given: object) -> Model:
    """A family's model whose configuration may be of somebody's own code. Raises BadConfigError where it has sizes that are not read."""
    demand_read(f)
    if not f.config.get("auto_map"):
        return model
    demand_experts(f, model)
    named = _classes(f)
    if isinstance(model, Decoder) and named and given in FAMILIES and not is_kin(named[0], str(given)):
        own = f"what the class {named[0][:60]!r} of the code that comes with the repository may have beside {given}'s"
        model = replace(model, left_out="; ".join(said for said in (model.left_out, own) if said))
    return model


def _no_model(config: Mapping[str, Any]) -> str:
    """What a configuration is that names no family, and what was expected."""
    if "peft_type" in config:
        rank = config.get("r")
        ranked = f" --lora-rank {rank}" if isinstance(rank, int) and not isinstance(rank, bool) else ""
        base = f": {str(config['base_model_name_or_path'])[:80]}" if config.get("base_model_name_or_path") else ""
        said = f"an adapter of peft ({str(config['peft_type'])[:20]}), no model"
        return f"{said}; expected the model that it is of{base}, and{ranked or ' its rank'}"
    if "pretrained_cfg" in config:
        return f"a configuration of timm ({str(config.get('architecture'))[:60]}); expected one of transformers or diffusers"
    families = "python -m bench list families"
    if config.get("model_type") is None:
        return f"it has no model_type, and architectures names no class of a family; expected the config.json of a model: {families}"
    return f"model_type is {str(config['model_type'])[:40]!r}; expected the name of a family: {families}"


def _read_part(f: Fields, model_type: str, source: Source) -> Model:
    """The language part of a type without an op table, where that part's own type has one. Raises NoOpTableError where none has."""
    from estimators.architectures.builders.vision import nested_language_part, nested_part  # deferred: most configurations are flat

    keys = nested_part(f.config)
    if not keys:
        without = f"{f.name}: model_type {model_type[:40]!r} has no op table"
        if f.config.get("auto_map"):
            raise NoOpTableError(f"{without}: its code comes with its repository (auto_map)")
        near = near_misses(model_type[:40], (*FAMILIES, *OWN_CODE))
        hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
        raise NoOpTableError(f"{without}{hint} List them with: python -m bench list families")
    if any("For" in name for name in _classes(f)):  # a class of somebody's own code need not be called after its head
        _demand_language_head(f)
    return nested_language_part(f, f.name, source, keys)


LANGUAGE_HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""What the name of a decoder's class with the head of a language model ends with; a draft's goes on (LlamaForCausalLMEagle3)."""


def _demand_language_head(f: Fields) -> None:
    """Refuse a decoder that its checkpoint names as a class with another head, or with none: the op table is of the usual one.

    Raises:
        BadConfigError: `architectures` is not a list of names.
        NoOpTableError: it begins with another class.
    """
    named = _classes(f)
    if named and not named[0].endswith(LANGUAGE_HEADS) and named[0] not in HEADED:
        raise NoOpTableError(f"{f.name}: architectures names {named[0][:60]!r}; the op table is of the class with a language model's head")


def _classes(f: Fields) -> list[str]:
    """What `architectures` names. Raises BadConfigError where it is not a list of names."""
    named = f.config.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise f.fail("architectures", named, "a list of names of classes")
    return named
