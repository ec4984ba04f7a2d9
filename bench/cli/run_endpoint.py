"""`run --endpoint`: a server that answers already is loaded by a tool that is installed here, and its result is a record."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import names, records_page
from bench.cli.output import Output
from bench.cli.run_options import Options
from bench.cli.verbs import verb_parser
from bench.machine.ranks import say
from bench.records.request import SERVING
from estimators.errors import BadValueError, UnavailableError, UnknownNameError

if TYPE_CHECKING:
    from bench.runs.load_tools import EndpointLoad

USUAL_PROMPT = 128
USUAL_ANSWER = 32
USUAL_CONCURRENCY = 4
ROUNDS = 3
HEEDED = (
    *("endpoint", "model", "tool", "tokenizer", "allow_host", "hardware", "gpus", "out"),
    *("task", "num_requests", "concurrency", "rate", "seq_len", "new_tokens", "seed"),
)
"""Options that an endpoint has a use for; the others say how a model is run on this machine."""


def run(options: Options, out: Output) -> int:
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
    from estimators.serving.results.result import Served

    load = _load(options)
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
    return records_page.emit_kept(out, records, options.out)


def _load(options: Options) -> EndpointLoad:
    """What the endpoint is loaded with. Raises BadValueError for options that it has not."""
    from bench.runs.load_tools import EndpointLoad

    assert options.endpoint is not None
    if options.model is None:
        raise BadValueError("--endpoint needs --model, the name that the server answers to")
    if options.task is not None and options.task not in SERVING:
        raise BadValueError(f"--endpoint is of --task serve; --task was {options.task[:40]!r}")
    for action in verb_parser("run").actions_by_option.values():
        if action.dest not in HEEDED and getattr(options, action.dest, action.default) != action.default:
            flag = action.option_strings[0]
            raise BadValueError(f"--endpoint is of a server that runs by itself; leave {flag} out, which says how a model is run here")
    if options.concurrency is not None and options.rate is not None:
        raise BadValueError("--concurrency is of a closed loop and --rate of arrivals; give one of them")
    concurrency = None if options.rate is not None else options.concurrency or USUAL_CONCURRENCY
    return EndpointLoad(
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
