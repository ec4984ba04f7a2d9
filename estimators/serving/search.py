"""search: every deployment of a model on one kind of device, priced side by side: the Pareto front, and why the others lose."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from estimators.architectures.decoder import Decoder
from estimators.cost.array_math import Lane
from estimators.cost.divisibility import divisors
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.serving.budget import budgets
from estimators.serving.curve import load_points
from estimators.serving.cuts import divides, node_of, num_experts
from estimators.serving.deployment import Deployment
from estimators.serving.first_token import first_token
from estimators.serving.held_weights import served_model
from estimators.serving.lanes import stacked, taken
from estimators.serving.mean_field import Steady, Terms, mean_field, room_of, terms_of
from estimators.serving.price import usd_per_million
from estimators.serving.question import ServeQuestion
from estimators.serving.schedule import schedule_of
from estimators.serving.step import StepLaw, step_law
from estimators.weight_formats import PLAIN, WeightFormat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

USUAL_REPLICAS = (1, 2, 4, 8, 16)
"""Devices of a replica that are tried where nobody says."""

SEQUENCES = (16, 32, 64, 128, 256, 512, 1024)
"""Batch limits that are tried where nobody says."""

BETTER = 0.01
"""By which share a deployment on the front gives a user more than the one before it."""


@frozen
class Ways:
    """What a search goes over; one value each holds it fixed.

    Attributes:
        replicas: devices of one replica.
        weights, kv: formats.
        max_num_seqs: batch limits.
        cuts: (tp, pp, dp, ep) alone, or None for all that are legal.
    """

    replicas: tuple[int, ...]
    weights: tuple[WeightFormat, ...]
    kv: tuple[str, ...]
    max_num_seqs: tuple[int, ...]
    cuts: tuple[tuple[int, int, int, int], ...] | None = None


@frozen
class Found:
    """A deployment at the load at which it is best, or at one of the front.

    Attributes:
        users, ttft_s, itl_s: in flight on one replica, and means.
        output_tokens_per_s_per_gpu, output_tokens_per_s_per_user: of the four rates, the two that the front is of.
        usd_per_million_output: all rent on the output tokens; None without a rent.
    """

    deployment: Deployment
    users: int
    ttft_s: float
    itl_s: float
    output_tokens_per_s_per_gpu: float
    output_tokens_per_s_per_user: float
    usd_per_million_output: float | None


@frozen
class SearchAnswer:
    """What a search found.

    Attributes:
        front: by tokens per second and GPU, the most first: nothing else gives both a user and a GPU more.
        best: what has the most tokens per second and GPU within the limits; None where nothing keeps them.
        num_candidates: deployments that were looked at.
        losers: why the others are not on the front, and how many.
        best_by: what was chosen -> its best within the limits, most first: what each choice costs.
    """

    question: ServeQuestion
    front: tuple[Found, ...]
    best: Found | None
    num_candidates: int
    losers: tuple[tuple[str, int], ...]
    best_by: tuple[tuple[str, str, Found], ...]


def usual_ways(question: ServeQuestion, *, replicas: Sequence[int] = (), formats: bool = True) -> Ways:
    """What is gone over where nobody says: every cut of 1 to 16 devices, the formats that the device multiplies in, batch limits.

    Args:
        replicas: devices of a replica; the usual ones where there are none.
        formats: whether formats beside the deployment's own are tried: what they change of the answers is not judged.
    """
    d = question.deployment
    peaks = d.hardware.peak_flop_per_s
    weights, kv = [d.weights], [d.kv]
    if formats:
        weights += ["fp8"] if d.weights == PLAIN and "fp8" in peaks else []
        weights += ["nvfp4"] if d.weights != "nvfp4" and ("nvfp4" in peaks or "fp4" in peaks) else []
        weights += ["awq"] if d.weights == PLAIN else []
        kv += ["fp8"] if d.kv in ("bf16", "fp16") and "fp8" in peaks else []
    sequences = (d.max_num_seqs,) if d.max_num_seqs else SEQUENCES
    return Ways(replicas=tuple(replicas) or USUAL_REPLICAS, weights=tuple(weights), kv=tuple(kv), max_num_seqs=sequences)


def cuts_of(model: Decoder, num_devices: int, node: int) -> list[tuple[int, int, int, int]]:
    """(tp, pp, dp, ep) of so many devices: tensor parallelism within a node, stages; of mixtures of experts also groups of attention,
    whose devices share the experts out."""
    experts = num_experts(model)
    latent = any(part.code_paths for block in model.blocks for _, part in block.parts)
    found = []
    for tp in divisors(num_devices):
        if tp > node or not divides(model, tp):
            continue
        rest = num_devices // tp
        for pp in divisors(rest):
            dp = rest // pp
            if pp > model.layers or (dp > 1 and not experts):
                continue
            found.append((tp, pp, dp, 1))
            if experts and tp * dp > 1 and tp * dp <= experts and (latent or tp * dp <= node * 2):
                found.append((tp, pp, dp, tp * dp))
    return found


@frozen
class _Cut:
    """A deployment but for its batch limit.

    Attributes:
        deployments: by batch limit, those that have room for a request.
        seats: sequences that each lets in.
        terms: of all of them, but for what they let in.
    """

    deployments: tuple[Deployment, ...]
    seats: tuple[float, ...]
    law: StepLaw
    terms: Terms

    def with_seats_for(self, users: int) -> Deployment:
        """The one with the lowest limit that lets so many in."""
        return next(d for d, seats in zip(self.deployments, self.seats, strict=True) if seats >= users)


def search(question: ServeQuestion, ways: Ways) -> SearchAnswer:
    """Every deployment of the ways, at every load of the question's users.

    A step knows no batch limit, so that each cut is priced once, and its limits only say how many it lets in.

    Raises:
        BadValueError: no deployment has room for one request.
    """
    import numpy as np  # all cuts are priced at once

    losers: Counter[str] = Counter()
    cuts = list(_with_room(question, ways, losers))
    number = sum(len(cut.deployments) for cut in cuts) + sum(losers.values())
    if not cuts:
        raise BadValueError(
            f"none of {number:,} deployments of {question.deployment.model.name} has room for a request; expected more devices, or a "
            "narrower format of weights or cache"
        )
    law, terms = stacked([cut.law for cut in cuts]), replace(stacked([cut.terms for cut in cuts]), limit=math.inf)
    most_seats = np.array([max(cut.seats) for cut in cuts])
    limit = np.minimum(_most_users(law, terms, question, len(cuts)), np.floor(np.minimum(most_seats, question.users[1])))
    losers["not one user within the limits"] += sum(len(cut.deployments) for cut, most in zip(cuts, limit, strict=True) if most < 1)
    asked = sorted(
        {
            (place, users)
            for place, (cut, most) in enumerate(zip(cuts, limit.tolist(), strict=True))
            for users in (*load_points(*question.users), *(int(min(most, seats)) for seats in cut.seats))
            if 1 <= users <= most
        }
    )
    if not asked:
        return SearchAnswer(question=question, front=(), best=None, num_candidates=number, losers=_counted(losers), best_by=())
    places, users = np.array(asked).T
    point = _at(taken(law, places), taken(terms, places), question, users.astype(float))
    gpus = np.array([cut.deployments[0].num_devices for cut in cuts], dtype=float)[places]
    per_gpu, per_user = point.output_tokens_per_s / gpus, 1 / point.itl_s
    ttft_s = first_token(question.deployment.engine).seconds(point)

    def found(at: int) -> Found:
        rent = question.rent
        rate = float(per_gpu[at])
        return Found(
            deployment=cuts[int(places[at])].with_seats_for(int(users[at])),
            users=int(users[at]),
            ttft_s=float(ttft_s[at]),
            itl_s=float(point.itl_s[at]),
            output_tokens_per_s_per_gpu=rate,
            output_tokens_per_s_per_user=float(per_user[at]),
            usd_per_million_output=usd_per_million(rent.median, 1, rate, question.utilization) if rent else None,
        )

    front = [found(at) for at in _front(per_gpu, per_user)]
    on_front = {each.deployment for each in front}
    losers["another gives both a user and a GPU more"] += number - len(on_front) - sum(losers.values())
    ordered = [found(at) for at in np.argsort(-per_gpu, kind="stable").tolist()]
    return SearchAnswer(
        question=question,
        front=tuple(front),
        best=ordered[0],
        num_candidates=number,
        losers=_counted(losers),
        best_by=tuple(_best_by(ordered)),
    )


def _counted(losers: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple((why, count) for why, count in losers.most_common() if count)


def _at(law: StepLaw, terms: Terms, question: ServeQuestion, users: Lane) -> Steady:
    return mean_field(law, terms, input_tokens=question.input_tokens, output_tokens=question.output_tokens, users=users)


def _with_room(question: ServeQuestion, ways: Ways, losers: Counter[str]) -> Iterator[_Cut]:
    """The cuts that have room for a request under some batch limit; the others are counted."""
    between = question.input_tokens + question.output_tokens // 2
    for cut in _cuts(question, ways, losers):
        try:
            rooms = [room for room in budgets(cut, ways.max_num_seqs) if room.concurrency(question.tokens) >= cut.dp]
            law = step_law(cut)
        except BadValueError as error:
            losers[str(error).partition(";")[0]] += len(ways.max_num_seqs)
            continue
        losers["no room for a request"] += len(ways.max_num_seqs) - len(rooms)
        if rooms:
            schedules = [schedule_of(room.deployment, max(1, room.blocks_at(between))) for room in rooms]
            held = [room_of(schedule, question.input_tokens, question.output_tokens) for schedule in schedules]
            terms = [terms_of(room.deployment, seats) for room, seats in zip(rooms, held, strict=True)]
            seats = tuple(float(each.limit) for each in terms)
            yield _Cut(deployments=tuple(room.deployment for room in rooms), seats=seats, law=law, terms=terms[0])


def _cuts(question: ServeQuestion, ways: Ways, losers: Counter[str]) -> Iterator[Deployment]:
    """Deployments but for their batch limits."""
    d = question.deployment
    node = node_of(d.hardware)
    for weights in ways.weights:
        model = served_model(replace(d, weights=weights))
        for num in ways.replicas:
            cuts = cuts_of(model, num, node) if ways.cuts is None else [cut for cut in ways.cuts if cut[0] * cut[1] * cut[2] == num]
            for tp, pp, dp, ep in cuts:
                for kv in ways.kv:
                    try:
                        yield replace(d, weights=weights, tp=tp, pp=pp, dp=dp, ep=ep, kv=kv, max_num_seqs=None)
                    except BadValueError as error:
                        losers[str(error).partition(";")[0]] += len(ways.max_num_seqs)


def _most_users(law: StepLaw, terms: Terms, question: ServeQuestion, number: int) -> NDArray[np.float64]:
    """The most users within the limits, of each of `number` lanes; 0 where one is too many."""
    import numpy as np

    first, between = (math.inf if limit is None else limit for limit in (question.ttft_limit_s, question.itl_limit_s))
    seen = first_token(question.deployment.engine)
    low = np.zeros(number)
    high = np.full_like(low, question.users[1])
    if math.isinf(first) and math.isinf(between):
        return high
    while bool((low < high).any()):
        middle = np.ceil((low + high) / 2)
        point = _at(law, terms, question, np.maximum(middle, 1))
        kept = (seen.seconds(point) <= first) & (point.itl_s <= between)
        low, high = np.where(kept, middle, low), np.where(kept, high, middle - 1)
    return low


def _front(per_gpu: NDArray[np.float64], per_user: NDArray[np.float64]) -> Iterator[int]:
    """Places of what nothing beats in both rates, by tokens per second and GPU, the most first."""
    import numpy as np

    most = 0.0
    for at in np.argsort(-per_gpu, kind="stable").tolist():
        if per_user[at] > most * (1 + BETTER):
            yield at
            most = float(per_user[at])


CHOICES: dict[str, Callable[[Deployment], str]] = {
    "weights": lambda d: d.weights,
    "cache": lambda d: d.kv,
    "GPUs": lambda d: str(d.num_devices),
    "parallelism": lambda d: cut_words(d),
    "max_num_seqs": lambda d: str(d.sequences_at_most),
}
"""What a search chooses -> a deployment's value of it."""


def _best_by(ordered: Sequence[Found]) -> Iterator[tuple[str, str, Found]]:
    """Each value of each choice with its best, most first; choices of which there is one are left out.

    Args:
        ordered: by tokens per second and GPU, the most first.
    """
    for choice, value_of in CHOICES.items():
        best: dict[str, Found] = {}
        for each in ordered:
            best.setdefault(value_of(each.deployment), each)
        if len(best) > 1:
            yield from ((choice, value, each) for value, each in best.items())


def cut_words(d: Deployment) -> str:
    """How a replica is cut, such as ``tp 4, pp 2``; ``one device``."""
    return ", ".join(f"{word} {getattr(d, word)}" for word in ("tp", "pp", "dp", "ep") if getattr(d, word) > 1) or "one device"
