"""Stamps of simulated requests: when each arrived, was let in, had its first and its last token; and the steps that were run."""

from __future__ import annotations

from collections.abc import Sequence


class Stamps:
    """What a simulation writes down. Seconds from the start; nan for what has not happened.

    Attributes:
        lengths: tokens of prompt and answer of each request.
        arrival_s, scheduled_s, first_token_s, last_token_s: of each.
        written: tokens of its answer so far.
        num_pushed_out: times that a request had to give way.
        read_tokens: of prompts, those that were read, the second times counted.
        gap_s, gap_tokens: time from a token to the next, and how many tokens came after such a time; of a step that yields several, each
            has its part of it.
        step_start_s, step_s, step_count, step_decoding, step_read, step_held_blocks: runs of steps: their beginning, how long all took,
            how many they were, sequences that decoded, prompt tokens that were read, blocks that were held when they began.
    """

    def __init__(self, lengths: Sequence[tuple[int, int]], prefix_share: float = 0.0) -> None:
        """Of requests by their lengths."""
        nan, number = float("nan"), len(lengths)
        self.lengths, self._prefix_share = lengths, prefix_share
        self.arrival_s, self.scheduled_s = [nan] * number, [nan] * number
        self.first_token_s, self.last_token_s = [nan] * number, [nan] * number
        self.written = [0] * number
        self.num_pushed_out = self.read_tokens = 0
        self.gap_s: list[float] = []
        self.gap_tokens: list[float] = []
        self.step_start_s: list[float] = []
        self.step_s: list[float] = []
        self.step_count: list[int] = []
        self.step_decoding: list[int] = []
        self.step_read: list[int] = []
        self.step_held_blocks: list[int] = []
        self._newest: list[tuple[float, int]] = []  # second of the newest token, and how many decoding sequences have it, by second
        self._lost_s: dict[int, float] = {}  # of requests that were pushed out, the second of their newest token

    def held_tokens(self, request: int) -> int:
        """That are in the cache when a request decodes: its prompt, and what it has written before."""
        return self.lengths[request][0] + self.written[request]

    def found_tokens(self, request: int) -> int:
        """Of the prompt, those that are in the cache of prefixes; one at least is read."""
        return self.found_of(self.lengths[request][0])

    def found_of(self, prompt_tokens: int) -> int:
        """As `found_tokens`, of any prompt of that length."""
        return min(int(self._prefix_share * prompt_tokens), prompt_tokens - 1)

    def to_come(self, request: int) -> int:
        """Tokens that it is still to write."""
        return self.lengths[request][1] - self.written[request]

    def scheduled(self, request: int, now_s: float) -> None:
        """It is let in; the first time counts."""
        if self.scheduled_s[request] != self.scheduled_s[request]:
            self.scheduled_s[request] = max(now_s, self.arrival_s[request])

    def prompt_read(self, request: int, now_s: float) -> bool:
        """All of its prompt is read, which yields a token; whether that is its last."""
        self.written[request] += 1
        if self.written[request] == 1:
            self.first_token_s[request] = now_s
        else:
            self._gap(now_s - self._lost_s.pop(request), 1)
        if self.to_come(request):
            self._newest.append((now_s, 1))
            return False
        self.last_token_s[request] = now_s
        return True

    def taken_over(self, request: int) -> None:
        """It decodes in another pool than the one that read its prompt."""
        self._newest.append((self.first_token_s[request], 1))

    def decoded(self, now_s: float, steps: int, first_s: float, taken_s: float, tokens: int) -> None:
        """Decode steps end: so many tokens more for each sequence that decodes.

        Args:
            first_s, taken_s: of the first step, and of all.
        """
        per_step, sequences = tokens / steps, 0
        for newest_s, number in self._newest:
            sequences += number
            self._gap((now_s - taken_s + first_s - newest_s) / per_step, number * per_step)
        if steps > 1:
            self._gap((taken_s - first_s) / (steps - 1) / per_step, sequences * (tokens - per_step))
        self._newest = [(now_s, sequences)]

    def _gap(self, gap_s: float, tokens: float) -> None:
        self.gap_s.append(gap_s)
        self.gap_tokens.append(tokens)

    def last_token(self, request: int, now_s: float) -> None:
        """A decoding sequence has its last token."""
        self.written[request] = self.lengths[request][1]
        self.last_token_s[request] = now_s
        self._one_less()

    def pushed_out(self, request: int, tokens_to_come: int | None) -> None:
        """It gives way.

        Args:
            tokens_to_come: of a request that decoded; None of one whose prompt was being read.
        """
        self.num_pushed_out += 1
        if tokens_to_come is not None:
            self.written[request] = self.lengths[request][1] - tokens_to_come
            self._lost_s[request] = self._one_less()

    def _one_less(self) -> float:
        """A sequence less among those that decode, of those that joined last; the second of its newest token."""
        newest_s, number = self._newest.pop()
        if number > 1:
            self._newest.append((newest_s, number - 1))
        return newest_s

    def step(self, start_s: float, taken_s: float, steps: int, decoding: int, read_tokens: int, held_blocks: int) -> None:
        """A run of steps that are alike."""
        self.step_start_s.append(start_s)
        self.step_s.append(taken_s)
        self.step_count.append(steps)
        self.step_decoding.append(decoding)
        self.step_read.append(read_tokens)
        self.step_held_blocks.append(held_blocks)
        self.read_tokens += read_tokens
