"""What experiments took, ready to disclose: hardware, device hours, training compute by two routes, energy, CO2.

Records of `run`, and a watched training's:   python -m bench disclose runs/ --location FR --pue 1.2
codecarbon's file:                            python -m bench disclose emissions.csv --format model-card
A training in words:                          python -m bench disclose llama-3.1-8b --method lora --tokens 2B --hardware 8xh100 --hours 30
For a paper, a checklist, a card, the law:    python -m bench disclose runs/ --format latex|neurips|model-card|ai-act

Failed and broken-off runs count their time and are told apart, tries too where --preliminary names them. The total is the sum of the
records. What no meter read is unavailable, never 0; measured and estimated energy are never added up without saying so.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from bench import streams
from bench.cli import arguments, names, sequences
from bench.cli.output import Output
from estimators.cost.layout import MAX_DEVICES
from estimators.disclosure.disclosure import Disclosure, Original, Setting, impossible
from estimators.disclosure.experiment import Utilization
from estimators.errors import BadValueError
from estimators.facts.electricity import Figure, Grid, grid, world_grid
from estimators.frozen import frozen, replace
from estimators.method import FULL, TrainingMethod
from estimators.parsing import parse_carbon, parse_duration, parse_float
from estimators.spec import Source
from estimators.units import HOUR_S, KILO
from reports.views.disclosure.forms import FORMS, emissions_block

TYPES = ("pre-training", "fine-tuning")
METHODS = ("full", "lora", "qlora", "dora")
MAX_PUE, MAX_METERED = 3.0, 1e9
"""A building's overhead, and kilowatt-hours, beyond which a figure is a slip."""


