"""serve: how many users a deployment has room for within limits, how fast, what tokens cost, and what holds it back at each load."""

from __future__ import annotations

import math

from estimators.errors import BadValueError
from estimators.facts.prices import PriceRange
from estimators.frozen import frozen
from estimators.serving.budget import Budget, budget
from estimators.serving.cuts import Nearest, nearest_that_fit
from estimators.serving.deployment import Deployment
from estimators.serving.mean_field import Steady, Terms, at_rate, mean_field, room_of, terms_of
from estimators.serving.price import ApiPrice, TokenPrice, joules_per_token, token_price
from estimators.serving.schedule import schedule_of
from estimators.serving.step import StepLaw, StepTime, step_law
from estimators.serving.step_batch import StepBatch

MOST_USERS = 1 << 20
"""That are looked for in flight at once."""

WAITING = 1e-3
"""Share of the users who wait to be let in from which on room is what binds."""

LEAST_LOAD = 0.01
"""Requests in flight on a replica below which more replicas help no more."""

BINDS = {
    "weights_s": "weights",
    "experts_s": "experts",
    "head_s": "head",
    "cache_s": "reading the cache",
    "attention_s": "attention of prompts",
    "elements_s": "element-wise work",
    "launch_s": "kernel launches",
    "collectives_s": "collectives",
    "floor_s": "issuing kernels",
    "drafts_s": "drafts",
    "step_s": "engine's host",
    "sequences_s": "engine's host",
}
"""Parts of a step -> what is said to bind where one takes the most."""


@frozen
class ServeQuestion:
    """A deployment under a load.

    Attributes:
        input_tokens, output_tokens: of a request, in the mean.
        users: the fewest and the most in flight on one replica that are looked at.
        ttft_limit_s, itl_limit_s: the most that a mean time to first token and a mean time between tokens may be; None for no limit.
        num_users, rate_per_s: that all replicas together are to serve: requests in flight, or by the second; None for one replica.
        rent: of a device, None where no quote is known.
        utilization: share of the time that the deployment is so loaded.
        api: what somebody else asks for tokens.
    """

    deployment: Deployment
    input_tokens: int
    output_tokens: int
    users: tuple[int, int] = (1, 256)
    ttft_limit_s: float | None = None
    itl_limit_s: float | None = None
    num_users: int | None = None
    rate_per_s: float | None = None
    rent: PriceRange | None = None
    utilization: float = 1.0
    api: ApiPrice | None = None

    def __post_init__(self) -> None:
        fewest, most = self.users
        if not 1 <= fewest <= most <= MOST_USERS:
            raise BadValueError(f"{fewest:,} to {most:,} users in flight; expected from 1, at most {MOST_USERS:,}")
        if min(self.input_tokens, self.output_tokens) < 1:
            raise BadValueError(f"{self.input_tokens} prompt tokens and {self.output_tokens} of an answer; expected from 1 of each")
        if not 0 < self.utilization <= 1:
            raise BadValueError(f"a utilization of {self.utilization:g}; expected above 0, at most 1")
        if self.num_users is not None and self.rate_per_s is not None:
            raise BadValueError("users and a rate of requests; expected one of them")

    @property
    def tokens(self) -> int:
        """Of a request: prompt and answer."""
        return self.input_tokens + self.output_tokens


@frozen
class Point:
    """A replica at one load.

    Attributes:
        load: its steady state.
        binds: what holds it back.
        price: of tokens; None without a rent. Its ends by the cheapest and the dearest quote are in the same ratio as those.
        joules: of an output token, least, middle and most; None where no board limit is published.
        within: whether both limits are kept.
    """

    load: Steady
    binds: str
    price: TokenPrice | None
    joules: tuple[float, float, float] | None
    within: bool
    num_gpus: int

    @property
    def output_tokens_per_s_per_gpu(self) -> float:
        """Of each device."""
        return float(self.load.output_tokens_per_s / self.num_gpus)


