"""An endpoint loaded by a tool that is installed here, and its result as records."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.records.record import Measurement
from bench.runs.import_results import import_results
from bench.runs.load_tools import EndpointLoad, demand_allowed, installed, run_tool
from estimators.errors import PhysicsError, RequestError
from estimators.serving.results.result import Served


def load_endpoint(
    load: EndpointLoad,
    said: Served,
    *,
    tool: str | None,
    allowed: Sequence[str],
    config: Mapping[str, Any] | None,
    out: Path,
    say: Callable[[str], None],
) -> list[Measurement]:
    """The records of a load, written.

    Args:
        load: what the endpoint is loaded with.
        said: what the tool's file does not say.
        tool: that loads; None for the first that is installed.
        allowed: hosts that may be loaded beside this one.
        config: of the model, where it is known here.
        out: the folder of the records.
        say: tells the user where things lie.

    Raises:
        BadValueError: no such tool, no address, or another machine's.
        UnavailableError: no tool is installed, or it failed.
        PhysicsError: what no server can have found; the tool's file is left where it lies.
        KeyboardInterrupt: after the tool was ended, and what it left was kept.
    """
    demand_allowed(load.url, allowed)
    chosen, path = installed(tool)
    folder = Path(tempfile.mkdtemp(prefix="sixnd-load-"))
    say(f"{chosen.program} loads {load.url}; its words: {folder / 'words.txt'}")
    given = f"{chosen.file_format}={folder / chosen.result}"
    try:
        run_tool(chosen, path, load, folder, folder / "words.txt")
        records = import_results(given, said, config=config, out=out)
    except KeyboardInterrupt:
        with suppress(RequestError, PhysicsError):
            for record in import_results(given, said, config=config, out=out, status="partial"):
                say(f"record of what it had found: {out / record.run_id}.json")
        say(f"{chosen.program} was ended; what it left: {folder}")
        raise
    except (RequestError, PhysicsError):
        say(f"what {chosen.program} left: {folder}")
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return records
