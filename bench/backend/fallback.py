"""Counting a configuration that has no op table: built on meta by transformers, counted there by torch's dispatcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.backend.count import torch_count
from bench.backend.models import hf_config
from bench.backend.network import NetworkCount, count
from estimators.errors import BadConfigError
from estimators.spec import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedConfig:
    """What was counted of a configuration.

    Attributes:
        built_as: the class of transformers that ran.
        network: parameters and FLOP by module and operator, forward and backward.
        decode_flop: of one token after `seq_len` cached ones; None with `decode_reason`.
    """

    built_as: str
    network: NetworkCount
    decode_flop: int | None
    decode_reason: str


def count_config(config: Mapping[str, Any], *, batch: int, seq_len: int) -> CountedConfig:
    """Parameters and FLOP of a configuration that transformers knows and the op table does not.

    Args:
        config: the parsed config.json; code of its own (auto_map) is never executed.
        batch: sequences, images or clips.
        seq_len: tokens per sequence, where the model takes tokens.

    Raises:
        BadConfigError: transformers does not know the type, cannot build it, or it takes inputs that cannot be made up.
    """
    model = _build(config)
    inputs = _inputs(model, batch, seq_len)
    network = count(model, inputs, fvcore=False)
    decode_flop, reason = None, "the model has no cache that tokens are added to"
    if type(model).__name__.endswith("ForCausalLM"):
        try:
            decode_flop, reason = torch_count(model, Workload(phase="decode", batch=batch, context_len=seq_len)).forward_flop, ""
        except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
            reason = f"its decode step does not run on meta: {(str(error).splitlines() or [type(error).__name__])[0][:120]}"
    return CountedConfig(built_as=type(model).__name__, network=network, decode_flop=decode_flop, decode_reason=reason)


def _build(config: Mapping[str, Any]) -> nn.Module:
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    model_type = str(config.get("model_type"))
    if model_type not in CONFIG_MAPPING_NAMES:
        own_code = "; its own code (auto_map) is never executed here" if config.get("auto_map") else ""
        raise BadConfigError(
            f"model_type {model_type[:40]!r} has no op table and transformers {transformers.__version__} does not know it{own_code}"
        )
    parsed = hf_config(config)
    named = (config.get("architectures") or [""])[0]
    maker: Any = getattr(transformers, str(named), None)
    if maker is None or not hasattr(maker, "_from_config"):
        maker = transformers.AutoModelForCausalLM if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else transformers.AutoModel
    build = getattr(maker, "_from_config", None) or maker.from_config
    for options in ({"attn_implementation": "eager", "experts_implementation": "batched_mm"}, {"attn_implementation": "eager"}, {}):
        try:
            with torch.device("meta"):
                model: nn.Module = build(parsed, **options).eval()
            return model
        except (ValueError, TypeError, ImportError, AttributeError, RuntimeError, KeyError, ZeroDivisionError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    raise BadConfigError(f"transformers cannot build {model_type!r} from this configuration: {reason}")


def _inputs(model: nn.Module, batch: int, seq_len: int) -> dict[str, Any]:
    config: Any = model.config
    name = getattr(model, "main_input_name", "input_ids")
    ids = torch.zeros(batch, seq_len, dtype=torch.long, device="meta")
    if name == "input_ids":
        extra = {"decoder_input_ids": ids} if getattr(config, "is_encoder_decoder", False) else {}
        return {"input_ids": ids, **extra}
    if name == "pixel_values":
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        images = torch.zeros(batch, getattr(vision, "num_channels", 3), height, width, device="meta")
        return {"pixel_values": images}
    if name == "input_values":
        return {"input_values": torch.zeros(batch, seq_len * 320, device="meta")}
    raise BadConfigError(
        f"{type(model).__name__} takes {name!r}, which cannot be made up from its configuration; count it with bench.backend.network.count"
    )
