"""The fine-tuning that a request means: what `fit --framework transformers` describes in the same words, run by our own loop."""

from __future__ import annotations

from bench.backend.device import Device
from bench.backend.tuned_model import demand_packages
from bench.records.request import Request
from bench.runs.decisions.flags import flag
from bench.runs.decisions.sizes import Sizes
from estimators.architectures.decoder import Decoder
from estimators.errors import BadValueError
from estimators.memory.optimizers import optimizer
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import recipe
from estimators.tuning.settings import METHODS, PRECISIONS, Value, adapter_settings, job_of, precision_settings
from estimators.weight_formats import PLAIN

FRAMEWORK = "transformers"
"""Whose habits the loop has: transformers' models, peft's adapters."""

OF_METHOD = ("lora_rank", "lora_targets", "lora_dropout", "base_format", "precision")
"""Attributes of a request that mean nothing without a method."""

ATTENTION = {"sdpa": "sdpa", "eager": "eager", "flash_attention_2": "flash"}
"""transformers' name of an attention -> `fit`'s."""


def tuning_job(request: Request, model: Decoder, device: Device, decided: Sizes) -> TuningJob | None:
    """The job of a request; None where it names no method.

    Raises:
        BadValueError, UnknownNameError: options without a method or of another one, an unknown name.
        MissingPackageError, UnavailableError: what it takes is not installed, or does not run on the device.
    """
    if request.method is None:
        if stray := [name for name in OF_METHOD if getattr(request, name) is not None]:
            raise BadValueError(f"{flag(stray[0])} is of a fine-tuning; add --method {' or '.join(METHODS)}")
        return None
    _refuse(request)
    chosen, trained = recipe(FRAMEWORK), request.method
    given: dict[str, Value] = {"method": "full"}
    if trained != "full":
        base = request.base_format or PLAIN
        given = adapter_settings(trained, chosen, rank=request.lora_rank, targets=request.lora_targets, base_format=base)
    formats = ("bf16", "fp16", "fp32") if device.has_bf16 else ("fp16", "fp32")
    given |= precision_settings(request.precision or request.dtype, chosen, str(given["method"]), formats)
    given |= {"micro_batch": decided.batch, "seq_len": decided.seq_len, "loss": "plain"}
    given |= {"checkpointing": request.recompute, "attention": ATTENTION[request.attn or "sdpa"], "compiled": request.compile}
    if request.optimizer is not None:
        given["optimizer"] = optimizer(request.optimizer).name
    if request.lora_dropout is not None:
        given["lora_dropout"] = request.lora_dropout
    job = job_of(model, chosen, given)
    if job.dtype == "fp16" and device.kind == "cpu":
        raise BadValueError("fp16 needs a GPU to train, for its scaled gradients; expected bf16 or fp32 on a CPU")
    demand_packages(job, device.torch_device)
    return job


def _refuse(request: Request) -> None:
    """Refuse what contradicts a method. Raises BadValueError."""
    if request.task != "train":
        raise BadValueError(f"--method {request.method} is of a training; add --task train")
    if request.method not in METHODS:
        raise BadValueError(f"--method {str(request.method)[:40]!r} is not measured here; expected one of: {', '.join(METHODS)}")
    if request.layers is not None:
        raise BadValueError("--layers cuts slices of a plain training; leave --layers or --method out")
    if request.precision is not None and request.dtype is not None:
        raise BadValueError("--precision and --dtype both say what products run in; leave --dtype out")
    for name in (request.precision, request.dtype):
        if name is not None and name not in PRECISIONS:
            raise BadValueError(f"cannot train in {name[:40]!r}; expected one of: {', '.join(PRECISIONS)}")
    if request.method == "full":
        for name in ("lora_rank", "lora_targets", "lora_dropout", "base_format"):
            if getattr(request, name) is not None:
                raise BadValueError(f"{flag(name)} is of adapters; with --method full leave it out")
