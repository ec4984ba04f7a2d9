"""Trainings of two ranks whose surroundings fail: how they are started, and how each rank ended.

As a program it reads jobs from stdin, each a line of JSON, forks two ranks for each and writes how they ended, likewise.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.support.checkout import ROOT
from tests.support.soak_faults import CONNECTED, Fault, Job, Struck
from tests.support.soaked_loops import KINDS


@dataclass(slots=True)
class Ended:
    """How one rank ended: its exit code, losses and parameters to the bit, and what it said on stderr; `hung`: it had to be killed."""

    code: int = 0
    losses: list[str] = field(default_factory=list)
    parameters: str = ""
    said: str = ""
    hung: bool = False


TRIES = 20
"""Of two ranks to find one another."""

CONNECT_S = 30.0
"""For each."""


def run(jobs: list[Job], timeout_s: float) -> Iterator[tuple[Ended, Ended]]:
    """How the ranks of each job ended, one job after the other; one of which nothing is heard for so long hangs."""
    import torch.distributed

    launchers = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"SOAK_TIMEOUT_S": str(timeout_s), "SOAK_STORE": str(launchers.port)}
    command = [sys.executable, str(Path(__file__))]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ranks:
        assert ranks.stdin is not None
        assert ranks.stdout is not None
        try:
            ranks.stdin.write("\n".join(json.dumps(asdict(job)) for job in jobs))
            ranks.stdin.close()
            for _ in jobs:
                first, second = json.loads(ranks.stdout.readline())
                yield Ended(**first), Ended(**second)
        finally:
            ranks.kill()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def fork(job: Job, places: dict[str, str], timeout_s: float) -> tuple[int, int] | bool:
    """Two ranks of a job.

    Returns:
        In a rank its number, and where it tells its losses. In the parent, once both have ended, whether they had found one another:
        then it has said how they ended. Connections are refused now and then on a machine that has much else to do.
    """
    pids, pipes = [], []
    for rank in (0, 1):
        (told, tell), (said, say) = os.pipe(), os.pipe()
        if (pid := os.fork()) == 0:
            os.environ |= places | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            os.dup2(say, 2)
            os.close(say)
            return rank, tell
        os.close(tell)
        os.close(say)
        pids.append(pid)
        pipes += [told, said]
    ended, texts = (Ended(), Ended()), ["", "", "", ""]

    heard_s = time.monotonic()

    def drain(number: int) -> None:
        nonlocal heard_s
        with open(pipes[number], encoding="utf-8", errors="replace") as pipe:
            for line in pipe:
                texts[number] += line
                heard_s = time.monotonic()

    drains = [threading.Thread(target=drain, args=(number,)) for number in range(4)]
    for thread in drains:
        thread.start()
    while alive := [rank for rank in (0, 1) if not has_ended(pids[rank], ended[rank])]:
        are_connected = all(texts[2 * rank] for rank in (0, 1))
        is_alone = len(alive) == 1 and not are_connected
        if is_alone or time.monotonic() - heard_s > (timeout_s if are_connected else CONNECT_S):
            for rank in alive:
                ended[rank].hung = True
                os.kill(pids[rank], signal.SIGKILL)
        time.sleep(0.02)
    for thread in drains:
        thread.join()
    if not all(texts[2 * rank].startswith(CONNECTED) for rank in (0, 1)):
        return False
    for rank in (0, 1):
        *ended[rank].losses, last = texts[2 * rank].removeprefix(CONNECTED).splitlines() or [""]
        if last.startswith("parameters"):
            ended[rank].parameters = last
        elif last:
            ended[rank].losses.append(last)
        ended[rank].said = texts[2 * rank + 1]
    print(json.dumps([asdict(each) for each in ended]), flush=True)
    return True


def has_ended(pid: int, ended: Ended) -> bool:
    if pid in _reaped:
        return True
    found, status = os.waitpid(pid, os.WNOHANG)
    if found:
        _reaped.add(pid)
        ended.code = os.waitstatus_to_exitcode(status)
    return bool(found)


_reaped: set[int] = set()


def ready(kinds: set[str]) -> None:
    """What ranks import is imported once, in what they are forked from; their watchers write early and often."""
    import torch._dynamo
    import torch.distributed

    from bench.callbacks import console, exchange, flop_source, writer  # noqa: F401

    for kind, name in (("trainer", "transformers.trainer"), ("accelerate", "accelerate"), ("lightning", "lightning.pytorch")):
        if kind in kinds:
            importlib.import_module(name)
    torch.set_num_threads(1)
    console.LEAST_LINE_S = 0.05
    writer.EARLY_S = writer.AUTOSAVE_S = 0.05


def main() -> None:
    """Every job, one after the other; in a rank, its training and no more."""
    jobs = [Job(**{**told, "faults": tuple(Fault(**each) for each in told["faults"])}) for told in map(json.loads, sys.stdin)]
    ready({job.kind for job in jobs})
    rendezvous = itertools.count()
    for job in jobs:
        for _ in range(TRIES):
            forked = fork(job, places(job, next(rendezvous)), float(os.environ["SOAK_TIMEOUT_S"]))
            if isinstance(forked, tuple):
                train(job, *forked)
                return
            if forked:
                break
        else:
            raise TimeoutError(f"two ranks did not find one another in {TRIES} tries")


def places(job: Job, number: int) -> dict[str, str]:
    """Where ranks find one another, as launchers tell them: a store of their own, or one that outlives them."""
    port = os.environ["SOAK_STORE"] if job.launched else str(free_port())
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": str(number)}
    return told | {"TORCHELASTIC_USE_AGENT_STORE": str(job.launched), "TORCHELASTIC_RESTART_COUNT": str(number)}


def train(job: Job, rank: int, tell: int) -> None:
    """One rank."""
    import torch.distributed

    struck = Struck(job, rank, tell)
    torch.distributed.init_process_group("gloo")
    struck.connected()
    KINDS[job.kind](job, rank, struck)


if __name__ == "__main__":
    main()
