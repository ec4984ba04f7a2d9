"""How much a training is about, of a verb that takes nothing else: tokens, or images of a model that reads them."""

from __future__ import annotations

import argparse
from typing import Protocol

from bench.cli import arguments
from estimators.architectures.traced import TracedModel
from estimators.errors import BadValueError
from estimators.samples import Example, Image
from estimators.spec import Model


class Options(Protocol):
    """What says it; one of the two is given."""

    @property
    def tokens(self) -> int | None:
        """Tokens, or samples of a model that reads none."""
        ...

    @property
    def images_total(self) -> int | None:
        """Images."""
        ...


def add_arguments(group: argparse._ArgumentGroup, *, tokens_help: str) -> None:
    """One of --tokens and --images-total."""
    amount = group.add_mutually_exclusive_group(required=True)
    amount.add_argument("--tokens", type=arguments.count("tokens"), metavar="NUM", help=tokens_help)
    amount.add_argument("--images-total", type=arguments.count("images-total"), metavar="NUM", help="of a model of images; all epochs")


def trained_on(options: Options, model: Model) -> int:
    """Tokens, or images, that the training is about. Raises BadValueError for images of a model that reads none by itself."""
    if options.images_total is not None:
        demand_images(model)
        return options.images_total
    assert options.tokens is not None  # argparse demands one of the two
    return options.tokens


def demand_images(model: Model) -> None:
    """Refuse --images-total of a model that reads no images by themselves. Raises BadValueError."""
    traced = model.base.reads if isinstance(model.base, TracedModel) else ""
    if traced.startswith("pixel_values"):
        return
    if not isinstance(model.sample, Image) or isinstance(model.sample, Example):
        numbers = f"samples of {traced or 'numbers'}: give --tokens, one for each"
        reads = model.sample or ("tokens: give --tokens" if model.item == "token" else numbers)
        raise BadValueError(f"--images-total is of a model of images; {model.name} reads {reads}")
