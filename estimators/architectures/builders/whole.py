"""Whole vision-language models: the tower and the projector beside the language part that `vision.language_part` builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from estimators.architectures import FAMILIES
from estimators.architectures.block import LAYER_NORM, RMS_NORM, Block
from estimators.architectures.builders.parts import attention, head_width, layer_indexes, layers, size_pair
from estimators.architectures.builders.qwen_vision import Built, qwen2_5_vl, qwen2_vl, qwen3_vl
from estimators.architectures.builders.towers import (
    CLIP,
    CLIP_OF_LLAVA,
    IDEFICS,
    PIXTRAL,
    picture_side,
    pixtral_tower,
    plain_tower,
    siglip_tower,
    tiled_tower,
)
from estimators.architectures.builders.vision import LANGUAGE_PARTS, language_part
from estimators.architectures.encoder import Tower
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.image_tokens import Canvases, LongestEdge, OneSize, Pinpoints, Rule, SameTiles, Splits, Tiles
from estimators.architectures.projector import Projector
from estimators.architectures.stems import PatchStem
from estimators.architectures.vision import Scaled
from estimators.architectures.vision_language import PictureTower, VisionLanguage
from estimators.errors import NoOpTableError
from estimators.frozen import replace
from estimators.samples import Example
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.decoder import Decoder
    from estimators.architectures.fields import Fields

NEXT_CANVASES = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
"""Of LLaVA-NeXT, where its configuration does not say."""


def whole(f: Fields, name: str, source: Source, example: Example) -> VisionLanguage:
    """The whole of a vision-language model on examples of one kind.

    Raises:
        BadConfigError: fields of the tower that make no sense.
        NoOpTableError: a family or a tower that no op table is of.
    """
    family = f.config["model_type"]
    if family in FAMILIES and family not in LANGUAGE_PARTS:
        raise NoOpTableError(f"{name}: model_type {family!r} has no language part that reads images; leave images beside text out")
    if family not in WHOLE:
        raise NoOpTableError(
            f"{name}: only the language part of model_type {family!r} has an op table; with images: {', '.join(sorted(WHOLE))}"
        )
    language = replace(language_part(f, name, source), left_out="")
    tower, projector, rule, runs = WHOLE[family](f, f.part("vision_config", f.config.get("vision_config") or {}), language)
    return VisionLanguage(
        name=name, source=source, runs=runs, vision=tower, projector=projector, language=language, rule=rule, example=example
    )


def _with_unread(f: Fields, tower: Tower, default: int, *, joins: bool = False) -> PictureTower:
    """The tower, of which `vision_feature_layer` says after which layer its features are taken.

    Args:
        joins: whether they may be those of several layers, end to end.

    Raises:
        BadConfigError: a layer that it does not have, or several that are not joined.
    """
    given = f.config.get("vision_feature_layer", default)
    taken = given if isinstance(given, list) else [given]
    count = sum(block.count for block in tower.blocks if isinstance(block, Block))
    known = all(type(layer) is int and -count <= layer <= count and layer != 0 for layer in taken)
    if not known or not taken or (len(taken) > 1 and not joins):
        some = "layers" if joins else "one layer"
        raise f.fail("vision_feature_layer", given, f"{some} of the {count}, counted from 1, or from the end with -1")
    unread = min(-layer - 1 if layer < 0 else count - layer for layer in taken)
    return PictureTower(tower=tower, unread=unread, joined=len(taken))


def _llava_tower(f: Fields, v: Fields, default_layer: int, *, default: str = "clip_vision_model") -> tuple[PictureTower, str]:
    """The tower that `vision_config.model_type` names, and which it is."""
    kind = v.text("model_type", default=default)
    if kind == "clip_vision_model":
        given = f.config.get("vision_config")
        return _with_unread(f, plain_tower(v, CLIP if given else CLIP_OF_LLAVA, kind="clip"), default_layer, joins=True), "clip"
    if kind == "siglip_vision_model":
        return _with_unread(f, siglip_tower(v), default_layer, joins=True), "siglip"
    if kind == "pixtral":
        return _with_unread(f, pixtral_tower(v), default_layer, joins=True), "pixtral"
    raise NoOpTableError(
        f"{f.name}: the tower {kind[:40]!r} has no op table; those of clip_vision_model, siglip_vision_model, pixtral have"
    )


def _two_layers(f: Fields, vision: PictureTower, language: Decoder, *, bias: bool, row_end: bool = False) -> Projector:
    bias, width = f.flag("multimodal_projector_bias", bias), vision.joined * vision.tower.width
    return Projector(width=width, widths=(language.width, language.width), biases=(bias, bias), row_end=row_end)


def _llava(f: Fields, v: Fields, language: Decoder) -> Built:
    """LLaVA 1.5 and, over Pixtral's tower, Pixtral 12B."""
    tower, kind = _llava_tower(f, v, -2)
    rule: Rule
    if kind == "pixtral":
        rule = LongestEdge(edge=v.integer("image_size", default=1024), patch=v.integer("patch_size", default=16))
    else:
        side, stem = picture_side(v, tower.tower), tower.tower.stem
        assert isinstance(stem, PatchStem)
        keeps_class = f.text("vision_feature_select_strategy", default="default") == "full"
        rule = OneSize(side=side, tokens=stem.grid[0] * stem.grid[1] + keeps_class * stem.extra_tokens)
    return tower, _two_layers(f, tower, language, bias=True), rule, "LlavaForConditionalGeneration"


