"""The names that the other verbs take.

python -m bench list models
python -m bench list hardware --match a100 --format csv
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping

from bench.cli.output import Output
from estimators.errors import UnknownNameError
from estimators.frozen import frozen
from estimators.units import format_int
from reports.table import Table, Value
from reports.views.counting.all_conventions import tools_table
from reports.views.listing.listing_screen import listing_screen
from reports.views.listing.names import conventions_table, grids_table, hardware_table, models_table, names_table

OTHER_NAMES = ("name", "aliases")
"""Columns of further names, which --match looks through."""

FORMATS = {
    "text": "for a terminal",
    "md": "Markdown, with pipes",
    "csv": "raw values in base units under one header; several tables get a column that names them",
    "json": "raw values in base units, single values at top level",
    "html": "a whole page that needs nothing else, with its pictures where matplotlib is installed",
    "latex": "tables within the width of an article, for the packages array, booktabs and longtable",
    "github": "a summary for GitHub Actions: the first line, and all figures folded away",
}


@frozen
class Options:
    """Options of `list`."""

    what: str | None
    match: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `list`."""
    parser.add_argument("what", type=_kind, nargs="?", metavar="|".join(KINDS), help="what to list; else what can be listed")
    parser.add_argument("--match", metavar="TEXT", help="only names that contain it, whatever the case, blanks and punctuation")


def run(options: Options, out: Output) -> int:
    """List.

    Raises:
        UnknownNameError: no name contains --match.
    """
    table = KINDS[options.what].table() if options.what else _kinds()
    if options.match is not None:
        key = table.columns[0].key
        text = _folded(options.match)
        rows = [row for row in table.rows if any(text in _folded(name) for column in (key, *OTHER_NAMES) for name in _names(row, column))]
        if not rows:
            raise UnknownNameError(
                key,
                options.match,
                (str(row[key]) for row in table.rows),
                " ".join(["python -m bench list", *([options.what] if options.what else [])]),
            )
        counted = f"{len(rows)} of {table.title}" if table.title[:1].isdigit() else table.title
        table = dataclasses.replace(table, title=counted, rows=rows)
    out.emit([table], listing_screen(table))
    return 0


def _names(row: Mapping[str, Value], column: str) -> list[str]:
    return str(row.get(column) or "").split("|")


