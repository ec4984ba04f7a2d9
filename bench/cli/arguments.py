"""Options that several verbs share, and how their values are read. A value out of range is one line and exit 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, get_args

from bench.cli import names
from bench.cli.model_input import reading
from bench.cli.pipelines import pipeline_of
from estimators.errors import BadValueError, UnknownNameError
from estimators.frozen import frozen
from estimators.method import TrainingMethod
from estimators.parsing import MAX_COUNT, parse_count, parse_duration, parse_float
from estimators.samples import Image
from estimators.units import DTYPE_BYTES
from estimators.weight_formats import PLAIN, WEIGHT_FORMATS, WeightFormat, weight_format

if TYPE_CHECKING:
    from estimators.facts.registry import ModelEntry
    from estimators.spec import Hardware, Model
    from reports.table import Table

EXPLAIN_HELP = "how each figure came about: formula, numbers, sources, and a command that checks it"
MAX_MEANT_IN_HUNDREDTHS, MAX_DOLLARS_PER_HOUR = 100, 10**5


@frozen
class ModelOptions:
    """The model that is asked about; every verb's options that name one extend these.

    Attributes:
        model: a name of the registry, or None for `config`.
        config: path of a config.json or of the folder that holds it, or None.
        fetch: whether the config.json of a model that is not known may be downloaded.
        source_len: tokens that an encoder beside a decoder reads; None for as many as the decoder's.
        image: what each sample is; None for what the model was made for.
    """

    model: str | None
    config: str | None
    fetch: bool
    source_len: int | None
    image: Image | None

    @property
    def frames(self) -> int | None:
        """Of a video that each sample is, where the verb has --video; None for what the model was made for."""
        return None


@frozen
class MethodOptions(ModelOptions):
    """How the model is trained; None for all of it.

    Attributes:
        lora_targets: matrices that have adapters.
        base_format: what the frozen ones are stored as.
    """

    lora_rank: int | None
    lora_targets: tuple[str, ...] | None
    frozen_layers: int | None
    base_format: WeightFormat


def add_method(parser: argparse.ArgumentParser) -> None:
    """--lora-rank, --lora-targets, --frozen-layers, --base-format."""
    group = parser.add_argument_group("fine-tuning")
    group.add_argument(
        "--lora-rank", type=count("lora-rank", maximum=10**6), metavar="NUM", help="freeze the model, train adapters of this rank"
    )
    group.add_argument(
        "--lora-targets",
        type=targets,
        metavar="NAMES",
        help="which matrices get one, such as q_proj,v_proj or all-linear; peft's by default",
    )
    group.add_argument(
        "--frozen-layers",
        type=count("frozen-layers", minimum=0, maximum=10**6),
        metavar="NUM",
        help="freeze the embedding and so many first layers",
    )
    group.add_argument(
        "--base-format",
        type=weight_format,
        default=PLAIN,
        metavar="NAME",
        help=f"what adapters' frozen matrices are stored as: {', '.join(WEIGHT_FORMATS)} or gptq-BITS-GROUP; 16-bit by default",
    )


def add_habits(parser: argparse.ArgumentParser) -> None:
    """--framework and --checkpointing of a fine-tuning."""
    from estimators.tuning.recipes import Checkpointing  # deferred: the options of `show` do without it

    group = parser.add_argument_group("whose fine-tuning")
    group.add_argument("--framework", metavar="NAME[@VERSION]", help="whose habits fill in the rest, such as trl; else an assumption")
    kept = get_args(Checkpointing)
    group.add_argument("--checkpointing", choices=kept, metavar="|".join(kept), help="which activations are kept; the framework's default")


def targets(given: str | Sequence[str]) -> tuple[str, ...]:
    """Names of matrices, such as q_proj,v_proj."""
    return tuple(given.split(",")) if isinstance(given, str) else tuple(given)


def method(options: MethodOptions) -> TrainingMethod:
    """How the model is trained.

    Raises:
        BadValueError: both adapters and frozen layers, or targets or a format without a rank.
    """
    if options.lora_rank is not None and options.frozen_layers is not None:
        raise BadValueError("--lora-rank and --frozen-layers exclude each other; with adapters every layer is frozen")
    for word, given in {"--lora-targets": options.lora_targets, "--base-format": options.base_format != PLAIN}.items():
        if given and options.lora_rank is None:
            raise BadValueError(f"{word} needs --lora-rank")
    return TrainingMethod(
        rank=options.lora_rank or 0,
        targets=options.lora_targets or (),
        frozen_layers=options.frozen_layers,
        base_format=options.base_format,
    )


def count(name: str, *, minimum: int = 1, maximum: int = MAX_COUNT) -> Callable[[str | float], int]:
    """A reader of counts such as 300B, 1.4T or 2k."""
    return lambda given: parse_count(given, name, minimum=minimum, maximum=maximum)


def duration(name: str) -> Callable[[str | float], float]:
    """A reader of lengths of time, in seconds; a bare number is days."""
    return lambda given: parse_duration(given, name)


def positive(name: str, maximum: float) -> Callable[[str | float], float]:
    """A reader of numbers above 0, such as 0.45 or 45%."""
    return lambda given: parse_float(given, name, minimum=0, maximum=maximum, exclusive_minimum=True)


def share(name: str, maximum: float) -> Callable[[str | float], float]:
    """A reader of shares, such as 0.03 or 3%; a bare number from 1 to 100, which is meant in percent, is refused."""

    def read(given: str | float) -> float:
        with suppress(ValueError, OverflowError):  # what is no number is refused below
            if 1 <= (bare := float(given)) <= MAX_MEANT_IN_HUNDREDTHS:
                raise BadValueError(
                    f"{name} {str(given)[:40]!r} would be {100 * bare:g} %; for {bare:g} % write {bare / 100:g} or {bare:g}%"
                )
        return positive(name, maximum)(given)

    return read


def dollars(given: str | float) -> int:
    """Read an amount of money such as 1M or $250k."""
    return parse_count(_without_sign(given), "budget-usd")


def price(given: str | float) -> float:
    """Read a price per device and hour in US dollars."""
    return parse_float(_without_sign(given), "price", minimum=0, maximum=MAX_DOLLARS_PER_HOUR, exclusive_minimum=True)


def _without_sign(given: str | float) -> str | float:
    return given.strip().removeprefix("$") if isinstance(given, str) else given


TORCH_NAMES = {
    "float64": "fp64",
    "double": "fp64",
    "float32": "fp32",
    "float": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
}
"""What torch calls a number format -> its name here."""


def dtype(text: str) -> str:
    """Read a number format by its name here or torch's. Raises BadValueError."""
    name = text.casefold().removeprefix("torch.")
    name = TORCH_NAMES.get(name, name)
    if name not in DTYPE_BYTES:
        raise BadValueError(f"unknown dtype {text[:40]!r}; expected one of: {', '.join(DTYPE_BYTES)}")
    return name


