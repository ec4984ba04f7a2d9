"""Diffusion pipelines by name, and from the folders that diffusers writes."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from estimators.architectures.autoencoder import Autoencoder
from estimators.architectures.builders.diffusion import PARTS, class_of, part_from
from estimators.architectures.decoder import Decoder
from estimators.architectures.denoisers import Denoiser
from estimators.architectures.encoder import Encoder
from estimators.architectures.fields import Fields
from estimators.architectures.from_config import model_from_config, read_config
from estimators.architectures.pipeline import Handover, Pipeline
from estimators.architectures.unets import ControlNet, UNet
from estimators.architectures.video_autoencoder import VideoAutoencoder
from estimators.architectures.vision import VisionTransformer
from estimators.errors import BadConfigError, NoOpTableError
from estimators.facts import data
from estimators.facts.registry import model_entry
from estimators.spec import Source

INDEX = "model_index.json"
DENOISERS, AUTOENCODER, ENCODERS = ("unet", "transformer"), "vae", ("text_encoder", "text_encoder_2", "text_encoder_3")
"""What diffusers calls the folders of a pipeline's parts."""

SECOND, IMAGE_ENCODER, CONTROL, SCHEDULE = (
    "transformer_2",
    "image_encoder",
    "controlnet",
    os.path.join("scheduler", "scheduler_config.json"),
)
"""Folders of a second denoiser, which takes over behind some step (Wan 2.2), of what reads an image and of what steers by one; and the file
that says how noise falls."""

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


def _body(name: str) -> dict[str, Any]:
    """A shipped pipeline's file; what it does not have is of the one that it is built `on`."""
    body = data.read_json(data.file("pipelines", f"{name}.json"))
    if "on" not in body:
        return body
    base = _body(body["on"])
    counted = {**base.get("published_params", {}), **body["counted_params"]}
    return {**body, "parts": {**base["parts"], **body["parts"]}, "counted_params": counted}


def pipeline_named(text: str) -> Pipeline | None:
    """A shipped pipeline by id or alias, upper or lower case; None where none has the name.

    >>> pipeline_named("stabilityai/stable-diffusion-xl-base-1.0").name
    'sdxl'
    """
    if not is_pipeline(text):
        return None
    name = _aliases()[text.casefold()]
    body = _body(name)
    handover = Handover(**body["handover"]) if "handover" in body else None
    return _built(body["parts"], name, Source(**body["source"]), handover)


def denoiser_config(text: str) -> tuple[str, dict[str, Any]]:
    """The id of a shipped pipeline, and the configuration of its denoiser.

    >>> denoiser_config("DiT-S/2")[1]["_class_name"]
    'DiTTransformer2DModel'
    """
    name = _aliases()[text.casefold()]
    parts = _body(name)["parts"]
    config: dict[str, Any] = next(parts[key] for key in DENOISERS if key in parts)
    return name, config


PUBLISHED, COUNTED = "published", "by diffusers on meta"
"""Who says how many parameters a part has."""


def known_params(name: str) -> tuple[str, dict[str, int]]:
    """Who counted the parts of a shipped pipeline, PUBLISHED or COUNTED, and part -> parameters."""
    body = _body(name)
    by, key = (PUBLISHED, "published_params") if "published_params" in body else (COUNTED, "counted_params")
    return by, body[key]


def pipeline_in(folder: str) -> Pipeline | None:
    """The pipeline of a folder with a model_index.json; None for any other path.

    Raises:
        BadConfigError: a part is missing, has no op table, or makes no sense, or of two denoisers nobody says when one takes over.
    """
    if not os.path.isfile(os.path.join(folder, INDEX)):
        return None
    parts = {}
    for name in (*DENOISERS, SECOND, AUTOENCODER, *ENCODERS, IMAGE_ENCODER, CONTROL):
        if os.path.isdir(path := os.path.join(folder, name)):
            parts[name] = read_config(path)
    index = read_config(os.path.join(folder, INDEX))
    if (tokens := TEXT_TOKENS.get(str(index.get("_class_name")))) is not None:
        parts = {name: {"text_tokens": tokens, **part} if name in DENOISERS else part for name, part in parts.items()}
    handover = _handover(folder, index.get("boundary_ratio")) if SECOND in parts else None
    return _built(parts, os.path.basename(os.path.abspath(folder)), Source(title=folder), handover)


def _handover(folder: str, boundary: object) -> Handover:
    """When the second of a folder's denoisers takes over. Raises BadConfigError where its files do not say."""
    path = os.path.join(folder, SCHEDULE)
    shift = read_config(path).get("flow_shift") if os.path.isfile(path) else None
    for value, said in ((boundary, f"boundary_ratio of {INDEX}"), (shift, f"flow_shift of {SCHEDULE}")):
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            raise BadConfigError(f"{folder} has two denoisers, and {said} is {str(value)[:60]!r}; expected a number above 0")
    return Handover(boundary=float(boundary), shift=float(shift))  # type: ignore[arg-type]


def _built(parts: Mapping[str, Mapping[str, Any]], name: str, source: Source, handover: Handover | None = None) -> Pipeline:
    def part(key: str) -> Any:
        titled = name if key in DENOISERS else f"{name}: {key}"
        try:
            if "model" in parts[key]:
                return model_from_config(model_entry(parts[key]["model"]).config, titled, source)
            if "model_type" in parts[key] and class_of(dict(parts[key])) not in PARTS:
                return model_from_config(parts[key], titled, source)
            return part_from(Fields(parts[key], f"{name}: {key}"), titled, source)
        except NoOpTableError as error:
            raise BadConfigError(f"{error}; {key}/config.json by itself is traced where its library is installed") from None

    found = [key for key in DENOISERS if key in parts]
    if len(found) != 1 or AUTOENCODER not in parts:
        raise BadConfigError(f"{name} has {', '.join(parts) or 'no parts'}; expected one of {', '.join(DENOISERS)}, and {AUTOENCODER}")
    denoiser, autoencoder = part(found[0]), part(AUTOENCODER)
    makes = (VideoAutoencoder,) if getattr(denoiser, "frames", 0) else (Autoencoder, VideoAutoencoder)
    encoders = tuple(part(key) for key in ENCODERS if key in parts)
    late, picture, control = (part(key) if key in parts else None for key in (SECOND, IMAGE_ENCODER, CONTROL))
    kinds = (
        isinstance(denoiser, Denoiser),
        isinstance(autoencoder, makes),
        all(isinstance(each, Encoder | Decoder) for each in encoders),
        late is None or isinstance(late, type(denoiser)),
        picture is None or isinstance(picture, VisionTransformer),
        control is None or (isinstance(control, ControlNet) and isinstance(denoiser, UNet)),
    )
    if not all(kinds):
        named = [class_of(dict(each)) for each in parts.values()]
        raise BadConfigError(f"{name}: {', '.join(named)}; expected a denoiser, an autoencoder of what it makes, and encoders of a text")
    return Pipeline(
        name=name,
        source=source,
        denoiser=denoiser,
        autoencoder=autoencoder,
        encoders=encoders,
        image_encoder=picture,
        control=control and control.sized(denoiser.image),
        late=late,
        handover=handover,
    )