@frozen
class Options(arguments.ModelOptions):
    """Options of `disclose`; None and empty where one was not given."""

    what: str | None
    preliminary: tuple[str, ...]
    method: str
    lora_rank: int | None
    lora_targets: tuple[str, ...] | None
    tokens: int | None
    seq_len: int | None
    hardware: str | None
    gpus: int | None
    wall_s: float | None
    dtype: str
    utilization: float | None
    training_type: str | None
    energy_j: float | None
    base_flop: int | None
    location: str | None
    carbon_kg_per_j: float | None
    pue: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `disclose`."""
    parser.add_argument("what", nargs="?", metavar="WHAT", help="a record, a folder of them, codecarbon's emissions.csv, or a model")
    arguments.add_model(parser, required=False)
    place = parser.add_argument_group("electricity")
    where = place.add_mutually_exclusive_group()
    where.add_argument("--location", metavar="COUNTRY", help="whose electricity, such as FR or France; the world's average by default")
    where.add_argument(
        "--carbon",
        type=lambda given: parse_carbon(given, "carbon"),
        dest="carbon_kg_per_j",
        metavar="G_PER_KWH",
        help="grams of CO2 equivalent per kWh of your own contract or region",
    )
    place.add_argument(
        "--pue",
        type=_pue,
        metavar="RATIO",
        help="energy of the building over that of the devices, such as 1.2; nothing is added by default",
    )
    records = parser.add_argument_group("of records")
    records.add_argument(
        "--preliminary", type=_paths, default=(), metavar="PATH[,PATH]", help="records, or folders of them below WHAT, that were tries"
    )
    records.add_argument(
        "--utilization",
        type=arguments.positive("utilization", 1),
        metavar="SHARE",
        help="of dense peak, for the compute by device time; else the middle of what published runs reached",
    )
    records.add_argument(
        "--training-type", choices=TYPES, metavar="|".join(TYPES), help="for a card, where the files do not tell, as codecarbon's do not"
    )
    stated = parser.add_argument_group("a training in words")
    stated.add_argument("--method", choices=METHODS, default="full", metavar="|".join(METHODS), help="what was trained; full by default")
    stated.add_argument("--lora-rank", type=arguments.count("lora-rank", maximum=10**6), metavar="NUM", help="of adapters; 16 by default")
    stated.add_argument("--lora-targets", type=arguments.targets, metavar="NAMES", help="which matrices have one; peft's by default")
    stated.add_argument("--tokens", type=arguments.count("tokens"), metavar="NUM", help="trained on, all epochs together, such as 2B")
    sequences.add_sequence(stated)
    stated.add_argument("--hardware", metavar="NAME", help=names.HARDWARE_HELP)
    stated.add_argument("--gpus", type=arguments.count("gpus", maximum=MAX_DEVICES), metavar="NUM", help="number of devices; 1 by default")
    stated.add_argument("--hours", type=_hours, dest="wall_s", metavar="TIME", help="wall time; a bare number is hours; or such as 3d")
    arguments.add_dtype(stated)
    stated.add_argument(
        "--kwh",
        type=_metered_j,
        dest="energy_j",
        metavar="NUM",
        help="that your meter read of the devices; else estimated from their power limit",
    )
    stated.add_argument(
        "--base-flop",
        type=lambda given: arguments.count("base-flop", maximum=10**30)(given),
        metavar="NUM",
        help="training compute of the model that was fine-tuned, such as 7.2e23; else as published, where it is",
    )


def _paths(given: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(given.split(",")) if isinstance(given, str) else tuple(given)


def _pue(given: str | float) -> float:
    return parse_float(given, "pue", minimum=1, maximum=MAX_PUE)


def _metered_j(given: str | float) -> float:
    """Kilowatt-hours, as meters tell them, in joules."""
    return KILO * HOUR_S * parse_float(given, "kwh", minimum=0, maximum=MAX_METERED, exclusive_minimum=True)


def _hours(given: str | float) -> float:
    """A length of time, in seconds; a bare number is hours."""
    bare = not isinstance(given, str) or not given.strip()[-1:].isalpha()
    return parse_duration(f"{given}h" if bare else given, "hours")


def run(options: Options, out: Output) -> int:
    """Disclose; 1 where no device could have done what a record says.

    Raises:
        RequestError: nothing to read, a model without its tokens, devices or hours.
        PhysicsError: so many tokens cannot be trained on in that time.
    """
    from reports.views.disclosure.screen import disclosure_screen
    from reports.views.disclosure.tables import disclosure_tables

    disclosure = _of_files(options) if _is_source(options) else _of_words(options, out)
    form = FORMS.get(out.format)
    if form is not None:
        out.emit_text(form(disclosure) + "\n")
    else:
        forms = {name: form(disclosure) for name, form in FORMS.items()}
        tables = arguments.with_all_facts(disclosure_tables(disclosure), co2_eq_emissions=emissions_block(disclosure), forms=forms)
        out.emit(tables, disclosure_screen(disclosure, tables))
    return 1 if impossible(disclosure.experiments) else 0


def _is_source(options: Options) -> bool:
    """Whether WHAT is records or codecarbon's file, and no model. Raises BadValueError where nothing is named."""
    if options.what is None:
        if options.model is None and options.config is None:
            raise BadValueError(
                "disclose what? Give a folder of records, codecarbon's emissions.csv, or a model with --tokens, --hardware, --hours"
            )
        return False
    if options.model is not None or options.config is not None:
        raise BadValueError(f"unexpected {options.what[:80]!r}: the model is {(options.model or options.config or '')[:80]} already")
    path = Path(options.what)
    names_a_file = options.what.endswith((os.sep, ".csv", ".json")) or options.what.startswith((".", os.sep)) or len(path.parts) > 2
    holds_config = os.path.isfile(path / "config.json") or path.name == "config.json"
    return not holds_config and (os.path.exists(path) or names_a_file)


def _setting(options: Options, *, country: str = "", pue: float | None = None) -> Setting:
    """Factor and PUE, as given, else as a file says. Raises UnknownNameError for a country that is none."""
    factor = world_grid()
    if options.carbon_kg_per_j is not None:
        carbon = Figure(value=options.carbon_kg_per_j, source=Source(title="given by --carbon"))
        factor = Grid(code="", name="given", year=None, carbon=carbon)
    elif options.location or country:
        factor = grid(options.location or country)
    if options.pue is not None:
        return Setting(grid=factor, pue=options.pue, pue_source="given by --pue")
    return Setting(grid=factor, pue=pue, pue_source="as the file says" if pue else "")


