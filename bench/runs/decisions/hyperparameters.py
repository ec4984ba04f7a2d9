"""The article's hyper-parameters: what each model trains with, and what flags change. No torch, so an estimate can come first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bench.records.request import Request
from bench.runs.decisions.flags import flag
from bench.workloads.article.tables import NUM_MAIL_FEATURES
from estimators.errors import BadValueError

OPTIMIZERS = ("sgd", "adamw")
MAX_DAYS, MAX_NEURONS, MAX_HIDDEN_LAYERS = 365, 16_384, 128
MAX_TRAIN_DAYS = 1_000_000
MAX_EPOCHS, MAX_BATCH, MAX_LEARNING_RATE = 1_000_000, 2**20, 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """How one of the article's models is trained unless flags say otherwise.

    Attributes:
        batch: samples per optimizer step; None takes every training sample in one step.
        optimizer: sgd is plain gradient descent without momentum; adamw has PyTorch's betas and weight decay 0.01.
        warmup_fraction: the learning rate rises from 0 over this part of the steps and falls back to 0 over the
            rest; None keeps it as it is.
    """

    epochs: int
    batch: int | None
    learning_rate: float
    optimizer: str
    warmup_fraction: float | None = None


LINEAR = Defaults(epochs=1000, batch=None, learning_rate=0.01, optimizer="sgd")
"""The article's loop: ``learning_rate = 0.01``, ``epochs = 1000``, plain gradient descent.

