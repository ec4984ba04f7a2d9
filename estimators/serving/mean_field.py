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
from estimators.serving.deployment import Deployment
from estimators.serving.schedule import Law, Schedule, schedule_of
from estimators.serving.step_batch import StepBatch

ROUNDS, WEIGHT = 5, 0.7
"""Of the fixed point, and how far each goes: three tenths of what was left of the way is left."""

BUSIEST = 0.95
"""Share of the tokens of all steps that prompts take at most where they queue for them; beyond it, Little's law says how long."""


@frozen
class Terms:
    """How an engine lets requests in and reads them, as far as the mean field knows; lanes or single values.

    Attributes:
        limit: sequences that are let in at once: those that the cache has room for, and no more than the engine takes.
        token_budget: tokens of a step at most.
        mixed, chunked, schedules_ahead: see `engines.Engine`.
        prefix_share: of the prompt tokens, those that need no reading.
        draft_tokens, accepted_len: tokens that a step verifies of a sequence beside the next one, and that it yields.
    """

    limit: Lane
    token_budget: Lane
    mixed: bool = True
    chunked: bool = True
    schedules_ahead: bool = False
    prefix_share: float = 0.0
    draft_tokens: int = 0
    accepted_len: float = 1.0


def terms_of(deployment: Deployment, room: Lane) -> Terms:
    """The terms of a deployment's engine.

    Args:
        room: sequences of the request that the cache holds at once, half of the answer written in the mean; see `room_of`.
    """
    return _terms(schedule_of(deployment, kv_blocks=1), room)


def _terms(schedule: Schedule, room: Lane) -> Terms:
    return Terms(
        limit=greater(1.0, smaller(room, schedule.max_num_seqs)),
        token_budget=schedule.token_budget,
        mixed=schedule.mixed,
        chunked=schedule.chunked,
        schedules_ahead=schedule.schedules_ahead,
        prefix_share=schedule.prefix_share,
        draft_tokens=schedule.draft_tokens,
        accepted_len=schedule.accepted_len,
    )


def room_of(schedule: Schedule, input_tokens: float, output_tokens: float) -> float:
    """Sequences for which there are blocks: each holds its prompt, half of its answer in the mean, what is reserved of the rest, and half
    of a block that is not full.

    Raises:
        BadValueError: there are too few for one.
    """
    if not schedule.can_hold(math.ceil(input_tokens), math.ceil(output_tokens)):
        tokens, held = input_tokens + output_tokens, schedule.blocks * schedule.block_tokens
        raise BadValueError(
            f"requests of {tokens:,.0f} tokens, and the cache has room for {held:,}; expected shorter requests, more devices, or a smaller "
            "format of the weights or the cache"
        )
    tokens = input_tokens + output_tokens * (1 + schedule.reserved_output) / 2
    return max(1.0, schedule.blocks / (tokens / schedule.block_tokens + (schedule.block_tokens > 1) / 2))


@frozen
class Steady:
    """A replica in its steady state; floats, or lanes of as many states side by side.

    Attributes:
        users: requests in flight, in the mean.
        running: of them, those that decode.
        waiting: of them, those that the engine has not let in.
        queue_s: mean time from a request to its admission.
        ttft_s: mean time from a request to its first token, waiting included.
        first_wave_s: the same where all users ask at once, as benchmarks of closed loops begin; None where it was not asked for.
        itl_s: mean time between tokens of an answer.
        e2e_s: from a request to its last token.
        step_s: of a step that decodes and reads nothing.
        prompt_share: of the time, what reading prompts adds.
        output_tokens_per_s, prompt_tokens_per_s: of the replica; prompts with what is found in the cache.
        requests_per_s: answered.
    """

    users: Lane
    running: Lane
    waiting: Lane
    queue_s: Lane
    ttft_s: Lane
    first_wave_s: Lane
    itl_s: Lane
    e2e_s: Lane
    step_s: Lane
    prompt_share: Lane
    output_tokens_per_s: Lane
    prompt_tokens_per_s: Lane
    requests_per_s: Lane

    @property
    def output_tokens_per_s_per_user(self) -> Lane:
        """That a user sees once his answer comes: 1 / ITL."""
        return 1 / self.itl_s


def mean_field(
    law: Law, terms: Terms, *, input_tokens: float, output_tokens: float, users: Lane, alike: bool = False, waves: bool = False
) -> Steady:
    """The steady state of a closed loop: each user sends the next request when he has his answer.

    Args:
        law: of a step, see `step_law`; its fields may be lanes.
        input_tokens, output_tokens: of a request, in the mean; an answer has one at least.
        alike: whether all have these lengths, so that the loop goes in waves.
        waves: whether `first_wave_s` is asked for; None without.
    """
    return _Field(law, terms, input_tokens, output_tokens, alike).closed(users, waves)


