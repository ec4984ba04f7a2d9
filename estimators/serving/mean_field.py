"""Mean field: what a replica does under a steady load, from the mean step alone; one load or many side by side.

A sequence decodes in D = (output - 1) / accepted steps. While n sequences decode, m = n / D of them end in a step, and as many prompts
are read: by ones and twos as chance has it, or in groups where all requests are alike, because what was read together ends together.
A step takes t(n) where it reads nothing and t(n, g) where it reads g prompts; its mean is what a token waits for. The simulator steps
through the same, and the two agree where nothing queues for long.
"""

from __future__ import annotations

import math

from estimators.cost.array_math import Lane, choose, greater, smaller
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.serving.schedule import Law, Schedule
from estimators.serving.step_batch import StepBatch

ROUNDS = 10
"""Of the fixed point: each halves what is left, at least."""


@frozen
class Traffic:
    """What requests are like in the mean.

    Attributes:
        input_tokens, output_tokens: of a request; an answer has one at least.
        alike: whether all have these lengths, so that a closed loop goes in waves.
    """

    input_tokens: float
    output_tokens: float
    alike: bool = False

    def __post_init__(self) -> None:
        if not (1 <= self.input_tokens < math.inf and 1 <= self.output_tokens < math.inf):
            raise BadValueError(f"prompts of {self.input_tokens:g} tokens, answers of {self.output_tokens:g}; expected 1 at least of each")


@frozen
class LoadPoint:
    """A steady load, or a curve of them.

    Attributes:
        users: with a request in flight.
        seats: requests that are let in; the others wait for one of them to end.
        running: that decode.
        itl_s: from a token to the next.
        queue_s: from arrival to admission.
        ttft_s: from arrival to the first token.
        first_wave_s: mean time to first token where all of them arrive at once, as benchmarks of closed loops begin.
        reading_share: of the time, what the reading of prompts takes beside decoding.
        requests_per_s: answered.
        traffic: what they are.
    """

    users: Lane
    seats: Lane
    running: Lane
    itl_s: Lane
    queue_s: Lane
    ttft_s: Lane
    first_wave_s: Lane
    reading_share: Lane
    requests_per_s: Lane
    traffic: Traffic

    @property
    def e2e_s(self) -> Lane:
        """From arrival to the last token."""
        return self.ttft_s + (self.traffic.output_tokens - 1) * self.itl_s

    @property
    def output_tokens_per_s(self) -> Lane:
        """Of the replica."""
        return self.requests_per_s * self.traffic.output_tokens

    @property
    def prompt_tokens_per_s(self) -> Lane:
        """Of the replica."""
        return self.requests_per_s * self.traffic.input_tokens

    def ttft_of_run_s(self, requests_per_user: float) -> Lane:
        """Mean time to first token of a benchmark in which each user asks so often, the first time all at once."""
        return (self.first_wave_s + (requests_per_user - 1) * self.ttft_s) / requests_per_user