Its code steps once per epoch with the gradient of whatever X and Y hold. Here they hold every training day and the
gradient is the mean over the days (a sum would overshoot by their number), so one epoch is one step. Views are
normalised first: with raw views in the thousands the article's learning rate of 0.01 diverges.
"""

DEFAULTS = {
    "sigmoid-10": Defaults(epochs=150, batch=64, learning_rate=3e-3, optimizer="adamw"),
    "sigmoid-100": Defaults(epochs=150, batch=64, learning_rate=3e-3, optimizer="adamw"),
    "mlp": Defaults(epochs=100, batch=64, learning_rate=3e-3, optimizer="adamw"),
    "spam": Defaults(epochs=10, batch=64, learning_rate=1e-3, optimizer="adamw"),
    "tiny-gpt": Defaults(epochs=4, batch=16, learning_rate=3e-3, optimizer="adamw", warmup_fraction=0.05),
}

_LIKE = {"views": "mlp", "mails": "spam", "text": "tiny-gpt"}
"""Whose defaults a network from the user's own file takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One training, decided.

    Attributes:
        subject: what the data are about: views (regression), mails (classification) or text (generation).
        train_days: of views, to train on; None is all of them.
        config: the network, with the flags applied.
        seq_len: tokens per sample; 1 for networks without a sequence.
        epochs, batch, learning_rate, optimizer, warmup_fraction: see Defaults.
    """

    subject: str
    config: dict[str, Any]
    seq_len: int
    epochs: int
    batch: int | None
    learning_rate: float
    optimizer: str
    warmup_fraction: float | None
    train_days: int | None

    @property
    def days(self) -> int:
        """Days of views that the network looks back on."""
        assert self.subject == "views"
        return int(self.config["widths"][0])


def configure(request: Request) -> dict[str, Any]:
    """The network that is trained: the request's configuration with --days, --neurons and --hidden-layers applied.

    Raises:
        BadValueError: a flag out of range, or one that contradicts the model's name.

    >>> deep = {"model_type": "dense_network", "widths": [7, 100, 100, 1], "activation": "sigmoid"}
    >>> configure(Request(model="mlp", config=deep, task="train", days=28, neurons=50, hidden_layers=3))["widths"]
    [28, 50, 50, 50, 1]
    """
    given = {name: getattr(request, name) for name in ("days", "neurons", "hidden_layers")}
    given = {
        name: value
        for name, value in given.items()
        if value is not None and (name, value) != ("days", request.config.get("widths", [0])[0])
    }
    if not given:
        return dict(request.config)
    if request.config.get("model_type") != "dense_network":
        raise BadValueError(
            f"{_flags(given)} cannot change {request.model}, which is no dense network; change its file and give it with --config"
        )
    _check_range("--days", request.days, MAX_DAYS)
    _check_range("--neurons", request.neurons, MAX_NEURONS)
    _check_range("--hidden-layers", request.hidden_layers, MAX_HIDDEN_LAYERS)
    _check_names(request, given)
    first, *hidden, last = request.config["widths"]
    width = request.neurons or hidden[0]
    depth = request.hidden_layers or len(hidden)
    if request.neurons or request.hidden_layers:
        hidden = [width] * depth
    return {**request.config, "widths": [request.days or first, *hidden, last]}


def _flags(names: Any) -> str:
    return " and ".join(map(flag, names))


def _check_range(flag: str, value: int | None, maximum: int) -> None:
    if value is not None and not 1 <= value <= maximum:
        raise BadValueError(f"{flag} {value} is out of range; expected a whole number from 1 to {maximum:,}")


def _check_names(request: Request, given: dict[str, int]) -> None:
    """Refuse a flag that would make the model something else than its name says."""
    widths = request.config["widths"]
    deep = "use the deep network instead: --model mlp " + " ".join(f"{flag(k)} {v}" for k, v in given.items())
    if len(widths) == 2:
        raise BadValueError(f"{_flags(given)} cannot change {request.model}, a linear regression over {widths[0]} days; {deep}")
    if "days" in given and subject(request) != "views":
        raise BadValueError(f"--days has no meaning for {request.model}, which does not look at days of views; leave it out")
    if request.model.startswith("sigmoid-") and given.keys() & {"neurons", "hidden_layers"}:
        raise BadValueError(f"{_flags(given)} cannot change {request.model}, one sum of {widths[1]} sigmoids; {deep}")


def subject(request: Request) -> str:
    """What the data of a request are about: views, mails or text."""
    if request.config.get("model_type") == "gpt2":
        return "text"
    return "mails" if request.config.get("widths", [0])[0] == NUM_MAIL_FEATURES and request.config["widths"][-1] == 2 else "views"


def plan(request: Request) -> Plan:
    """Everything that a training needs to know, flags and defaults put together.

    Raises:
        BadValueError: a flag out of range or without a meaning for the model.
        BadConfigError: a network that has no training here.
    """
    about = subject(request)
    config = configure(request)
    _check_network(request, about, config)
    _check_meaningless_flags(request, about)
    defaults = LINEAR if about == "views" and len(config["widths"]) == 2 else DEFAULTS.get(request.model, DEFAULTS[_LIKE[about]])
    _check_range("--epochs", request.epochs, MAX_EPOCHS)
    _check_range("--batch", request.batch, MAX_BATCH)
    _check_range("--train-days", request.train_days, MAX_TRAIN_DAYS)
    _check_range("--steps", request.steps, MAX_EPOCHS * MAX_BATCH)
    rate = defaults.learning_rate if request.learning_rate is None else request.learning_rate
    if not math.isfinite(rate) or not 0 < rate <= MAX_LEARNING_RATE:
        raise BadValueError(f"--learning-rate {rate} is out of range; expected a number above 0, at most {MAX_LEARNING_RATE:g}")
    if request.max_time_s is not None and not request.max_time_s > 0:
        raise BadValueError(f"a time limit of {request.max_time_s} s is out of range; expected more than 0 s")
    return Plan(
        subject=about,
        config=config,
        seq_len=_seq_len(request, config) if about == "text" else 1,
        epochs=defaults.epochs if request.epochs is None else request.epochs,
        batch=_batch(request, defaults),
        learning_rate=rate,
        optimizer=_optimizer(request, defaults),
        warmup_fraction=defaults.warmup_fraction,
        train_days=request.train_days,
    )


def _batch(request: Request, defaults: Defaults) -> int | None:
    """As asked; by default never more than there are days to train on."""
    if request.batch is not None or defaults.batch is None or request.train_days is None:
        return defaults.batch if request.batch is None else request.batch
    return min(defaults.batch, request.train_days)


def _check_network(request: Request, about: str, config: dict[str, Any]) -> None:
    if about == "text":
        return
    widths = config.get("widths")
    if config.get("model_type") != "dense_network" or not isinstance(widths, list) or len(widths) < 2:
        raise BadValueError(f"{request.model} has no training here; expected a dense_network with widths, or a gpt2 of the article's size")
    if about == "views" and (widths[-1] != 1 or widths[0] > MAX_DAYS):
        raise BadValueError(
            f"{request.model} maps {widths[0]} inputs to {widths[-1]} outputs; expected 1 to {MAX_DAYS} days to 1 number of views, "
            f"or {NUM_MAIL_FEATURES} mail features to 2 classes"
        )


def _check_meaningless_flags(request: Request, about: str) -> None:
    if request.task != "train":
        raise BadValueError(f"{request.model} has no {request.task} task; it is trained: leave --task out or say --task train")
    unused = ["attn", "cache", "layers", "weights", "num_beams"] + ([] if about == "text" else ["new_tokens", "prompt"])
    given = [name for name in unused if getattr(request, name) not in (None, 0)]
    given += ["seq_len"] if about != "text" and request.seq_len not in (None, 1) else []
    given += [name for name in ("compile", "trust_remote_code") if getattr(request, name)]
    given += ["recompute"] if request.recompute != "none" else []
    given += ["data"] if about == "text" and request.data is not None else []
    given += ["train_days"] if about != "views" and request.train_days is not None else []
    if given:
        raise BadValueError(f"{_flags(given)} has no meaning for the training of {request.model}; leave it out")


def _optimizer(request: Request, defaults: Defaults) -> str:
    optimizer = request.optimizer or defaults.optimizer
    if optimizer not in OPTIMIZERS:
        raise BadValueError(f"optimizer {optimizer[:40]!r} is unknown; expected one of: {', '.join(OPTIMIZERS)}")
    return optimizer


def _seq_len(request: Request, config: dict[str, Any]) -> int:
    positions = int(config.get("n_positions", 1024))
    seq_len = min(128, positions) if request.seq_len is None else request.seq_len
    if not 2 <= seq_len <= positions:
        raise BadValueError(f"--seq-len {seq_len} is out of range; expected 2 to {positions}, the positions of {request.model}")
    return seq_len
