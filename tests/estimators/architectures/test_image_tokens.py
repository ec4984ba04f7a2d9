"""Tokens of an image are those of transformers' own processors, whatever its size."""

from __future__ import annotations

import ast
import importlib.util
import math
import random
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llama4.processing_llama4 import Llama4Processor
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
from transformers.models.pixtral.image_processing_pil_pixtral import get_resize_output_image_size
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as of_images
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from estimators.architectures.builders.whole import whole
from estimators.architectures.fields import Fields
from estimators.architectures.image_tokens import Canvases, LongestEdge, OneSize, OwnSize, Pinpoints, SameTiles, Splits, Tiles, resized
from estimators.errors import BadValueError
from estimators.facts.registry import model_entry
from estimators.samples import Example, Image

RANDOM = random.Random(0)
SIZES = [(224, 224), (768, 1024), (1, 1), (1080, 1920), (3024, 4032), (336, 1008), (448, 1344), (27, 29), (4096, 100)]
SIZES += [(RANDOM.randint(20, 3000), RANDOM.randint(20, 3000)) for _ in range(300)]
IMAGES = [Image(height=height, width=width) for height, width in SIZES]


@pytest.mark.parametrize(("patch", "max_pixels"), [(14, 28 * 28 * 1280), (14, 12845056), (16, 16777216)])
def test_qwens_images_have_the_tokens_of_its_processor(patch: int, max_pixels: int) -> None:
    processor = Qwen2VLImageProcessorPil(patch_size=patch, min_pixels=3136, max_pixels=max_pixels)
    rule = OwnSize(patch=patch, merge=2, min_pixels=3136, max_pixels=max_pixels)
    for image in IMAGES:
        seen = rule.seen(image)
        assert 4 * seen.tokens == processor.get_number_of_image_patches(image.height, image.width)
        picture = (seen.picture.height, seen.picture.width)
        assert picture == of_images(image.height, image.width, 2 * patch, 3136, max_pixels)


def test_an_aspect_that_qwens_processor_refuses_is_refused() -> None:
    with pytest.raises(BadValueError, match="over 200 times the other"):
        resized(Image(height=10, width=2001), 28, 3136, 10**6)


