"""What autograd keeps of a real forward pass: bytes that pass torch's saved-tensor hook, each storage once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from estimators.architectures.waves import CROP_SAMPLES

Config = Mapping[str, Any]


def saved_bytes(model: nn.Module, inputs: Mapping[str, Any], *, autocast: bool = True) -> int:
    """Bytes kept for backward by one forward in bf16 autocast on a CPU, or without; parameters and buffers left out, and
    copies of parameters: those in bf16, and 1 + gain of some norms."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    by_size: dict[int, list[torch.Tensor]] = defaultdict(list)
    for parameter in model.parameters():
        by_size[2 * parameter.numel()].append(parameter)
    for parameter in (each for name, each in model.named_parameters() if name.endswith("in_proj_weight")):
        for part in parameter.split([parameter.shape[1], 2 * parameter.shape[1]]):  # torch's own attention multiplies by parts of it
            by_size[2 * part.numel()].append(part)
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and storage.data_ptr() not in kept:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    def is_copy(storage: torch.UntypedStorage) -> bool:
        low, wide = (torch.empty(0, dtype=dtype).set_(storage) for dtype in (torch.bfloat16, torch.float32))  # type: ignore[call-overload]
        return any(torch.equal(low, each.detach().to(torch.bfloat16).flatten()) for each in by_size[storage.nbytes()]) or any(
            torch.equal(wide, 1 + each.detach()) for each in by_size[storage.nbytes() // 2] if each.dim() == 1
        )

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        model(**inputs)
    return sum(storage.nbytes() for storage in kept.values() if not (autocast and is_copy(storage)))


def real_model(config: Config) -> nn.Module:
    """transformers' model of a configuration, in training, nothing dropped; of the class that `architectures` names, if any."""
    fields = dict(config)
    classes, model_type = fields.pop("architectures", None), fields.pop("model_type")
    built = AutoConfig.for_model(model_type, **fields)
    _drop_nothing(built)
    torch.manual_seed(0)
    model = getattr(transformers, classes[0])(built) if classes else AutoModelForCausalLM.from_config(built)
    for part in model.modules():
        if type(part).__name__ == "DeepseekV4Indexer":  # of what it keeps nothing outlives its forward: a choice has no gradient
            part.forward = torch.no_grad()(part.forward)
    return model.train()  # type: ignore[no-any-return]


def _drop_nothing(config: Any) -> None:
    for name, value in list(vars(config).items()):
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)
        elif hasattr(value, "model_type"):
            _drop_nothing(value)


def inputs_of(config: Config, batch: int, seq_len: int) -> dict[str, Any]:
    """A batch for a model of any kind, with labels: tokens, or images, or both, or a spectrogram."""
    model_type = config["model_type"]
    if "conv_stride" in config:
        return {"input_values": torch.randn(batch, CROP_SAMPLES), "labels": torch.zeros(batch, dtype=torch.long)}
    side = config.get("image_size") or config.get("vision_config", {}).get("image_size", 0)
    pixels = {"pixel_values": torch.randn(batch, 3, side, side)} if side else {}
    if model_type == "siglip2":
        vision, text = config["vision_config"], config["text_config"]
        patches = torch.randn(batch, vision["num_patches"], 3 * vision["patch_size"] ** 2)
        shapes = torch.full((batch, 2), math.isqrt(vision["num_patches"]))
        return {
            "pixel_values": patches,
            "pixel_attention_mask": None,
            "spatial_shapes": shapes,
            "input_ids": tokens(batch, seq_len, text["vocab_size"]),
            "return_loss": torch.tensor(True),
        }
    if model_type in ("clip", "siglip"):
        return pixels | {"input_ids": tokens(batch, seq_len, config["text_config"]["vocab_size"]), "return_loss": torch.tensor(True)}
    if pixels and config["architectures"][0].endswith("Model"):
        return pixels
    if pixels:
        return pixels | {"labels": torch.zeros(batch, dtype=torch.long)}
    ids = tokens(batch, seq_len, config["vocab_size"])
    if model_type == "whisper":
        spectrogram = torch.randn(batch, config["num_mel_bins"], 2 * config["max_source_positions"])
        return {"input_features": spectrogram, "labels": ids, "use_cache": False}
    cached = {} if any(name.endswith("MaskedLM") for name in config.get("architectures", ())) else {"use_cache": False}
    return {"input_ids": ids, "labels": ids, **cached}


def tokens(batch: int, seq_len: int, vocab: int) -> torch.Tensor:
    """Token ids, none of them one of the first four, which may be special."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(4, vocab, (batch, seq_len), generator=generator)
