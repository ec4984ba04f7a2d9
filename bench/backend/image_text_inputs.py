"""What a vision-language model of transformers is fed: the pictures that its processor makes of images, and a text with places for them."""

from __future__ import annotations

from typing import Any

import torch

from estimators.architectures.vision_language import VisionLanguage

FIRST_WORD = 3
"""Of a vocabulary: what stands before is padding and ends."""

NOT_LEARNED = -100
"""A label that no loss is made of, as the text's of an image are."""

BY_SAMPLE, BY_IMAGE = ("idefics3", "smolvlm"), ("llava_next", "llava_onevision")
"""Families whose pictures lie together by sample, and by image."""


def image_token_id(config: Any) -> int:
    """The token that stands where an image's features go."""
    return int(next(found for name in ("image_token_id", "image_token_index") if (found := getattr(config, name, None)) is not None))


def image_text_inputs(config: Any, model: VisionLanguage, batch: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """One step's inputs: the pictures that the processor's rule makes, and as many image tokens as the rule says among random words.

    Args:
        config: of transformers, of the whole model.
        model: on examples of one kind, each with images and no video.
        batch: examples.

    Returns:
        Arguments of the forward pass by name: pixels on meta, B x T tokens, labels and what else is a whole number on the CPU.
    """
    seen, example, family = model.seen, model.example, config.model_type
    height, width, images = seen.picture.height, seen.picture.width, example.images
    place = image_token_id(config)
    is_qwen = family.startswith("qwen")
    opened = [config.vision_start_token_id] if is_qwen else []
    closed = [config.vision_end_token_id] if is_qwen else [FIRST_WORD] * seen.marks
    each = [*opened, *[place] * seen.tokens, *closed]
    row = each * images
    row += [FIRST_WORD] * (model.sequence_tokens - len(row))
    ids = torch.tensor([row] * batch)
    words = ids == FIRST_WORD
    ids[words] = _words(config, int(words.sum()), generator)
    labels = ids.masked_fill(ids == place, NOT_LEARNED)
    given = {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}
    if is_qwen:
        vision = config.vision_config
        grid = (1, height // vision.patch_size, width // vision.patch_size)
        pixels = 3 * vision.temporal_patch_size * vision.patch_size**2
        given["pixel_values"] = _on_meta(batch * images * grid[1] * grid[2], pixels)
        given["image_grid_thw"] = torch.tensor([grid] * (batch * images))
        given["mm_token_type_ids"] = (ids == place).int()
        return given
    if family == "mllama":
        given["aspect_ratio_ids"] = torch.ones(batch, images, dtype=torch.long)
        given["aspect_ratio_mask"] = torch.ones(batch, images, seen.pictures, dtype=torch.long)
        given["cross_attention_mask"] = torch.ones(batch, len(row), images, seen.pictures, dtype=torch.long)
        return given | {"pixel_values": _on_meta(batch, images, seen.pictures, 3, height, width)}
    count = batch * images * seen.pictures
    shape: tuple[int, ...] = (count,)
    if family in BY_SAMPLE:
        shape = (batch, images * seen.pictures)
    if family in BY_IMAGE:
        shape = (batch * images, seen.pictures)
        given["image_sizes"] = torch.tensor([[example.image.height, example.image.width]] * (batch * images))
    if _reads_sizes(config):
        given["image_sizes"] = torch.tensor([[height, width]] * count)
    if family == "gemma3":
        given["token_type_ids"] = (ids == place).int()
    return given | {"pixel_values": _on_meta(*shape, 3, height, width)}


def _reads_sizes(config: Any) -> bool:
    """Whether its tower takes pictures of any size (Pixtral's), and is told what each has."""
    return getattr(getattr(config, "vision_config", None), "model_type", "") == "pixtral"


def _on_meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def _words(config: Any, number: int, generator: torch.Generator) -> torch.Tensor:
    """Random tokens that are none of those that mean something."""
    text = config.get_text_config()
    named = [value for part in (config, text) for name, value in vars(part).items() if name.endswith(("token_id", "token_index"))]
    special = {token for each in named for token in (each if isinstance(each, list) else [each]) if isinstance(token, int)}
    plain = next(token for token in range(FIRST_WORD, text.vocab_size) if token not in special)
    drawn = torch.randint(FIRST_WORD, text.vocab_size, (number,), generator=generator)
    return torch.where(torch.isin(drawn, torch.tensor(sorted(special), dtype=torch.long)), plain, drawn)
