"""A training that SIGTERM or SIGHUP ends keeps what was measured of it, and the process ends as it would have.

Where somebody else handles such a signal, or it is ignored, nothing is done. A child that was forked ends by it at once, as without us.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import weakref
from collections.abc import Callable
from types import FrameType

from bench.end_signals import ours_to_take

Keep = Callable[[str], object]
"""Writes a record, for a reason."""

PATIENCE_S = 10.0
"""How long a record may take to be written before the process ends without it."""

STUCK_S = 5.0
"""After so long a main thread that does not answer a signal is taken for stuck inside a call, such as one to other ranks."""

_keepers: dict[int, weakref.WeakMethod[Keep]] = {}
_taken: list[int] = []
_bell: list[int] = []
"""The pipe into which Python writes the number of a signal as it comes: read end, write end."""
_answers = threading.Event()


def watch(keep: Keep) -> None:
    """Have a bound method called when a signal ends the process, until `leave`. In the main thread only; nothing elsewhere."""
    if threading.current_thread() is not threading.main_thread():
        return
    number_of_it = id(keep.__self__)  # type: ignore[attr-defined]
    _keepers[number_of_it] = weakref.WeakMethod(keep, lambda _: _forget(number_of_it))
    if _taken:
        return
    _taken.extend(ours_to_take())
    for number in _taken:
        signal.signal(number, _end)
    if _taken:
        _listen()


def leave(keep: Keep) -> None:
    """Nothing is to be kept any more; with the last one the signals are as they were."""
    _forget(id(keep.__self__))  # type: ignore[attr-defined]


def _forget(number_of_it: int) -> None:
    _keepers.pop(number_of_it, None)
    if _keepers or threading.current_thread() is not threading.main_thread():
        return
    for number in _taken:
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.SIG_DFL)
    _taken.clear()
    _stop_listening()


def _end(number: int, frame: FrameType | None) -> None:
    _answers.set()
    _keep_all(number)
    if signal.getsignal(number) is _end:  # else somebody's handler has called this one, and decides
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _keep_all(number: int) -> None:
    """Have all kept, by a thread of its own: what this one holds, such as a lock, may be what is waited for."""
    reason = f"ended by {signal.Signals(number).name}"
    keeps = [keep for reference in list(_keepers.values()) if (keep := reference()) is not None]
    thread = threading.Thread(target=lambda: [keep(reason) for keep in keeps], name="sixnd-keep", daemon=True)
    thread.start()
    thread.join(PATIENCE_S)


def _listen() -> None:
    """Hear a signal also while the main thread is inside a call and cannot run a handler."""
    if os.name != "posix":
        return
    others = signal.set_wakeup_fd(-1)
    if others != -1:  # such as asyncio's
        signal.set_wakeup_fd(others)
        return
    _bell.extend(os.pipe())
    os.set_blocking(_bell[1], False)
    signal.set_wakeup_fd(_bell[1], warn_on_full_buffer=False)
    threading.Thread(target=_hear, args=(_bell[0],), name="sixnd-signals", daemon=True).start()


def _hear(bell: int) -> None:
    while rung := os.read(bell, 1):
        number = rung[0]
        if number in _taken and not _answers.wait(STUCK_S):
            _keep_all(number)
            ctypes.pythonapi.PyOS_setsig(number, None)  # SIG_DFL; signal.signal is for the main thread alone
            os.kill(os.getpid(), number)
    os.close(bell)


def _stop_listening() -> None:
    if not _bell:
        return
    listens = signal.set_wakeup_fd(-1)
    if listens != _bell[1]:  # somebody else's by now
        signal.set_wakeup_fd(listens)
    os.close(_bell[1])
    _bell.clear()


def _forget_in_a_child() -> None:
    """After a fork: the record is the parent's."""
    if not _taken:
        return
    for number in _taken:
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.SIG_DFL)
    if _bell:
        signal.set_wakeup_fd(-1)
        for end in _bell:
            os.close(end)
    for state in (_taken, _bell, _keepers):
        state.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_a_child)
