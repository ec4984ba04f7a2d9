"""`fit --from`: what a job's own configuration files say, and the options that go before them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from bench.cli import names
from bench.cli.arguments import ModelOptions
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.memory.optimizers import optimizer
from estimators.tuning.job import TuningJob
from estimators.tuning.recipes import UNKNOWN, recipe
from estimators.tuning.settings import OF_RUN, Value, job_of

if TYPE_CHECKING:
    from bench.cli.output import Output
    from estimators.spec import Model
    from estimators.tuning.readers.job_files import Reading
    from reports.screen import Screen
    from reports.table import Table

AnyOptions = TypeVar("AnyOptions", bound=ModelOptions)

HELP = (
    "the job's own configuration, once or more: axolotl, LLaMA-Factory, TRL or Trainer arguments, torchtune, adapter_config.json, "
    "DeepSpeed, accelerate and what `plan --emit` writes; FORMAT=FILE names its format; options go before it"
)

WORDS = {
    "objective": "--method",
    "num_gpus": "--gpus",
    "micro_batch": "--batch",
    "seq_len": "--seq-len",
    "accumulation": "--accumulation",
    "packing": "--packing",
    "optimizer": "--optimizer",
    "checkpointing": "--checkpointing",
    "attention": "--attention",
    "loss": "--loss",
    "sharding": "--sharding",
    "lora_dropout": "--lora-dropout",
    "lora_rank": "--lora-rank",
    "lora_targets": "--lora-targets",
    "base_format": "--base-format",
    "weights_dtype": "--precision",
    "autocast": "--precision",
    "trained_layers": "--frozen-layers",
    **dict.fromkeys(("offload_optimizer", "offload_parameters", "offload_activations"), "--offload"),
}
"""Setting -> the option that states it; --method for any other."""


class Append(argparse.Action):
    """Puts the files of each --from behind those before it."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, (*getattr(namespace, self.dest), *values))


def paths(given: str | os.PathLike[str] | Sequence[str]) -> tuple[str, ...]:
    """One path, or several. Raises BadValueError."""
    found = (given,) if isinstance(given, str) else (os.fspath(given),) if isinstance(given, os.PathLike) else tuple(map(os.fspath, given))
    if not all(found):
        raise BadValueError("--from names no file; expected such as axolotl.yml or trl=args.json")
    return found


def read(files: Sequence[str], options: ModelOptions, framework: str | None, stated: Mapping[str, Value]) -> Reading:
    """What the files say, after what the options state.

    Args:
        options: with the model, where one was given.
        framework: as --framework has it.
        stated: by the options, of those settings alone that they name.

    Raises:
        BadValueError, UnavailableError: as `job_files.combined`.
        UnknownNameError: no such framework.
    """
    from estimators.tuning.readers.job_files import COMMAND_LINE, combined
    from estimators.tuning.readers.reading import Stated

    before = [Stated(setting=name, value=value, key=WORDS.get(name, "--method"), file=COMMAND_LINE) for name, value in stated.items()]
    if model := options.model or options.config:
        before.append(Stated(setting="model", value=model, key="--model" if options.model else "--config", file=COMMAND_LINE))
    name, _, version = (framework or "").partition("@")
    return combined(files, before, framework=recipe(name, version).framework if name else "", version=version)


def with_model(options: AnyOptions, reading: Reading, out: Output) -> AnyOptions:
    """The options with the model that the files name, where none was given.

    Raises:
        BadValueError: no file names one.
        UnknownNameError: none is called so.
    """
    if options.model is not None or options.config is not None:
        return options
    model = reading.settings.get("model")
    if model is None:
        files = " and ".join(file.file for file in reading.own_files)
        raise BadValueError(f"{files[:120]} names no model; give its name, or --config")
    values, said = names.named_model({"model": str(model), "config": None, "fetch": options.fetch})
    names.say_taken(said, out)
    return replace(options, model=values["model"], config=values["config"])


def job_in(reading: Reading, model: Model, usual: Mapping[str, Value]) -> TuningJob:
    """The job of the files.

    Args:
        usual: settings that go before the framework's defaults, and after what is stated.

    Raises:
        BadValueError, UnknownNameError: no job is made of them.
    """
    given = {**reading.given(), **{name: value for name, value in usual.items() if name not in reading.settings}}
    if "optimizer" in given:
        given["optimizer"] = optimizer(str(given["optimizer"])).name
    chosen = recipe(reading.framework or UNKNOWN, reading.version)
    return job_of(model, chosen, {name: value for name, value in given.items() if name not in OF_RUN})


def tables(reading: Reading | None) -> list[Table]:
    """What was read, from which key; nothing without files."""
    from reports.views.planning.fit_files import files_table

    return [] if reading is None else [files_table(reading)]


def on_screen(screen: Screen, reading: Reading | None, job: TuningJob) -> Screen:
    """The screen with what was read, and what nobody says, before its notes."""
    from reports.views.planning.fit_files import files_lines

    return screen if reading is None else replace(screen, notes=[*files_lines(reading, job), *screen.notes])
