"""An engine stepped one step at a time in the plainest way, to hold the simulator to: every block and every token counted anew."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from estimators.frozen import frozen
from estimators.serving.requests import Requests
from estimators.serving.schedule import Schedule
from estimators.serving.step_batch import StepBatch


@frozen
class Seconds:
    """What a scripted step takes."""

    total_s: Any


class AffineLaw:
    """Steps that are a sum of terms of their work; the decode of a sequence is straight in its context."""

    def __init__(self, *, step_s: float = 5e-3, key_s: float = 1.5e-8, token_s: float = 2e-5) -> None:
        """A step's own time, that of a key of a decoding sequence, and that of a token of a prompt."""
        self.step_s, self.key_s, self.token_s = step_s, key_s, token_s

    def time(self, batch: StepBatch) -> Seconds:
        """One step, or many."""
        decoded_s = 1e-5 * batch.decoding + self.key_s * batch.decoding * batch.context_tokens
        return Seconds(
            total_s=self.step_s + decoded_s + self.token_s * batch.prompt_tokens + 1e-9 * batch.prompt_tokens * batch.prompt_context
        )


@dataclass
class Sequence:
    """A request on its way."""

    number: int
    prompt: int
    answer: int
    written: int = 0
    cached: int = 0
    to_read: int = 0
    arrival_s: float = 0.0
    first_s: float = math.nan
    last_s: float = math.nan


def stepped(law: Any, schedule: Schedule, requests: Requests) -> tuple[list[Sequence], int]:
    """Every request with its stamps, and how often one was pushed out; engines that mix and do not schedule ahead, without speculation."""
    side = schedule.block_tokens
    line = [Sequence(number, *pair) for number, pair in enumerate(zip(requests.input_tokens, requests.output_tokens, strict=True))]
    coming = [request for request in line if -(-(request.prompt + request.answer - 1) // side) <= schedule.blocks]
    if requests.arrival_s is not None:
        for request in coming:
            request.arrival_s = requests.arrival_s[request.number]
    waiting: list[Sequence] = []
    running: list[Sequence] = []
    users, now_s, pushed_out = requests.users or 0, 0.0, 0
    if users:
        waiting, coming = coming[:users], coming[users:]

    def held() -> int:
        return sum(-(-max(request.cached, request.prompt + request.written if request.to_read else 0) // side) for request in running)

    while coming or waiting or running:
        if not users:
            if not waiting and not running:
                now_s = max(now_s, coming[0].arrival_s)
            while coming and coming[0].arrival_s <= now_s:
                waiting.append(coming.pop(0))
        gave_way = False
        while sum(not request.to_read and request.cached % side == 0 for request in running) > schedule.blocks - held():
            last = running.pop()
            last.cached = last.to_read = 0
            waiting.insert(0, last)
            gave_way, pushed_out = True, pushed_out + 1
        decoding = [request for request in running if not request.to_read]
        left = schedule.token_budget - len(decoding)
        read: list[tuple[Sequence, int]] = []
        begun = sum(request.cached % side == 0 for request in decoding)
        for request in running:
            if request.to_read and left > 0:
                read.append((request, min(left, request.to_read)))
                left -= read[-1][1]
        while waiting and not gave_way and left > 0 and len(running) < schedule.max_num_seqs:
            head = waiting[0]
            if begun - (-(head.prompt + head.written) // side) > schedule.blocks - held():
                break
            running.append(waiting.pop(0))
            head.to_read = head.prompt + head.written
            read.append((head, min(left, head.to_read)))
            left -= read[-1][1]
        tokens = sum(number for _, number in read)
        keys = sum(number * (request.cached + number / 2) for request, number in read)
        mean = sum(request.cached for request in decoding) / len(decoding) if decoding else 0
        batch = StepBatch(
            decoding=len(decoding),
            context_tokens=mean,
            prompt_tokens=tokens,
            prompt_context=keys / tokens if tokens else 0,
            prompts=len(read),
        )
        now_s += float(law.time(batch).total_s)
        for request in decoding:
            request.cached += 1
            request.written += 1
        for request, number in read:
            request.cached += number
            request.to_read -= number
            if not request.to_read:
                request.written += 1
        for request in list(running):
            if request.written and math.isnan(request.first_s):
                request.first_s = now_s
            if not request.to_read and request.written == request.answer:
                request.last_s = now_s
                running.remove(request)
                if users and coming:
                    coming[0].arrival_s = now_s
                    waiting.append(coming.pop(0))
        assert held() <= schedule.blocks
    return line, pushed_out
