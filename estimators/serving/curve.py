"""Curve: a deployment under loads from one user on: latencies, rates, price, energy, their intervals, and what binds."""

from __future__ import annotations

import math

from estimators.frozen import frozen
from estimators.serving.budget import Budget
from estimators.serving.energy import energy_j_per_token
from estimators.serving.first_token import FirstToken, first_token
from estimators.serving.interval import Interval, interval
from estimators.serving.mean_field import Steady, Terms, at_rate, mean_field, room_of, terms_of
from estimators.serving.price import TokenPrice, token_price
from estimators.serving.question import ServeQuestion
from estimators.serving.schedule import schedule_of
from estimators.serving.step import StepLaw, StepTime, step_law
from estimators.serving.step_batch import StepBatch

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
class Point:
    """A replica at one load.

    Attributes:
        load: its steady state, by steps.
        ttft_s: mean time to first token as clients see it: tokenising, scheduling and streaming beside the steps.
        binds: what holds it back.
        price: of tokens; None without a rent. Its ends by the cheapest and the dearest quote are in the same ratio as those.
        joules: of an output token; None where no board limit is published.
        within: whether both limits are kept.
        ttft_interval, itl_interval: of 80 %; the rates and the price lie between the ends of ITL's.
    """

    load: Steady
    ttft_s: float
    binds: str
    price: TokenPrice | None
    joules: float | None
    within: bool
    num_gpus: int
    ttft_interval: Interval
    itl_interval: Interval

    @property
    def e2e_s(self) -> float:
        """From a request to its last token."""
        return float(self.load.e2e_s) + self.ttft_s - float(self.load.ttft_s)

    @property
    def output_tokens_per_s_per_gpu(self) -> float:
        """Of each device."""
        return float(self.load.output_tokens_per_s / self.num_gpus)


def load_points(fewest: int, most: int) -> list[int]:
    """Numbers of users that a curve shows: both ends, and the powers of two between.

    >>> load_points(1, 256)
    [1, 2, 4, 8, 16, 32, 64, 128, 256]
    >>> load_points(3, 20)
    [3, 4, 8, 16, 20]
    """
    between = (1 << power for power in range(21))
    return sorted({fewest, most, *(users for users in between if fewest < users < most)})


class Curve:
    """A deployment's step, room and schedule, compiled once; asked for as many loads as needed."""

    def __init__(self, question: ServeQuestion, found: Budget) -> None:
        """Compile. Raises BadValueError as `step_law`."""
        deployment = question.deployment
        self._question = question
        own = question.own
        self._first: FirstToken = first_token(deployment.engine) if own is None else own.first_token()
        measured = set() if own is None else {"itl_s", *(["ttft_s"] if own.first_rows else [])}
        self._intervals = {name: interval(deployment, name, calibrated=name in measured) for name in ("ttft_s", "itl_s")}
        self.law: StepLaw = step_law(deployment) if own is None else own.law()
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

    def within(self, load: Steady, ttft_factor: float = 1.0, itl_factor: float = 1.0) -> bool:
        """Whether both limits are kept.

        Args:
            ttft_factor, itl_factor: on what is predicted: an end of its interval.
        """
        asked = self._question
        first, between = asked.ttft_limit_s, asked.itl_limit_s
        soon = first is None or ttft_factor * self._first.seconds(load) <= first
        return bool(soon and (between is None or itl_factor * load.itl_s <= between))

    def users_interval(self) -> tuple[int, int]:
        """The most users within the limits if latencies are at the far ends of their intervals, and at the near ones; 0 for none."""
        first, between = self._intervals["ttft_s"], self._intervals["itl_s"]
        return self.most_users(first.high, between.high) or 0, self.most_users(first.low, between.low) or 0

    def most_users(self, ttft_factor: float = 1.0, itl_factor: float = 1.0) -> int | None:
        """The most users within the limits, up to the most that are asked about, that need not wait to be let in.

        None where one is too many. TTFT and ITL grow with the users, so that halving finds the last one within.

        Args:
            ttft_factor, itl_factor: on what is predicted.
        """
        within, beyond = 0, max(1, min(self._question.users[1], int(self.terms.limit))) + 1
        while beyond - within > 1:
            middle = (within + beyond) // 2
            within, beyond = (middle, beyond) if self.within(self.at(middle), ttft_factor, itl_factor) else (within, middle)
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
        joules = None
        if deployment.hardware.power_w is not None:
            step = self.decode_step(load)
            busy = 1 - float((step.step_s + step.sequences_s + step.floor_s) / step.total_s)
            joules = float(energy_j_per_token(deployment, load.output_tokens_per_s, busy))
        return Point(
            load=load,
            ttft_s=float(self._first.seconds(load)),
            binds=self.binds(load),
            price=price,
            joules=joules,
            within=self.within(load),
            num_gpus=num_gpus,
            ttft_interval=self._intervals["ttft_s"],
            itl_interval=self._intervals["itl_s"],
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
