"""What `serve` is asked, typed, and how its values are read."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from bench.cli import arguments, names
from bench.cli.output import SUFFIXES
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.parsing import parse_float

if TYPE_CHECKING:
    from estimators.lengths import Lengths
    from estimators.serving.deployment import Speculation
    from estimators.serving.price import ApiPrice

USUAL_INPUT, USUAL_OUTPUT = 1000, 300
"""Tokens of a prompt and of an answer where nobody says."""

USUAL_REQUESTS = 1000
"""Of a simulated load."""

MEAN_OF = 1000
"""Samples whose mean is taken for a distribution's."""

USUAL_USERS = (1, 256)
LARGEST = 10**7
LATENCY = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>us|ms|s|min)?")
TASK = re.compile(r"\s*(?P<draft>\d{1,3})\s*,\s*(?P<task>[A-Za-z][\w -]*)")
LATENCY_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, None: 1.0}


@frozen
class Asked:
    """Lengths of prompts or of answers, as they were written.

    Attributes:
        text: see `parse_lengths`.
        name: of the option.
    """

    text: str
    name: str

    def of(self, samples: int) -> Lengths:
        """Of so many requests. Raises BadValueError."""
        from estimators.serving.requests import parse_lengths

        return parse_lengths(self.text, samples, self.name)

    @property
    def mean(self) -> int:
        """Tokens, rounded."""
        return max(1, round(self.of(MEAN_OF).mean_tokens))


