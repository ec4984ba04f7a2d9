"""The forms' questions: fields as the verbs have them, a command line and a link for each, and answers as the verbs give them."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from html import unescape

import pytest

from bench.cli.main import main
from bench.cli.verbs import VERBS, verb_parser
from bench.program import NAME
from bench.web.answer import answered
from bench.web.question import ASKED, FIRST, OF_FILES, command, fields, link, words
from estimators.errors import BadValueError

QUESTIONS = {
    "estimate": {"model": "gpt2", "tokens": "1B", "hardware": "a100-sxm4-80gb", "gpus": "8"},
    "plan": {"model": "llama-3-8b", "tokens": "1T", "hardware": "h100-sxm5-80gb", "gpus": "8"},
    "fit": {"model": "llama-3.1-8b", "method": "qlora", "hardware": "4090", "batch": "4", "seq-len": "2048"},
    "serve": {"model": "llama-3.1-8b", "hardware": "l40s-48gb", "users": "8"},
    "compare-hardware": {"model": "gpt2", "tokens": "1B", "hardware": "a100-sxm4-80gb,h100-sxm5-80gb", "gpus": "8"},
}

QUICKLY = ("fit", "compare-hardware")
"""What a default run of the tests asks twice; the others are slow together."""


def printed(argv: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main(argv)
    return out.getvalue()


@pytest.mark.parametrize("verb", ASKED)
def test_every_field_is_an_option_of_its_verb_under_its_own_name(verb: str) -> None:
    known = verb_parser(verb).actions_by_option
    named = {field.name: known[f"--{field.name}"] for field in fields(verb)}
    assert set(FIRST[verb]) <= set(named)
    assert all(field.help and field.group for field in fields(verb))
    assert not [name for name, action in named.items() if action.metavar in OF_FILES]
    assert not {"config", "fetch", "format", "output", "plot", "verbose"} & set(named)


@pytest.mark.parametrize("verb", [pytest.param(verb, marks=() if verb in QUICKLY else pytest.mark.slow) for verb in ASKED])
def test_the_answer_is_the_page_that_the_command_writes(verb: str) -> None:
    values = QUESTIONS[verb]
    page = answered(verb, values)
    assert page.error == ""
    typed = command(verb, values)
    assert typed.startswith(f"{NAME} {verb} --model {values['model']}")
    assert page.page == printed([*shlex.split(typed.removeprefix(f"{NAME} ")), "--format", "html"]).replace(" --format html", "")
    assert typed.removeprefix(NAME) in unescape(page.page)


def test_the_calculators_figures_are_those_of_the_commands_json() -> None:
    values = QUESTIONS["fit"]
    of_json = json.loads(printed([*words("fit", values), "--format", "json"]))
    first = of_json[0] if isinstance(of_json, list) else of_json
    assert first["title"] in unescape(answered("fit", values).page)


def test_a_wrong_question_is_answered_by_one_line() -> None:
    assert "did you mean 'gpt2'" in answered("estimate", {"model": "gpt22", "tokens": "1B"}).error
    assert "'nonsense'" in answered("estimate", {"model": "gpt2", "tokens": "nonsense"}).error
    assert answered("estimate", {"model": "gpt2", "tokens": "nonsense"}).page == ""


@pytest.mark.parametrize(
    ("verb", "values", "said"),
    [
        ("run", {}, "'run' has no form here"),
        ("estimate", {"config": "somewhere"}, "'config' is no field of estimate; files are given on the command line"),
        ("serve", {"requests": "trace.csv"}, "'requests' is no field"),
        ("plan", {"output": "x"}, "'output' is no field"),
        ("estimate", {"outlook": "yes"}, "outlook is a switch: expected on"),
    ],
)
def test_what_a_link_may_not_ask_is_refused(verb: str, values: dict[str, str], said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        words(verb, values)


def test_values_are_one_word_each_whatever_they_hold() -> None:
    values = {"model": "gpt2; echo", "tokens": "--hardware", "outlook": "on", "gpus": ""}
    asked = words("estimate", values)
    assert asked == ["estimate", "--model", "gpt2; echo", "--tokens=--hardware", "--outlook"]
    assert shlex.split(command("estimate", values)) == [*NAME.split(), *asked]
    assert link("estimate", values) == "/estimate?model=gpt2%3B+echo&tokens=--hardware&outlook=on"


def test_each_form_has_its_verb() -> None:
    assert set(ASKED) <= set(VERBS)
