"""Simulate: requests through a replica, or through one that reads prompts and one that decodes; the same for the same input."""

from __future__ import annotations

import math
from collections.abc import Callable

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.serving.replica import Replica
from estimators.serving.requests import Requests
from estimators.serving.schedule import Law, Schedule
from estimators.serving.stamps import Stamps


@frozen
class Simulation:
    """What came out.

    Attributes:
        requests: that were asked.
        stamps: of each request, and the steps; of two pools those of the one that decodes.
        blocks: of the cache.
        refused: requests that can never fit, by number: no stamps but their arrival.
    """

    requests: Requests
    stamps: Stamps
    blocks: int
    refused: tuple[int, ...]


def simulate(law: Law, schedule: Schedule, requests: Requests) -> Simulation:
    """Requests through one replica: continuous batching, prompts in pieces where the engine cuts them, admission by blocks.

    Requests that can never fit are refused on arrival; all others are answered. With a closed loop the first requests of all users
    arrive at 0 s, and each user's next one when he has his answer. 10,000 requests take about half a second.

    Raises:
        BadValueError: no request can be answered.
    """
    stamps = _stamps(requests, schedule)
    line = _Line(requests, stamps)
    replica = Replica(law, schedule, stamps, line.answered)
    line.open(replica.add)
    replica.advance(math.inf)
    assert not replica.held_blocks, "requests are done, and their blocks are not free"
    return line.outcome(schedule)


def simulate_pools(
    prefill_law: Law, prefill: Schedule, decode_law: Law, decode: Schedule, requests: Requests, transfer_s_per_token: float = 0.0
) -> Simulation:
    """Requests through a replica that only reads prompts, and one that only decodes, with a queue between them.

    The first token is the prefill pool's, as its prompt is read; the cache then moves, in a time that grows with the prompt and delays
    nothing else, and the second token is the decode pool's. A request that the decode pool pushes out is read anew there.

    Raises:
        BadValueError: no request can be answered, or a transfer that takes less than no time.
    """
    if not 0 <= transfer_s_per_token < math.inf:
        raise BadValueError(f"a transfer of {transfer_s_per_token:g} s a token; expected 0 or more")
    stamps = _stamps(requests, decode)
    line = _Line(requests, stamps)
    first = Stamps([(prompt, 1) for prompt, _ in stamps.lengths], prefill.prefix_share)
    decoder = Replica(decode_law, decode, stamps, line.answered)

    def hand_over(now_s: float, request: int) -> None:
        stamps.scheduled_s[request] = first.scheduled_s[request]
        stamps.first_token_s[request] = first.first_token_s[request]
        stamps.written[request] = 1
        if stamps.lengths[request][1] == 1:
            stamps.last_token_s[request] = now_s
            line.answered(now_s, request)
        else:
            decoder.add(now_s + transfer_s_per_token * stamps.lengths[request][0], request, filled=True)

    reader = Replica(prefill_law, prefill, first, hand_over)

    def arrive(time_s: float, request: int) -> bool:
        first.arrival_s[request] = time_s
        return decode.can_hold(*stamps.lengths[request]) and reader.add(time_s, request)

    line.open(arrive)
    while min(reader.next_s, decoder.next_s) < math.inf:
        late, other = (reader, decoder) if reader.next_s <= decoder.next_s else (decoder, reader)
        late.advance(other.next_s)
    assert not reader.held_blocks + decoder.held_blocks, "requests are done, and their blocks are not free"
    stamps.read_tokens += first.read_tokens
    return line.outcome(decode)


def _stamps(requests: Requests, schedule: Schedule) -> Stamps:
    return Stamps(list(zip(requests.input_tokens, requests.output_tokens, strict=True)), schedule.prefix_share)


class _Line:
    """Requests before the door: sent by their stamps, or by users who wait for their answers."""

    def __init__(self, requests: Requests, stamps: Stamps) -> None:
        self._requests, self._stamps, self._refused = requests, stamps, list[int]()
        self._sent = 0
        self._send: Callable[[float, int], bool] = lambda _time_s, _request: False

    def open(self, send: Callable[[float, int], bool]) -> None:
        """Requests go in: all that have stamps, or one of each user.

        Args:
            send: takes the second and the number of a request; False where it is refused.
        """
        self._send = send
        if self._requests.arrival_s is not None:
            for time_s in self._requests.arrival_s:
                self._next(time_s)
        for _ in range(self._requests.users or 0):
            self._ask(0.0)

    def answered(self, now_s: float, request: int) -> None:
        """A request has its last token; its user sends the next."""
        if self._requests.users:
            self._ask(now_s)

    def _ask(self, time_s: float) -> None:
        """A user's next request that is not refused, as long as there are any."""
        while self._sent < len(self._stamps.lengths) and not self._next(time_s):
            pass

    def _next(self, time_s: float) -> bool:
        request, self._sent = self._sent, self._sent + 1
        self._stamps.arrival_s[request] = time_s
        taken = self._send(time_s, request)
        if not taken:
            self._refused.append(request)
        return taken

    def outcome(self, schedule: Schedule) -> Simulation:
        """All of it. Raises BadValueError where nothing was answered."""
        if len(self._refused) == len(self._stamps.lengths):
            tokens, room = min(map(sum, self._stamps.lengths)), schedule.blocks * schedule.block_tokens
            longest = "" if schedule.max_model_len is None else f" and sequences of {schedule.max_model_len:,} at most"
            raise BadValueError(
                f"no request can be answered: the shortest has {tokens:,} tokens, and the cache has room for {room:,}{longest}; "
                "expected shorter requests, more devices, or a smaller format of the weights or the cache"
            )
        return Simulation(requests=self._requests, stamps=self._stamps, blocks=schedule.blocks, refused=tuple(self._refused))
