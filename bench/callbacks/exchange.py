"""How the ranks of one training tell what they have seen: each leaves its report where the others can read it; no collective is met.

The place is the store that torch's process group was made with. A report left there is read later or never, so that ranks may
end in any order, break off or die. A launcher's store outlives `destroy_process_group`; one that rank 0 serves goes with it.
"""

from __future__ import annotations

import inspect
import itertools
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import torch.distributed as dist

from bench.callbacks.ranks import RankReport, packed, unpacked
from bench.machine import processes
from estimators.errors import UnavailableError

T = TypeVar("T")

WAIT_S = 2.0
"""The longest that the end of a training waits for ranks that have begun to watch and not ended, and any call for a store that is mute."""

GRACE_S = 0.5
"""The longest that it waits for a rank that has not begun to watch."""

PARTING_S = 0.5
"""The longest that it waits where the training was left early."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.002, 0.2
"""Between two questions for the same thing: thousands of ranks may ask one store."""

REPORTS_BYTES = 64 * 2**20
"""Room in the store for the reports of all ranks; a longer one leaves out its last steps, and says how many."""

_begun_at: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
"""Lines of the program -> numbers of the trainings that they began to watch."""


class Store(Protocol):
    """What is asked of a torch.distributed.Store."""

    def set(self, key: str, value: bytes, /) -> object: ...

    def get(self, key: str, /) -> bytes: ...

    def check(self, keys: list[str], /) -> bool: ...

    def clone(self) -> Store: ...


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of this process among the ranks of its process group."""

    rank: int
    num_ranks: int
    store: Store


def num_ranks() -> int:
    """Ranks of torch's process group; 1 where it is not up."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is rank 0 of torch's process group, or there is none."""
    return num_ranks() == 1 or dist.get_rank() == 0


def current_seat() -> Seat | None:
    """This process's place; None where torch's process group is not up, or has one rank."""
    if num_ranks() == 1:
        return None
    from torch.distributed.distributed_c10d import _get_default_store

    return Seat(dist.get_rank(), dist.get_world_size(), _get_default_store())


def _name_of_the_training() -> str:
    lines = _lines_of_the_program()
    return f"{zlib.crc32(lines.encode()):08x} {next(_begun_at[lines])}"


def _lines_of_the_program() -> str:
    """The lines that led here, those of ours and of installed packages left out: the same on every rank."""
    lines, frame = [], inspect.currentframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if not str(frame.f_globals.get("__name__")).startswith("bench.") and "site-packages" not in path.parts:
            lines.append(f"{path.name}:{frame.f_lineno}")
        frame = frame.f_back
    return " ".join(lines)


@dataclass(slots=True)
class Heard:
    """What one rank has heard of the others.

    Attributes:
        reports: the last of each rank that left one.
        absent: ranks that have not begun to watch.
        silent: ranks that have begun and not come to their end, whether or not they left a report on the way.
    """

    reports: dict[int, RankReport] = field(default_factory=dict)
    absent: tuple[int, ...] = ()
    silent: tuple[int, ...] = ()


