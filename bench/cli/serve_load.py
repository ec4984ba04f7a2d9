"""One load of `serve`, simulated request by request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.cli import arguments
from bench.cli.output import Output
from bench.cli.serve_options import USUAL_REQUESTS, Options
from estimators.errors import BadValueError

if TYPE_CHECKING:
    from estimators.serving.load import LoadQuestion
    from estimators.serving.question import ServeQuestion
    from estimators.serving.requests import Requests


def run_load(options: Options, question: ServeQuestion, out: Output) -> int:
    """Simulate a load; 1 where the deployment does not fit, or a mean is beyond its limit."""
    from estimators.serving.answer import serve
    from estimators.serving.load import load, load_interval
    from reports.views.serving.load import load_screen, load_tables
    from reports.views.serving.screen import serve_screen
    from reports.views.serving.serve import serve_tables

    elsewhere = {"--price": options.usd_per_gpu_hour, "--utilization": options.utilization, "--api-price": options.api_price}
    arguments.refuse(elsewhere | {"--explain": options.explain}, "has no part in one load simulated; leave it out, or --simulate")
    answer = serve(question)
    if not answer.fits:
        tables = arguments.with_all_facts(serve_tables(answer))
        out.emit(tables, serve_screen(answer, tables, more=[], asked=[]))
        return 1
    users = answer.best.load.users if answer.best else 1
    asked = _question(options, question, _requests(options, question, int(users), answer.num_replicas or 1))
    found, ends = load(asked), load_interval(asked)
    beyond = found.beyond(ttft_s=question.ttft_limit_s, itl_s=question.itl_limit_s)
    tables = arguments.with_all_facts(load_tables(asked, found, ends))
    out.emit(tables, load_screen(asked, found, ends, tables, beyond=beyond))
    return 1 if beyond else 0


def _question(options: Options, question: ServeQuestion, requests: Requests) -> LoadQuestion:
    from estimators.serving.cuts import cut_over
    from estimators.serving.load import LoadQuestion

    pool = cut_over(question.deployment, options.prefill_gpus) if options.prefill_gpus else None
    return LoadQuestion(deployment=question.deployment, requests=requests, prefill=pool, own=question.own)


def _requests(options: Options, question: ServeQuestion, users: int, num_replicas: int) -> Requests:
    """What one replica is asked: a file's requests, its part of a rate, or users in a closed loop. Raises BadValueError."""
    from estimators.serving import requests

    if options.requests:
        if options.rate_per_s or options.users:
            raise BadValueError("--requests has arrivals of its own; expected no --rate and no --users beside it")
        return requests.read_requests(options.requests)
    fewest, most = question.users
    if options.users:
        users = math.ceil(options.users / num_replicas)
    elif fewest == most:
        users = most
    number = options.simulate or USUAL_REQUESTS
    prompts, answers = options.input_tokens.of(number), options.output_tokens.of(number)
    if options.rate_per_s:
        return requests.at_rate(prompts, answers, options.rate_per_s / num_replicas, seed=options.seed)
    return requests.closed_loop(prompts, answers, users, seed=options.seed)