def _of_files(options: Options) -> Disclosure:
    """Of records, or of codecarbon's files where there is none. Raises RequestError."""
    from bench.records.disclosed import read_source

    assert options.what is not None
    stated = {
        "--tokens": options.tokens,
        "--hardware": options.hardware,
        "--hours": options.wall_s,
        "--kwh": options.energy_j,
        "--gpus": options.gpus,
        "--seq-len": options.seq_len,
        "--source-len": options.source_len,
        "--image-size": options.image,
        "--method": None if options.method == "full" else options.method,
        "--lora-rank": options.lora_rank,
        "--lora-targets": options.lora_targets,
    }
    arguments.refuse(stated, f"is of a training in words; records say it themselves: leave it out of {options.what[:80]!r}")
    utilization = None if options.utilization is None else Utilization(share=options.utilization, source="given by --utilization")
    source = read_source(options.what, preliminary=options.preliminary, utilization=utilization)
    for problem in source.left_out:
        streams.remark(f"warning: left out: {' '.join(problem.split())}")
    return Disclosure(
        experiments=source.experiments,
        setting=_setting(options, country=source.country, pue=source.pue),
        left_out=source.left_out,
        remarks=source.remarks,
        original=_given_original(options),
        stated_type=options.training_type or "",
    )


def _given_original(options: Options) -> Original | None:
    return None if options.base_flop is None else Original(flop=float(options.base_flop), source="given by --base-flop")


def _of_words(options: Options, out: Output) -> Disclosure:
    """Of a training that options state. Raises RequestError, PhysicsError."""
    from estimators.disclosure.stated import original_of, stated_experiment

    if options.preliminary:
        raise BadValueError("--preliminary is of records; leave it out of a training in words")
    if options.what is not None:
        values, said = names.named_model({"model": options.what, "config": None, "fetch": options.fetch})
        names.say_taken(said, out)
        options = replace(options, what=None, model=values["model"], config=values["config"])
    missing = {"--tokens": options.tokens, "--hardware": options.hardware, "--hours": options.wall_s}
    if lacking := [word for word, value in missing.items() if value is None]:
        raise BadValueError(f"a training in words needs {', '.join(lacking)}; what it would take is what `estimate` says")
    assert options.tokens is not None
    assert options.hardware is not None
    assert options.wall_s is not None
    base, entry = arguments.load_model(options)
    method, is_tuning = _method(options)
    if is_tuning:
        from estimators.architectures.adapters import trained
        from estimators.tuning.recipes import recipe

        model, length = trained(base, method), sequences.tuning_length(base, recipe("unknown"), options.seq_len)
    else:
        model, length = base, sequences.training_length(base, entry, options.seq_len)
    experiment = stated_experiment(
        model,
        name=f"{base.name}, {options.method}" if is_tuning else base.name,
        is_tuning=is_tuning,
        tokens=options.tokens,
        seq_len=length.tokens,
        hardware=arguments.load_hardware(options.hardware),
        num_devices=options.gpus or 1,
        wall_s=options.wall_s,
        dtype=options.dtype,
        utilization=None if options.utilization is None else Utilization(share=options.utilization, source="given by --utilization"),
        energy_j=options.energy_j,
    )
    by = f", {length.source}" if length.source else ""
    remarks = [f"{options.tokens:,} tokens in sequences of {length.tokens:,}{by}"]
    if is_tuning:
        remarks.append(f"{options.method}: {model.name}, the frozen weights without gradients of their own")
    original = _given_original(options) or (
        original_of(entry, base, sequences.training_length(base, entry, None).tokens) if is_tuning else None
    )
    return Disclosure(
        experiments=(experiment,),
        setting=_setting(options),
        remarks=tuple(remarks),
        original=original,
        stated_type=options.training_type or "",
    )


def _method(options: Options) -> tuple[TrainingMethod, bool]:
    """How the model was trained, and whether that is a fine-tuning. Raises BadValueError for options of another method."""
    if options.method == "full":
        if options.lora_rank is not None or options.lora_targets is not None:
            raise BadValueError("--lora-rank and --lora-targets are of adapters; give --method lora, qlora or dora with them")
        return FULL, False
    from estimators.tuning.settings import USUAL_RANK

    rank = options.lora_rank or USUAL_RANK
    base_format = "nf4" if options.method == "qlora" else FULL.base_format
    return TrainingMethod(rank=rank, targets=options.lora_targets or (), dora=options.method == "dora", base_format=base_format), True
