"""Diffusion pipelines by name, and from the folders that diffusers writes."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from estimators.architectures.autoencoder import Autoencoder
from estimators.architectures.builders.diffusion import PARTS, class_of, part_from
from estimators.architectures.denoisers import Denoiser
from estimators.architectures.encoder import Encoder
from estimators.architectures.fields import Fields
from estimators.architectures.from_config import model_from_config, read_config
from estimators.architectures.pipeline import Pipeline
from estimators.architectures.video_autoencoder import VideoAutoencoder
from estimators.errors import BadConfigError, NoOpTableError
from estimators.facts import data
from estimators.spec import Source

INDEX = "model_index.json"
DENOISERS, AUTOENCODER, ENCODERS = ("unet", "transformer"), "vae", ("text_encoder", "text_encoder_2", "text_encoder_3")
"""What diffusers calls the folders of a pipeline's parts."""

SECOND = "transformer_2"
"""Folder of a second denoiser, which takes over behind some step (Wan 2.2)."""

TEXT_TOKENS = {"PixArtSigmaPipeline": 300}
"""Pipeline of diffusers -> max_sequence_length of its prompts, where its denoiser's class alone does not say."""


@functools.cache
def pipeline_ids() -> tuple[str, ...]:
    """Every shipped pipeline, in alphabetical order."""
    return tuple(sorted(name.removesuffix(".json") for name in os.listdir(data.file("pipelines")) if name.endswith(".json")))


@functools.cache
def _aliases() -> dict[str, str]:
    """Every id and alias, in lower case, to its pipeline's id."""
    bodies = {name: data.read_json(data.file("pipelines", f"{name}.json")) for name in pipeline_ids()}
    return {alias.casefold(): name for name, body in bodies.items() for alias in (name, *body["aliases"])}


def is_pipeline(text: str) -> bool:
    """Whether a shipped pipeline has the name, upper or lower case."""
    return text.casefold() in _aliases()


def pipeline_named(text: str) -> Pipeline | None:
    """A shipped pipeline by id or alias, upper or lower case; None where none has the name.

    >>> pipeline_named("stabilityai/stable-diffusion-xl-base-1.0").name
    'sdxl'
    """
    if not is_pipeline(text):
        return None
    name = _aliases()[text.casefold()]
    body = data.read_json(data.file("pipelines", f"{name}.json"))
    return _built(body["parts"], name, Source(**body["source"]))


def denoiser_config(text: str) -> tuple[str, dict[str, Any]]:
    """The id of a shipped pipeline, and the configuration of its denoiser.

    >>> denoiser_config("DiT-S/2")[1]["_class_name"]
    'DiTTransformer2DModel'
    """
    name = _aliases()[text.casefold()]
    parts = data.read_json(data.file("pipelines", f"{name}.json"))["parts"]
    config: dict[str, Any] = next(parts[key] for key in DENOISERS if key in parts)
    return name, config


def published_params(name: str) -> dict[str, int]:
    """Part -> published parameters of a shipped pipeline."""
    counts: dict[str, int] = data.read_json(data.file("pipelines", f"{name}.json"))["published_params"]
    return counts


def pipeline_in(folder: str) -> Pipeline | None:
    """The pipeline of a folder with a model_index.json; None for any other path.

    Raises:
        BadConfigError: a part is missing, has no op table, or makes no sense, or there are two denoisers.
    """
    if not os.path.isfile(os.path.join(folder, INDEX)):
        return None
    if os.path.isdir(os.path.join(folder, SECOND)):
        raise BadConfigError(
            f"{folder} has two denoisers, one for early steps and one for late; give the config.json of {SECOND} or its twin"
        )
    parts = {}
    for name in (*DENOISERS, AUTOENCODER, *ENCODERS):
        if os.path.isdir(path := os.path.join(folder, name)):
            parts[name] = read_config(path)
    if (tokens := TEXT_TOKENS.get(str(read_config(os.path.join(folder, INDEX)).get("_class_name")))) is not None:
        parts = {name: {"text_tokens": tokens, **part} if name in DENOISERS else part for name, part in parts.items()}
    return _built(parts, os.path.basename(os.path.abspath(folder)), Source(title=folder))


def _built(parts: Mapping[str, Mapping[str, Any]], name: str, source: Source) -> Pipeline:
    def part(key: str) -> Any:
        titled = name if key in DENOISERS else f"{name}: {key}"
        try:
            if "model_type" in parts[key] and class_of(dict(parts[key])) not in PARTS:
                return model_from_config(parts[key], titled, source)
            return part_from(Fields(parts[key], f"{name}: {key}"), titled, source)
        except NoOpTableError as error:
            raise BadConfigError(f"{error}; {key}/config.json by itself is traced where its library is installed") from None

    found = [key for key in DENOISERS if key in parts]
    if len(found) != 1 or AUTOENCODER not in parts:
        raise BadConfigError(f"{name} has {', '.join(parts) or 'no parts'}; expected one of {', '.join(DENOISERS)}, and {AUTOENCODER}")
    denoiser, autoencoder = part(found[0]), part(AUTOENCODER)
    makes = VideoAutoencoder if getattr(denoiser, "frames", 0) else Autoencoder
    encoders = tuple(part(key) for key in ENCODERS if key in parts)
    kinds = isinstance(denoiser, Denoiser), isinstance(autoencoder, makes), all(isinstance(each, Encoder) for each in encoders)
    if not all(kinds):
        named = [class_of(dict(each)) for each in parts.values()]
        raise BadConfigError(f"{name}: {', '.join(named)}; expected a denoiser, an autoencoder of what it makes, and encoders of a text")
    return Pipeline(name=name, source=source, denoiser=denoiser, autoencoder=autoencoder, encoders=encoders)
