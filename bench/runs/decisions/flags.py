"""Flags without a meaning for a task are refused, so that nobody believes that they had an effect."""

from __future__ import annotations

from bench.records.request import Request
from estimators.errors import BadValueError

MEANT_FOR = {
    "new_tokens": ("generate", "decode", "serve"),
    "num_beams": ("generate",),
    "prompt": ("generate",),
    "cache": ("generate", "prefill", "decode"),
    "learning_rate": ("train",),
    "layers": ("prefill", "decode", "train"),
    "images": ("train", "forward"),
    "image_size": ("train", "forward"),
    "text_tokens": ("train", "forward"),
    "num_requests": ("serve",),
    "concurrency": ("serve",),
    "request_rate": ("serve",),
}
"""Attributes of a request to the tasks that heed them; what is not named here has a meaning for all."""

CALLED = {"num_requests": "--requests", "request_rate": "--rate", "max_time_s": "--max-time"}
"""Attributes of a request whose options have other names."""

OF_THE_ARTICLE = ("epochs", "hidden_layers", "neurons", "days", "train_days", "data")


def refuse_meaningless(request: Request) -> None:
    """Refuse a flag that the request's task would ignore, and two that contradict each other.

    Raises:
        BadValueError: one line names the flag and what to do instead.
    """
    for name in OF_THE_ARTICLE:
        if getattr(request, name) is not None:
            raise BadValueError(f"{flag(name)} is for the article's models and has no meaning for {request.model}; leave it out")
    for name, tasks in MEANT_FOR.items():
        if getattr(request, name) is not None and request.task not in tasks:
            raise BadValueError(f"{flag(name)} has no meaning for --task {request.task}; leave it out, or use --task {' or '.join(tasks)}")
    if request.recompute != "none" and request.task != "train":
        raise BadValueError(f"--recompute has no meaning for --task {request.task}, which keeps no activations; leave it out")
    if request.weights is not None and request.layers is not None:
        raise BadValueError("--layers cuts slices of random weights and no checkpoint; leave --layers or --weights out")
    if request.prompt is not None and request.seq_len is not None:
        raise BadValueError("--prompt has a length of its own, and --seq-len asks for another; leave one of them out")
    if request.method is None and request.optimizer not in (None, "adamw"):
        raise BadValueError(
            f"optimizer {request.optimizer[:40]!r} does not train {request.model}; expected adamw, or name a --method, such as full"
        )
    if request.prompt is not None and not request.prompt.strip():
        raise BadValueError("--prompt is empty; give a text, or leave it out for the article's own")


def flag(name: str) -> str:
    """The option of `run` that sets an attribute of a request."""
    return CALLED.get(name, f"--{name.replace('_', '-')}")