def at_rate(law: Law, terms: Terms, *, input_tokens: float, output_tokens: float, requests_per_s: Lane) -> Steady:
    """The steady state under Poisson arrivals: the running batch is what they and its own steps make it, by Little's law.

    At the rate of all seats taken and above it there is none: the queue grows as long as the load lasts, and `queue_s` is infinite.
    Queueing for seats is that of several servers: W = ρ^(√(2(c + 1)) - 1) / (c·(1 - ρ)) · S.
    Source: Sakasegawa (1977), An approximation formula Lq = αρ^β/(1 - ρ).
    """
    return _Field(law, terms, input_tokens, output_tokens, alike=False).at_rate(requests_per_s)


class _Field:
    """A replica under loads of one kind of request."""

    def __init__(self, law: Law, terms: Terms, input_tokens: float, output_tokens: float, alike: bool) -> None:
        if not (1 <= input_tokens < math.inf and 1 <= output_tokens < math.inf):
            raise BadValueError(f"prompts of {input_tokens:g} tokens, answers of {output_tokens:g}; expected 1 at least of each")
        self._law, self._terms, self._alike = law, terms, alike
        self._input, self._output = input_tokens, output_tokens
        self._decoded = output_tokens - 1
        self._steps = self._decoded / terms.accepted_len
        self._found = min(terms.prefix_share * input_tokens, input_tokens - 1)
        self._read = input_tokens - self._found

    def closed(self, users: Lane, waves: bool = False) -> Steady:
        seats = smaller(users, self._terms.limit)
        running, step_s, itl_s, ttft_s = self._steady(seats)
        rate = seats / (ttft_s + self._decoded * itl_s)
        return self._state(users, users - seats, running, step_s, itl_s, ttft_s, rate, self._wave_s(seats)[1] if waves else None)

    def at_rate(self, requests_per_s: Lane) -> Steady:
        seats = self._terms.limit
        most = self.closed(seats).requests_per_s
        load = requests_per_s / most
        rate = smaller(requests_per_s * 1.0, most)
        low, high = 0.0 * rate, 0.0 * rate + seats
        for _ in range(30):
            middle = (low + high) / 2
            too_few = middle < rate * self._service_s(middle)
            low, high = choose(too_few, middle, low), choose(too_few, high, middle)
        running, step_s, itl_s, ttft_s = self._steady(high)
        ttft_s = ttft_s + itl_s * self._terms.accepted_len / 2  # what is left of the step that an arrival meets
        service_s = ttft_s + self._decoded * itl_s
        queue_s = smaller(load, 1.0) ** ((2 * (seats + 1)) ** 0.5 - 1) / (seats * greater(1 - load, 1e-12)) * service_s
        queue_s = choose(load < 1, queue_s, math.inf)
        users = rate * (service_s + queue_s)
        return self._state(users, rate * queue_s, running, step_s, itl_s, ttft_s, rate, None)

    def _service_s(self, seats: Lane) -> Lane:
        """From admission to the last token."""
        _, _, itl_s, ttft_s = self._steady(seats)
        return ttft_s + self._decoded * itl_s

    def _state(
        self, users: Lane, waiting: Lane, running: Lane, step_s: Lane, itl_s: Lane, ttft_s: Lane, rate: Lane, first_wave_s: Lane
    ) -> Steady:
        queue_s = waiting / rate
        return Steady(
            users=users,
            running=running,
            waiting=waiting,
            queue_s=queue_s,
            ttft_s=queue_s + ttft_s,
            first_wave_s=None if first_wave_s is None else queue_s / 2 + first_wave_s,
            itl_s=itl_s,
            e2e_s=queue_s + ttft_s + self._decoded * itl_s,
            step_s=step_s,
            prompt_share=greater(1 - step_s / (itl_s * self._terms.accepted_len), 0.0),
            output_tokens_per_s=rate * self._output,
            prompt_tokens_per_s=rate * self._input,
            requests_per_s=rate,
        )

    def _steady(self, seats: Lane) -> tuple[Lane, Lane, Lane, Lane]:
        """Sequences that decode of those that are let in, a step of theirs, and what a token and a first token wait for."""
        if self._alike and not self._terms.mixed:
            return self._lockstep(seats)
        most = self._most_running
        running = smaller(seats, most)
        for _ in range(ROUNDS):
            step_s, itl_s, ttft_s = self._waits(running, seats)
            found = smaller(seats * self._decoded * itl_s / (self._decoded * itl_s + ttft_s), most)
            running = (1 - WEIGHT) * running + WEIGHT * found
        step_s, itl_s, ttft_s = self._waits(running, seats)
        left_s = (seats - running) / greater(running, 1e-9) * self._decoded * itl_s
        return running, step_s, itl_s, choose(running > 0.99 * most, greater(ttft_s, left_s), ttft_s)

    def _lockstep(self, seats: Lane) -> tuple[Lane, Lane, Lane, Lane]:
        """As `_steady`, where all prompts are read before any decodes on, and all end together."""
        whole_s, ttft_s = self._wave_s(seats)
        step_s = self._step_s(seats, 0.0)
        cycle_s = whole_s + self._steps * step_s
        return seats * (cycle_s - ttft_s) / cycle_s, step_s, (cycle_s - ttft_s) / max(self._decoded, 1.0), ttft_s

    @property
    def _most_running(self) -> Lane:
        """Sequences beside which the prompts that follow theirs can be read in mixed steps: n·(R/D + 1) tokens within the budget."""
        terms = self._terms
        if not terms.mixed or not terms.chunked:
            return math.inf
        return terms.token_budget / (self._read / max(self._steps, 1.0) + 1 + terms.draft_tokens)

    def _waits(self, running: Lane, seats: Lane) -> tuple[Lane, Lane, Lane]:
        """A step that only decodes, the mean time between tokens, and that from admission to the first token.

        Of prompts that are read in one step all wait for its end; of more than fit one, each for those before it. Mixed steps that
        prompts nearly fill make them queue, as at one server: ρ / (2·(1 - ρ)) of a prompt's reading. An engine that schedules ahead
        has decided on one step more when a request arrives.
        """
        terms, budget = self._terms, self._budget(running)
        group = greater(smaller(budget / self._read, running), 1) if self._alike else 1.0
        others = 1 - group / greater(seats, group)
        ending = others * running / max(self._steps, 1.0)
        if self._alike:
            tokens, beside = group * self._read, running * others
        else:
            tokens = smaller((1 + ending) * self._read, greater(budget, (1 + ending / 2) * self._read))
            beside = running
        step_s, reading_s = self._step_s(running, 0.0), self._reading_s(beside, tokens)
        plain_s = self._step_s(beside, 0.0) if self._alike else step_s
        added_s = reading_s - (plain_s * greater(tokens / budget, 1) if terms.mixed else 0.0)
        mean_s = step_s + ending * self._read / tokens * greater(added_s, 0.0)
        ttft_s = reading_s
        if terms.mixed and not self._alike:
            busy = smaller(ending * self._read / budget, BUSIEST)
            ttft_s = ttft_s + busy / (2 * (1 - busy)) * self._read / tokens * reading_s
        if terms.schedules_ahead:
            ttft_s = ttft_s + others * (reading_s / greater(tokens / budget, 1) if self._alike else mean_s)
        return step_s, mean_s / terms.accepted_len, ttft_s

    def _budget(self, decoding: Lane) -> Lane:
        """Tokens of prompts that one step can read."""
        terms = self._terms
        left = terms.token_budget - (decoding * (1 + terms.draft_tokens) if terms.mixed else 0 * decoding)
        return greater(left, 1.0 if terms.chunked else self._read)

    def _reading_s(self, beside: Lane, tokens: Lane) -> Lane:
        """From the beginning of the step that begins to read so many tokens of prompts to the end of the one that ends it."""
        beside = beside if self._terms.mixed else 0 * beside
        budget = self._budget(beside)
        return greater(tokens / budget, 1) * self._step_s(beside, smaller(tokens, budget))

    def _step_s(self, decoding: Lane, read: Lane) -> Lane:
        """One step with sequences in the middle of their answers that reads so many tokens of prompts."""
        batch = StepBatch(
            decoding=decoding,
            context_tokens=self._input + self._output / 2,
            prompt_tokens=read,
            prompt_context=self._found + self._read / 2,
            prompts=read / self._read,
        )
        return self._law.time(batch).total_s

    def _wave_s(self, seats: Lane) -> tuple[Lane, Lane]:
        """Prompts that arrive together, read in turn while those before them decode: until all are read, and until one is in the mean."""
        budget = self._budget(seats / 2)
        steps = greater(seats * self._read / budget, 1)
        beside = choose(steps > 1, seats / 2, 0 * seats) if self._terms.mixed else 0 * seats
        whole_s = steps * self._step_s(beside, smaller(seats * self._read, budget))
        return whole_s, whole_s * (1 + 1 / steps) / 2
