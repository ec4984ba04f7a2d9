"""The verbs, grouped by what somebody comes with, and the help of them all."""

from __future__ import annotations

import argparse
import keyword
from importlib import import_module
from types import ModuleType

from bench.cli import output
from bench.cli.parser import HELP_WIDTH, MODEL, Parser
from bench.program import NAME

GROUPS: dict[str, dict[str, str]] = {
    "Plan before you rent": {
        "estimate": "what a training run or a step costs: days, money, energy, memory",
        "plan": "the layouts that train a model fastest, and why others lose",
        "fit": "does a fine-tuning fit on a device, and what would make it fit",
        "serve": "users, latency and money of a served model, and GPUs for N users",
        "compare-hardware": "one training run on several kinds of device, side by side",
        "web": "these questions as forms in a browser, on this machine alone",
    },
    "Measure here": {
        "run": "estimate a model, measure it here, cross-check, keep a record",
        "report": "tables from the records of earlier runs",
        "compare": "is B as fast as A? two records, or folders of them, judged",
        "calibrate": "measure what this machine reaches, and predict steps from it",
        "import": "what a load generator found of a server, held against physics",
        "selftest": "can this machine be trusted to measure? its noise floor",
        "disclose": "what experiments took: device hours, FLOP, energy, CO2, to publish",
        "doctor": "what this machine lacks for a measurement, how to mend it",
    },
    "Check others": {
        "diagnose": "is a run's speed normal, why not, and what settles it",
        "check-claim": "the utilization that a claimed training implies; is it possible?",
        "translate": "a published MFU or TFLOP/s in another tool's convention",
        "validate": "predicted step times against measured ones: how far off",
    },
    "Look up": {
        "show": "a model's operations, parameters and FLOP, row by row",
        "list": "the names that the other verbs take: models, hardware, ...",
    },
    "For a shell": {
        "completion": "words that it completes: bash, zsh, fish",
        "man": "the manual page, for `man`",
    },
}
"""What somebody comes with -> verb -> one line of help. A verb's module is named like it, with `_` for `-`, and one
behind a word that is Python's."""

IN_ONE_LINE = "For a shell"
"""The group of what is asked once, whose verbs share a line of the help: all of it is one screen."""

VERBS: dict[str, str] = {verb: line for verbs in GROUPS.values() for verb, line in verbs.items()}
"""Verb -> one line of help."""

WORDS: dict[str, str] = {"help": "this, or with a verb after it that verb's options", "version": "the version"}
"""What stands in a verb's place and is none."""

EXAMPLES = (
    "estimate gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024",
    "plan llama-3-8b --tokens 1T --hardware h100-sxm5-80gb --deadline 30d",
)
"""Commands for a first look: the commonest questions."""


def verb_module(verb: str) -> ModuleType:
    """The module of one verb."""
    name = verb.replace("-", "_")
    return import_module(f"bench.cli.{name}_" if keyword.iskeyword(name) else f"bench.cli.{name}")


def verb_parser(verb: str) -> Parser:
    """The parser of one verb, complete with its options, those of the output, and the other spellings of both."""
    module = verb_module(verb)
    parser = Parser(
        prog=f"{NAME} {verb}",
        description=module.__doc__,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=HELP_WIDTH),
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    output.add_arguments(parser, has_pictures=getattr(module, "HAS_PICTURES", False), forms=getattr(module, "FORMS", ()))
    positionals = "".join(f" {_shown(action)}" for action in parser._get_positional_actions())
    model = " [MODEL]" if MODEL in parser.actions_by_option and not positionals else ""
    parser.usage = f"{NAME} {verb}{model}{positionals} [options]"
    parser.take_spellings()
    return parser


def _shown(action: argparse.Action) -> str:
    word = str(action.metavar or action.dest)
    return f"[{word}]" if action.nargs in ("?", "*") else word


def help_text() -> str:
    """What the program prints without a verb, and `--help`."""
    groups = [_group(title, verbs) for title, verbs in GROUPS.items()]
    examples = "\n".join(f"  {NAME} {example}" for example in EXAMPLES)
    return (
        f"usage: {NAME} VERB [options]: what deep-learning models cost; a verb's options: help VERB\n"
        + "\n".join(groups)
        + f"\nExamples (exit codes: 0 good; 1 a check failed, or impossible; 2 the request was wrong):\n{examples}"
    )


def _group(title: str, verbs: dict[str, str]) -> str:
    if title == IN_ONE_LINE:
        return f"{title}: {', '.join(f'{verb} ({line})' for verb, line in verbs.items())}"
    return "\n".join([f"{title}:", *(f"  {verb:<18}{line}" for verb, line in verbs.items())])
