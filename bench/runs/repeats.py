"""One request in several fresh processes, one after another: what differs between processes is in no single one's samples.

Memory layout, the allocator's state, the choice of kernels and the clock state are drawn anew by every process, so the spread
between repeats may be many times that within one. A child reads its request from standard input and answers with its record's path.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import end_signals
from bench.machine.ranks import say
from bench.records.record import Measurement, read
from bench.records.request import Request
from bench.runs.measure import Say, measure
from estimators.errors import RequestError, SixndError, UnavailableError

PATIENCE_S = 60.0
"""How long an interrupted child may take to write its record."""

CHILD = (sys.executable, "-m", "bench.runs.repeats")


def requests(request: Request, num_repeats: int) -> list[Request]:
    """The same request, once for each repeat, with its number and what the repeats have in common."""
    group = secrets.token_hex(4)
    return [
        dataclasses.replace(request, repeat=number, num_repeats=num_repeats, repeat_group=group) for number in range(1, num_repeats + 1)
    ]


def run(
    request: Request, num_repeats: int, *, hub_id: str | None, out: Path, say: Say, child: tuple[str, ...] = CHILD
) -> Iterator[Measurement]:
    """Run every repeat in a process of its own, and yield its record when it has ended.

    Raises:
        UnavailableError: a repeat could not be run; the records of those before it stay.
        KeyboardInterrupt: the child was given time to keep what it had.
    """
    for each in requests(request, num_repeats):
        say(f"repeat {each.repeat} of {num_repeats}, in a process of its own")
        asked = json.dumps({"request": each.to_dict(), "hub_id": hub_id, "out": str(out), "argv": sys.argv})
        with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
            try:
                answer, _ = process.communicate(asked)
            except KeyboardInterrupt:
                number = end_signals.received()
                if number is not None:  # which, unlike a terminal's Ctrl-C, may have been sent to this process alone
                    process.send_signal(number)
                try:
                    process.wait(PATIENCE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                raise
        yield read(_path(answer, each, process.returncode))


def _path(answer: str, request: Request, code: int) -> Path:
    try:
        said = json.loads(answer.splitlines()[-1])
    except (ValueError, IndexError):
        said = {"error": f"its process ended with code {code}"}
    if "error" in said:
        raise UnavailableError(f"repeat {request.repeat} of {request.num_repeats}: {said['error']}")
    return Path(said["record"])


def answer(asked: str) -> dict[str, str]:
    """Run the one request that a child was given; what it answers: its record, or why there is none."""
    body = json.loads(asked)
    sys.argv = body["argv"]
    out = Path(body["out"])

    try:
        record = measure(Request(**body["request"]), hub_id=body["hub_id"], out=out, say=say)
    except (RequestError, SixndError) as error:
        return {"error": " ".join(str(error).split())}
    return {"record": str(out / f"{record.run_id}.json")}


if __name__ == "__main__":
    with end_signals.as_interrupts():
        try:
            print(json.dumps(answer(sys.stdin.read())))
        except KeyboardInterrupt:
            sys.exit(end_signals.exit_code())