@pytest.mark.parametrize(("edge", "patch"), [(1024, 16), (1540, 28)])
def test_pixtrals_images_have_the_size_of_its_processor_and_a_mark_per_row(edge: int, patch: int) -> None:
    """The processor writes (width + 1) tokens per row: the last mark of a row breaks it, that of the last row ends the image."""
    rule = LongestEdge(edge=edge, patch=patch)
    for image in IMAGES:
        pixels = SimpleNamespace(shape=(3, image.height, image.width), ndim=3)
        height, width = _sized(pixels, edge, patch)
        seen = rule.seen(image)
        assert (seen.picture.height, seen.picture.width) == (height, width)
        assert seen.tokens + seen.marks == (width // patch + 1) * (height // patch)


def _sized(pixels: SimpleNamespace, edge: int, patch: int) -> tuple[int, int]:
    import numpy as np

    blank = np.broadcast_to(np.uint8(0), pixels.shape)
    size = get_resize_output_image_size(blank, edge, patch, "channels_first")
    return int(size[0]), int(size[1])


NEXT = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
ONE_VISION = tuple((384 * i, 384 * j) for i in range(1, 7) for j in range(1, 7))


def test_llava_nexts_images_have_the_tokens_of_its_processor() -> None:
    """The processor counts CLIP's class token, and takes it off again."""
    processor = SimpleNamespace(
        image_processor=SimpleNamespace(image_grid_pinpoints=[list(canvas) for canvas in NEXT]),
        patch_size=14,
        num_additional_image_tokens=1,
        _get_unpadded_features=lambda *given: LlavaNextProcessor._get_unpadded_features(None, *given),  # type: ignore[arg-type]
    )
    rule = Pinpoints(side=336, patch=14, canvases=NEXT)
    for image in IMAGES[:3] + IMAGES[4:]:
        expected = LlavaNextProcessor._get_number_of_features(processor, image.height, image.width, 336, 336)  # type: ignore[arg-type]
        assert rule.seen(image).tokens == expected - 1


def test_llava_onevisions_images_have_the_tokens_of_its_processor() -> None:
    processor = SimpleNamespace(
        image_processor=SimpleNamespace(image_grid_pinpoints=[list(canvas) for canvas in ONE_VISION]),
        num_image_tokens=729,
        vision_aspect_ratio="anyres_max_9",
    )
    processor._get_unpadded_features = lambda *given: LlavaOnevisionProcessor._get_unpadded_features(processor, *given)  # type: ignore[arg-type]
    rule = Pinpoints(side=384, patch=14, canvases=ONE_VISION, most_tiles=9)
    for image in IMAGES:
        expected = LlavaOnevisionProcessor._get_number_of_features(processor, image.height, image.width, 384, 384)  # type: ignore[arg-type]
        assert rule.seen(image).tokens == expected


def test_internvls_images_have_the_tiles_of_its_processor() -> None:
    rule = Tiles(side=448, tile_tokens=256, min_tiles=1, max_tiles=12)
    for image in IMAGES:
        columns, rows = get_optimal_tiled_canvas((image.height, image.width), (448, 448), 1, 12)
        tiles = columns * rows + (columns * rows > 1)
        seen = rule.seen(image)
        assert (seen.pictures, seen.tokens, seen.marks) == (tiles, 256 * tiles, 2)


@pytest.mark.parametrize(
    ("processor", "edge", "side", "tile_tokens"),
    [(Idefics3ImageProcessorPil(), 4 * 364, 364, 169), (SmolVLMImageProcessorPil(), 4 * 364, 364, 169)],
)
def test_idefics3s_images_have_the_rows_and_columns_of_its_processor(processor: object, edge: int, side: int, tile_tokens: int) -> None:
    """Of each tile the processor writes two marks more, of each row one, and three around the whole (a blank line is one token)."""
    rule = Splits(edge=edge, side=side, tile_tokens=tile_tokens)
    for image in IMAGES:
        pictures, rows, columns = processor.get_number_of_image_patches(image.height, image.width)  # type: ignore[attr-defined]
        expected = tile_tokens + 3 + rows * (columns * (tile_tokens + 2) + 1)
        seen = rule.seen(image)
        assert (seen.pictures, seen.tokens + seen.marks) == (max(1, pictures), expected)


def test_llama_4s_images_have_the_tiles_and_the_tokens_of_its_processor() -> None:
    """Two marks at the ends, one before the whole, and behind each tile one: of a column, or of a row."""
    space: dict[str, Any] = {"torch": torch, "defaultdict": defaultdict, "lru_cache": lru_cache, "SizeDict": object}
    tree = ast.parse(source_of("llama4", "image_processing_llama4.py"))
    for name in ("get_factors", "find_supported_resolutions", "get_best_fit"):
        exec(ast.unparse(next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)), space)
    known = torch.tensor(space["find_supported_resolutions"](16, Image(height=336, width=336)))
    processor = SimpleNamespace()
    rule = Canvases(side=336, tile_tokens=144, max_tiles=16)
    for image in IMAGES:
        grid = [int(side) // 336 for side in space["get_best_fit"]((image.height, image.width), known)]
        written = Llama4Processor._prompt_split_image(processor, grid, 144)  # type: ignore[arg-type]
        seen = rule.seen(image)
        assert (seen.tokens, seen.tokens + seen.marks) == (written.count("<|patch|>"), written.count("<"))
        assert seen.pictures == grid[0] * grid[1] + (grid != [1, 1])


@pytest.mark.parametrize("image", IMAGES[:6], ids=str)
def test_llama_3_2s_images_have_the_tiles_of_its_processor(image: Image) -> None:
    """Whatever the size, as many as there can be: the rest are empty. A tile has (56 / 14)² patches, and a class token."""
    blank = np.zeros((image.height, image.width, 3), dtype=np.uint8)
    processor = MllamaImageProcessorPil(size={"height": 56, "width": 56})
    made = processor(blank, return_tensors="np")["pixel_values"]
    seen = SameTiles(side=56, tiles=4, tile_features=17).seen(image)
    assert made.shape == (1, 1, seen.pictures, 3, seen.picture.height, seen.picture.width)
    assert (seen.tokens, seen.marks, seen.attended) == (0, 1, 4 * 17)


def test_an_image_of_one_size_has_one_number_of_tokens() -> None:
    """LLaVA 1.5: (336 / 14)² = 576."""
    seen = OneSize(side=336, tokens=576).seen(Image(height=17, width=900))
    assert (str(seen.picture), seen.pictures, seen.tokens) == ("an image of 336 x 336 pixels", 1, 576)


def source_of(module: str, file: str) -> str:
    """A file of transformers that cannot be imported without torchvision."""
    found = importlib.util.find_spec("transformers")
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / "models" / module / file).read_text(encoding="utf-8")


