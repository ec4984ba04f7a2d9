"""The gate: what no server and no client can have found. Each rule has a name, and says what it was given and what physics allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from estimators.errors import RequestError
from estimators.frozen import frozen
from estimators.serving.deployment import Deployment
from estimators.serving.results.result import MEAN, MEDIAN, ServingResult
from estimators.serving.step import step_law
from estimators.serving.step_batch import StepBatch
from estimators.units import format_count, format_duration

TOLERANCE = 0.02
"""Of a clock, and of figures that are printed rounded."""

LITTLE_MEAN, LITTLE_MEDIAN = 1.10, 1.25
"""Most that rate x time / in flight may be. A mean over requests is not one over tokens, and a median is neither: in published steady
states with a median of gaps it is 0.71 to 1.0 (ML.ENERGY, third edition)."""

EVENTS_PER_TOKEN = 1.6
"""From so many stream events for each token, clients that take an event for a token halve the time between tokens; one event more than
tokens, the end of a stream, is usual."""

GAP_SHARE, MEDIAN_GAP_SHARE = 0.7, 0.1
"""Of TPOT, the least that the mean and the median time between events may be. Tokens that wait for the prefills of others make the
median low and leave the mean as it is."""

OWN_TOLERANCE = 0.01
"""Between a stated mean and that of the requests beside it."""


@frozen
class Impossible:
    """One thing that cannot be.

    Attributes:
        name: of the rule.
        text: what was found, and what is possible.
    """

    name: str
    text: str


def impossible(result: ServingResult, deployment: Deployment | None) -> tuple[Impossible, ...]:
    """Everything that cannot be of a result, in the order of RULES.

    Args:
        deployment: what answered; None where it is not known, and then no rule about weights and arithmetic is asked.
    """
    return tuple(Impossible(name=name, text=text) for name, rule in RULES.items() for text in rule(result, deployment))


def _failures(result: ServingResult, deployment: Deployment | None) -> Iterator[str]:
    if result.completed == 0:
        sent = f"none of {result.load.num_requests:,} requests" if result.load.num_requests else "no request"
        yield f"{sent} was answered, and the times of failures are 0: there is nothing to import"
        return
    quantities = {
        name: value for name in ("ttft_s", "tpot_s", "e2e_s", "prefill_s", "decode_s") if (value := _typical(result, name)) is not None
    }
    if quantities and max(quantities.values()) <= 0:
        yield f"every time is 0 ({', '.join(quantities)}): requests failed, and were counted"


def _typical(result: ServingResult, quantity: str) -> float | None:
    value = result.value(quantity)
    return result.value(quantity, MEDIAN) if value is None else value


def _events(result: ServingResult, deployment: Deployment | None) -> Iterator[str]:
    tokens = sum(max(0, (request.output_tokens or 1) - 1) for request in result.requests if request.gaps_s)
    gaps = len(result.seconds("itl_s"))
    if tokens and gaps:
        if gaps >= EVENTS_PER_TOKEN * tokens and gaps > tokens + len(result.requests):
            yield f"{gaps:,} stream events for {tokens:,} tokens: its time between tokens is that between events"
        return
    for statistic, least in ((MEAN, GAP_SHARE), (MEDIAN, MEDIAN_GAP_SHARE)):
        gap_s, tpot_s = result.stated("itl_s", statistic), result.stated("tpot_s", statistic, MEAN, MEDIAN)
        if gap_s is not None and tpot_s and gap_s < least * tpot_s:
            yield (
                f"the {statistic} time between tokens is {format_duration(gap_s)}, and the time per output token "
                f"{format_duration(tpot_s)}: several events for each token, or tokens that came in bursts and were counted as events"
            )
            return


def _weights(result: ServingResult, deployment: Deployment | None) -> Iterator[str]:
    if deployment is None:
        return
    step = step_law(deployment).time(StepBatch(decoding=1, context_tokens=0))
    accepted = result.served.accepted_len or 1.0
    least_s = float(step.bandwidth_bound_s) / accepted
    for quantity in ("tpot_s", "decode_s", "itl_s"):
        for statistic in (MEAN, MEDIAN):
            found_s = result.value(quantity, statistic)
            if found_s is not None and found_s < least_s * (1 - TOLERANCE):
                spoken = "" if result.served.accepted_len else "; where it speculated, say the mean accepted length with --accepted"
                yield (
                    f"a token of {format_duration(found_s)} ({statistic} {quantity}), and reading the weights of {deployment.model.name} "
                    f"({deployment.weights}) on {deployment.num_devices} x {deployment.hardware.id} takes "
                    f"{format_duration(least_s)}{spoken}"
                )
                return


def _little(result: ServingResult, deployment: Deployment | None) -> Iterator[str]:
    """Requests in flight are the rate of them times how long each takes: never more than were let in."""
    limit = result.load.concurrency if result.load.kind in ("closed", "saturated", "static batch") else None
    if not limit:
        return
    requests_per_s, e2e_s = _rate_of(result, "requests_per_s", result.completed), result.value("e2e_s")
    if requests_per_s is not None and e2e_s is not None and requests_per_s * e2e_s > limit * LITTLE_MEAN:
        yield (
            f"{requests_per_s:.4g} requests/s of {format_duration(e2e_s)} each are {requests_per_s * e2e_s:.4g} in flight, "
            f"and at most {limit:,} were let in"
        )
        return
    rate = _rate_of(result, "output_tokens_per_s", result.output_tokens)
    for statistic, most in ((MEAN, LITTLE_MEAN), (MEDIAN, LITTLE_MEDIAN)):
        for quantity in ("tpot_s", "itl_s", "decode_s"):
            each_s = result.value(quantity, statistic)
            if rate is not None and each_s is not None:
                if rate * each_s > limit * most:
                    yield (
                        f"{rate:.4g} output tokens/s of {format_duration(each_s)} each ({statistic} {quantity}) are "
                        f"{rate * each_s:.4g} sequences at once, and at most {limit:,} were let in"
                    )
                return


def _rate_of(result: ServingResult, quantity: str, number: int | None) -> float | None:
    """As stated; else the number over the time of the run."""
    stated = result.stated(quantity, MEAN)
    return number / result.duration_s if stated is None and number and result.duration_s else stated


def _rate(result: ServingResult, deployment: Deployment | None) -> Iterator[str]:
    if deployment is None:
        return
    rate = result.value("output_tokens_per_s")
    if rate is None:
        each = result.value("output_tokens_per_s_per_gpu")
        rate = None if each is None or result.served.is_disaggregated else each * deployment.num_devices
    if rate is None:
        return
    law = step_law(deployment)
    compute_s = float(law.time(StepBatch(decoding=1, context_tokens=0)).compute_bound_s)
    if rate * compute_s > 1 + TOLERANCE:
        yield (
            f"{rate:,.0f} output tokens/s, and {deployment.num_devices} x {deployment.hardware.id} have the arithmetic for "
            f"{1 / compute_s:,.0f} of {deployment.model.name}"
        )
        return
    limit = result.load.concurrency if result.load.kind in ("closed", "saturated", "static batch") else None
    if limit:
        accepted = result.served.accepted_len or 1.0
        most = limit * accepted / float(law.time(StepBatch(decoding=limit, context_tokens=0)).bandwidth_bound_s)
        if rate > most * (1 + TOLERANCE):
            yield (
                f"{rate:,.0f} output tokens/s of {limit:,} sequences, and {deployment.num_devices} x {deployment.hardware.id} read the "
                f"weights of {deployment.model.name} ({deployment.weights}) often enough for {most:,.0f}"
            )


def _contradicted(result: ServingResult, deployment: Deployment | None) -> Iterator[str]:
    """What a tool states of its requests is what they say, one by one."""
    if not result.requests:
        return
    for quantity in ("ttft_s", "tpot_s", "itl_s"):
        seconds, stated = result.seconds(quantity), result.stated(quantity, MEAN)
        if len(seconds) < 2 or stated is None:
            continue
        mean_s = sum(seconds) / len(seconds)
        if abs(mean_s - stated) > OWN_TOLERANCE * max(mean_s, stated):
            yield f"it states a mean {quantity} of {format_duration(stated)}, and its requests have {format_duration(mean_s)}"
            return
    tokens = [request.output_tokens for request in result.requests if request.output_tokens is not None]
    if result.output_tokens is not None and len(tokens) == len(result.requests) == result.completed and sum(tokens) != result.output_tokens:
        yield f"it states {format_count(result.output_tokens)} output tokens, and its requests have {format_count(sum(tokens))}"


RULES: dict[str, Callable[[ServingResult, Deployment | None], Iterator[str]]] = {
    "zeros for failures": _failures,
    "figures that its own requests contradict": _contradicted,
    "several stream events for a token": _events,
    "a step faster than its weights can be read": _weights,
    "more in flight than were let in": _little,
    "more tokens a second than the devices can": _rate,
}
"""Name of a rule -> what it says of a result; nothing where it holds."""


def judged(result: ServingResult, deployment: Deployment | None) -> tuple[Impossible, ...]:
    """As `impossible`, without the rules about a deployment that no step is known of."""
    try:
        return impossible(result, deployment)
    except RequestError:
        return impossible(result, None)
