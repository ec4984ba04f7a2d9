"""Read what a load generator found of a server, hold it against physics, and keep it as a record.

A result of vLLM's client:    python -m bench import result.json --model llama-3.1-8b --hardware h100 --gpus 1 --weights 16-bit
guidellm, several loads:      python -m bench import benchmarks.json --model llama-3.1-8b --hardware 2xh100
Of a format by name:          python -m bench import aiperf=profile_export_aiperf.json

vllm bench serve, sglang.bench_serving, guidellm 2, aiperf, inference-perf, llama-bench, InferenceX and llm-d's report 0.2 are read.
Options say what a file does not. What no server can have found is refused by name, and exits 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli import names, records_page
from bench.cli.arguments import count, positive
from bench.cli.output import Output
from estimators.frozen import frozen


@frozen
class Options:
    """Options of `import`; None and empty where the file says it."""

    file: str
    model: str | None
    config: str | None
    hardware: str | None
    gpus: int | None
    engine: str
    weights: str
    kv: str
    tp: int | None
    pp: int | None
    dp: int | None
    ep: int | None
    accepted: float | None
    out: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `import`."""
    parser.add_argument("file", metavar="FILE", help="the result; FORMAT=FILE names its format: python -m bench list result-formats")
    said = parser.add_argument_group("what answered, where the file does not say it")
    said.add_argument("--model", metavar="NAME", help=names.MODEL_HELP)
    said.add_argument("--config", metavar="PATH", help="a Hugging Face config.json, or a folder that holds one")
    said.add_argument("--hardware", metavar="NAME", help=names.HARDWARE_HELP)
    said.add_argument("--gpus", type=count("gpus", maximum=10**5), metavar="NUM", help="of the deployment")
    said.add_argument("--engine", default="", metavar="NAME", help="python -m bench list engines")
    said.add_argument("--weights", default="", metavar="NAME", help="their format: 16-bit, fp8, awq, gptq, mxfp4, nvfp4, ...")
    said.add_argument("--kv", default="", metavar="NAME", help="the cache's format: bf16, fp16, fp8, q8_0")
    for name, what in (("tp", "tensor"), ("pp", "pipeline"), ("dp", "data"), ("ep", "expert")):
        said.add_argument(f"--{name}", type=count(name, maximum=10**5), metavar="NUM", help=f"degree of {what} parallelism")
    said.add_argument(
        "--accepted", type=positive("accepted", 1000), metavar="LEN", help="tokens that a step of speculation yields in the mean"
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="FOLDER", help="where records go; runs/ by default")


def run(options: Options, out: Output) -> int:
    """Read, judge, keep, show; 1 where a check fails.

    Raises:
        RequestError: no result file, or one that is damaged.
        PhysicsError: what no server can have found; nothing is kept.
    """
    from bench.runs.import_results import import_results
    from estimators.serving.results.result import Served

    name, config = None, None
    if options.model is not None or options.config is not None:
        name, config, _ = names.configuration(options.model, options.config)
    said = Served(
        model=name or "",
        hardware=options.hardware or "",
        engine=options.engine,
        num_gpus=options.gpus,
        tp=options.tp,
        pp=options.pp,
        dp=options.dp,
        ep=options.ep,
        weights=options.weights,
        kv=options.kv,
        accepted_len=options.accepted,
    )
    records = import_results(options.file, said, config=config, out=options.out)
    return records_page.emit_kept(out, records, options.out)
