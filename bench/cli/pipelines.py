"""Diffusion pipelines on the command line: by name, or the folder that diffusers writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from estimators.errors import UnknownNameError
from estimators.samples import Image

if TYPE_CHECKING:
    from estimators.architectures.pipeline import Pipeline


def pipeline_of(model: str | None, config: str | None, image: Image | None, frames: int | None = None) -> Pipeline | None:
    """The pipeline that --model or --config names, on images of --image-size or videos of --video; None where that is another model.

    Raises:
        BadConfigError: a folder whose parts make no sense.
        BadValueError: an image or a video that its denoiser does not read.
    """
    found = _named(model, config)
    if found is None:
        return None
    longer = found if frames is None else found.lasting(frames)
    return longer if image is None else longer.sized(image)


def is_diffusion(model: str | None, config: str | None) -> bool:
    """Whether --model or --config names a pipeline, or a part of one by its own file."""
    if _named(model, config) is not None:
        return True
    if config is None or not os.path.exists(config):
        return False
    from estimators.architectures.from_config import is_of_diffusers, read_config

    return is_of_diffusers(read_config(config))


def _named(model: str | None, config: str | None) -> Pipeline | None:
    if config is not None:
        if not os.path.isfile(os.path.join(config, "model_index.json")):
            return None
        from estimators.facts.pipelines import pipeline_in  # deferred: most configurations are no pipeline's

        return pipeline_in(config)
    from estimators.facts.model_names import model_named
    from estimators.facts.sized_llama import sized_llama

    assert model is not None
    if sized_llama(model):
        return None
    try:
        model_named(model)
    except UnknownNameError:
        from estimators.facts.pipelines import pipeline_named

        return pipeline_named(model)
    return None
