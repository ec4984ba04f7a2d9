"""How many users a served model has room for, how fast, and what a million tokens cost: one replica's curve, and GPUs for N users.

Within limits:     python -m bench serve llama-3.1-8b --hardware l40s --input 1000 --output 300 --ttft 1s --itl 50ms --users 200
In a format:       python -m bench serve llama-3.1-70b --hardware h100 --gpus-per-replica 4 --weights fp8 --kv fp8 --concurrency 1..256
A mixture:         python -m bench serve deepseek-v3 --hardware h200 --gpus-per-replica 8 --engine sglang --input 1000 --output 1000
Against an API:    python -m bench serve gpt-oss-120b --hardware h100 --price 2.5 --utilization 0.4 --api-price 0.15,0.60
Which deployment:  python -m bench serve llama-3.1-70b --hardware h100 --ttft 1s --itl 50ms --search
Simulated:         python -m bench serve llama-3.1-8b --hardware h100 --rate 5 --input 1000:2800 --output 50..500 --simulate
As yours runs:     python -m bench serve llama-3.1-8b --hardware l40s --measured vllm.json
As a page:         python -m bench serve llama-3.1-8b --hardware l40s --out serve.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cli import arguments
from bench.cli.output import Output
from bench.cli.serve_options import Options, add_arguments
from estimators.errors import BadValueError
from estimators.frozen import replace

if TYPE_CHECKING:
    from estimators.serving.deployment import Deployment
    from estimators.serving.own_rows import Refitted
    from estimators.serving.question import ServeQuestion

__all__ = ["HAS_PICTURES", "Options", "add_arguments", "run"]

HAS_PICTURES = True


def run(options: Options, out: Output) -> int:
    """Serve; 1 where the deployment does not fit, or not even one user is within the limits."""
    question = decided(options)
    if options.search:
        return _search(options, question, out)
    if options.simulate or options.requests:
        from bench.cli.serve_load import run_load

        return run_load(options, question, out)
    of_a_load = {"--seed": options.seed or None, "--prefill-gpus": options.prefill_gpus}
    arguments.refuse(of_a_load, "is of a load that is simulated: add --simulate NUM or --requests FILE, or leave it out")
    from estimators.serving.answer import serve
    from reports.pages.serving import serving_pictures
    from reports.views.serving.screen import serve_screen
    from reports.views.serving.serve import serve_tables

    answer = serve(question)
    tables = arguments.with_all_facts(serve_tables(answer))
    asked = []
    if options.explain:
        from reports.views.explain.serving import explain_serving

        asked = [explain_serving(answer)]
    whole = [*tables, *asked]
    screen = serve_screen(answer, whole, more=arguments.explain_more(options.explain), asked=asked)
    out.emit(whole, screen, serving_pictures(answer))
    return 0 if answer.fits and answer.num_replicas is not None else 1


def _search(options: Options, question: ServeQuestion, out: Output) -> int:
    from estimators.serving.search import search, usual_ways
    from reports.pages.serving import search_pictures
    from reports.views.serving.search import search_screen, search_tables

    elsewhere = {
        "--users": options.users,
        "--rate": options.rate_per_s,
        "--api-price": options.api_price,
        "--simulate": options.simulate,
        "--requests": options.requests,
        "--seed": options.seed or None,
        "--prefill-gpus": options.prefill_gpus,
        "--explain": options.explain,
    }
    arguments.refuse(elsewhere, "has no part in --search, which is of one replica at every load; leave one out")
    d = question.deployment
    ways = usual_ways(question, replicas=(options.gpus,) if options.gpus else (), formats=options.weights is None)
    if options.kv is not None:
        ways = replace(ways, kv=(d.kv,))
    if _cut(options):
        ways = replace(ways, cuts=((d.tp, d.pp, d.dp, d.ep),), replicas=(d.num_devices,))
    answer = search(question, ways)
    tables = arguments.with_all_facts(search_tables(answer))
    out.emit(tables, search_screen(answer, tables), search_pictures(tables))
    return 0 if answer.best is not None else 1


def decided(options: Options) -> ServeQuestion:
    """What the options mean.

    Raises:
        BadValueError, UnknownNameError: options that contradict one another, unknown names.
    """
    from estimators.facts.prices import rent
    from estimators.serving.cuts import cut_over, demand_cut, fewest, named_checkpoint
    from estimators.serving.deployment import Deployment
    from estimators.serving.device_work import sixteen_of
    from estimators.serving.engines import engine
    from estimators.serving.question import ServeQuestion

    named = arguments.ModelOptions(model=options.model, config=options.config, fetch=options.fetch, source_len=None, image=None)
    model, entry = arguments.load_model(named)
    hardware = arguments.load_hardware(options.hardware)
    compute = sixteen_of(hardware, "bf16")
    model, weights = named_checkpoint(model, entry.id if entry else "", options.weights)
    deployment = Deployment(
        model=model,
        hardware=hardware,
        engine=engine(options.engine),
        weights=weights,
        compute=compute,
        kv=options.kv or compute,
        memory_fraction=options.memory_fraction,
        kv_blocks=options.kv_blocks,
        max_num_seqs=options.max_num_seqs,
        token_budget=options.token_budget,
        max_model_len=options.max_model_len,
        prefix_share=options.prefix_share or 0.0,
        speculation=options.speculate,
    )
    cut = _cut(options)
    tokens = options.input_tokens.mean + options.output_tokens.mean
    if cut:
        deployment = replace(deployment, **cut)
        demand_cut(deployment)
        if options.gpus not in (None, deployment.num_devices):
            raise BadValueError(f"tp x pp x dp are {deployment.num_devices} devices; --gpus-per-replica was {options.gpus}: leave one out")
    else:
        deployment = cut_over(deployment, options.gpus) if options.gpus else fewest(deployment, tokens)
    return ServeQuestion(
        deployment=deployment,
        input_tokens=options.input_tokens.mean,
        output_tokens=options.output_tokens.mean,
        users=options.concurrency,
        ttft_limit_s=options.ttft_s,
        itl_limit_s=options.itl_s,
        num_users=options.users,
        rate_per_s=options.rate_per_s,
        rent=rent(hardware.id, options.usd_per_gpu_hour),
        utilization=options.utilization or 1.0,
        api=options.api_price,
        own=_own(options, deployment),
    )


def _own(options: Options, deployment: Deployment) -> Refitted | None:
    """The constants after the user's own measurements. Raises RequestError, PhysicsError."""
    if not options.measured:
        return None
    if options.search:
        raise BadValueError("--measured is of one deployment; expected no --search beside it")
    from estimators.serving.own_rows import refit
    from estimators.serving.results.loads import measured_loads

    return refit(deployment, measured_loads(options.measured, deployment))


def _cut(options: Options) -> dict[str, int]:
    """The degrees that were named; what is left of the devices is tensor parallelism where nobody says. Raises BadValueError."""
    named = {word: value for word in ("tp", "pp", "dp", "ep") if (value := getattr(options, word)) is not None}
    if not named or options.gpus is None or "tp" in named:
        return named
    others = named.get("pp", 1) * named.get("dp", 1)
    if options.gpus % others:
        raise BadValueError(f"pp x dp are {others}, which do not divide --gpus-per-replica {options.gpus}; expected a multiple of {others}")
    return {**named, "tp": options.gpus // others}
