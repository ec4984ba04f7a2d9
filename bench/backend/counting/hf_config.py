"""Counting a configuration that has no op table: built on meta by transformers, counted there by torch's dispatcher."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from bench.backend.counting.meta import torch_count
from bench.backend.counting.module import DOES_NOT_RUN, NetworkCount, count, first_line
from bench.backend.model_classes import OLD_NAMES
from bench.backend.models import hf_config
from bench.backend.on_meta import on_meta
from estimators.architectures.builders.vision import TEXT_PARTS
from estimators.errors import BadConfigError, BadValueError
from estimators.spec import Workload

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
PER_TOKEN = ("num_experts_per_tok", "moe_topk", "moe_k", "moe_top_k", "top_k_experts")
"""What configurations call their experts, and how many of them a token is routed to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedConfig:
    """What was counted of a configuration.

    Attributes:
        built_as: the class of transformers that was built.
        params: tied ones once.
        params_by_module: qualified module name to parameters of its own and below.
        network: FLOP by module and operator, forward and backward; None with `flop_reason`, where its forward does not run on meta.
        decode_flop: of one token after `seq_len` cached ones; None with `decode_reason`.
        left_out: what the configuration has beside its language part and was not counted; empty for nothing.
        surplus_flop: of the forward pass counted, those of experts that a token is not routed to, where transformers runs all of them.
    """

    built_as: str
    params: int
    params_by_module: Mapping[str, int]
    network: NetworkCount | None
    flop_reason: str
    decode_flop: int | None
    decode_reason: str
    left_out: str = ""
    surplus_flop: int = 0


def count_config(config: Mapping[str, Any], *, batch: int, seq_len: int, source_len: int | None = None) -> CountedConfig:
    """Parameters and FLOP of a configuration that transformers knows and the op table does not.

    Args:
        config: the parsed config.json; code of its own (auto_map) is never executed.
        batch: sequences, images or clips.
        seq_len: tokens per sequence, where the model takes tokens.
        source_len: tokens of the encoder's input, for an encoder-decoder of tokens; None for as many as the decoder's.

    Raises:
        BadConfigError: transformers does not know the type, or cannot build it.
        BadValueError: it has no encoder beside a decoder for `source_len`.
    """
    parsed, named, left_out = _parse(config)
    model = _build(parsed, named)
    network, flop_reason = _count(model, batch, seq_len, source_len)
    decode_flop, reason = None, "the model has no cache that tokens are added to"
    if type(model).__name__.endswith("ForCausalLM"):
        try:
            decode_flop, reason = torch_count(model, Workload(phase="decode", batch=batch, context_len=seq_len)).forward_flop, ""
        except DOES_NOT_RUN as error:
            reason = f"its decode step does not run on meta: {_why_not(error)}"
    by_module = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_modules()}
    return CountedConfig(
        built_as=type(model).__name__,
        params=by_module[""],
        params_by_module=by_module,
        network=network,
        flop_reason=flop_reason,
        decode_flop=decode_flop,
        decode_reason=reason,
        left_out=left_out,
        surplus_flop=_surplus_flop(model, network, batch * seq_len) if network else 0,
    )


def _count(model: nn.Module, batch: int, seq_len: int, source_len: int | None) -> tuple[NetworkCount | None, str]:
    """What was counted, or why nothing was. Raises BadValueError for a source that it does not read."""
    try:
        inputs = _inputs(model, batch, seq_len, source_len)
    except BadConfigError as error:
        return None, str(error)
    try:
        return count(model, inputs, fvcore=False), ""
    except BadValueError as error:
        return None, _why_not(error.__cause__ or error)


LOOKS_AT_VALUES = ("nonzero", "item", "bincount", "unique", "masked_select", "data-dependent", "meta tensor", "no data", "meta device")
"""What torch names where the size of a result, or the way that a forward pass takes, depends on the values of a tensor."""


def _why_not(error: BaseException) -> str:
    """Why a forward pass does not run on meta, in one line; torch's own words only where the reason is not one that is known."""
    named = next((word for word in LOOKS_AT_VALUES if re.search(f"(?<![a-z]){word}(?![a-z])", str(error))), "")
    if named:
        operator = f" ({named})" if named.isidentifier() else ""
        return f"its forward looks at values of tensors{operator}, such as which tokens an expert gets or which are padding; meta has none"
    return f"its forward does not run on inputs made up from its configuration: {first_line(error)}"


def _surplus_flop(model: nn.Module, network: NetworkCount, num_tokens: int) -> int:
    """Forward FLOP of unchosen experts: of each bank of them that multiplied every token by every expert."""
    config: Any = model.config.get_text_config()
    num = next((getattr(config, key) for key in EXPERTS if isinstance(getattr(config, key, None), int)), 0)
    chosen = next((getattr(config, key) for key in PER_TOKEN if isinstance(getattr(config, key, None), int)), num)
    surplus = 0
    for name, part in model.named_modules():
        banks = [p.numel() for p in part.parameters(recurse=False) if p.dim() == 3 and p.shape[0] == num]
        everywhere = 2 * num_tokens * sum(banks)
        if banks and network.by_module[name][1] >= everywhere:
            surplus += everywhere * (num - chosen) // num
    return surplus


