"""How long sequences are, and what else one item of a model's input is: --seq-len, --source-len, --image-size."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.machine.ranks import say
from estimators.errors import BadValueError
from estimators.parsing import MAX_LENGTH, parse_count, parse_length, parse_sized
from estimators.samples import MAX_SIDE, Image

if TYPE_CHECKING:
    from estimators.facts.registry import ModelEntry
    from estimators.spec import Model
    from estimators.training.sequence_length import SequenceLength
    from estimators.tuning.recipes import Recipe


def length(name: str, *, minimum: int = 1, maximum: int = MAX_LENGTH) -> Callable[[str | float], int]:
    """A reader of tokens in a row, such as 4096 or 4k, which is said to be 4,096."""

    def read(given: str | float) -> int:
        tokens = parse_length(given, name, minimum=minimum, maximum=maximum)
        if isinstance(given, str) and given.strip()[-1:].isalpha():
            say(f"{name} {given.strip()[:40]} is {tokens:,} tokens: k is 1,024 in a length")
        return tokens

    return read


def batch_size(given: str | float) -> int:
    """Read sequences (or samples) of one step, such as 512 or 512seq.

    Raises:
        BadValueError: unreadable, or a count of tokens.
    """
    size, counted = parse_sized(given, "batch", bare="sequences", maximum=MAX_LENGTH)
    if counted == "tokens":
        raise BadValueError(f"batch {str(given)[:40]!r} counts tokens; expected sequences (or samples), such as 512 or 512seq")
    return size


UNSAID = "of a training by default as the model was pre-trained, else the smaller of its longest and 4,096"
"""How long sequences are taken to be where nobody says."""


def add_sequence(parser: argparse._ActionsContainer, unsaid: str = UNSAID) -> None:
    """--seq-len, with what is taken where it is not given, and --source-len beside it."""
    parser.add_argument(
        "--seq-len",
        type=length("seq-len"),
        metavar="NUM",
        help=f"tokens per sequence; {unsaid}",
    )
    parser.add_argument(
        "--source-len",
        type=length("source-len"),
        metavar="NUM",
        help="tokens that the encoder of an encoder-decoder reads; as many as the decoder's by default",
    )
    add_image_size(parser)


def add_image_size(parser: argparse._ActionsContainer) -> None:
    """--image-size."""
    parser.add_argument(
        "--image-size",
        type=_image,
        dest="image",
        metavar="PIXELS",
        help="side of the images that a vision transformer reads, or height x width such as 384x512; as it was trained by default",
    )


def _image(given: str | float) -> Image:
    """A side, or height x width."""
    height, _, width = str(given).partition("x")
    sides = [parse_count(side, "image-size", maximum=MAX_SIDE) for side in (height, width or height)]
    return Image(height=sides[0], width=sides[1])


def sequence_length(model: Model, given: int | None) -> int:
    """--seq-len, or the longest sequence of the model; where it has none, the one that is taken for a training's.

    Raises:
        BadValueError: longer than the model's table of positions, or a length for a model that has no sequences.
    """
    longest = model.max_positions
    if given is None:
        return _usual(longest)
    if model.item == "sample" and given != 1:
        raise BadValueError(f"--seq-len {given:,}: {model.name} takes single samples, not sequences; leave --seq-len out")
    if given > longest and model.positions:
        raise BadValueError(
            f"a sequence of {given:,} tokens is more than the {longest:,} positions that {model.name} has; give at most that"
        )
    return given


def _usual(longest: int) -> int:
    from estimators.training.sequence_length import UNSAID_POSITIONS, USUAL_TOKENS  # deferred, as below

    return USUAL_TOKENS if longest == UNSAID_POSITIONS else longest


def training_length(model: Model, entry: ModelEntry | None, given: int | None) -> SequenceLength:
    """--seq-len of a training, or the length that the model was pre-trained at. Raises BadValueError as sequence_length."""
    from estimators.training.sequence_length import SequenceLength, training_length  # deferred: help needs none of it

    return training_length(model, entry) if given is None else SequenceLength(tokens=sequence_length(model, given))


def tuning_length(model: Model, recipe: Recipe, given: int | None) -> SequenceLength:
    """--seq-len of a fine-tuning, or the longest sample that its framework takes. Raises BadValueError as sequence_length."""
    from estimators.training.sequence_length import SequenceLength  # deferred, as above
    from estimators.tuning.settings import usual_length

    if given is not None:
        return SequenceLength(tokens=sequence_length(model, given))
    whose = f"as {recipe.framework} cuts samples" if recipe.seq_len else "as fit takes the longest sample"
    return SequenceLength(tokens=usual_length(recipe, model), source=whose)