def of_videos(module: str, wanted: type) -> Any:
    """transformers' own smart_resize, or the size of its class."""
    tree = ast.parse(source_of(module, f"video_processing_{module}.py"))
    if wanted is dict:
        processor = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("VideoProcessor"))
        size = next(n for n in processor.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "size")
        return eval(ast.unparse(size.value))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "smart_resize")
    space: dict[str, Any] = {"math": math}
    exec(ast.unparse(function), space)
    return space["smart_resize"]


FRAMES = [(2, 224, 224), (7, 480, 640), (120, 448, 448), (768, 1080, 1920)]
FRAMES += [(RANDOM.randint(2, 400), RANDOM.randint(40, 2000), RANDOM.randint(40, 2000)) for _ in range(200)]


def test_frames_of_qwen2s_videos_have_the_size_of_its_processor() -> None:
    """Each frame by itself; two make a picture, the last is repeated where one is missing."""
    resize: Callable[..., tuple[int, int]] = of_videos("qwen2_vl", Callable)  # type: ignore[arg-type]
    size = of_videos("qwen2_vl", dict)
    rule = OwnSize(
        patch=14, merge=2, min_pixels=3136, max_pixels=12845056, least_frame=size["shortest_edge"], most_frame=size["longest_edge"]
    )
    for frames, height, width in FRAMES:
        expected = resize(height, width, factor=28, min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"])
        seen = rule.seen_in_video(Image(height=height, width=width), frames)
        assert (seen.picture.height, seen.picture.width) == expected
        assert seen.tokens == -(-frames // 2) * expected[0] * expected[1] // 28**2


def test_frames_of_qwen3s_videos_share_the_pixels_of_its_processor() -> None:
    resize: Callable[..., tuple[int, int]] = of_videos("qwen3_vl", Callable)  # type: ignore[arg-type]
    size = of_videos("qwen3_vl", dict)
    bounds = {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    rule = OwnSize(
        patch=16,
        merge=2,
        min_pixels=65536,
        max_pixels=16777216,
        least_frame=size["shortest_edge"],
        most_frame=size["longest_edge"],
        shared=True,
    )
    for frames, height, width in FRAMES:
        expected = resize(frames, height, width, temporal_factor=2, factor=32, **bounds)
        seen = rule.seen_in_video(Image(height=height, width=width), frames)
        assert (seen.picture.height, seen.picture.width, seen.pictures) == (*expected, -(-frames // 2))


@pytest.mark.parametrize(("module", "name"), [("qwen2_vl", "qwen2.5-vl-7b"), ("qwen3_vl", "qwen3-vl-8b")])
def test_a_shipped_models_videos_have_the_bounds_of_its_processors_class(module: str, name: str) -> None:
    entry, size = model_entry(name), of_videos(module, dict)
    assert entry.whole_config
    example = Example(image=Image(height=448, width=448), images=0, frames=8)
    rule = whole(Fields(entry.whole_config, name), name, entry.source, example).rule
    assert isinstance(rule, OwnSize)
    assert (rule.least_frame, rule.most_frame, rule.shared) == (size["shortest_edge"], size["longest_edge"], module == "qwen3_vl")
