"""docs/types.csv: what becomes of each model type that transformers knows: an op table, parameters alone, or nothing, and why.

    python -m tools.type_rows > docs/types.csv
    python -m tools.type_rows --resume types.part > docs/types.csv      an hour on one core, in as many sittings as one likes

Each type is asked with its default configuration, as transformers' own serialiser writes it, `architectures` naming its usual class, in
a process of its own with limits of time and memory. It has an op table of ours, or one is traced; where neither is, parameters alone.
"""

from __future__ import annotations

import csv
import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.architectures.traced import TracedModel
from estimators.counting.estimate import count_params
from estimators.errors import NoOpTableError, RequestError
from estimators.spec import Model, Workload

KEPT = Path(__file__).resolve().parents[1] / "docs" / "types.csv"
LIMIT_S, LIMIT_BYTES = 30, 2 * 2**30
"""What one type may take of a core's time, and of memory beyond what torch and transformers take."""

OUTCOMES = {
    "op table": "an op table of ours",
    "op table, part": "an op table of ours, of the language part",
    "traced": "an op table traced on meta",
    "traced, part": "an op table traced on meta, of the language part",
    "one size": "FLOP at the sizes asked for alone",
    "one size, part": "FLOP at the sizes asked for alone, of the language part",
    "parameters": "parameters alone",
    "refused": "refused, though transformers builds it",
    "not built": "not built by transformers either",
}
"""Outcome -> in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model type.

    Attributes:
        before: its outcome at commit 4e99282, which had no traced tables; kept from the file as it stands.
        built_as: the class that was counted, or that could not be.
        params: of that class, whole; empty for none.
        forward_flop: of one sequence of 128 tokens, or of one sample; empty for none.
        reason: why there is no more.
        cpu_s, mib: of the process, beyond what importing torch and transformers took.
    """

    model_type: str
    outcome: str
    before: str = ""
    built_as: str = ""
    params: str = ""
    forward_flop: str = ""
    reason: str = ""
    cpu_s: str = ""
    mib: str = ""


def default_config(model_type: str) -> dict[str, Any]:
    """The default configuration of a type, as transformers writes it. Raises whatever transformers raises."""
    from transformers import CONFIG_MAPPING

    from bench.backend.counting.built_class import usual_class

    written: dict[str, Any] = json.loads(CONFIG_MAPPING[model_type]().to_json_string(use_diff=False))
    named = usual_class(model_type)
    return {key: value for key, value in written.items() if key != "architectures"} | ({"architectures": [named]} if named else {})


def outcome(model_type: str) -> Row:
    """What becomes of one type, by the route that every verb takes."""
    try:
        config = default_config(model_type)
    except Exception as error:  # whatever a configuration raises of its own defaults
        return Row(model_type=model_type, outcome="not built", reason=_line(error))
    named = (config.get("architectures") or [""])[0]
    if not named:
        return Row(model_type=model_type, outcome="not built", reason="a part of other types: transformers has no class of its own for it")
    try:
        return _with_table(model_type, named, model_from_config(config, model_type))
    except NoOpTableError:
        pass
    except RequestError as error:
        return _without_table(model_type, named, config, str(error))
    from bench.backend.tracing.trace import trace_config

    try:
        return _with_table(model_type, named, trace_config(config, model_type))
    except RequestError as error:
        return _without_table(model_type, named, config, str(error))


def _with_table(model_type: str, named: str, model: Model) -> Row:
    traced = isinstance(model, TracedModel)
    ops = model.ops(Workload(phase="forward", seq_len=min(128, model.max_positions) if model.item == "token" else 1))
    left_out = model.left_out if isinstance(model, Decoder | TracedModel) else ""
    kind = ("traced" if traced else "op table") + (", part" if left_out else "")
    flop = sum(op.count * op.flop for op in ops)
    reason = left_out or (f"not run: {model.not_run}" if isinstance(model, TracedModel) and model.not_run else "")
    built = model.runs if isinstance(model, TracedModel) else named
    return Row(model_type=model_type, outcome=kind, built_as=built, params=str(count_params(ops)), forward_flop=str(flop), reason=reason)


def _without_table(model_type: str, named: str, config: Mapping[str, Any], why: str) -> Row:
    from bench.backend.counting.hf_config import count_config

    try:
        counted = count_config(config, batch=1, seq_len=128)
    except RequestError as error:
        why = why if str(error) in why else f"{why}; {error}"
        return Row(model_type=model_type, outcome=_built_or_not(config, named), built_as=named, reason=why)
    kind, flop = ("one size", str(counted.network.forward_flop)) if counted.network else ("parameters", "")
    said = why if counted.network or counted.flop_reason in why else f"{counted.flop_reason}; {why}"
    return Row(model_type=model_type, outcome=kind, built_as=counted.built_as, params=str(counted.params), forward_flop=flop, reason=said)