def _folded(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _kind(text: str) -> str:
    folded = text.casefold()
    for word in (folded, f"{folded}s", f"{folded.removesuffix('y')}ies"):
        kind = OTHER_WORDS.get(word, word)
        if kind in KINDS:
            return kind
    raise UnknownNameError("list", text, (*KINDS, *OTHER_WORDS), "python -m bench list")


def _kinds() -> Table:
    return names_table("What can be listed: python -m bench list NAME", "list", {name: kind.help for name, kind in KINDS.items()})


def _models() -> Table:
    from estimators.architectures.from_config import model_from_config
    from estimators.counting.estimate import count_params
    from estimators.facts.registry import model_entry, model_ids
    from estimators.spec import Workload

    listed = []
    for name in model_ids():
        entry = model_entry(name)
        model = model_from_config(entry.config, entry.id, entry.source)
        listed.append((entry, count_params(model.ops(Workload())), model.max_positions))
    return models_table(listed)


def _hardware() -> Table:
    from estimators.facts.registry import hardware, hardware_ids

    return hardware_table([hardware(name) for name in hardware_ids()])


def _tasks() -> Table:
    from bench.records.request import ALL_TASKS

    return names_table("Tasks of `run`", "task", ALL_TASKS)


def _grids() -> Table:
    from estimators.facts.electricity import grids

    return grids_table(list(grids().values()))


def _suites() -> Table:
    from bench.runs.suites import SUITES

    return names_table("Suites of `run`", "suite", {name: suite.help for name, suite in SUITES.items()})


def _families() -> Table:
    from estimators.architectures import FAMILIES, OWN_CODE, builder

    described = {model_type: (builder(model_type).__doc__ or "").partition("\n")[0] for model_type in (*FAMILIES, *OWN_CODE)}
    described |= {model_type: f"code of its own: {described[model_type]}" for model_type in OWN_CODE}
    return names_table("Families: model_type of config.json with an op table", "model_type", described)


def _software() -> Table:
    from estimators.cost.software import DEFAULT_STACK, stacks
    from reports.views.listing.measured_steps import software_table

    return software_table(list(stacks().values()), default=DEFAULT_STACK)


def _measured() -> Table:
    from reports.views.listing.measured_steps import measured_table

    return measured_table()


def _recipes() -> Table:
    from estimators.tuning.recipes import recipes
    from reports.views.listing.tuning import recipes_table

    return recipes_table(list(recipes().values()))


def _engines() -> Table:
    from estimators.serving.engines import engines
    from reports.views.listing.serving import engines_table

    return engines_table(list(engines().values()))


def _optimizers() -> Table:
    from estimators.memory.optimizers import OPTIMIZERS
    from reports.views.listing.tuning import optimizers_table

    return optimizers_table(list(OPTIMIZERS.values()))


def _launcher_keys() -> Table:
    from estimators.training.layouts.emit import LAUNCHERS
    from reports.views.listing.names import file_keys_table

    return file_keys_table({name: module.KEYS for name, module in LAUNCHERS.items()}, "launchers' files")


def _tuning_keys() -> Table:
    from estimators.tuning.readers.one_file import FORMATS as FILES
    from reports.views.listing.names import file_keys_table

    return file_keys_table({name: form.keys for name, form in FILES.items()}, "fine-tunings' files")


def _result_formats() -> Table:
    from estimators.serving.results.one_file import FORMATS as RESULTS

    return names_table("Files of load generators that `import` reads", "format", {name: form.about for name, form in RESULTS.items()})


def _run_files() -> Table:
    from reports.views.diagnosis.run_files import run_files_table

    return run_files_table()


def _pipelines() -> Table:
    from estimators.counting.estimate import count_params
    from estimators.facts.pipelines import pipeline_ids, pipeline_named
    from estimators.spec import Workload

    found = {name: pipeline for name in pipeline_ids() if (pipeline := pipeline_named(name))}
    return names_table(
        "Diffusion pipelines",
        "pipeline",
        {
            name: f"{each.denoiser.runs}, {format_int(count_params(each.denoiser.ops(Workload())))} parameters; {each.denoiser.sample}"
            for name, each in found.items()
        },
    )


@frozen
class Kind:
    """Something that can be listed.

    Attributes:
        help: one line.
        table: what `list` prints; its first column holds the names.
    """

    help: str
    table: Callable[[], Table]


KINDS: dict[str, Kind] = {
    "models": Kind(help="models that are shipped: what --model takes", table=_models),
    "families": Kind(help="types of config.json whose operations are known: what --config takes", table=_families),
    "pipelines": Kind(help="diffusion pipelines that are shipped: what --model of `show` and `estimate` takes, too", table=_pipelines),
    "hardware": Kind(help="GPUs and other accelerators, their peaks and memory: what --hardware takes", table=_hardware),
    "grids": Kind(help="countries, and what their electricity emits: what --location of `disclose` takes", table=_grids),
    "tasks": Kind(help="what `run` can measure of a model: what --task takes", table=_tasks),
    "suites": Kind(help="several runs and one table of them: what --suite takes", table=_suites),
    "software": Kind(help="generations of training software that are priced: what --software takes", table=_software),
    "measured": Kind(help="tables of measured steps that are shipped, and their columns", table=_measured),
    "launcher-keys": Kind(help="what --from makes of each key of a launcher's file", table=_launcher_keys),
    "tuning-keys": Kind(help="what --from of `fit` makes of each key of a fine-tuning's file", table=_tuning_keys),
    "result-formats": Kind(help="load generators' files: what may stand before the FILE of `import`", table=_result_formats),
    "run-files": Kind(help="what a training leaves that `diagnose` reads, and what each does not hold", table=_run_files),
    "recipes": Kind(help="frameworks for fine-tuning and what each does unless told: what --framework takes", table=_recipes),
    "engines": Kind(help="engines that serve models, by generation, and their defaults: what --engine takes", table=_engines),
    "optimizers": Kind(help="optimizers of a fine-tuning, and the bytes that each keeps of a parameter", table=_optimizers),
    "conventions": Kind(help="ways of counting FLOP: what --convention takes", table=conventions_table),
    "tools": Kind(help="whose MFU is counted how: what --from and --to of `translate` take", table=tools_table),
    "formats": Kind(
        help="formats of every table: what --format takes", table=lambda: names_table("Formats of every table", "format", FORMATS)
    ),
}

OTHER_WORDS = {
    "gpus": "hardware",
    "devices": "hardware",
    "accelerators": "hardware",
    "stacks": "software",
    "frameworks": "recipes",
    "architectures": "families",
    "launchers": "launcher-keys",
}
"""What people call some of them."""