@frozen
class Options:
    """Options of `serve`; None where one was not given.

    Attributes:
        gpus: of one replica; tp, pp, dp, ep: how they share the model out.
        weights: a format of weight_formats; None for the checkpoint's.
        concurrency: the fewest and the most users in flight on one replica.
        simulate: requests of a simulated load; requests: a file of them; seed: of their lengths and arrivals.
        prefill_gpus: of a pool that reads prompts.
        measured: result files of this deployment.
    """

    model: str | None
    config: str | None
    fetch: bool
    hardware: str
    gpus: int | None
    tp: int | None
    pp: int | None
    dp: int | None
    ep: int | None
    engine: str
    weights: str | None
    kv: str | None
    input_tokens: Asked
    output_tokens: Asked
    concurrency: tuple[int, int]
    ttft_s: float | None
    itl_s: float | None
    rate_per_s: float | None
    users: int | None
    usd_per_gpu_hour: float | None
    utilization: float | None
    api_price: ApiPrice | None
    speculate: Speculation | None
    prefix_share: float | None
    memory_fraction: float | None
    kv_blocks: int | None
    max_model_len: int | None
    max_num_seqs: int | None
    token_budget: int | None
    simulate: int | None
    requests: str | None
    seed: int
    prefill_gpus: int | None
    measured: tuple[str, ...] | None
    search: bool
    explain: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `serve`."""
    arguments.add_model(parser)
    replica = parser.add_argument_group("the replica")
    replica.add_argument("--hardware", required=True, metavar="NAME", help=names.HARDWARE_HELP)
    replica.add_argument(
        "--gpus",
        "--gpus-per-replica",
        dest="gpus",
        type=arguments.count("gpus-per-replica", maximum=1024),
        metavar="NUM",
        help="devices of one replica; as few as fit by default",
    )
    for word, what in {
        "tp": "tensor parallelism: devices that share out each matrix",
        "pp": "pipeline stages",
        "dp": "groups of tp devices that run attention each for their own sequences",
        "ep": "devices that experts are shared out over",
    }.items():
        replica.add_argument(f"--{word}", type=arguments.count(word, maximum=1024), metavar="NUM", help=what)
    replica.add_argument("--engine", default="vllm", metavar="NAME", help="python -m bench list engines; vllm by default")
    replica.add_argument(
        "--weights", type=weights, metavar="FORMAT", help="bf16, fp8, fp8-tiles, int4, nvfp4, q4_k_m, ...; the checkpoint's by default"
    )
    replica.add_argument("--kv", type=_kv, metavar="FORMAT", help="of the cache: bf16, fp16, fp8, fp32, q8_0; 16 bits by default")
    replica.add_argument("--memory-fraction", type=_fraction, metavar="SHARE", help="what the engine may take of the memory; its default")
    replica.add_argument(
        "--kv-blocks", type=arguments.count("kv-blocks", maximum=10**9), metavar="NUM", help="of a device, as the engine printed them"
    )
    replica.add_argument(
        "--max-model-len", type=arguments.count("max-model-len", maximum=LARGEST), metavar="LEN", help="longest sequence; the model's own"
    )
    replica.add_argument(
        "--max-num-seqs", type=arguments.count("max-num-seqs", maximum=10**6), metavar="NUM", help="sequences in flight; the engine's"
    )
    replica.add_argument(
        "--max-num-batched-tokens",
        dest="token_budget",
        type=arguments.count("max-num-batched-tokens", maximum=LARGEST),
        metavar="NUM",
        help="tokens of a step; the engine's",
    )
    replica.add_argument(
        "--speculate",
        type=_speculation,
        metavar="DRAFT,LEN",
        help="draft tokens, and tokens that a step yields: 3,2.3; or a task: 3,coding",
    )
    replica.add_argument(
        "--prefix-share", type=_prefix_share, metavar="SHARE", help="of the prompt tokens, those found in the cache; 0 by default"
    )
    load = parser.add_argument_group("the load")
    _add_lengths(load, "input", USUAL_INPUT, "tokens of a prompt, or low..high, mean:p95, a file of lengths")
    _add_lengths(load, "output", USUAL_OUTPUT, "of an answer, likewise")
    load.add_argument("--concurrency", type=_users, default=USUAL_USERS, metavar="A..B", help="users in flight on one replica; 1..256")
    many = load.add_mutually_exclusive_group()
    many.add_argument(
        "--users", type=arguments.count("users", maximum=10**9), metavar="NUM", help="in flight on all replicas: how many GPUs?"
    )
    many.add_argument(
        "--rate", type=arguments.positive("rate", 10**9), dest="rate_per_s", metavar="NUM", help="requests per second: how many GPUs?"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument("--ttft", type=_latency("ttft"), dest="ttft_s", metavar="TIME", help="mean time to first token at most, such as 1s")
    limits.add_argument("--itl", type=_latency("itl"), dest="itl_s", metavar="TIME", help="mean time between tokens at most, such as 50ms")
    money = parser.add_argument_group("money")
    arguments.add_price(money)
    money.add_argument(
        "--utilization", type=arguments.positive("utilization", 1), metavar="SHARE", help="of the time at that load; all of it"
    )
    money.add_argument(
        "--api-price", type=_api_price, metavar="IN,OUT", help="USD per million tokens that an API asks for, such as 0.15,0.60"
    )
    simulated = parser.add_argument_group("one load, simulated request by request")
    simulated.add_argument(
        "--simulate",
        nargs="?",
        const=USUAL_REQUESTS,
        type=arguments.count("simulate", maximum=10**6),
        metavar="NUM",
        help="so many requests of --rate, of --concurrency N or of the users within the limits; 1000",
    )
    simulated.add_argument("--requests", metavar="FILE", help="a CSV file with arrival_s, input_tokens and output_tokens in their place")
    simulated.add_argument(
        "--seed", type=arguments.count("seed", minimum=0, maximum=2**31), default=0, metavar="NUM", help="of lengths and arrivals; 0"
    )
    simulated.add_argument(
        "--prefill-gpus",
        type=arguments.count("prefill-gpus", maximum=1024),
        metavar="NUM",
        help="of a replica that reads all prompts",
    )
    more = parser.add_argument_group("more")
    more.add_argument(
        "--measured",
        type=_files,
        metavar="FILES",
        help="result files of this deployment, as import reads them, such as a.json,b.json: their runs refit the constants",
    )
    more.add_argument("--search", action="store_true", help="over parallelism, formats and batch limits: the best, and why others lose")
    more.add_argument("--explain", action="store_true", help=arguments.EXPLAIN_HELP)


def _add_lengths(group: argparse._ArgumentGroup, name: str, usual: int, what: str) -> None:
    """Tokens of prompts or of answers, one number or many."""
    group.add_argument(
        f"--{name}",
        f"--{name}-tokens",
        dest=f"{name}_tokens",
        type=_tokens(name),
        default=Asked(text=str(usual), name=name),
        metavar="LEN",
        help=f"{what}; {usual}",
    )


def weights(text: str) -> str:
    """Read a format that an engine holds weights in. Raises BadValueError."""
    from estimators.weight_formats import served_format

    return served_format(text)


def _files(given: str | Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Read paths with commas between. Raises BadValueError."""
    parts = given.split(",") if isinstance(given, str) else [os.fspath(part) for part in given]
    found = tuple(part.strip() for part in parts if part.strip())
    if not found:
        raise BadValueError("measured names no file; expected one such as vllm.json, or several with commas between")
    return found


