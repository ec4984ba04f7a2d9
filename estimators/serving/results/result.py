"""ServingResult: what one run of a load generator found, in base units, with each figure under the definition that it has."""

from __future__ import annotations

from estimators.errors import BadValueError
from estimators.frozen import frozen

QUANTITIES: dict[str, str] = {
    "ttft_s": "time to first token, of a request",
    "tpot_s": "(end to end − time to first token) / (output tokens − 1), of a request",
    "itl_s": "time between two stream events, over all of them",
    "per_output_token_s": "end to end / output tokens, of a request",
    "e2e_s": "end to end, of a request",
    "prefill_s": "a prompt read, alone",
    "decode_s": "a decode step: a token of every sequence",
    "requests_per_s": "requests ended, a second",
    "prompt_tokens_per_s": "prompt tokens a second, all GPUs together",
    "output_tokens_per_s": "output tokens a second, all GPUs together",
    "total_tokens_per_s": "prompt and output tokens a second, all GPUs together",
    "prompt_tokens_per_s_per_gpu": "prompt tokens a second and GPU",
    "output_tokens_per_s_per_gpu": "output tokens a second and GPU",
    "total_tokens_per_s_per_gpu": "prompt and output tokens a second and GPU",
    "output_tokens_per_s_per_user": "output tokens a second of one user",
    "running": "requests in flight",
}
"""What a figure is of -> how it is defined. TPOT, ITL and end to end over tokens are three quantities that tools give two names."""

LATENCIES = ("ttft_s", "tpot_s", "itl_s", "per_output_token_s", "e2e_s", "prefill_s", "decode_s")
"""Quantities that are seconds."""

MEAN, MEDIAN = "mean", "median"

LOADS = ("closed", "open", "all at once", "static batch", "saturated", "unknown")
"""How requests arrive: at most so many in flight; at a rate; all in the beginning; a batch that starts together; so many always."""


@frozen
class Figure:
    """One figure as a tool states it.

    Attributes:
        quantity: a key of QUANTITIES.
        statistic: mean, median, p90, std, min, max; mean of a rate over the whole run.
        value: in base units.
    """

    quantity: str
    statistic: str
    value: float

    def __post_init__(self) -> None:
        assert self.quantity in QUANTITIES, self.quantity


@frozen
class ServedRequest:
    """One request that was answered.

    Attributes:
        arrival_s: when it was sent, from the first one's; None where it was not kept.
        prompt_tokens, output_tokens: as the server counted them, where it told.
        ttft_s, e2e_s: from when it was sent.
        last_token_s: likewise, where the end of a request is more than its last token; None where it is the same.
        gaps_s: between stream events after the first; empty where they were not kept.
    """

    arrival_s: float | None
    prompt_tokens: int | None
    output_tokens: int | None
    ttft_s: float | None
    e2e_s: float | None
    gaps_s: tuple[float, ...] = ()
    last_token_s: float | None = None

    @property
    def ended_s(self) -> float | None:
        """Its last token, from when it was sent."""
        return self.e2e_s if self.last_token_s is None else self.last_token_s

    @property
    def tpot_s(self) -> float | None:
        """(end to end − time to first token) / (output tokens − 1); None of a single token."""
        if self.ttft_s is None or self.ended_s is None or not self.output_tokens or self.output_tokens < 2:
            return None
        return (self.ended_s - self.ttft_s) / (self.output_tokens - 1)

    @property
    def per_output_token_s(self) -> float | None:
        """End to end / output tokens."""
        return self.ended_s / self.output_tokens if self.ended_s is not None and self.output_tokens else None


@frozen
class Load:
    """How requests arrived and how long they were to be; None where it is not known.

    Attributes:
        kind: one of LOADS.
        concurrency: requests in flight at most; of a static batch its sequences.
        request_rate: requests a second that were to arrive.
        num_requests: that were to be sent.
        prompt_tokens, output_tokens: asked of each.
    """

    kind: str = "unknown"
    concurrency: int | None = None
    request_rate: float | None = None
    num_requests: int | None = None
    prompt_tokens: float | None = None
    output_tokens: float | None = None

    def __post_init__(self) -> None:
        assert self.kind in LOADS, self.kind


@frozen
class Served:
    """What answered, as the file says it or whoever imports it; empty or None where neither does.

    Attributes:
        model, hardware: by any name.
        engine: with its version or image behind it.
        num_gpus: of the whole deployment.
        tp, pp, dp, ep: degrees of parallelism.
        weights, kv: formats.
        accepted_len: tokens that a step of speculation yields in the mean; 1 for no speculation.
        is_disaggregated: whether prompts are read by other devices than those that decode.
    """

    model: str = ""
    hardware: str = ""
    engine: str = ""
    num_gpus: int | None = None
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    weights: str = ""
    kv: str = ""
    accepted_len: float | None = None
    is_disaggregated: bool = False

    def completed(self, said: Served) -> Served:
        """This, with what is said beside it: an option stands above the file."""
        names = self._fields  # type: ignore[attr-defined]
        return Served(**{name: getattr(said, name) or getattr(self, name) for name in names})


@frozen
class ServingResult:
    """One run of a load generator against one server.

    Attributes:
        file_format: a key of one_file.FORMATS.
        client: the tool, with its version where the file has it.
        created: when it ran, as the file writes it; empty where it does not.
        completed, failed: requests; None where it is not known.
        duration_s: of the run.
        prompt_tokens, output_tokens: of all completed requests, as the server counted them where it told.
        counted_by_client: output tokens by the client's own tokenizer where the server told another number; None where they agree.
        figures: as stated.
        requests: one by one, where the file has them.
        samples: raw seconds of a quantity, where there are no requests.
    """

    file_format: str
    client: str
    served: Served
    load: Load
    created: str = ""
    completed: int | None = None
    failed: int | None = None
    duration_s: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    counted_by_client: int | None = None
    figures: tuple[Figure, ...] = ()
    requests: tuple[ServedRequest, ...] = ()
    samples: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def stated(self, quantity: str, *statistics: str) -> float | None:
        """The first of the statistics that is stated of a quantity."""
        by_name = {figure.statistic: figure.value for figure in self.figures if figure.quantity == quantity}
        return next((by_name[name] for name in statistics if name in by_name), None)

    def seconds(self, quantity: str) -> tuple[float, ...]:
        """Raw seconds of a latency, over the requests in order, or as the file has them; empty where it has none."""
        if quantity == "itl_s":
            return tuple(gap for request in self.requests for gap in request.gaps_s)
        if self.requests and quantity in ("ttft_s", "tpot_s", "per_output_token_s", "e2e_s"):
            values = (getattr(request, quantity) for request in self.requests)
            return tuple(value for value in values if value is not None)
        return dict(self.samples).get(quantity, ())

    def value(self, quantity: str, statistic: str = MEAN) -> float | None:
        """A figure by its requests where there are any, else as stated."""
        seconds = self.seconds(quantity)
        if seconds and statistic in (MEAN, MEDIAN):
            return sum(seconds) / len(seconds) if statistic == MEAN else _median(seconds)
        return self.stated(quantity, statistic)


def _median(values: tuple[float, ...]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def demand_lists_agree(lengths: dict[str, int], where: str) -> None:
    """Raises BadValueError where lists of one entry a request have different lengths."""
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise BadValueError(f"{where}: its lists differ in length ({said}); expected one entry a request in each")
