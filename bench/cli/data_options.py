"""Options of a fine-tuning on a data set: what is trained how, and how long its samples are."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.cli import arguments, fit, sequences, step_options
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.parsing import parse_duration, parse_float

if TYPE_CHECKING:
    from estimators.lengths import Lengths

TRAINED = tuple(word for word in fit.TRAINED if word != "freeze")
OBJECTIVES = ("sft", "dpo", "orpo", "kto", "reward", "grpo")
PACKINGS = ("ffd", "bfd", "wrapped")
LONG_SAMPLES = ("cut", "drop", "split")


@frozen
class DataOptions(step_options.TrainingOptions):
    """What a verb takes beside a training's options where it is asked about a data set; None where it is left to the framework.

    Attributes:
        method: what is trained and what for, such as lora, or qlora and dpo; empty for lora and sft.
        data, tokenizer: paths of samples and of what cuts them into tokens.
        lengths: path of a CSV file of lengths.
        examples, mean_tokens, p95_tokens: a data set in three numbers.
        packing: an algorithm, or "" for the framework's own.
        measured_step_s: of the user's own.
        completion_tokens, generations, reuse: of grpo: tokens of an answer, answers to a prompt, times that each is trained on.
    """

    method: tuple[str, ...]
    data: str | None
    tokenizer: str | None
    lengths: str | None
    examples: int | None
    mean_tokens: float | None
    p95_tokens: float | None
    epochs: float | None
    max_length: int | None
    packing: str | None
    long_samples: str | None
    group_by_length: bool
    accumulation: int | None
    measured_step_s: float | None
    completion_tokens: int | None
    generations: int | None
    reuse: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--data and what belongs to it."""
    group = parser.add_argument_group("fine-tuning on a data set: --data, --lengths or --examples")
    add = group.add_argument
    add(
        "--method",
        type=fit.methods,
        default=(),
        metavar="NAME[,NAME]",
        help=f"what is trained: {', '.join(TRAINED)}; and what for: {', '.join(OBJECTIVES)}; lora and sft by default",
    )
    add("--data", metavar="FILE", help="samples, one JSON object a line: text, prompt and completion, or messages")
    add("--tokenizer", metavar="DIR", help="folder of the tokenizer that counts them, such as a checkpoint's")
    add("--lengths", metavar="FILE", help="CSV of lengths: a column tokens (loss_tokens and samples beside it), or a number a line")
    add("--examples", type=arguments.count("examples", maximum=10**10), metavar="NUM", help="so many samples, with --mean-tokens")
    add("--mean-tokens", type=_tokens("mean-tokens"), metavar="NUM", help="of a sample")
    add("--p95-tokens", type=_tokens("p95-tokens"), metavar="NUM", help="that 95 %% of the samples do not pass (log-normal lengths)")
    add("--epochs", type=_epochs, metavar="NUM", help="passes over the data; the framework's, else 1")
    add("--max-length", type=sequences.length("max-length"), metavar="NUM", help="tokens of a sample at most, or of a packed row")
    add("--packing", nargs="?", const="", type=_packing, metavar="NAME", help="pack samples: the framework's way, or ffd, bfd, wrapped")
    add("--long-samples", choices=LONG_SAMPLES, metavar="|".join(LONG_SAMPLES), help="what becomes of those that are too long")
    add("--group-by-length", action="store_true", help="batches of samples of like length")
    add("--accumulation", type=arguments.count("accumulation", maximum=10**6), metavar="NUM", help="passes of --batch samples a step")
    add("--measured-step", type=_seconds, dest="measured_step_s", metavar="TIME", help="mean of your own steps, such as 1.9s: scales all")
    add("--completion-tokens", type=sequences.length("completion-tokens"), metavar="NUM", help="of grpo: of an answer in the mean")
    add(
        "--generations",
        type=arguments.count("generations", maximum=10**4),
        metavar="NUM",
        help="of grpo: answers a prompt, else 8",
    )
    add(
        "--reuse",
        type=arguments.count("reuse", maximum=100),
        metavar="NUM",
        help="of grpo: updates that see each answer; else 1",
    )


def _packing(given: str | bool) -> str:
    text = "" if given is True else str(given)
    if text and text not in PACKINGS:
        raise BadValueError(
            f"packing {text[:40]!r} is unknown; expected one of: {', '.join(PACKINGS)}, or none of them for the framework's"
        )
    return text


def _tokens(name: str) -> Callable[[str | float], float]:
    return lambda given: parse_float(given, name, minimum=1, maximum=10**7)


def _epochs(given: str | float) -> float:
    return parse_float(given, "epochs", minimum=0, maximum=10**4, exclusive_minimum=True)


def _seconds(given: str | float) -> float:
    if isinstance(given, str) and given.strip().replace(".", "", 1).isdigit():
        raise BadValueError(f"measured-step {given[:40]!r} has no unit; expected such as 1.9s or 850ms")
    return parse_duration(given, "measured-step")


def refuse(options: DataOptions, *, but: Sequence[str] = ()) -> None:
    """Demand that nothing was said of how a data set is trained on, where none is asked about.

    Args:
        but: options that may be given.

    Raises:
        BadValueError: something was.
    """
    given = {
        "--epochs": options.epochs,
        "--max-length": options.max_length,
        "--packing": options.packing,
        "--long-samples": options.long_samples,
        "--group-by-length": options.group_by_length,
        "--accumulation": options.accumulation,
        "--completion-tokens": options.completion_tokens,
        "--generations": options.generations,
        "--reuse": options.reuse,
    }
    asked = {word: value for word, value in given.items() if word not in but}
    arguments.refuse(asked, "is of a fine-tuning on a data set: add --data, --lengths or --examples, or leave it out")


def lengths_of(options: DataOptions) -> Lengths | None:
    """The data set's lengths, from where they were given; None where nothing of a data set was.

    Raises:
        RequestError: two sources at once, a part of one alone, a file that cannot be read.
    """
    from estimators import lengths

    given = {"--data": options.data, "--lengths": options.lengths, "--examples": options.examples}
    present = [word for word, value in given.items() if value is not None]
    if len(present) > 1:
        raise BadValueError(f"{' and '.join(present)} all say how long samples are; leave all but one out")
    if options.tokenizer is not None and options.data is None:
        raise BadValueError("--tokenizer counts the tokens of --data; add it, or leave --tokenizer out")
    if options.examples is None and (options.mean_tokens, options.p95_tokens) != (None, None):
        raise BadValueError("--mean-tokens and --p95-tokens describe --examples; add it")
    if options.examples is not None:
        if options.mean_tokens is None:
            raise BadValueError("--examples needs --mean-tokens, and --p95-tokens where samples differ")
        return lengths.stated_lengths(options.examples, options.mean_tokens, options.p95_tokens)
    if options.lengths is not None:
        return lengths.read_lengths(options.lengths)
    if options.data is None:
        return None
    if options.tokenizer is None:
        raise BadValueError("--data needs --tokenizer DIR, a folder with a tokenizer; or count yourself and give --lengths")
    from bench.backend.token_lengths import token_lengths  # deferred: only samples that are still text need a tokenizer

    return token_lengths(options.data, options.tokenizer)