def _built_or_not(config: Mapping[str, Any], named: str) -> str:
    """Whether transformers builds what we refuse, by its own way."""
    import torch
    import transformers

    fields_of = transformers.CONFIG_MAPPING[config["model_type"]]
    try:
        with torch.device("meta"):
            getattr(transformers, named)(fields_of())
    except Exception:  # whatever a class raises of its own defaults
        return "not built"
    return "refused"


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or ['no reason given'])[0][:200]}"


def in_its_own_process(work: Callable[[str], Row], model_type: str) -> Row:
    """The row that `work` makes of a type in a process that is ended where it takes too much."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = context.Process(target=_limited, args=(work, model_type, sender))
    process.start()
    sender.close()
    try:
        found: Row | None = receiver.recv()
    except EOFError:
        found = None
    process.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if found is None:
        in_time = process.exitcode not in (-signal.SIGXCPU, -signal.SIGKILL)
        asked = "memory" if in_time else f"time: {LIMIT_S} s of a core"
        found = Row(model_type=model_type, outcome="refused", reason=f"over the limit of {asked}")
    return Row(**{**asdict(found), "cpu_s": f"{spent:.0f}"})


def _limited(work: Callable[[str], Row], model_type: str, sender: Connection) -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    taken = _data_bytes()
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (taken + LIMIT_BYTES, taken + LIMIT_BYTES))
    try:
        row = work(model_type)
    except MemoryError:
        return
    except Exception as error:  # a traceback of ours is a row, too
        row = Row(model_type=model_type, outcome="refused", reason=f"traceback: {_line(error)}")
    sender.send(Row(**{**asdict(row), "mib": str((_data_bytes() - taken) // 2**20)}))


def _data_bytes() -> int:
    """Memory of this process that is its own to write, as Linux limits it."""
    with open("/proc/self/status", encoding="ascii") as stream:
        return next(int(line.split()[1]) * 1024 for line in stream if line.startswith("VmData"))


def rows(names: list[str], done: Mapping[str, Row]) -> Iterator[Row]:
    """One for each type, those that are done first-hand."""
    import torch

    importlib.import_module("transformers.modeling_utils")  # before the first fork, so that no process imports it anew
    torch.set_num_threads(1)
    for name in names:
        yield done.get(name) or _measured(name)


def _measured(name: str) -> Row:
    row = in_its_own_process(outcome, name)
    if row.outcome == "refused" and row.reason.startswith("over the limit"):
        alone = in_its_own_process(partial(params_alone, why=row.reason), name)
        row = alone if alone.outcome == "parameters" else row
    return row


def params_alone(model_type: str, why: str) -> Row:
    """Parameters of a type whose table took too long."""
    from bench.backend.counting.built_class import build, parse

    parsed, named, _ = parse(default_config(model_type))
    model = build(parsed, named)
    params = sum(p.numel() for p in model.parameters())
    return Row(model_type=model_type, outcome="parameters", built_as=type(model).__name__, params=str(params), reason=why)


def read(path: Path) -> dict[str, Row]:
    """Rows of a file, by type; none where it is not there."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        return {line["model_type"]: Row(**line) for line in csv.DictReader(stream)}


def main(argv: list[str]) -> int:
    """Print all rows; with --resume FILE those that stand there are not counted again, and new ones are added as they come."""
    if argv and (argv[0] != "--resume" or len(argv) != 2):
        print(f"error: {' '.join(argv)!r}; expected nothing, or --resume FILE", file=sys.stderr)
        return 2
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    part = Path(argv[1] if argv else os.devnull)
    done, kept = read(part), read(KEPT)
    columns = [field.name for field in fields(Row)]
    found = []
    with part.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        if not done:
            writer.writeheader()
        for row in rows(sorted(CONFIG_MAPPING_NAMES), done):
            if row.model_type not in done:
                writer.writerow(asdict(row))
                stream.flush()
            was = kept.get(row.model_type)
            found.append(Row(**{**asdict(row), "before": was.before if was else ""}))
    printer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    printer.writeheader()
    printer.writerows(map(asdict, found))
    print(f"counted with torch {version('torch')}, transformers {version('transformers')}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
