"""The run of a model of samples that a request means: its samples, its network, its sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bench.backend.device import Device
from bench.backend.sample_networks import network_of
from bench.records.asked import Asked, Preset
from bench.records.request import Request
from bench.records.run_estimate import workload_of
from bench.runs.decisions import dtypes
from bench.runs.decisions.flags import flag, refuse_meaningless
from bench.workloads.language.loading import RANDOM_WEIGHTS
from bench.workloads.samples.run import SampleRun
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.architectures.vision_language import VisionLanguage
from estimators.errors import BadValueError
from estimators.samples import Audio, Example, Image
from estimators.spec import Model, Source

TASKS = ("train", "forward")

TOKENS = 64
"""Of a sequence beside the samples, such as the text that is written of a recording."""

TEXT_TOKENS = 32
"""Of an example, beside its images."""

A_PHOTO = Image(height=224, width=224)
"""Of an example, where the request does not say: the plainest size of a tower."""

LEARNING_RATE = 1e-4

UNUSED = ("weights", "trust_remote_code", "prompt", "layers", "cache", "new_tokens", "num_beams", "method", "optimizer")


def is_of_samples(request: Request) -> bool:
    """Whether a request is about a model of samples: images are asked about, or what its configuration describes writes no text."""
    if request.images is not None or request.task == "forward":
        return True
    config = request.config
    if config.get("model_type") == "dense_network":
        return False
    return not isinstance(model_from_config(config, request.model), Decoder)


def op_table(request: Request) -> tuple[dict[str, Any], Model]:
    """The configuration that is run and its op table, on the samples that are asked about.

    Raises:
        RequestError: no such model here, or samples that it does not read.
    """
    config = dict(request.config)
    size = request.image_size
    image = None if size is None else Image(height=size[0], width=size[1])
    if request.images is not None:
        return config, _with_images(request, config, image or A_PHOTO)
    if request.text_tokens is not None:
        raise BadValueError(f"--text-tokens is of examples with images: add --images NUM, or leave it out for {request.model}")
    model = model_from_config(config, request.model)
    if isinstance(model, Decoder):
        raise BadValueError(
            f"--task {request.task} is of models of images, speech or latents; {request.model} is a language model: "
            "take --task prefill, or --images NUM of one that reads images"
        )
    if image is not None and image != model.sample:
        config, model = _sized(config, model, image)
    return config, model


def _with_images(request: Request, config: Mapping[str, Any], image: Image) -> VisionLanguage:
    from estimators.architectures.builders.whole import whole
    from estimators.architectures.fields import Fields

    assert request.images is not None
    example = Example(image=image, images=request.images, text_tokens=TEXT_TOKENS if request.text_tokens is None else request.text_tokens)
    return whole(Fields(config, request.model), request.model, Source(title=request.model), example)


def _sized(config: dict[str, Any], model: Model, image: Image) -> tuple[dict[str, Any], Model]:
    """The configuration and its op table on images of another size. Raises BadValueError for a model that reads none of that size."""
    from estimators.architectures.denoisers import Denoiser

    if isinstance(model, Denoiser):
        return config, model.sized(image)
    if not isinstance(model.sample, Image) or "image_size" not in config:
        raise BadValueError(f"--image-size {image.height}x{image.width}: {model.name} reads {model.sample or 'no images'}; leave it out")
    config = config | {"image_size": [image.height, image.width]}
    return config, model_from_config(config, model.name)


def sample_run(request: Request, device: Device, thorough: Preset) -> SampleRun:
    """The run of a request, nothing left open.

    Raises:
        RequestError: it cannot be met; one line says why.
    """
    refuse_meaningless(request)
    _refuse(request)
    config, model = op_table(request)
    phases = 2 if request.task == "train" else 1
    seq_len = _sequence(request, model)
    undecided = SampleRun(
        model=request.model,
        config=config,
        task=request.task,
        batch=request.batch or 1,
        seq_len=seq_len,
        new_tokens=0,
        num_beams=1,
        dtype=dtypes.COMPUTE_DTYPES[0],
        optimizer="adamw",
        recompute="none",
        job=None,
        request=Asked(**request.to_dict()),
        device=device,
        preset=thorough,
        seed=request.seed,
        attn=request.attn or "sdpa",
        compile=request.compile,
        dtype_reason="",
        steps=request.steps or thorough.max_samples[device.kind],
        max_time_s=request.max_time_s or phases * thorough.max_time_s,
        learning_rate=request.learning_rate or LEARNING_RATE,
        op_table=model,
        network=None,  # type: ignore[arg-type]  # known below, when its batch is known to fit
    )
    dtype, why = dtypes.decide(request.dtype, undecided, model)
    run = dataclasses.replace(undecided, dtype=dtype, dtype_reason=why)
    run = dataclasses.replace(run, network=network_of(config, model, workload_of(run)))
    decided = run.request.replaced(
        config=config,
        batch=run.batch,
        seq_len=seq_len,
        dtype=dtype,
        device=str(device.torch_device),
        attn=run.attn,
        preset_values=thorough,
        dtype_reason=why,
        weights_label=RANDOM_WEIGHTS,
        input_label=_label(run),
    )
    return dataclasses.replace(run, request=decided)


def _refuse(request: Request) -> None:
    if request.task not in TASKS:
        raise BadValueError(f"--task {request.task} is of causal language models; {request.model} has {' and '.join(TASKS)}")
    given = [name for name in UNUSED if getattr(request, name) not in (None, False)]
    given += ["recompute"] if request.recompute != "none" else []
    if given:
        raise BadValueError(f"{flag(given[0])} has no meaning for a step of {request.model} on made-up samples; leave it out")


def _sequence(request: Request, model: Model) -> int:
    """Tokens of a sequence: of the text that is written, or read; 1 where there is none. Raises BadValueError."""
    if model.max_positions <= 1 or isinstance(model, VisionLanguage):
        if request.seq_len not in (None, 1):
            raise BadValueError(f"--seq-len {request.seq_len:,}: the samples of {model.name} say how long they are; leave it out")
        return 1
    seq_len = request.seq_len or min(TOKENS, model.max_positions)
    if seq_len > model.max_positions:
        raise BadValueError(f"--seq-len {seq_len:,} is more than the {model.max_positions:,} positions of {model.name}")
    return seq_len


def _label(run: SampleRun) -> str:
    """What every table says of the input."""
    read = run.op_table.sample
    what = f"{read.duration_s:g} s of audio" if isinstance(read, Audio) else str(read) if read is not None else "a sequence"
    words = f" and {run.seq_len} tokens" if run.seq_len > 1 and read is not None else ""
    loss = f"; the loss is {run.network.said}" if run.task == "train" else ""
    return f"random values stand in for {what}{words}{loss}"
