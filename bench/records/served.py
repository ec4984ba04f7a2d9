"""ServedLoad: what a record keeps of a server under load, request by request, and the same as the estimators take it.

Its classes have the fields of those of estimators.serving.results.result, which say what they mean.
"""

from __future__ import annotations

from typing import Annotated, Any

from bench.records.part import Part
from bench.records.typed_json import Above, AtLeast, MeasuredSeconds, OneOf
from estimators.serving.results.result import LOADS, QUANTITIES, Figure, Load, Served, ServedRequest, ServingResult

Count = Annotated[int, AtLeast(0)]
Positive = Annotated[int, AtLeast(1)]


class StatedFigure(Part):
    """As of `Figure`."""

    quantity: Annotated[str, OneOf(tuple(QUANTITIES))]
    statistic: str
    value: Annotated[float, AtLeast(0)]


class AnsweredRequest(Part):
    """As of `ServedRequest`."""

    arrival_s: MeasuredSeconds | None = None
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None
    ttft_s: MeasuredSeconds | None = None
    e2e_s: MeasuredSeconds | None = None
    gaps_s: tuple[MeasuredSeconds, ...] = ()
    last_token_s: MeasuredSeconds | None = None


class AskedLoad(Part):
    """As of `Load`."""

    kind: Annotated[str, OneOf(LOADS)] = "unknown"
    concurrency: Positive | None = None
    request_rate: Annotated[float, Above(0)] | None = None
    num_requests: Count | None = None
    prompt_tokens: Annotated[float, AtLeast(0)] | None = None
    output_tokens: Annotated[float, AtLeast(0)] | None = None


class Server(Part):
    """As of `Served`."""

    model: str = ""
    hardware: str = ""
    engine: str = ""
    num_gpus: Positive | None = None
    tp: Positive | None = None
    pp: Positive | None = None
    dp: Positive | None = None
    ep: Positive | None = None
    weights: str = ""
    kv: str = ""
    accepted_len: Annotated[float, AtLeast(1)] | None = None
    is_disaggregated: bool = False


class RawSeconds(Part):
    """Seconds of a quantity that no request is known of."""

    quantity: Annotated[str, OneOf(tuple(QUANTITIES))]
    samples_s: tuple[MeasuredSeconds, ...]


class EngineSteps(Part):
    """What an engine in this process did, pass by pass; figures of a pass stand at its place in each list.

    Attributes:
        tokens, keys, sequences: of a pass: decoded and read tokens, keys that they saw, sequences that got a token.
        begun_s: from the first arrival.
        pass_s: of the model's forward pass.
        processor_s: of the engine's thread over the pass; below `pass_s` where other programs had the processor.
        between_processor_s: of the engine's thread from the end of the pass before to the beginning of this one.
        cache_bytes: of the tensor that keys and values lay in.
        num_blocks, page_size: blocks of the cache, and tokens of one.
    """

    tokens: tuple[Count, ...] = ()
    keys: tuple[Count, ...] = ()
    sequences: tuple[Count, ...] = ()
    begun_s: tuple[float, ...] = ()
    pass_s: tuple[MeasuredSeconds, ...] = ()
    processor_s: tuple[MeasuredSeconds, ...] = ()
    between_processor_s: tuple[MeasuredSeconds, ...] = ()
    cache_bytes: Count | None = None
    num_blocks: Count | None = None
    page_size: Positive | None = None


class ServedLoad(Part):
    """A record's `proof.served`: as of `ServingResult`, the name of the file that it was read from, and the passes of an engine here."""

    file_format: str
    file: str = ""
    client: str
    created: str = ""
    served: Server
    load: AskedLoad
    completed: Count | None = None
    failed: Count | None = None
    duration_s: MeasuredSeconds | None = None
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None
    counted_by_client: Count | None = None
    figures: tuple[StatedFigure, ...] = ()
    requests: tuple[AnsweredRequest, ...] = ()
    samples: tuple[RawSeconds, ...] = ()
    engine: EngineSteps | None = None


def kept(result: ServingResult, file: str = "") -> ServedLoad:
    """What a record keeps of a result."""
    return ServedLoad(
        **_fields(result, "served", "load", "figures", "requests", "samples"),
        file=file,
        served=Server(**_fields(result.served)),
        load=AskedLoad(**_fields(result.load)),
        figures=tuple(StatedFigure(**_fields(figure)) for figure in result.figures),
        requests=tuple(AnsweredRequest(**_fields(request)) for request in result.requests),
        samples=tuple(RawSeconds(quantity=quantity, samples_s=samples_s) for quantity, samples_s in result.samples),
    )


def _fields(of: Any, *without: str) -> dict[str, Any]:
    """The fields that say something, by name."""
    values = {name: getattr(of, name) for name in of._fields if name not in without}
    return {name: value for name, value in values.items() if value not in (None, "", ())}


def result_of(kept_load: ServedLoad) -> ServingResult:
    """The result that a record keeps, as the estimators take it."""
    stated = dict(kept_load.stated())
    stated.pop("file", None)
    stated.pop("engine", None)
    return ServingResult(
        **stated
        | {
            "served": Served(**kept_load.served.stated()),
            "load": Load(**kept_load.load.stated()),
            "figures": tuple(Figure(**figure.stated()) for figure in kept_load.figures),
            "requests": tuple(ServedRequest(**{**_UNKNOWN, **request.stated()}) for request in kept_load.requests),
            "samples": tuple((raw.quantity, raw.samples_s) for raw in kept_load.samples),
        }
    )


_UNKNOWN: dict[str, Any] = dict.fromkeys(("arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "e2e_s"))