class RankExchange:
    """The place of one watched training in the store.

    A process may watch several trainings: those of different ranks are one where the same lines of the program began them, as often.

    The main rank, which prints and writes, is the lowest that watches. Every call ends within WAIT_S beside the time that it was
    told to wait, and raises UnavailableError, or RuntimeError or OSError of the store, where the store does not answer.

    Args:
        find: this process's place; asked until there is one, since a group may come up after the watching began.
        name: of the training in the store; None takes the lines and how often they began one.

    Attributes:
        rank, num_ranks: this process's number and how many there are, whether they watch or not; 0 of 1 without a process group.
        num_ends: how often this rank's training has come to an end; it may go on after one.
    """

    def __init__(self, find: Callable[[], Seat | None] = current_seat, name: str | None = None) -> None:
        self._find, self._name = find, name or _name_of_the_training()
        self._own: Store | None = None
        self._is_below, self._is_mute = False, False
        self._given_up: set[int] = set()
        self.rank, self.num_ranks, self.num_ends = 0, 1, 0

    def meet(self) -> None:
        """Take this process's place once there is a process group, and tell the others that it watches.

        By a connection of its own: a store that is held would not end with its group, and the next group would meet its keys.
        """
        if self.num_ranks > 1 or (seat := self._find()) is None:
            return
        self.rank, self.num_ranks = seat.rank, seat.num_ranks

        def begin() -> None:
            self._own = seat.store.clone()
            self._own.set(self._key(self.rank, "begun"), processes.own_name().encode())

        self._ask(WAIT_S, begin)

    def is_main(self) -> bool:
        """Whether this process prints and writes: no lower rank has begun to watch."""
        if self.rank and not self._is_below:  # a rank that has begun stays one that has begun
            self._is_below = self._ask(WAIT_S, lambda: any(self._has(rank, "begun") for rank in range(self.rank)))
        return not self._is_below

    def leave(self, report: RankReport) -> None:
        """Leave this rank's report for the main one, in place of an earlier one."""

        def put() -> None:
            self._store.set(self._key(self.rank, "report"), packed(report, REPORTS_BYTES // self.num_ranks))
            if report.num_ends:
                self._store.set(self._key(self.rank, f"end {report.num_ends}"), b"1")

        self._ask(WAIT_S, put)

    def hear(self, wait_s: float) -> Heard:
        """The reports of the other ranks, after so long a wait at most for those that have begun and not come to their end."""
        heard, others = Heard(), [rank for rank in range(self.num_ranks) if rank != self.rank]

        def listen() -> None:
            self._await_ends({*others} - self._given_up, wait_s)
            until_s = time.monotonic() + WAIT_S / 2
            for rank in others:
                if time.monotonic() < until_s and self._has(rank, "report"):
                    heard.reports[rank] = unpacked(self._store.get(self._key(rank, "report")))
            heard.absent = tuple(rank for rank in others if rank not in heard.reports and not self._has(rank, "begun"))

        if others:
            self._ask(wait_s + WAIT_S, listen)
        ended = {rank for rank, report in heard.reports.items() if report.num_ends >= self.num_ends}
        heard.silent = tuple(rank for rank in others if rank not in ended and rank not in heard.absent)
        return heard

    def give_up(self, heard: Heard) -> None:
        """Wait no more for ranks that were waited for in vain."""
        self._given_up |= {*heard.absent, *heard.silent}

    def thank(self, reports: Collection[RankReport]) -> None:
        """Tell other ranks that their reports are in a record."""
        taken = [self._key(report.rank, f"taken {report.num_ends}") for report in reports if report.rank != self.rank]
        if taken:
            self._ask(WAIT_S, lambda: [self._store.set(key, b"1") for key in taken])

    def is_orphan(self, wait_s: float) -> bool:
        """Whether nobody is left who would read the report that this rank left: no lower rank that watches runs any more.

        Of a rank on another machine it is not known whether it runs; it has so long to take the report, 0 for ever.
        """

        def lives(rank: int) -> bool | None:
            return self._has(rank, "begun") and processes.is_running(self._store.get(self._key(rank, "begun")).decode())

        def ask() -> bool:
            first = next((alive for rank in range(self.rank) if (alive := lives(rank)) is not False), False)
            if first or (first is None and not wait_s):
                return False
            return not _patiently(wait_s if first is None else 0.0, lambda: self._has(self.rank, f"taken {self.num_ends}"))

        return self.rank > 0 and self._ask(wait_s + WAIT_S, ask)

    def _await_ends(self, ranks: set[int], wait_s: float) -> None:
        if not _patiently(min(wait_s, GRACE_S), lambda: self._all_have(ranks, f"end {self.num_ends}")) and wait_s > GRACE_S:
            begun = {rank for rank in ranks if self._has(rank, "begun")}
            _patiently(wait_s - GRACE_S, lambda: self._all_have(begun, f"end {self.num_ends}"))

    @property
    def _store(self) -> Store:
        if self._own is None:
            raise UnavailableError("there is no connection to the store of the ranks")
        return self._own

    def _key(self, rank: int, what: str) -> str:
        return f"sixnd/{self._name}/{rank}/{what}"

    def _has(self, rank: int, what: str) -> bool:
        return self._all_have([rank], what)

    def _all_have(self, ranks: Collection[int], what: str) -> bool:
        return not ranks or self._store.check([self._key(rank, what) for rank in ranks])

    def _ask(self, within_s: float, ask: Callable[[], T]) -> T:
        """What the store gives, asked in a thread of its own, since it may take for ever; one that was mute once is not asked again."""
        if self._is_mute:
            raise UnavailableError("the store of the ranks does not answer")
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(ask())
            except BaseException as error:  # it is raised where the answer is awaited
                answer.set_exception(error)

        threading.Thread(target=run, daemon=True, name="sixnd ranks").start()
        try:
            return answer.result(within_s)
        except NoAnswerError:
            if answer.done():  # the store's own
                raise
            self._is_mute = True
            raise UnavailableError(f"the store of the ranks did not answer within {within_s:g} s") from None


def _patiently(wait_s: float, holds: Callable[[], bool]) -> bool:
    """Whether something holds now or within that time; asked more and more rarely."""
    until_s, pause_s = time.monotonic() + wait_s, FIRST_PAUSE_S
    while not holds():
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return True