def convention(known: tuple[str, ...]) -> Callable[[str], str]:
    """A reader of the names of conventions."""

    def read(text: str) -> str:
        if text not in known:
            raise UnknownNameError("convention", text, known, "python -m bench list conventions")
        return text

    return read


def add_model(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """--model or --config, exactly one of them; or none where they are not required."""
    model = parser.add_argument_group("model")
    group = model.add_mutually_exclusive_group(required=required)
    group.add_argument("--model", metavar="NAME", help=names.MODEL_HELP)
    group.add_argument("--config", metavar="PATH", help="a Hugging Face config.json, or a folder that holds one")
    model.add_argument(
        "--fetch", action="store_true", help="download the config.json, nothing else, of a --model OWNER/NAME that is unknown"
    )


def load_model(options: ModelOptions) -> tuple[Model, ModelEntry | None]:
    """The model that was named, and its registry entry where it has one.

    Raises:
        UnknownNameError: no such model.
        BadValueError: a --source-len, an --image-size or a --video that it does not take.
        BadConfigError: the configuration describes no countable model.
    """
    from estimators.architectures.from_config import model_from_config, read_config

    if pipeline := pipeline_of(options.model, options.config, options.image, options.frames):
        return pipeline.denoiser, None
    if options.config is not None:
        from bench.backend.tracing.on_request import model_of
        from estimators.facts.hub_config import name_of

        config = read_config(options.config)
        model = model_of(config, name_of(options.config) or options.config)
        if "quantization_config" in config:
            _say_if_unread(model)
        return reading(model, *_asked(options)), None
    from estimators.facts.model_names import entry_named
    from estimators.facts.sized_llama import sized_llama

    assert options.model is not None
    if sized := sized_llama(options.model):
        return reading(model_from_config(sized.config, sized.name, sized.source), *_asked(options)), None
    entry = entry_named(options.model)
    return reading(model_from_config(entry.config, entry.id, entry.source), *_asked(options)), entry


def _asked(options: ModelOptions) -> tuple[int | None, Image | None, int | None]:
    return options.source_len, options.image, options.frames


def _say_if_unread(model: Model) -> None:
    """Say that a quantization_config is not looked at, of a model of which it is not."""
    from bench.machine.ranks import say
    from estimators.architectures.decoder import Decoder
    from estimators.architectures.traced import TracedModel

    if not isinstance(model, Decoder | TracedModel) or model.stored is None:
        say("quantization_config is looked at for decoder-only language models alone: these weights are counted as if none were quantised")


def add_dtype(parser: argparse._ActionsContainer) -> None:
    """--dtype."""
    parser.add_argument("--dtype", type=dtype, default="bf16", metavar="TYPE", help=f"{', '.join(DTYPE_BYTES)}; bf16 by default")


def add_utilization(parser: argparse._ActionsContainer, counted_as: tuple[str, ...]) -> None:
    """--utilization, the convention that it is counted under, and --price."""
    parser.add_argument(
        "--utilization", type=positive("utilization", 1), metavar="SHARE", help="of dense peak, such as 0.45 or 45%%; else predicted"
    )
    parser.add_argument(
        "--convention",
        type=convention(counted_as),
        metavar="NAME",
        help=f"{', '.join(counted_as)}; full by default, but causal for a predicted step of a model with windows",
    )
    add_price(parser)


def add_price(parser: argparse._ActionsContainer) -> None:
    """--price."""
    parser.add_argument(
        "--price", type=price, dest="usd_per_gpu_hour", metavar="USD", help="per device and hour; else the range of quotes seen"
    )


def load_hardware(name: str) -> Hardware:
    """One device of the registry, or the user's own as JSON or a file of it. Raises UnknownNameError, BadValueError."""
    from estimators.facts.own_device import is_own, own_device

    if is_own(name):
        return own_device(name)
    from estimators.facts.registry import hardware

    return hardware(name)


def refuse(given: Mapping[str, object], why: str) -> None:
    """Demand that none of some options was given: an answer that has no use for one does not pass over it in silence.

    Args:
        given: option -> its value; None, False and no words at all stand for one that was not given.
        why: what it is of, and how to mend it.

    Raises:
        BadValueError: one was.
    """
    for word, value in given.items():
        if not (value is None or value is False or value == ()):
            raise BadValueError(f"{word} {why}")


def with_all_facts(tables: Sequence[Table], **more: object) -> list[Table]:
    """The tables, with the single values of all of them, and `more`, in the first one."""
    from estimators.frozen import replace

    facts = dict(more)
    for table in reversed(tables):
        facts |= table.facts
    return [replace(tables[0], facts=facts), *tables[1:]]


def explain_more(explained: bool) -> list[str]:
    """What a screen says of --explain."""
    return [] if explained else ["--explain (how each figure came about)"]


def model_option(options: ModelOptions) -> str:
    """The words that name the model again, and its source, in a command that the user can copy."""
    import shlex  # deferred: only explanations need it

    named = f"--config {shlex.quote(options.config)}" if options.config is not None else f"--model {options.model}"
    if options.source_len is not None:
        named += f" --source-len {options.source_len}"
    if options.image is not None:
        named += f" --image-size {options.image.height}x{options.image.width}"
    return named + _method_words(options) if isinstance(options, MethodOptions) else named


def _method_words(options: MethodOptions) -> str:
    targets = ",".join(options.lora_targets) if options.lora_targets else None
    given = {"--lora-rank": options.lora_rank, "--lora-targets": targets, "--frozen-layers": options.frozen_layers}
    words = "".join(f" {word} {value}" for word, value in given.items() if value is not None)
    return words if options.base_format == PLAIN else f"{words} --base-format {options.base_format}"