@frozen
class ServeAnswer:
    """What a deployment does.

    Attributes:
        question: as asked, its max_model_len decided.
        budget: memory of a device.
        fits: whether it starts, and has room for a request.
        nearest: what does where it does not.
        points: the curve, by users in flight.
        best: the most users in flight within the limits; None where even one is too many.
        at_rate: one of the replicas under its share of the rate that was asked about; None where none was, or no number keeps the limits.
        num_replicas: that the users, or the rate, ask for; 1 where neither was given; None where no replica keeps the limits.
        notes: what was decided.
    """

    question: ServeQuestion
    budget: Budget
    fits: bool
    nearest: tuple[Nearest, ...]
    points: tuple[Point, ...]
    best: Point | None
    at_rate: Point | None = None
    num_replicas: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def num_gpus(self) -> int:
        """Of one replica."""
        return self.question.deployment.num_devices

    @property
    def num_gpus_in_all(self) -> int | None:
        """Of all replicas."""
        return None if self.num_replicas is None else self.num_replicas * self.num_gpus

    @property
    def shown(self) -> Point | None:
        """The point that figures in one sentence are of: under the rate that was asked about, else of the most users within the limits."""
        return self.at_rate or self.best or (self.points[0] if self.points else None)


def serve(question: ServeQuestion) -> ServeAnswer:
    """What a deployment does under a load.

    Raises:
        BadValueError: a cut or a format that the model or the device has not, a request longer than max_model_len.
        PhysicsError: blocks that no such device has room for.
    """
    question, notes = _with_length(question)
    found = budget(question.deployment)
    if not found.fits or found.concurrency(question.tokens) < found.groups:
        nearest = nearest_that_fit(question.deployment, question.tokens)
        return ServeAnswer(question=question, budget=found, fits=False, nearest=nearest, points=(), best=None, notes=notes)
    load = Load(question, found)
    points = tuple(load.point(users) for users in load_points(*question.users))
    users = load.most_users()
    best, shared, replicas = None if users is None else load.point(users), None, None
    if best is not None and question.rate_per_s is not None:
        replicas = load.replicas_at(question.rate_per_s)
        shared = None if replicas is None else load.described(load.at_rate(question.rate_per_s / replicas))
    elif best is not None:
        replicas = math.ceil((question.num_users or 1) / float(best.load.users))
    return ServeAnswer(
        question=question,
        budget=found,
        fits=True,
        nearest=(),
        points=points,
        best=best,
        at_rate=shared,
        num_replicas=replicas,
        notes=notes,
    )


def _with_length(question: ServeQuestion) -> tuple[ServeQuestion, tuple[str, ...]]:
    """The question with the longest sequence that has room where nobody said and the model's own has none. Raises BadValueError."""
    d = question.deployment
    if d.max_model_len is not None:
        if question.tokens > d.max_model_len:
            raise BadValueError(
                f"a request of {question.tokens:,} tokens is more than --max-model-len {d.max_model_len:,}; expected at least as many"
            )
        return question, ()
    own = d.model.max_positions
    if question.tokens > own:
        raise BadValueError(f"a request of {question.tokens:,} tokens is more than the {own:,} that {d.model.name} was made for")
    found = budget(d)
    if found.fits or found.longest < question.tokens:
        return question, ()
    from estimators.frozen import replace

    said = f"--max-model-len {found.longest} is taken: the model's own {own:,} tokens have no room, and the engine would not start"
    return replace(question, deployment=replace(d, max_model_len=found.longest)), (said,)


def load_points(fewest: int, most: int) -> list[int]:
    """Numbers of users that a curve shows: both ends, and the powers of two between.

    >>> load_points(1, 256)
    [1, 2, 4, 8, 16, 32, 64, 128, 256]
    >>> load_points(3, 20)
    [3, 4, 8, 16, 20]
    """
    between = (1 << power for power in range(21))
    return sorted({fewest, most, *(users for users in between if fewest < users < most)})


