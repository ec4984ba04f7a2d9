"""`run --endpoint`: a server that answers already is loaded by a tool that is installed here, and its result is a record."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.cli import names
from bench.cli.arguments import count
from bench.cli.output import Output
from bench.machine.ranks import say
from bench.records.request import SERVING
from estimators.errors import BadValueError, UnavailableError, UnknownNameError

USUAL_PROMPT = 128
USUAL_ANSWER = 32
USUAL_CONCURRENCY = 4
ROUNDS = 3
OF_THE_MACHINE = (
    "suite",
    "config",
    "batch",
    "num_beams",
    "prompt",
    "layers",
    "device",
    "dtype",
    "attn",
    "cache",
    "weights",
    "steps",
    "max_time_s",
)
"""Options that say how a model is run here, which an endpoint does not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of a server that answers already."""
    group = parser.add_argument_group("a server that answers already, loaded by a tool that is installed here")
    group.add_argument("--endpoint", metavar="URL", help="such as http://127.0.0.1:8000/v1; --model is the name that it answers to")
    group.add_argument("--tool", metavar="NAME", help="vllm, guidellm or aiperf; the first that is on PATH")
    group.add_argument("--tokenizer", metavar="PATH", help="of the tool, a folder or a name; the model's by default")
    group.add_argument("--allow-host", metavar="HOST", help="another machine's name, where it is yours to load; this one alone otherwise")
    group.add_argument("--hardware", metavar="NAME", help="that it runs on, to hold the result against: python -m bench list hardware")
    group.add_argument("--gpus", type=count("gpus", maximum=10**5), metavar="NUM", help="that it runs on")


def run(options: Any, out: Output) -> int:
    """Load, read, judge, keep, show; 1 where a check fails.

    Args:
        options: of `run`.
        out: where the answer goes.

    Raises:
        RequestError: options that an endpoint has not, no tool, or one that failed.
        PhysicsError: what no server can have found.
        KeyboardInterrupt: after what there was was kept.
    """
    from bench.runs.load_endpoint import load_endpoint
    from bench.runs.load_tools import EndpointLoad
    from estimators.serving.results.result import Served
    from reports.summary import details, num_failed, tables
    from reports.views.records.records_screen import records_screen

    load = _load(options, EndpointLoad)
    name, config = _architecture(load.model)
    records = load_endpoint(
        load,
        Served(model=name, hardware=options.hardware or "", num_gpus=options.gpus),
        tool=options.tool,
        allowed=[options.allow_host] if options.allow_host else [],
        config=config,
        out=options.out,
        say=say,
    )
    one = len(records) == 1
    shown = details(records[0]) if one else tables(records)
    out.emit(shown, records_screen(records, shown, one=one))
    for record in records:
        say(f"record: {options.out / record.run_id}.json")
    return 1 if num_failed(records) else 0


def _load(options: Any, load: Any) -> Any:
    """What the endpoint is loaded with. Raises BadValueError for options that it has not."""
    assert options.endpoint is not None
    if options.model is None:
        raise BadValueError("--endpoint needs --model, the name that the server answers to")
    if options.task is not None and options.task not in SERVING:
        raise BadValueError(f"--endpoint is of --task serve; --task was {options.task[:40]!r}")
    for name in OF_THE_MACHINE:
        if getattr(options, name) is not None:
            raise BadValueError(f"--endpoint: the server has its own {name.replace('_', '-')}; leave --{name.replace('_', '-')} out")
    if options.concurrency is not None and options.rate is not None:
        raise BadValueError("--concurrency is of a closed loop and --rate of arrivals; give one of them")
    concurrency = None if options.rate is not None else options.concurrency or USUAL_CONCURRENCY
    return load(
        url=options.endpoint,
        model=options.model,
        tokenizer=_path(options.tokenizer),
        requests=options.num_requests or ROUNDS * (concurrency or USUAL_CONCURRENCY),
        concurrency=concurrency,
        rate=options.rate,
        prompt_tokens=options.seq_len or USUAL_PROMPT,
        output_tokens=options.new_tokens or USUAL_ANSWER,
        seed=options.seed,
    )


def _path(tokenizer: str | None) -> str:
    """A tokenizer as the tool, which runs elsewhere, can find it."""
    if tokenizer is None:
        return ""
    return str(Path(tokenizer).expanduser().resolve()) if Path(tokenizer).expanduser().exists() else tokenizer


def _architecture(model: str) -> tuple[str, dict[str, Any] | None]:
    """A model's name and configuration where what the endpoint calls it means one here; else as the file has it."""
    with suppress(UnknownNameError, UnavailableError, BadValueError):
        named, _ = names.named_model({"model": model, "config": None})
        name, config, _ = names.configuration(named["model"], named["config"])
        return name, config
    return "", None