def _kv(text: str) -> str:
    from estimators.serving.kv_cache import kv_format

    return kv_format(text)


def _fraction(given: str | float) -> float:
    return parse_float(given, "memory-fraction", minimum=0, maximum=1, exclusive_minimum=True)


def _prefix_share(given: str | float) -> float:
    return parse_float(given, "prefix-share", minimum=0, maximum=0.99)


def _latency(name: str) -> Callable[[str | float], float]:
    """A reader of short times; a bare number is seconds."""

    def read(given: str | float) -> float:
        found = LATENCY.fullmatch(str(given).strip().casefold())
        seconds = float(found["number"]) * LATENCY_UNITS[found["unit"]] if found else 0.0
        if not 0 < seconds < 10**6:
            raise BadValueError(f"{name} is {str(given)[:40]!r}; expected a time such as 50ms or 1s")
        return seconds

    return read


def _tokens(name: str) -> Callable[[str | float | Asked], Asked]:
    """A reader of lengths, as `parse_lengths` reads them; of a file that an answer would be written to it says which option writes one."""

    def read(given: str | float | Asked) -> Asked:
        if isinstance(given, Asked):
            return given
        asked = Asked(text=str(given), name=name)
        try:
            asked.of(1)
        except BadValueError:
            if name == "output" and PurePath(asked.text).suffix.lower() in SUFFIXES:
                file = asked.text[:80]
                raise BadValueError(
                    f"output {file!r} holds no lengths; --output is the tokens of an answer here; write the result with --out {file}"
                ) from None
            raise
        return asked

    return read


def _users(given: str | float | tuple[int, int]) -> tuple[int, int]:
    """Users from and to; one number is both. Raises BadValueError."""
    if isinstance(given, tuple):
        return given
    from estimators.parsing import parse_count

    first, separator, last = str(given).partition("..")
    low = parse_count(first, "concurrency", maximum=1 << 20)
    high = parse_count(last, "concurrency", maximum=1 << 20) if separator else low
    if low > high:
        raise BadValueError(f"concurrency is {str(given)[:40]!r}; expected the fewest users first, such as 1..256")
    return low, high


def _pair(given: str | tuple[float, float], name: str, such_as: str) -> tuple[float, float]:
    parts = given.split(",") if isinstance(given, str) else list(given)
    try:
        first, second = (float(str(part).strip().removeprefix("$")) for part in parts)
    except ValueError:
        raise BadValueError(f"{name} is {str(given)[:40]!r}; expected two numbers, such as {such_as}") from None
    return first, second


def _speculation(given: str | tuple[float, float]) -> Speculation:
    from estimators.serving.deployment import Speculation

    task = TASK.fullmatch(given) if isinstance(given, str) else None
    if task:
        from estimators.serving.acceptance import speculation_on

        return speculation_on(task["task"], int(task["draft"]))
    draft, accepted = _pair(given, "speculate", "3,2.3")
    if draft != int(draft):
        raise BadValueError(f"speculate has {draft:g} draft tokens; expected a whole number")
    return Speculation(draft_tokens=int(draft), accepted_len=accepted)


def _api_price(given: str | tuple[float, float]) -> ApiPrice:
    from estimators.serving.price import ApiPrice

    first, second = _pair(given, "api-price", "0.15,0.60")
    if not (0 <= first < 10**6 and 0 <= second < 10**6 and first + second > 0):
        raise BadValueError(f"api-price is {str(given)[:40]!r}; expected dollars from 0, one of them above")
    return ApiPrice(usd_per_million_input=first, usd_per_million_output=second)
