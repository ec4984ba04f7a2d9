"""What a network raises on inputs that it was not made for, told from a fault of our own."""

from __future__ import annotations

from types import TracebackType

DOES_NOT_RUN = (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError, LookupError, AssertionError)
"""What a network raises on inputs that it was not made for."""

_OF_CODE = (AttributeError, LookupError, AssertionError, TypeError)
"""Those of them that say that code is wrong, where it is ours."""

_OURS = ("sixnd", "bench", "estimators", "reports")


def raise_if_ours(error: Exception) -> None:
    """Raise an error whose place is in our own files: it is a fault of ours, and says nothing of the network.

    What the network itself asked for, such as an operator of torch or a function that it was given with, is run in our frames under the
    name `func`; what that raises is the network's, and so is what it says of its arguments.
    """
    if isinstance(error, _OF_CODE) and _is_in_our_files(error.__traceback__):
        raise error


def _is_in_our_files(trace: TracebackType | None) -> bool:
    """Whether the innermost frame is of our packages, and runs nothing for the network."""
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OURS and "func" not in frame.f_locals


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
