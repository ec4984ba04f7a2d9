"""Which process this is, told so that another one can see whether it still runs."""

from __future__ import annotations

import os
import platform

import psutil


def own_name() -> str:
    """Machine, number and start of this process, for `is_running`."""
    return f"{platform.node()} {os.getpid()} {psutil.Process().create_time()!r}"


def is_running(name: str) -> bool | None:
    """Whether the process of that name runs; None where it is on another machine, or its name says too little."""
    node, _, rest = name.rpartition(" ")
    node, _, number = node.rpartition(" ")
    if node != platform.node() or not number.isdecimal():
        return None
    try:
        process = psutil.Process(int(number))
        return repr(process.create_time()) == rest and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return None
