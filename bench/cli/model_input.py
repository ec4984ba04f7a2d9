"""What each sample of a model is, where the command line says so: a source of a length, an image of a size, a video of a length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.errors import BadValueError

if TYPE_CHECKING:
    from estimators.samples import Image
    from estimators.spec import Model


def reading(model: Model, source_len: int | None, image: Image | None, frames: int | None) -> Model:
    """The model on sources of --source-len, images of --image-size and videos of --video, or as it is where they are not given.

    Raises:
        BadValueError: one that it does not take.
    """
    model = _with_source(model, source_len)
    if frames is not None:
        from estimators.architectures.denoisers import Denoiser  # deferred: most models make no videos
        from estimators.architectures.video_autoencoder import VideoAutoencoder

        if not isinstance(model, Denoiser | VideoAutoencoder):
            raise BadValueError(f"--video: {model.name} makes none, and reads none by itself; leave it out")
        model = model.lasting(frames)
    if image is None:
        return model
    from estimators.architectures.pipeline import OfImages  # deferred: most models read no images
    from estimators.architectures.vision import Resizable
    from estimators.spec import Workload

    if isinstance(model, Resizable | OfImages):
        return model.sized(image)
    model.demand_sample(Workload(sample=image))
    return model


def _with_source(model: Model, source_len: int | None) -> Model:
    """The model as it is, or on sources of --source-len.

    Raises:
        BadValueError: it has no encoder beside its decoder, or one that takes other lengths.
    """
    if source_len is None:
        return model
    from estimators.architectures.encoder_decoder import EncoderDecoder  # deferred: most models have no source

    if not isinstance(model, EncoderDecoder):
        raise BadValueError(f"--source-len {source_len:,}: {model.name} has no encoder beside a decoder; leave --source-len out")
    return model.with_source(source_len)
