"""A process of its own for what ends one."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_a_process(do: Callable[[], object]) -> int:
    """Run something in a fork; the signal that ended it, negative, or its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            do()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except KeyboardInterrupt:
            code = 98
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