class Load:
    """A deployment's step, room and schedule, compiled once; asked for as many loads as needed."""

    def __init__(self, question: ServeQuestion, found: Budget) -> None:
        """Compile. Raises BadValueError as `step_law`."""
        deployment = question.deployment
        self._question = question
        self.law: StepLaw = step_law(deployment)
        between = question.input_tokens + question.output_tokens // 2
        schedule = schedule_of(deployment, max(1, found.blocks_at(between)))
        self.room = room_of(schedule, question.input_tokens, question.output_tokens)
        self.terms: Terms = terms_of(deployment, self.room)

    def at(self, users: float) -> Steady:
        """The steady state of so many users."""
        asked = self._question
        return mean_field(self.law, self.terms, input_tokens=asked.input_tokens, output_tokens=asked.output_tokens, users=users)

    def at_rate(self, requests_per_s: float) -> Steady:
        """The steady state under so many requests a second, which come when they come."""
        asked = self._question
        return at_rate(
            self.law, self.terms, input_tokens=asked.input_tokens, output_tokens=asked.output_tokens, requests_per_s=requests_per_s
        )

    def replicas_at(self, requests_per_s: float) -> int | None:
        """The fewest replicas that keep the limits, each under its share of a rate; None where a hundredth of a user each is too much."""
        most = self.at(float(self.terms.limit)).requests_per_s
        short, enough = 0, max(1, math.ceil(requests_per_s / float(most)))
        while not self._keeps(requests_per_s / enough):
            if requests_per_s / enough * self.at(1).e2e_s < LEAST_LOAD:
                return None
            short, enough = enough, 2 * enough
        while enough - short > 1:
            middle = (short + enough) // 2
            short, enough = (short, middle) if self._keeps(requests_per_s / middle) else (middle, enough)
        return enough

    def _keeps(self, requests_per_s: float) -> bool:
        load = self.at_rate(requests_per_s)
        return math.isfinite(load.queue_s) and self.within(load)

    def within(self, load: Steady) -> bool:
        """Whether both limits are kept."""
        asked = self._question
        first, between = asked.ttft_limit_s, asked.itl_limit_s
        return bool((first is None or load.ttft_s <= first) and (between is None or load.itl_s <= between))

    def most_users(self) -> int | None:
        """The most users within the limits, up to the most that are asked about, that need not wait to be let in.

        None where one is too many. TTFT and ITL grow with the users, so that halving finds the last one within.
        """
        within, beyond = 0, max(1, min(self._question.users[1], int(self.terms.limit))) + 1
        while beyond - within > 1:
            middle = (within + beyond) // 2
            within, beyond = (middle, beyond) if self.within(self.at(middle)) else (within, middle)
        return within or None

    def point(self, users: int) -> Point:
        """Everything that is said of so many users."""
        return self.described(self.at(users))

    def described(self, load: Steady) -> Point:
        """Everything that is said of a steady state."""
        asked = self._question
        deployment = asked.deployment
        num_gpus = deployment.num_devices
        price = None
        if asked.rent is not None:
            price = token_price(
                asked.rent.median,
                num_gpus,
                requests_per_s=load.requests_per_s,
                input_tokens=asked.input_tokens,
                output_tokens=asked.output_tokens,
                prompt_share=load.prompt_share,
                utilization=asked.utilization,
                api=asked.api,
            )
        return Point(
            load=load,
            binds=self.binds(load),
            price=price,
            joules=joules_per_token(deployment.hardware, num_gpus, load.output_tokens_per_s),
            within=self.within(load),
            num_gpus=num_gpus,
        )

    def binds(self, load: Steady) -> str:
        """What holds the replica back: no room for more users, reading prompts, or what takes most of a decode step."""
        if load.waiting > WAITING * load.users:
            return "room in the cache" if self.room <= self.terms.limit else "max_num_seqs"
        words: dict[str, float] = {}
        for name, seconds in self.decode_step(load).parts.items():
            words[BINDS[name]] = words.get(BINDS[name], 0.0) + float(seconds)
        most = max(words, key=lambda word: words[word])
        prompts = float(load.prompt_share)
        return "reading prompts" if prompts / max(1e-12, 1 - prompts) * sum(words.values()) > words[most] else most

    def decode_step(self, load: Steady) -> StepTime:
        """A step that decodes and reads nothing."""
        asked = self._question
        return self.law.time(StepBatch(decoding=load.running, context_tokens=asked.input_tokens + asked.output_tokens / 2))
