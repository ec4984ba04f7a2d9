"""Replica: the event loop of one engine: what each step works on, and how long it takes; runs of equal steps are passed in one."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable

from estimators.serving.decode_times import DecodeTimes
from estimators.serving.kv_blocks import KvBlocks
from estimators.serving.schedule import Law, Schedule
from estimators.serving.stamps import Stamps
from estimators.serving.step_batch import StepBatch


class _Prompt:
    """A prompt that is being read.

    Attributes:
        request: whose.
        done, left: tokens in the cache, and still to be read.
    """

    __slots__ = ("done", "left", "request")

    def __init__(self, request: int, done: int, left: int) -> None:
        self.request, self.done, self.left = request, done, left


class Replica:
    """One engine at work. Requests are admitted in the order of their arrival; the newest gives way when blocks run out, and comes first
    again: all that it had in the cache is read anew.

    A decode step yields the same number of tokens for every sequence: with speculation the accepted length in the mean, in whole tokens.
    So each sequence keeps its distance to a count of tokens that all share, and a run of decode steps moves one number.
    """

    def __init__(self, law: Law, schedule: Schedule, stamps: Stamps, on_finish: Callable[[float, int], None]) -> None:
        """An idle engine at 0 s.

        Args:
            stamps: of the requests, filled in.
            on_finish: called with the second and the number of each request that has its last token here.
        """
        self._law, self._schedule, self._stamps, self._on_finish = law, schedule, stamps, on_finish
        longest = max((schedule.most_tokens(*pair) for pair in stamps.lengths if schedule.can_hold(*pair)), default=1)
        self._times = DecodeTimes(law, longest)
        self._kv = KvBlocks(schedule)
        self._coming: list[tuple[float, int]] = []
        self._waiting: deque[int] = deque()
        self._reading: deque[_Prompt] = deque()
        self._seats: dict[int, None] = {}  # requests in flight, in the order of their admission
        self._ends: list[tuple[int, int]] = []  # (count of tokens at which a decoding request has its last one, request)
        self._filled: set[int] = set()  # requests whose prompts another pool has read
        self._left_seats = 0  # of requests that ended in the step before: freed once the next one is decided
        self._now_s = self._last_start_s = 0.0
        self._steps = 0

    @property
    def held_blocks(self) -> int:
        """Of requests in flight."""
        return self._kv.held

    @property
    def next_s(self) -> float:
        """When it decides on a step next; infinite where it has nothing to do."""
        if self._seats or self._waiting:
            return self._now_s
        return max(self._now_s, self._coming[0][0]) if self._coming else math.inf

    def add(self, time_s: float, request: int, *, filled: bool = False) -> bool:
        """A request that arrives then; False where it can never be answered.

        Args:
            filled: its prompt was read elsewhere: it holds its cache on arrival, and its first token.
        """
        if not self._schedule.can_hold(*self._stamps.lengths[request]):
            return False
        heapq.heappush(self._coming, (time_s, request))
        if filled:
            self._filled.add(request)
        return True

    def advance(self, until_s: float) -> None:
        """At least one step, and more as long as they begin before that second and there are any."""
        while self.next_s < math.inf:
            self._step(until_s)
            if self.next_s >= until_s:
                return

    def _step(self, until_s: float) -> None:
        """One step, or a run of decode steps that differ in nothing but their context."""
        seen_s = self._now_s if not self._schedule.schedules_ahead else self._last_start_s
        if not (self._seats or self._waiting):
            seen_s = self._now_s = self.next_s
        while self._coming and self._coming[0][0] <= seen_s:
            self._waiting.append(heapq.heappop(self._coming)[1])
        mixed = self._schedule.mixed
        pushed_out = mixed and self._make_room()
        prompts = self._pick_prompts(seen_s, admit=not pushed_out)
        freed, self._left_seats = self._left_seats > 0, 0
        self._kv.release()
        if prompts:
            self._read(prompts, decodes=mixed and self._kv.sequences > 0)
        elif self._kv.sequences:
            if not mixed:
                self._make_room()
            self._decode(until_s, 1 if (freed and self._waiting) or pushed_out else 1 << 40)
        else:
            self._last_start_s = self._now_s  # the seats of the step before are free only now

    def _make_room(self) -> bool:
        """Push requests out, the newest first, until the others can decode one step more; whether any was."""
        pushed_out = False
        while self._kv.short_of(self._grown(self._steps + 1) - self._kv.count):
            pushed_out = True
            self._push_out(next(reversed(self._seats)))
        return pushed_out

    def _push_out(self, request: int) -> None:
        del self._seats[request]
        if self._reading and self._reading[-1].request == request:
            self._reading.pop()
            self._kv.drop_prompt(request)
            self._stamps.pushed_out(request, None)
        else:
            self._stamps.pushed_out(request, max(1, self._kv.end_of(request) - self._kv.count))
            self._kv.leave(request)
        self._kv.release()
        self._waiting.appendleft(request)

    def _grown(self, steps: int) -> int:
        """The count of tokens after so many decode steps."""
        accepted = self._schedule.accepted_len
        return steps if accepted == 1 else math.floor(steps * accepted)

    def _pick_prompts(self, seen_s: float, *, admit: bool) -> list[tuple[_Prompt, int]]:
        """Prompts of the next step and the tokens that are read of each; requests are let in as they fit."""
        schedule, picked = self._schedule, []
        left = schedule.token_budget - (self._kv.sequences * (1 + schedule.draft_tokens) if schedule.mixed else 0)
        for prompt in self._reading:
            if left <= 0:
                break
            picked.append((prompt, min(prompt.left, left)))
            left -= picked[-1][1]
        growth = self._grown(self._steps + 1) - self._kv.count if self._waiting else 0
        spare = self._kv.begun(growth)
        while admit and self._waiting and left > 0 and len(self._seats) + self._left_seats < schedule.max_num_seqs:
            request = self._waiting[0]
            filled = request in self._filled
            held = self._stamps.held_tokens(request) - filled  # the token that the other pool wrote is not in the cache yet
            read = 0 if filled else held - self._stamps.found_tokens(request)
            if filled and schedule.reserved_output < 1:
                spare += schedule.blocks_of(held + growth) - schedule.blocks_of(held)
            if (not schedule.chunked and picked and read > left) or not self._kv.take(request, held, self._stamps.lengths[request], spare):
                break
            self._waiting.popleft()
            self._seats[request] = None
            self._stamps.scheduled(request, seen_s)
            if filled:
                self._filled.discard(request)
                self._stamps.taken_over(request)
                self._join(request, held)
                continue
            prompt = _Prompt(request, held - read, read)
            self._reading.append(prompt)
            picked.append((prompt, min(read, left) if schedule.chunked else read))
            left -= picked[-1][1]
        return picked

    def _join(self, request: int, cached_tokens: int) -> None:
        """A request decodes from the next step on."""
        end = self._kv.join(request, cached_tokens, self._stamps.to_come(request))
        heapq.heappush(self._ends, (end, request))

    def _read(self, prompts: list[tuple[_Prompt, int]], *, decodes: bool) -> None:
        """A step that reads prompts, and decodes beside it where the engine mixes."""
        read = sum(tokens for _, tokens in prompts)
        keys = sum(tokens * (prompt.done + tokens / 2) for prompt, tokens in prompts)
        decoding = self._kv.sequences if decodes else 0
        batch = StepBatch(
            decoding=decoding,
            context_tokens=self._kv.mean_tokens if decoding else 0,
            prompt_tokens=read,
            prompt_context=keys / read,
            prompts=len(prompts),
        )
        taken_s = float(self._law.time(batch).total_s)
        self._last_start_s, self._now_s = self._now_s, self._now_s + taken_s
        self._stamps.step(self._last_start_s, taken_s, 1, decoding, read, self._kv.held)
        if decodes:
            self._decoded(1, taken_s, taken_s)
        for prompt, tokens in prompts:
            prompt.done += tokens
            prompt.left -= tokens
        while self._reading and not self._reading[0].left:
            prompt = self._reading.popleft()
            if self._stamps.prompt_read(prompt.request, self._now_s):
                self._kv.drop_prompt(prompt.request)
                self._finish(prompt.request)
            else:
                self._join(prompt.request, prompt.done)

    def _decode(self, until_s: float, at_most: int) -> None:
        """Decode steps until a request ends, one arrives that may be let in, a block is lacking, or that second."""
        kv, sequences, accepted = self._kv, self._kv.sequences, self._schedule.accepted_len
        while self._ends[0][0] != kv.end_of(self._ends[0][1]):
            heapq.heappop(self._ends)  # of a request that was pushed out
        end = self._ends[0][0]
        ahead = math.ceil(end / accepted) - self._steps
        while self._grown(self._steps + ahead) < end:
            ahead += 1
        stretch = self._times.stretch(sequences, kv.mean_tokens, accepted)
        steps = min(ahead, stretch.steps, at_most)
        stops_s = until_s
        if self._coming and not self._waiting:
            stops_s = min(stops_s, self._coming[0][0])
        if stops_s < math.inf:
            found = stretch.steps_until(stops_s - self._now_s, steps)
            steps = min(steps, max(1, found))
        while steps > 1 and kv.short_of(self._grown(self._steps + steps) - kv.count):
            steps //= 2
        taken_s = stretch.total_s(steps)
        start_s, self._now_s = self._now_s, self._now_s + taken_s
        self._last_start_s = start_s + stretch.total_s(steps - 1)
        self._stamps.step(start_s, taken_s, steps, sequences, 0, kv.held)
        self._decoded(steps, stretch.first_s, taken_s)

    def _decoded(self, steps: int, first_s: float, taken_s: float) -> None:
        """The end of decode steps: tokens are stamped, and who has its last one leaves."""
        kv, gained = self._kv, self._grown(self._steps + steps) - self._kv.count
        self._stamps.decoded(self._now_s, steps, first_s, taken_s, gained)
        self._steps += steps
        kv.grow(gained)
        while self._ends and self._ends[0][0] <= kv.count:
            end, request = heapq.heappop(self._ends)
            if end == kv.end_of(request):
                kv.leave(request)
                self._stamps.last_token(request, self._now_s)
                self._finish(request)

    def _finish(self, request: int) -> None:
        del self._seats[request]
        if self._schedule.schedules_ahead:
            self._left_seats += 1
        else:
            self._kv.release()
        self._on_finish(self._now_s, request)