class MeanField:
    """A replica under loads of one kind of traffic."""

    def __init__(self, law: Law, schedule: Schedule, traffic: Traffic) -> None:
        """Raises BadValueError where a request of the mean lengths can never be answered."""
        self._law, self._schedule, self._traffic = law, schedule, traffic
        self._decode_steps = (traffic.output_tokens - 1) / schedule.accepted_len
        self._found = min(schedule.prefix_share * traffic.input_tokens, traffic.input_tokens - 1)
        self._read = traffic.input_tokens - self._found
        if self.most_seats < 1:
            tokens, room = traffic.input_tokens + traffic.output_tokens, schedule.blocks * schedule.block_tokens
            raise BadValueError(
                f"requests of {tokens:,.0f} tokens, and the cache has room for {room:,}; expected shorter requests, more devices, or a "
                "smaller format of the weights or the cache"
            )

    @property
    def seats_of_blocks(self) -> float:
        """Sequences for which there are blocks: each holds its prompt, half of its answer in the mean, what is reserved of the rest, and
        half of a block that is not full; 0 where there are too few for one."""
        schedule, traffic = self._schedule, self._traffic
        if not schedule.can_hold(math.ceil(traffic.input_tokens), math.ceil(traffic.output_tokens)):
            return 0.0
        tokens = traffic.input_tokens + traffic.output_tokens * (1 + schedule.reserved_output) / 2
        return max(1.0, schedule.blocks / (tokens / schedule.block_tokens + (schedule.block_tokens > 1) / 2))

    @property
    def most_seats(self) -> float:
        """Sequences that are let in at most."""
        return min(self.seats_of_blocks, self._schedule.max_num_seqs)

    def closed(self, users: Lane) -> LoadPoint:
        """So many users, each of whom sends his next request when he has his answer."""
        seats = smaller(users, self.most_seats)
        running, itl_s, ttft_s = self._steady(seats)
        rate = seats / (ttft_s + (self._traffic.output_tokens - 1) * itl_s)
        return self._point(users, seats, running, (users - seats) / rate, rate, itl_s, ttft_s)

    def _steady(self, seats: Lane) -> tuple[Lane, Lane, Lane]:
        """Sequences that decode of those that have seats, and what they and the prompts of the others wait for."""
        decoded = self._traffic.output_tokens - 1
        if self._traffic.alike and not self._schedule.mixed:
            whole_s, ttft_s = self._wave_s(seats)
            cycle_s = whole_s + self._decode_steps * self._step_s(seats, 0.0)
            itl_s = (cycle_s - ttft_s) / max(decoded, 1.0)
            return seats * (cycle_s - ttft_s) / cycle_s, itl_s, ttft_s
        most = self._most_running
        running = smaller(seats, most)
        for _ in range(ROUNDS):
            itl_s, ttft_s = self._itl_s(running, seats), self._ttft_s(running, seats)
            running = (running + smaller(seats * decoded * itl_s / (decoded * itl_s + ttft_s), most)) / 2
        itl_s, ttft_s = self._itl_s(running, seats), self._ttft_s(running, seats)
        bound = (running > 0.99 * most) & (running < seats)
        return running, itl_s, choose(bound, greater(ttft_s, (seats - running) / greater(running, 1e-9) * decoded * itl_s), ttft_s)

    @property
    def _most_running(self) -> float:
        """Sequences beside which the prompts that follow theirs can be read in a mixed step: n·R/D tokens within its budget."""
        schedule = self._schedule
        if not schedule.mixed or not schedule.chunked:
            return math.inf
        return schedule.token_budget / (self._read / max(self._decode_steps, 1.0) + 1 + schedule.draft_tokens)

    def at_rate(self, requests_per_s: Lane) -> LoadPoint:
        """Poisson arrivals: the running batch is what they and its own steps make it. At `most_requests_per_s` and above it is unstable,
        and the queue grows as long as the load lasts: infinite.

        Queueing for seats is that of several servers: W = ρ^(√(2(c + 1)) - 1) / (c·(1 - ρ)) · S / 2 · (1 + v²), here with v = 0 where
        requests are alike and 1 else. Source: Sakasegawa (1977), An approximation formula Lq = αρ^β/(1 - ρ).
        """
        seats, most = self.most_seats, self.most_requests_per_s
        load = requests_per_s / most
        stable = load < 1
        rate = choose(stable, requests_per_s * 1.0, most)
        low, high = 0.0 * rate, 0.0 * rate + seats
        for _ in range(30):
            middle = (low + high) / 2
            too_few = middle < rate * self._service_s(middle)
            low, high = choose(too_few, middle, low), choose(too_few, high, middle)
        running, itl_s, ttft_s = self._steady(high)
        ttft_s = ttft_s + itl_s * self._schedule.accepted_len / 2
        service_s = ttft_s + (self._traffic.output_tokens - 1) * itl_s
        spread = 0.5 if self._traffic.alike else 1.0
        queue_s = spread * smaller(load, 1.0) ** (math.sqrt(2 * (seats + 1)) - 1) / (seats * greater(1 - load, 1e-12)) * service_s
        queue_s = choose(stable, queue_s, math.inf)
        return self._point(rate * (service_s + queue_s), high, running, queue_s, rate, itl_s, ttft_s)

    def _service_s(self, seats: Lane) -> Lane:
        """From admission to the last token."""
        _, itl_s, ttft_s = self._steady(seats)
        return ttft_s + (self._traffic.output_tokens - 1) * itl_s

    @property
    def most_requests_per_s(self) -> float:
        """That are answered with all seats taken: the limit of stability under open arrivals."""
        return float(self.closed(self.most_seats).requests_per_s)

    def _point(self, users: Lane, seats: Lane, running: Lane, queue_s: Lane, rate: Lane, itl_s: Lane, ttft_s: Lane) -> LoadPoint:
        return LoadPoint(
            users=users,
            seats=seats,
            running=running,
            itl_s=itl_s,
            queue_s=queue_s,
            ttft_s=queue_s + ttft_s,
            first_wave_s=queue_s / 2 + self._wave_s(seats)[1],
            reading_share=greater(1 - self._step_s(running, 0.0) / (itl_s * self._schedule.accepted_len), 0.0),
            requests_per_s=rate,
            traffic=self._traffic,
        )

    def _step_s(self, decoding: Lane, read: Lane) -> Lane:
        """One step with sequences in the middle of their answers that reads so many tokens of prompts."""
        traffic = self._traffic
        whole = read / self._read
        batch = StepBatch(
            decoding=decoding,
            context_tokens=traffic.input_tokens + traffic.output_tokens / 2,
            prompt_tokens=read,
            prompt_context=self._found + self._read / 2,
            prompts=whole,
        )
        return self._law.time(batch).total_s

    def _budget(self, decoding: Lane) -> Lane:
        """Tokens of prompts that one step can read."""
        schedule = self._schedule
        left = schedule.token_budget - (decoding * (1 + schedule.draft_tokens) if schedule.mixed else 0 * decoding)
        return greater(left, 1.0 if schedule.chunked else self._read)

    def _reading_s(self, beside: Lane, tokens: Lane) -> Lane:
        """From the beginning of the step that begins to read so many tokens of prompts to the end of the one that ends it."""
        beside = beside if self._schedule.mixed else 0 * beside
        budget = self._budget(beside)
        return greater(tokens / budget, 1) * self._step_s(beside, smaller(tokens, budget))

    def _ending(self, running: Lane, seats: Lane) -> Lane:
        """Sequences that end in a decode step beside any one, in the mean."""
        return running / max(self._decode_steps, 1.0) * (1 - self._together(running) / greater(seats, self._together(running)))

    def _together(self, running: Lane) -> Lane:
        """Prompts that are always read together: what fits a step where all are alike; one in the mean where they are not."""
        if not self._traffic.alike:
            return 1.0
        return greater(smaller(self._budget(running) / self._read, running), 1)

    def _itl_s(self, running: Lane, seats: Lane) -> Lane:
        """The mean step, with its part of what prompts add to it."""
        ending, group = self._ending(running, seats), self._together(running)
        if not self._traffic.alike:
            group = greater(ending, 1e-9) / (1 - _exp(-greater(ending, 1e-9)))
        plain_s, reading_s = self._step_s(running, 0.0), self._reading_s(running, group * self._read)
        if self._schedule.mixed:
            reading_s = reading_s - plain_s * greater(group * self._read / self._budget(running), 1)
        return (plain_s + ending / group * reading_s) / self._schedule.accepted_len

    def _ttft_s(self, running: Lane, seats: Lane) -> Lane:
        """From admission to the first token: its prompt, those that are read with it or before, and the step that was decided before."""
        schedule, budget = self._schedule, self._budget(running)
        ending, group = self._ending(running, seats), self._together(running)
        beside = running * (1 - group / greater(seats, group)) if self._traffic.alike else running
        tokens = smaller((group + ending) * self._read, greater(budget, (group + ending / 2) * self._read))
        ttft_s = self._reading_s(beside, group * self._read if self._traffic.alike else tokens)
        if schedule.mixed and not self._traffic.alike:
            busy = smaller(ending * self._read / budget, 0.95)
            ttft_s = ttft_s + busy / (2 * (1 - busy)) * self._read / budget * self._reading_s(running, budget)
        if not schedule.schedules_ahead:
            return ttft_s
        others = 1 - group / greater(seats, group)
        if self._traffic.alike:
            return ttft_s + others * self._reading_s(beside, smaller(group * self._read, budget))
        return ttft_s + others * self._itl_s(running, seats) * schedule.accepted_len

    def _wave_s(self, seats: Lane) -> tuple[Lane, Lane]:
        """Prompts that arrive together, read in turn while those before them decode: until all are read, and until one is in the mean."""
        budget = self._budget(seats / 2)
        steps = greater(seats * self._read / budget, 1)
        beside = choose(steps > 1, seats / 2, 0 * seats) if self._schedule.mixed else 0 * seats
        whole_s = steps * self._step_s(beside, smaller(seats * self._read, budget))
        return whole_s, whole_s * (1 + 1 / steps) / 2


def users_within(field: MeanField, *, ttft_s: float = math.inf, itl_s: float = math.inf, most: int = 1 << 20) -> int:
    """The most users in a closed loop whose mean time to first token and mean inter-token latency stay within limits; 0 where a lone
    one is beyond. Both grow with the users, so that halving finds the last one within, many places of a range at a time.

    Args:
        most: looked at.
    """
    import numpy as np

    within, beyond = 0, most + 1
    while beyond - within > 1:
        places = np.unique(np.geomspace(within + 1, beyond - 1, 32).round())
        point = field.closed(places)
        kept = (point.ttft_s <= ttft_s) & (point.itl_s <= itl_s)
        first = len(places) if kept.all() else int(kept.argmin())
        within = int(places[first - 1]) if first else within
        beyond = int(places[first]) if first < len(places) else beyond
    return within


def _exp(value: Lane) -> Lane:
    if isinstance(value, (int, float)):
        return math.exp(value)
    import numpy as np

    return np.exp(value)