def _parse(config: Mapping[str, Any]) -> tuple[Any, str, str]:
    """transformers' configuration of what is counted, the class that it names, and what is left out.

    Of several kinds of input the language part is counted, if it is a causal language model.

    Raises:
        BadConfigError: transformers knows neither the type nor that of its language part.
    """
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    model_type = str(config.get("model_type"))
    if model_type not in CONFIG_MAPPING_NAMES and (its := _type_of_class(config)) in CONFIG_MAPPING_NAMES:
        model_type, config = its, {**config, "model_type": its}
    if model_type in CONFIG_MAPPING_NAMES:
        parsed = hf_config(config)
        text = parsed.get_text_config(decoder=True)
        others = sorted(key for key in parsed.sub_configs if getattr(parsed, key, None) not in (None, text))
        if len(others) < len(parsed.sub_configs) and text.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return text, "", f"{', '.join(others) or 'the other parts'}, and what joins them: only the language part is counted"
        return parsed, _class_named(config), ""
    for key in TEXT_PARTS:
        part = config.get(key)
        if isinstance(part, dict) and part.get("model_type") in CONFIG_MAPPING_NAMES:
            left_out = f"all but {key}: transformers does not know {model_type[:40]!r}, and code of its own is never executed"
            return hf_config(part), _class_named(part), left_out
    own_code = "; its own code (auto_map) is never executed here" if config.get("auto_map") else ""
    raise BadConfigError(
        f"model_type {model_type[:40]!r} has no op table and transformers {transformers.__version__} does not know it{own_code}; "
        "expected a type that transformers has, or one of: python -m bench list families"
    )


def _type_of_class(config: Mapping[str, Any]) -> str:
    """The model type of the class that `architectures` names first; empty where it names none that transformers has."""
    import transformers

    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
    return str(getattr(getattr(getattr(transformers, name, None), "config_class", None), "model_type", "")) if name else ""


def _class_named(config: Mapping[str, Any]) -> str:
    """What `architectures` names first; empty for nothing.

    Raises:
        BadConfigError: a class that transformers does not have: its head could only be guessed.
    """
    import transformers

    named = config.get("architectures") or [""]
    if not isinstance(named, list) or not isinstance(named[0], str):
        raise BadConfigError(f"architectures is {str(named)[:60]!r}; expected a list of names of classes")
    name = OLD_NAMES.get(named[0], named[0])
    if name and not hasattr(getattr(transformers, name, None), "_from_config"):
        raise BadConfigError(
            f"architectures names {name[:60]!r}, which transformers {transformers.__version__} does not have; "
            "leave architectures out to count the type's usual class"
        )
    return name


def _build(parsed: Any, named: str) -> nn.Module:
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if named.endswith("ForSequenceClassification") and getattr(parsed, "pad_token_id", 0) is None:
        parsed.pad_token_id = 0  # such a class looks for the last token that is not padding, and refuses batches otherwise
    usual = transformers.AutoModelForCausalLM if parsed.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else transformers.AutoModel
    maker: Any = getattr(transformers, named) if named else usual
    build = getattr(maker, "_from_config", None) or maker.from_config
    for options in ({"attn_implementation": "eager"}, {}):
        try:
            return on_meta(partial(build, parsed, **options))
        except Exception as error:  # a field that makes no sense fails wherever transformers first uses it
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    raise BadConfigError(f"transformers cannot build {parsed.model_type!r} from this configuration: {reason}")


def _image_and_text(model: nn.Module, batch: int) -> dict[str, Any]:
    """An image and a text of its longest, for a model that compares the two; empty for any other."""
    config: Any = model.config
    text, vision = getattr(config, "text_config", None), getattr(config, "vision_config", None)
    takes = inspect.signature(model.forward).parameters
    sizes = (getattr(text, "max_position_embeddings", None), getattr(vision, "image_size", None))
    if not {"input_ids", "pixel_values"} <= takes.keys() or "logits_to_keep" in takes or not all(isinstance(size, int) for size in sizes):
        return {}
    length, side = sizes
    return {
        "input_ids": torch.zeros(batch, length, dtype=torch.long, device="meta"),
        "pixel_values": torch.zeros(batch, getattr(vision, "num_channels", 3), side, side, device="meta"),
    }


def _inputs(model: nn.Module, batch: int, seq_len: int, source_len: int | None) -> dict[str, Any]:
    config: Any = model.config
    name = getattr(model, "main_input_name", "input_ids")
    writes = bool(getattr(config, "is_encoder_decoder", False))
    if source_len is not None and not (writes and name == "input_ids"):
        raise BadValueError(f"--source-len {source_len:,}: {type(model).__name__} reads no tokens beside a decoder; leave --source-len out")
    if image_and_text := _image_and_text(model, batch):
        return image_and_text
    ids = torch.zeros(batch, seq_len, dtype=torch.long, device="meta")
    target = {"decoder_input_ids": ids} if writes else {}
    if name == "input_ids" and type(model).__name__.endswith("ForMultipleChoice"):
        return {"input_ids": ids[:, None]}  # one choice each: a sequence is a sequence
    if name == "input_ids":
        return {"input_ids": torch.zeros(batch, source_len or seq_len, dtype=torch.long, device="meta"), **target}
    if name == "pixel_values":
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        images = torch.zeros(batch, getattr(vision, "num_channels", 3), height, width, device="meta")
        return {"pixel_values": images}
    if name == "input_values":
        return {"input_values": torch.zeros(batch, seq_len * 320, device="meta")}
    if name == "input_features" and hasattr(config, "num_mel_bins") and hasattr(config, "max_source_positions"):
        return {"input_features": torch.zeros(batch, config.num_mel_bins, 2 * config.max_source_positions, device="meta"), **target}
    raise BadConfigError(
        f"{type(model).__name__} takes {name!r}, which cannot be made up from its configuration; "
        "count it with sixnd.count(module, example_inputs)"
    )