def _canvases(f: Fields, default: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    given = f.config.get("image_grid_pinpoints")
    if given is None:
        return default
    if not isinstance(given, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(type(side) is int and side > 0 for side in pair) for pair in given
    ):
        raise f.fail("image_grid_pinpoints", given, "a list of heights and widths in pixels")
    return tuple((pair[0], pair[1]) for pair in given)


def _pinpoints(f: Fields, v: Fields, tower: Tower, canvases: tuple[tuple[int, int], ...], most_tiles: int | None) -> Pinpoints:
    return Pinpoints(side=picture_side(v, tower), patch=v.integer("patch_size", default=14), canvases=canvases, most_tiles=most_tiles)


def _llava_next(f: Fields, v: Fields, language: Decoder) -> Built:
    """LLaVA-NeXT (1.6): tiles of the best canvas, and the whole image."""
    tower, _ = _llava_tower(f, v, -2)
    rule = _pinpoints(f, v, tower.tower, _canvases(f, NEXT_CANVASES), None)
    return tower, _two_layers(f, tower, language, bias=True, row_end=True), rule, "LlavaNextForConditionalGeneration"


def _llava_onevision(f: Fields, v: Fields, language: Decoder) -> Built:
    """LLaVA-OneVision: as LLaVA-NeXT over SigLIP, at most so many tiles' worth of features."""
    tower, _ = _llava_tower(f, v, -1, default="siglip_vision_model")
    side = picture_side(v, tower.tower)
    most = f.text("vision_aspect_ratio", default="anyres_max_9").removeprefix("anyres_max_")
    if not most.isdecimal():
        raise f.fail("vision_aspect_ratio", most, "anyres_max_ and a number of tiles")
    canvases = _canvases(f, tuple((side * i, side * j) for i in range(1, 7) for j in range(1, 7)))
    rule = _pinpoints(f, v, tower.tower, canvases, int(most))
    return tower, _two_layers(f, tower, language, bias=True, row_end=True), rule, "LlavaOnevisionForConditionalGeneration"


def _gemma3(f: Fields, v: Fields, language: Decoder) -> Built:
    """Gemma 3: SigLIP over one square, averaged to 256 tokens; the whole image alone (pan and scan is off unless asked for)."""
    tower = siglip_tower(v)
    stem, tokens = tower.stem, f.integer("mm_tokens_per_image", default=256)
    assert isinstance(stem, PatchStem)
    merge = stem.grid[0] * stem.grid[1] // tokens
    projector = Projector(width=tower.width, merge=merge, pooled=True, norm=RMS_NORM, widths=(language.width,), biases=(False,))
    rule = OneSize(side=picture_side(v, tower), tokens=tokens, marks=GEMMA3_MARKS)
    return PictureTower(tower=tower), projector, rule, "Gemma3ForConditionalGeneration"


GEMMA3_MARKS = 4
"""A blank line, the image's beginning and end, a blank line."""


def _idefics3(f: Fields, v: Fields, language: Decoder) -> Built:
    """Idefics3 and SmolVLM: SigLIP over the tiles of an image; s² patches are joined to a token."""
    kind = f.config["model_type"]
    tower = plain_tower(v, IDEFICS, kind="siglip")
    side, stem = picture_side(v, tower), tower.stem
    assert isinstance(stem, PatchStem)
    merge = f.integer("scale_factor", default=2) ** 2
    rule = Splits(edge=4 * side, side=side, tile_tokens=stem.grid[0] * stem.grid[1] // merge)
    projector = Projector(width=tower.width, merge=merge, widths=(language.width,), biases=(False,))
    runs = "SmolVLMForConditionalGeneration" if kind == "smolvlm" else "Idefics3ForConditionalGeneration"
    return PictureTower(tower=tower), projector, rule, runs


def _internvl(f: Fields, v: Fields, language: Decoder) -> Built:
    """InternVL: tiles of 448 pixels, four patches to a token; a class token, learned scales per layer."""
    d, n = v.integer("hidden_size", default=1024), v.integer("num_attention_heads", default=16)
    bias, normed = v.flag("attention_bias", False), d if v.flag("use_qk_norm", False) else 0
    attend = replace(
        attention(n, head_width(v, "num_attention_heads", n, "hidden_size", d), bias=bias), query_norm_width=normed, key_norm_width=normed
    )
    feed_forward = FeedForward(
        width=v.integer("intermediate_size", default=4096), activation=v.text("hidden_act", default="gelu"), bias=True
    )
    look = RMS_NORM if v.text("norm_type", default="layer_norm") == "rms_norm" else LAYER_NORM
    parts = (("attention", Scaled(part=attend)), ("mlp", Scaled(part=feed_forward)))
    block = Block(count=v.integer("num_hidden_layers", default=24), parts=parts, norms=2, norm=look)
    stem = PatchStem(
        image=size_pair(v, "image_size", 448),
        patch=size_pair(v, "patch_size", 14),
        channels=v.integer("num_channels", default=3),
        positions=v.flag("use_absolute_position_embeddings", True),
        spare_tokens=int(v.flag("use_mask_token", False)),
    )
    final = None if v.flag("use_mean_pooling", True) else LAYER_NORM
    tower = _with_unread(f, Tower(stem=stem, width=d, blocks=(block,), final_norm=final), -1)
    side = picture_side(v, tower.tower)
    merge = _shuffled(f, "downsample_ratio")
    projector = Projector(
        width=d, merge=merge, norm=LAYER_NORM, norm_of_joined=True, widths=(language.width, language.width), biases=(True, True)
    )
    rule = Tiles(side=side, tile_tokens=stem.grid[0] * stem.grid[1] // merge, min_tiles=1, max_tiles=12)
    return tower, projector, rule, "InternVLForConditionalGeneration"


def _mistral3(f: Fields, v: Fields, language: Decoder) -> Built:
    """Mistral Small 3.1: Pixtral's tower, four patches to a token."""
    tower = _with_unread(f, pixtral_tower(v), -1)
    merge, patch = f.integer("spatial_merge_size", default=2), v.integer("patch_size", default=PIXTRAL.patch)
    bias = f.flag("multimodal_projector_bias", False)
    d, wide = tower.tower.width, language.width
    projector = Projector(width=d, merge=merge**2, norm=RMS_NORM, widths=(d, wide, wide), biases=(False, bias, bias))
    rule = LongestEdge(edge=v.integer("image_size", default=PIXTRAL.side), patch=patch * merge)
    return tower, projector, rule, "Mistral3ForConditionalGeneration"


def _llama4(f: Fields, v: Fields, language: Decoder) -> Built:
    """Llama 4: tiles of 336 pixels, four patches to a token through two layers, and a third into the language part's width."""
    d, n = v.integer("hidden_size", default=768), v.integer("num_attention_heads", default=16)
    inner = v.integer("intermediate_size", default=5632)
    block = layers(
        v.integer("num_hidden_layers", default=34),
        replace(attention(n, head_width(v, "num_attention_heads", n, "hidden_size", d)), rotary=True),
        FeedForward(width=inner, activation="gelu", bias=True),
    )
    stem = PatchStem(
        image=size_pair(v, "image_size", 448),
        patch=size_pair(v, "patch_size", 14),
        channels=v.integer("num_channels", default=3),
        bias=False,
        norm=LAYER_NORM,
    )
    tower = Tower(stem=stem, width=d, blocks=(block,), final_norm=LAYER_NORM)
    merge = _shuffled(v, "pixel_shuffle_ratio")
    if inner != merge * d:
        raise v.fail("intermediate_size", inner, f"{merge} x {d}: the adapter's first layer reads so many, too")
    middle, joined = v.integer("projector_input_dim", default=4096), v.integer("projector_output_dim", default=4096)
    for key, width in (("projector_input_dim", middle), ("vision_output_dim", v.integer("vision_output_dim", default=7680))):
        if width != joined:
            raise v.fail(key, width, f"{joined}, as projector_output_dim")
    projector = Projector(width=d, merge=merge, widths=(middle, joined, language.width), biases=(False,) * 3)
    rule = Canvases(side=picture_side(v, tower), tile_tokens=stem.grid[0] * stem.grid[1] // merge, max_tiles=16)
    return PictureTower(tower=tower), projector, rule, "Llama4ForConditionalGeneration"


def _shuffled(f: Fields, key: str) -> int:
    """Patches that make a token, where so much of their height and width is left. Raises BadConfigError."""
    ratio = f.config[key] if key in f.config else f.default(key, 0.5)
    if not isinstance(ratio, float) or not 0 < ratio <= 1 or (1 / ratio) % 1:
        raise f.fail(key, ratio, "one half, a quarter, or the like")
    return round(1 / ratio) ** 2


def _mllama(f: Fields, v: Fields, language: Decoder) -> Built:
    """Llama 3.2 Vision: features of tiles that layers of the language part attend to."""
    tower = tiled_tower(v)
    read = 1 + len(layer_indexes(v, "intermediate_layers_indices", (3, 7, 15, 23, 30)))
    joined = v.integer("vision_output_dim", default=7680)
    if joined != read * tower.width:
        raise v.fail("vision_output_dim", joined, f"{read} x {tower.width}: the last features, and those of intermediate_layers_indices")
    projector = Projector(width=joined, widths=(language.width,), biases=(True,))
    rule = SameTiles(side=tower.stem.image[0], tiles=tower.tiles, tile_features=tower.stem.tokens)
    return tower, projector, rule, "MllamaForConditionalGeneration"


WHOLE: dict[str, Callable[[Fields, Fields, Decoder], Built]] = {
    "gemma3": _gemma3,
    "idefics3": _idefics3,
    "internvl": _internvl,
    "llama4": _llama4,
    "llava": _llava,
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "mistral3": _mistral3,
    "mllama": _mllama,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen2_vl": qwen2_vl,
    "qwen3_vl": qwen3_vl,
    "smolvlm": _idefics3,
}
"""model_type -> what builds its tower, its projector and its rule."""
