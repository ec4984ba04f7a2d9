"""Models that are no causal language models: which class runs, and what it is fed on meta. One line per model type.

Encoders, encoder-decoders, models of images, of speech, of images and texts.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.backend.detector_backbones import as_of_timm, own_backbone
from bench.backend.kv_cache import cache_name, with_cache
from bench.backend.models import hf_config
from bench.backend.on_meta import on_meta
from estimators.architectures.builders.detection import PHOTO
from estimators.architectures.builders.real_time_detection import SQUARE
from estimators.architectures.waves import CROP_SAMPLES, SAMPLE_RATE
from estimators.errors import BadConfigError
from estimators.samples import Audio, Image
from estimators.spec import Workload

Inputs = dict[str, Any]
IMAGE_SIDE = 224
"""Pixels along a side of an image where a configuration does not say (ResNet's)."""


def _ids(batch: int, length: int) -> torch.Tensor:
    return torch.zeros(batch, length, dtype=torch.long, device="meta")


def _tokens(config: Any, workload: Workload) -> Inputs:
    return {"input_ids": _ids(workload.batch, workload.seq_len)}


def _masked_tokens(config: Any, workload: Workload) -> Inputs:
    """Tokens and a mask that hides none: without a mask, DeBERTa looks for padding, which meta cannot."""
    ids = _ids(workload.batch, workload.seq_len)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _pixels(config: Any, workload: Workload, usual: int | tuple[int, int], channels: int) -> torch.Tensor:
    """Images of the size that the step names, or the configuration, or else the usual one."""
    named = workload.sample
    size = (named.height, named.width) if isinstance(named, Image) else getattr(config, "image_size", None) or usual
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return torch.zeros(workload.batch, channels, height, width, device="meta")


def _image(config: Any, workload: Workload) -> Inputs:
    return {"pixel_values": _pixels(config, workload, IMAGE_SIDE, config.num_channels)}


def _image_and_text(config: Any, workload: Workload) -> Inputs:
    text = _ids(workload.batch, config.text_config.max_position_embeddings)
    return {**_image(config.vision_config, workload), "input_ids": text}


def _patches_and_text(config: Any, workload: Workload) -> Inputs:
    """A square image that is cut into patches already, as SigLIP 2 reads images of any shape."""
    vision = config.vision_config
    side, pixels = math.isqrt(vision.num_patches), vision.num_channels * vision.patch_size**2
    return {
        "pixel_values": torch.zeros(workload.batch, vision.num_patches, pixels, device="meta"),
        "pixel_attention_mask": None,
        "spatial_shapes": torch.full((workload.batch, 2), side),
        "input_ids": _ids(workload.batch, config.text_config.max_position_embeddings),
    }


def _image_and_point(config: Any, workload: Workload) -> Inputs:
    """An image and one point in it, whose masks are asked for."""
    return {**_image(config.vision_config, workload), "input_points": torch.zeros(workload.batch, 1, 1, 2, device="meta")}


def _photo(usual: tuple[int, int]) -> Callable[[Any, Workload], Inputs]:
    """An image in which objects are found."""
    return lambda config, workload: {"pixel_values": _pixels(config, workload, usual, config.backbone_config.num_channels)}


def _source_and_target(config: Any, workload: Workload) -> Inputs:
    source = _ids(workload.batch, workload.source_len or workload.seq_len)
    return {"input_ids": source, "decoder_input_ids": _ids(workload.batch, workload.seq_len)}


def _audio_and_target(config: Any, workload: Workload) -> Inputs:
    """Whisper's two filters halve the frames once."""
    features = torch.zeros(workload.batch, config.num_mel_bins, 2 * config.max_source_positions, device="meta")
    return {"input_features": features, "decoder_input_ids": _ids(workload.batch, workload.seq_len)}


def _waves(config: Any, workload: Workload) -> Inputs:
    """A recording of the length that the step names, or as long as in pre-training."""
    samples = round(workload.sample.duration_s * SAMPLE_RATE) if isinstance(workload.sample, Audio) else CROP_SAMPLES
    return {"input_values": torch.zeros(workload.batch, samples, device="meta")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a model type is run.

    Attributes:
        inputs: keyword arguments of one forward pass, on meta.
        auto: the class of transformers that builds it where `architectures` names none.
        looks: whether its forward pass looks at values of what it makes itself, such as a mask of the whole image.
    """

    inputs: Callable[[Any, Workload], Inputs]
    auto: str = "AutoModel"
    looks: bool = False


_TEXT, _IMAGE = Kind(inputs=_tokens), Kind(inputs=_image)
_TEXT_TO_TEXT = Kind(inputs=_source_and_target, auto="AutoModelForSeq2SeqLM")

_OF_TEXT = (*("albert", "bert", "distilbert", "electra", "eurobert", "modernbert", "mpnet", "nomic_bert", "roberta", "xlm-roberta"),)
_OF_IMAGES = (
    *("beit", "convnext", "convnextv2", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit", "mobilenet_v2", "resnet"),
    *("segformer", "siglip_vision_model", "swin", "swinv2", "vit"),
)

_DETECTOR = Kind(inputs=_photo(PHOTO), auto="AutoModelForObjectDetection", looks=True)

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(_OF_TEXT, _TEXT),
    **dict.fromkeys(("deberta", "deberta-v2"), Kind(inputs=_masked_tokens)),
    **dict.fromkeys(("bart", "marian", "mbart", "mt5", "pegasus", "t5"), _TEXT_TO_TEXT),
    "whisper": Kind(inputs=_audio_and_target, auto="AutoModelForSpeechSeq2Seq"),
    **dict.fromkeys(_OF_IMAGES, _IMAGE),
    **dict.fromkeys(("clip", "siglip"), Kind(inputs=_image_and_text)),
    **dict.fromkeys(("conditional_detr", "deformable_detr", "detr", "table-transformer"), _DETECTOR),
    **dict.fromkeys(("rt_detr", "rt_detr_v2"), dataclasses.replace(_DETECTOR, inputs=_photo(SQUARE))),
    "sam": Kind(inputs=_image_and_point),
    "yolos": Kind(inputs=_image, auto="AutoModelForObjectDetection"),
    "siglip2": Kind(inputs=_patches_and_text),
    **dict.fromkeys(("hubert", "wav2vec2", "wavlm"), Kind(inputs=_waves)),
}
"""model_type -> how it is run."""

OLD_NAMES = {"T5WithLMHeadModel": "T5ForConditionalGeneration"}
"""Classes that published configurations name, and what transformers calls them now."""

TIED_UNTIL_LOADED = ("mt5", "t5")
"""Types whose head transformers 5 ties whatever the configuration says, and separates when it loads a checkpoint that has both."""


def class_named(config: Mapping[str, Any]) -> Any:
    """The class of transformers that a configuration runs as: what `architectures` names, else the kind's own.

    A classifier of images is told from a plain model by its labels.

    Raises:
        BadConfigError: `architectures` names no class of transformers.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

    model_type = config["model_type"]
    named = (config.get("architectures") or [None])[0]
    if named:
        name = OLD_NAMES.get(named, named)
    elif KINDS[model_type] is _IMAGE and (config.get("id2label") or config.get("num_labels")):
        names = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.get(model_type, KINDS[model_type].auto)
        name = names if isinstance(names, str) else names[0]
    else:
        name = KINDS[model_type].auto
    if not hasattr(transformers, name):
        raise BadConfigError(f"architectures names {name!r}, which transformers {transformers.__version__} does not have")
    return getattr(transformers, name)


def meta_model(config: Mapping[str, Any], attn: str = "eager") -> nn.Module:
    """The model of a configuration, on meta. Raises what `model_of` does."""
    return on_meta(lambda: model_of(config, attn=attn))


def model_of(config: Mapping[str, Any], *, attn: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The model of a configuration, with whatever initial weights its class draws.

    Raises:
        BadConfigError: transformers does not know the class or refuses the fields.
    """
    parsed, chosen = hf_config(own_backbone(config)), class_named(config)
    build = chosen.from_config if chosen.__name__.startswith("Auto") else chosen._from_config
    try:
        model: nn.Module = build(parsed, attn_implementation=_by_part(parsed, attn), dtype=dtype)
    except (ValueError, AssertionError) as error:
        first_line = str(error).strip().splitlines()[0][:160] if str(error) else type(error).__name__
        raise BadConfigError(f"transformers cannot build {config['model_type']!r}: {first_line}") from None
    as_of_timm(model, config)
    if config["model_type"] in TIED_UNTIL_LOADED and config.get("tie_word_embeddings") is False and hasattr(model, "lm_head"):
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def _by_part(parsed: Any, attn: str) -> str | dict[str, str]:
    """How attention runs: a residual network below a detector has none, and its class refuses to be told."""
    return {"": attn, "backbone_config": "eager"} if getattr(parsed, "backbone_config", None) is not None else attn


def step_inputs(model: nn.Module, workload: Workload) -> Inputs:
    """Keyword arguments of one step; a decode step gets the encoder's output and the caches that its prefill left."""
    inputs = KINDS[model.config.model_type].inputs
    if workload.phase != "decode":
        takes = inspect.signature(model.forward).parameters
        return {name: value for name, value in inputs(model.config, workload).items() if name in takes}
    source_len = workload.source_len or workload.context_len + 1
    before = dataclasses.replace(workload, phase="prefill", seq_len=workload.context_len, context_len=0, source_len=source_len)
    with torch.no_grad():
        read = model(**inputs(model.config, before), use_cache=True)
    return {
        "encoder_outputs": (read.encoder_last_hidden_state,),
        "decoder_input_ids": _ids(workload.batch, 1),
        **with_cache(model, getattr(read, cache_name(model))),
    }


def differentiable(outputs: Any) -> list[torch.Tensor]:
    """What a loss can stand on: every tensor that the model returns and that has a gradient, caches left out."""
    return [value for value in outputs.values() if isinstance(value, torch.Tensor) and value.requires_grad]
