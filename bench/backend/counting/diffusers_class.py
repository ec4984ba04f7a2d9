"""A class of diffusers that has no op table: built on meta from its config.json, and fed what its arguments' names call for."""

from __future__ import annotations

import inspect
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from bench.backend.counting.does_not_run import DOES_NOT_RUN, first_line, raise_if_ours
from bench.backend.counting.module import unfused
from bench.backend.known_values import KnownValues
from bench.backend.on_meta import autocast_by_the_cpu
from estimators.errors import BadConfigError
from estimators.extras import needed_by

Feed = Callable[[int], dict[str, Any]]
"""From how many samples to what a forward pass is given."""

TEXT_TOKENS, LATENT_SIDE, PICTURE_SIDE, FRAMES = 7, 16, 64, 9
"""Of made-up inputs, where the configuration does not say."""

TEXT_WIDTHS = ("joint_attention_dim", "cross_attention_dim", "caption_channels", "text_dim", "text_embed_dim", "cap_feat_dim")
"""What configurations call the width of a text."""

OPTIONAL = ("encoder_hidden_states", "timestep", "pooled_projections", "img_ids", "txt_ids", "guidance", "num_frames", "height", "width")
"""Arguments that are given although a forward pass has defaults for them: most have None there, and do not run without."""


def build(config: Mapping[str, Any]) -> nn.Module:
    """The class that `_class_name` names, on meta.

    Raises:
        MissingPackageError: diffusers is not installed.
        BadConfigError: it has no such class, or cannot build it.
    """
    name = str(config.get("_class_name"))
    with needed_by(f"counting {name[:60]}"):
        import diffusers
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    built: Any = getattr(diffusers, name, None)
    if not (inspect.isclass(built) and issubclass(built, nn.Module) and hasattr(built, "from_config")):
        raise BadConfigError(f"the class {name[:60]!r} has no op table, and diffusers {diffusers.__version__} has no network of that name")
    try:
        with torch.device("meta"):
            made: nn.Module = built.from_config(dict(config))
    except DOES_NOT_RUN as error:
        raise_if_ours(error)
        raise BadConfigError(f"diffusers cannot build {name}: {first_line(error)}") from error
    return made.eval()


def feed_of(model: Any) -> Feed:
    """The first of several guesses that its forward pass takes. Raises BadConfigError with the reason of the first."""
    reason = ""
    for feed in _guesses(model):
        known = KnownValues(hides_nothing=True)
        try:
            with unfused(), autocast_by_the_cpu(), torch.no_grad(), known:
                model(**stood_in(known, feed(1)))
        except DOES_NOT_RUN as error:
            raise_if_ours(error)
            reason = reason or first_line(error)
            continue
        return feed
    raise BadConfigError(
        f"{type(model).__name__} does not run on inputs made up from its configuration: {reason or 'it reads neither samples nor states'}"
    )


def why_not_run(model: Any) -> str:
    """Why no inputs could be made up for it, or, where some were, that its sizes are no polynomials in the number of samples."""
    try:
        feed_of(model)
    except BadConfigError as error:
        return str(error)
    return "its operations are no polynomials in the number of samples"


def shapes_of(feed: Feed) -> str:
    """What one sample is, as it was made up."""
    made = feed(1)
    return ", ".join(f"{name} {' x '.join(map(str, t.shape[1:])) or 'scalar'}" for name, t in made.items() if isinstance(t, torch.Tensor))


def stood_in(known: KnownValues, given: Mapping[str, Any]) -> dict[str, Any]:
    """The same with tensors that stand for these on meta, those of a group among them."""

    def each(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: each(inner) for name, inner in value.items()}
        return known.stand_in(value) if isinstance(value, torch.Tensor) else value

    return {name: each(value) for name, value in given.items()}


def _guesses(model: Any) -> Iterator[Feed]:
    config, takes = model.config, inspect.signature(model.forward).parameters
    main = next((name for name in ("sample", "hidden_states") if name in takes), None)
    if main is None:
        return
    widths = list(dict.fromkeys(w for key in TEXT_WIDTHS if isinstance(w := config.get(key), int))) or [0]
    lengths = list(dict.fromkeys((config.get("max_text_seq_length") or TEXT_TOKENS, TEXT_TOKENS)))
    for shape, width, length in itertools.product(_shapes(config, denoises="timestep" in takes), widths, lengths):
        yield partial(_given, config, takes, main, shape, (length, width))


def _shapes(config: Any, *, denoises: bool) -> list[tuple[int, ...]]:
    """What one sample may be: an image, a video with channels first or frames first, a sequence."""
    channels, said = config.get("in_channels") or 3, config.get("sample_size")
    side = said if isinstance(said, int) and said <= 128 else LATENT_SIDE if denoises else PICTURE_SIDE
    image = (channels, side, side)
    return [image, (channels, FRAMES, side, side), (FRAMES, *image), (LATENT_SIDE, channels), (channels, LATENT_SIDE)]


def _given(config: Any, takes: Mapping[str, Any], main: str, shape: tuple[int, ...], text: tuple[int, int], batch: int) -> dict[str, Any]:
    positions = len(config.get("axes_dims_rope") or (0, 0, 0))
    sequence = len(shape) == 2
    made: dict[str, Any] = {
        main: torch.zeros(batch, *shape),
        "timestep": torch.ones(batch, dtype=torch.long),
        "encoder_hidden_states": torch.zeros(batch, *text) if text[1] else None,
        "pooled_projections": torch.zeros(batch, config.get("pooled_projection_dim") or 1),
        "class_labels": torch.zeros(batch, dtype=torch.long),
        "img_ids": torch.zeros(shape[0], positions),
        "txt_ids": torch.zeros(text[0], positions),
        "encoder_attention_mask": torch.ones(batch, text[0]),
        "encoder_hidden_states_mask": torch.ones(batch, text[0], dtype=torch.bool),
        "img_shapes": [[(1, 4, LATENT_SIDE // 4)]] * batch,
        **({"num_frames": 1, "height": 4, "width": LATENT_SIDE // 4} if sequence else {}),
        **({"guidance": torch.ones(batch)} if config.get("guidance_embeds") else {}),
        **{name: torch.ones(batch, 2) for name in ("original_size", "target_size", "crop_coords")},
        "added_time_ids": torch.zeros(batch, 3),
    }
    optional = {*OPTIONAL, main}
    wanted = (name for name, p in takes.items() if name in optional or p.default is p.empty)
    return {name: made[name] for name in wanted if made.get(name) is not None}
