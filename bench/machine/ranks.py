"""Ranks of a data-parallel run: which one this process is, whether it is one, and starting those that a launcher promised. No torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bench import streams
from estimators.errors import UnavailableError

_VARIABLES = (
    ("RANK", "WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
)
"""A process's number and how many there are: of torchrun and accelerate; Intel MPI and Slurm; Open MPI; MVAPICH."""

_LOCAL_VARIABLES = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")

_LAUNCHERS = ("launch", "launch.py", "accelerate-launch", "accelerate.commands.launch")
"""Words, folders left out, after which the options of accelerate's launcher follow."""


def launched(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """This process's rank, and the number of ranks, of the one training that a launcher started several processes for.

    Such processes are told where to meet. Those that mpirun or srun started side by side, without a place to meet, are tasks of
    their own; so is one whose number cannot be read.

    Returns:
        None where this process is by itself.

    >>> launched({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"})
    (1, 2)
    >>> launched({"PMI_RANK": "1", "PMI_SIZE": "2"}), launched({"RANK": "abc", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"})
    (None, None)
    """
    if not environment.get("MASTER_ADDR"):
        return None
    for rank_name, size_name in _VARIABLES:
        rank, size = environment.get(rank_name, ""), environment.get(size_name, "")
        if rank.isdecimal() and size.isdecimal() and int(rank) < int(size) and int(size) > 1:
            return int(rank), int(size)
    return None


def is_main() -> bool:
    """Whether this process is the one that prints and saves: rank 0, or one by itself."""
    return (launched() or (0, 1))[0] == 0


@contextmanager
def by_itself() -> Iterator[None]:
    """Hide from accelerate what a launcher left in the environment of a process that is by itself; of a rank nothing is hidden.

    Accelerate takes the number of MPI's processes alone for a promise to meet, waits for them, and fails where a number is none.
    """
    names = () if launched() else (*(name for pair in _VARIABLES for name in pair), *_LOCAL_VARIABLES)
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def say(text: str) -> None:
    """A remark on stderr while something long runs; from rank 0 alone."""
    if is_main():
        streams.remark(f"· {text}")


def asked_for_cpu(environment: Mapping[str, str]) -> bool:
    """Whether accelerate's launcher was told to keep off the GPU."""
    return environment.get("ACCELERATE_USE_CPU", "").casefold() in ("1", "true")


def start_promised_ranks() -> None:
    """Turn this process into the launcher of the ranks that ``accelerate launch --cpu --num_processes N`` promised.

    Without MPI, accelerate starts a single process for --cpu however many were asked for (accelerate issue 2741), and
    the run would silently be an ordinary one. It leaves MASTER_ADDR behind, but no rank and no world size. Then
    this process is replaced by torch.distributed.run, which runs the same command line once per rank. Returns
    at once in every other case.

    Raises:
        UnavailableError: ranks were promised, but the launcher's command line does not say how many.
    """
    if not promised_ranks_missing(os.environ):
        return
    import psutil  # deferred: only this rare path needs it

    try:
        launcher = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        launcher = []
    num_ranks = promised_num_ranks(launcher)
    if num_ranks is None:
        raise UnavailableError(
            "accelerate launch --cpu started one process of several (it needs MPI for more); "
            "start them with: ACCELERATE_USE_CPU=1 torchrun --nproc-per-node 2 -m bench run ..."
        )
    if num_ranks == 1:
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks), "--no-python"]
    os.execv(sys.executable, [sys.executable, *run, sys.executable, *sys.orig_argv[1:]])


def promised_ranks_missing(environment: Mapping[str, str]) -> bool:
    """Whether accelerate's launcher for a single process was asked for several, and no MPI started them."""
    several = asked_for_cpu(environment) and "ACCELERATE_MIXED_PRECISION" in environment and "MASTER_ADDR" in environment
    return several and not any(name in environment for pair in _VARIABLES for name in pair)


def promised_num_ranks(launcher: Sequence[str]) -> int | None:
    """The number of processes in the command line of ``accelerate launch``, read by accelerate's own parser.

    Args:
        launcher: the words of the launcher's command line.

    Returns:
        None where the words are not those of accelerate's launcher.
    """
    starts = [i for i, word in enumerate(launcher) if os.path.basename(word) in _LAUNCHERS]
    if not starts:
        return None
    from accelerate.commands.config import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    try:
        args = launch_command_parser().parse_args(list(launcher[starts[0] + 1 :]))
        num_ranks = args.num_processes or (load_config_from_file(args.config_file).num_processes if args.config_file else None)
    except (SystemExit, OSError, ValueError):
        return None
    return num_ranks or 1
