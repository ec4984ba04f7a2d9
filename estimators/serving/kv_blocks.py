"""Blocks of the KV cache in a simulation: taken by prompts, one more for each block's worth of tokens, given back at the end."""

from __future__ import annotations

from estimators.serving.schedule import Schedule


class KvBlocks:
    """The cache of one replica. Sequences that decode grow together: each is as many tokens ahead of `count` as it was when it joined.

    Attributes:
        free: blocks that nothing holds.
        count: tokens that every decoding sequence has grown by since the start.
        sequences: that decode.
    """

    def __init__(self, schedule: Schedule) -> None:
        """All blocks free."""
        self._schedule, self._side, self._share = schedule, schedule.block_tokens, schedule.reserved_output
        self._whole = schedule.reserved_output >= 1
        self.free, self.count, self.sequences = schedule.blocks, 0, 0
        self._ahead_sum = self._end_sum = self._reading_to_come = 0
        self._phases = [0] * self._side  # sequences by what their tokens ahead of the count leave beyond whole blocks
        self._taken: dict[int, tuple[int, int]] = {}  # blocks that a request took at its admission, and the tokens that it is to write
        self._places: dict[int, tuple[int, int]] = {}  # of a decoding request: tokens ahead of the count, count at its last token
        self._leaving = 0

    @property
    def mean_tokens(self) -> float:
        """In the cache of a decoding sequence, in the mean."""
        return self._ahead_sum / self.sequences + self.count

    @property
    def held(self) -> int:
        """Blocks of requests in flight."""
        return self._schedule.blocks - self.free - self._leaving

    def take(self, request: int, held_tokens: int, lengths: tuple[int, int], spare_blocks: int) -> bool:
        """Blocks for a prompt, and for what is reserved of its answer; False where there are too few.

        Args:
            held_tokens: prompt, and what was written of the answer before it was pushed out.
            lengths: tokens of prompt and answer.
            spare_blocks: that must stay free.
        """
        schedule, to_come = self._schedule, sum(lengths) - held_tokens
        blocks = schedule.blocks_of(schedule.most_tokens(*lengths) if self._whole else held_tokens)
        if blocks + spare_blocks > self.free:
            return False
        if 0 < self._share < 1 and (self._places or self._taken):
            reserved = self._share * (self._end_sum - self.sequences * self.count + self._reading_to_come + to_come)
            if (self.free - blocks) * self._side < reserved:
                return False
        self.free -= blocks
        self._taken[request] = blocks, to_come
        self._reading_to_come += to_come
        return True

    def join(self, request: int, cached_tokens: int, to_come: int) -> int:
        """A request that took its blocks decodes from now on; the count at which it has its last token."""
        ahead, end = cached_tokens - self.count, self.count + to_come
        self._places[request] = ahead, end
        self.sequences += 1
        self._ahead_sum += ahead
        self._end_sum += end
        self._phases[ahead % self._side] += 1
        self._reading_to_come -= self._taken[request][1]
        if not self._whole:
            del self._taken[request]
        return end

    def end_of(self, request: int) -> int:
        """The count at which a decoding request has its last token; -1 for one that does not decode."""
        return self._places[request][1] if request in self._places else -1

    def leave(self, request: int) -> None:
        """A decoding request is done, or pushed out; its blocks are free from the next `release` on."""
        ahead, end = self._places.pop(request)
        self._leaving += self._taken.pop(request)[0] if self._whole else self._schedule.blocks_of(ahead + self.count)
        self.sequences -= 1
        self._ahead_sum -= ahead
        self._end_sum -= end
        self._phases[ahead % self._side] -= 1

    def drop_prompt(self, request: int) -> None:
        """As `leave`, of a request that does not decode."""
        blocks, to_come = self._taken.pop(request)
        self._leaving += blocks
        self._reading_to_come -= to_come

    def release(self) -> None:
        """Blocks of who left are free."""
        self.free += self._leaving
        self._leaving = 0

    def short_of(self, tokens: int) -> bool:
        """Whether there are too few free blocks for all decoding sequences to grow by so many tokens."""
        return self.sequences * (tokens // self._side + 1) > self.free and self.begun(tokens) > self.free

    def grow(self, tokens: int) -> None:
        """All decoding sequences grow."""
        self.free -= self.begun(tokens)
        assert self.free >= 0, "a step was begun that has too few blocks"
        self.count += tokens

    def begun(self, tokens: int) -> int:
        """Blocks that decoding sequences take beside their own when they grow by so many tokens: one where their last block is full."""
        if self._whole:
            return 0
        side, phases, count = self._side, self._phases, self.count
        begun = tokens // side * self.sequences
        for step in range(tokens % side):
            begun += phases[(-count - step) % side]
        return begun
