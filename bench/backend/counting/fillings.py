"""Tensors of the right shape for the arguments of forward passes: images, films, audio, series, boxes and grids."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from bench.backend.config_fields import first_integer, parts_of
from bench.backend.known_values import AS_IT_IS

Maker = Callable[[int], dict[str, Any]]


def _float(*shape: int) -> torch.Tensor:
    """A tensor of floating point that takes no memory."""
    return torch.zeros(1).expand(shape)


def side_of(config: Any) -> tuple[int, int]:
    """Height and width of an image in pixels, ResNet's 224 where a configuration does not say."""
    for part in parts_of(config):
        size = getattr(part, "image_size", None)
        if isinstance(size, int) and size > 0:
            return size, size
        if isinstance(size, list | tuple) and len(size) >= 2:
            return int(size[-2]), int(size[-1])
    return 224, 224


def _shaped(name: str, *shape: int) -> Maker:
    """A maker of one tensor of floating point."""
    return lambda batch: {name: _float(batch, *shape)}


def images(config: Any) -> Iterator[Maker]:
    """One image, a film, a pair; patches laid flat beside their grid; larger images."""
    (height, width), channels = side_of(config), first_integer(config, "num_channels", "in_channels", "in_chans", "channels") or 3
    frames = first_integer(config, "num_frames", "frames_per_clip", "num_image_frames") or 8
    colours = channels if channels in (1, 3, 4) else 3
    yield _shaped("pixel_values", colours, height, width)
    yield _shaped("pixel_values", frames, colours, height, width)
    yield _shaped("pixel_values", 2, colours, 480, 640)
    patch, of_time = (
        first_integer(config, "patch_size", "spatial_patch_size") or 16,
        first_integer(config, "temporal_patch_size", "patch_temporal") or 1,
    )
    merge = first_integer(config, "spatial_merge_size", "merge_kernel_size", "merge_size") or 2
    rows = max(2, min(height // patch // merge, 16)) * merge
    for width_of_patch in (colours * of_time * patch * patch, colours * patch * patch):
        yield partial(_patches, rows=rows, shape=(width_of_patch,))
    yield partial(_patches, rows=rows, shape=(colours, patch, patch))
    yield partial(_patches, rows=rows, shape=(colours, of_time, patch, patch))
    yield partial(_patches, rows=rows, shape=(of_time, colours, patch, patch))
    yield partial(_patches, rows=rows // merge, shape=(patch * merge, patch * merge, colours))
    yield partial(_strip, colours=colours, patch=patch, rows=rows)
    pooled = first_integer(config, "pooling_kernel_size") or 1
    side = math.isqrt(first_integer(config, "num_patches")) or 16
    yield partial(_naflex, width=colours * patch * patch, side=side - side % pooled)
    for size in (640, 1024, 512, 384, 1536, 448, 896):
        yield _shaped("pixel_values", colours, size, size)
    yield _shaped("pixel_values", 1, colours, height, width)


def _grids(batch: int, rows: int) -> dict[str, Any]:
    grid = [[1, rows, rows]] * batch
    return {"grid_thw": _listed(grid), "image_grid_thw": _listed(grid), "merge_sizes": _listed([1] * batch)} | {
        "target_sizes": _listed([[rows, rows]] * batch)
    }


def _listed(values: Any) -> torch.Tensor:
    """Whole numbers that a pass makes a list of."""
    tensor = torch.tensor(values)
    setattr(tensor, AS_IT_IS, True)
    return tensor


def _patches(batch: int, *, rows: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """The patches of all images in one row, and how many rows and columns each image has of them."""
    flat = _float(batch * rows * rows, *shape)
    return {"pixel_values": flat, "hidden_states": flat, **_grids(batch, rows)}


def _strip(batch: int, *, colours: int, patch: int, rows: int) -> dict[str, Any]:
    """The patches of an image side by side, one patch high."""
    return {"pixel_values": _float(batch, colours, patch, patch * rows * rows), **_grids(batch, rows)}


def _naflex(batch: int, *, width: int, side: int) -> dict[str, Any]:
    """Patches of an image of any shape: flat, with a mask and the rows and columns of each."""
    places = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="xy"), -1).reshape(1, side**2, 2)
    return {
        "pixel_values": _float(batch, side**2, width),
        "pixel_attention_mask": torch.ones(batch, side**2, dtype=torch.long),
        "spatial_shapes": _listed([[side, side]] * batch),
        "pixel_position_ids": places.repeat(batch, 1, 1),
    }


MEL_BINS = ("num_mel_bins", "n_mels", "feature_size", "input_feat_per_channel", "input_feat_size", "mel_bins", "input_dim")


def audio(config: Any, widths: Sequence[int] = ()) -> Iterator[Maker]:
    """Samples of a second, samples of one channel, mel bins of frames: last or first, with a mask or without.

    Args:
        widths: of a row of features that a model's first layers take.
    """
    mels, positions = first_integer(config, *MEL_BINS) or 80, first_integer(config, "max_source_positions")
    if positions:
        yield _shaped("input_features", mels, 2 * positions)
    yield _shaped("input_values", 16000)
    yield _shaped("input_values", 1, 24000)
    yield _shaped("input_values", 15360)  # a multiple of every hop between 320 and 1,920 samples
    yield _shaped("input_values", 1, 15360)
    for length in (first_integer(config, "max_length") or 1024, 256, 3000):
        for width in dict.fromkeys((mels, *widths, 128)):
            for shape in ((length, width), (width, length), (1, length, width), (1, width, length)):
                yield _shaped("input_features", *shape)
                yield partial(_masked_frames, shape=shape, length=length)


def _masked_frames(batch: int, *, shape: tuple[int, ...], length: int) -> dict[str, Any]:
    ones = torch.ones(batch, length, dtype=torch.long)
    return {
        "input_features": _float(batch, *shape),
        "attention_mask": ones,
        "input_features_mask": ones.bool(),
        "audio_mel_mask": ~ones.bool(),
        "feature_attention_mask": ones,
        "is_longer": torch.ones(batch, 1, dtype=torch.bool),
    }


EMBEDDED = ("latents", "hidden_states", "inputs_embeds", "noise_embeds", "encoder_hidden_states", "inputs", "query_embeds", "state")


def series(config: Any) -> Iterator[Maker]:
    """Values of the past; latents and embeddings, a row a place or a column a place."""
    length = first_integer(config, "context_length", "prediction_length") or 64
    yield _shaped("past_values", length, first_integer(config, "num_input_channels", "input_size") or 1)
    yield partial(_listed_series, length=length)
    yield _shaped("past_values", length)
    if width_of_patch := first_integer(config, "patch_embed_hidden_size"):
        yield _shaped("flattened_patches", first_integer(config, "seq_len") or 2048, 2 + width_of_patch)  # row, column and values of each
    width = first_integer(config, "hidden_size", "d_model", "width", "latent_dim")
    for name in EMBEDDED:
        for size in dict.fromkeys((first_integer(config, "d_latents", "d_model", "latent_dim"), width)):
            if size:
                yield _shaped(name, 32, size)
                yield _shaped(name, size, 32)


FRACTIONS = ("Bros", "Udop")
"""Whose classes read the edges of a box as fractions of a page; others read whole numbers."""


def _listed_series(batch: int, *, length: int) -> dict[str, Any]:
    return {"past_values": [_float(length) for _ in range(batch)], "freq": [0] * batch}


def _frames(config: Any, batch: int, length: int, samples: Any) -> torch.Tensor:
    """Mel bins of a sound: as many frames as its samples make or as the tokens stand for, where a configuration says so; rows of stacked
    ones."""
    if stacked := first_integer(config, "feature_projection_input_dim"):
        hop = first_integer(config, "hop_length") or 320
        return _float(batch, samples.shape[-1] // hop if isinstance(samples, torch.Tensor) else 256, stacked)
    of_token = first_integer(config, "audio_length_per_tok")
    return _float(batch, first_integer(config, "num_mel_bins", "feature_size") or 80, of_token * length or 256)


def filled(name: str, model: Any, given: dict[str, Any], batch: int, seq_len: int) -> Any:
    """A value for an argument beside the main one; None where nothing is known of its name."""
    config = model.config
    first = next((value for value in given.values() if isinstance(value, torch.Tensor)), None)
    length = given["input_ids"].shape[-1] if "input_ids" in given else seq_len
    height, width = side_of(config)
    wide = first_integer(config, "hidden_size", "d_model") or 64
    known: dict[str, Callable[[], Any]] = {
        "input_ids": lambda: torch.full((batch, seq_len), 3, dtype=torch.long),
        "attention_mask": lambda: torch.ones(batch, length, dtype=torch.long) if "input_ids" in given else None,
        "token_type_ids": lambda: torch.zeros(batch, length, dtype=torch.long) if "input_ids" in given else None,
        "bbox": lambda: (
            _float(batch, length, 4) if type(model).__name__.startswith(FRACTIONS) else torch.zeros(batch, length, 4, dtype=torch.long)
        ),
        "decoder_input_ids": lambda: torch.full((batch, seq_len), 3, dtype=torch.long),
        "pixel_values": lambda: _float(batch, 3, height, width),
        "prompt_pixel_values": lambda: _float(*first.shape) if first is not None else None,
        "prompt_masks": lambda: _float(*first.shape) if first is not None else None,
        "visual_feats": lambda: _float(batch, 36, first_integer(config, "visual_feat_dim") or 2048),
        "visual_pos": lambda: _float(batch, 36, first_integer(config, "visual_pos_dim") or 4),
        "query_embeds": lambda: _float(batch, 32, wide),
        "input_features": lambda: _frames(config, batch, length, given.get("input_values")),
        "image_embeds_position_mask": lambda: torch.zeros(batch, length, dtype=torch.bool),
        "encoder_hidden_states": lambda: _float(
            batch, 32, first_integer(config, "encoder_hidden_size", "cross_attention_hidden_size") or wide
        ),
        "durations": lambda: torch.ones(batch, length, dtype=torch.long),
        "duration_labels": lambda: torch.ones(batch, length, dtype=torch.long),
        "states": lambda: _float(batch, seq_len, first_integer(config, "state_dim") or 1),
        "actions": lambda: _float(batch, seq_len, first_integer(config, "act_dim") or 1),
        "rewards": lambda: _float(batch, seq_len, 1),
        "returns_to_go": lambda: _float(batch, seq_len, 1),
        "timesteps": lambda: torch.zeros(batch, seq_len, dtype=torch.long),
        "task_inputs": lambda: torch.zeros(batch, first_integer(config, "task_seq_len") or 77, dtype=torch.long),
        "inputs": lambda: _float(batch, 32, first_integer(config, "d_model") or wide),
        "noise_embeds": lambda: _float(batch, seq_len, wide),
        "inputs_embeds": lambda: _float(batch, seq_len, wide),
        "past_values_padding": lambda: (
            _float(*given["past_values"].shape).long() if isinstance(given.get("past_values"), torch.Tensor) else None
        ),
        "freq": lambda: torch.zeros(batch, 1, dtype=torch.long),
        "lang_ids": lambda: torch.zeros(batch, dtype=torch.long),
        "image_attention_mask": lambda: torch.ones(batch, length, given["pixel_values"].shape[1]) if "pixel_values" in given else None,
        "past_observed_mask": lambda: _float(*given["past_values"].shape) if isinstance(given.get("past_values"), torch.Tensor) else None,
        "langs": lambda: torch.zeros(batch, length, dtype=torch.long),
        "speaker_embeddings": lambda: _float(batch, first_integer(config, "speaker_embedding_dim") or 512),
        "pixel_mask": lambda: torch.ones(batch, *first.shape[-2:], dtype=torch.long) if first is not None and first.dim() == 4 else None,
    }
    if name in known:
        return known[name]()
    return torch.ones(batch, first.shape[1], dtype=torch.bool) if name.endswith("mask") and first is not None and first.dim() == 3 else None
