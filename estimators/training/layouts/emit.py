"""A layout as a launcher's own file, and back: what the launcher has a key for stands under that key, the rest in a remark of ours."""

from __future__ import annotations

import json
import os
from types import ModuleType
from typing import Any

from estimators.cost.layout import Layout
from estimators.errors import BadValueError
from estimators.frozen import as_dict, frozen
from estimators.strict_text import read_config, table
from estimators.training.layouts.launchers import accelerate, deepspeed, megatron, torchtitan
from estimators.training.layouts.launchers.keys import OPEN, Said
from estimators.training.layouts.launchers.setup import Setup

LAUNCHERS: dict[str, ModuleType] = {"accelerate": accelerate, "deepspeed": deepspeed, "torchtitan": torchtitan, "megatron": megatron}
REMARK = "# sixnd: "
NEEDED = ("dp", "micro_batch", "global_batch")
"""Fields without a sensible default: a file that says nothing of them is not read by guessing."""

FILE = "the launcher's file of one run"


def launcher(name: str) -> ModuleType:
    """A launcher's module. Raises BadValueError."""
    if name not in LAUNCHERS:
        raise BadValueError(f"launcher {name[:40]!r} is unknown; expected one of: {', '.join(LAUNCHERS)}")
    return LAUNCHERS[name]


def emit(layout: Layout, name: str, setup: Setup) -> str:
    """The text of a launcher's file; `from_text` gives the same layout back.

    Raises:
        BadValueError: no such launcher.
    """
    module = launcher(name)
    body: str = module.body(layout, setup)
    said = module.fields(body)
    complete(said)
    wanted = as_dict(layout)
    defaults = as_dict(Layout())
    rest = {key: value for key, value in wanted.items() if said.get(key, None if key in NEEDED else defaults[key]) != value}
    if name == "deepspeed":
        return json.dumps(json.loads(body) | ({"sixnd": rest} if rest else {}), indent=2) + "\n"
    remark = REMARK + ",".join(f"{key}={value}" for key, value in rest.items()) if rest else ""
    lines = [f"# {module.COMMAND}", remark, body]
    return "\n".join(line for line in lines if line) + "\n"


@frozen
class LauncherFile:
    """What a launcher's file says of a run.

    Attributes:
        launcher: whose file it is.
        said: beside the layout.
        notes: what it says that the answer does not heed.
    """

    launcher: str
    layout: Layout
    said: Said
    notes: tuple[str, ...] = ()

    def demand(self, *, dtype: str, seq_len: int, optimizer: str) -> None:
        """Demand that what is asked is what the file says.

        Raises:
            BadValueError: it is another; one line with the option that mends it.
        """
        file = f"the {self.launcher} file"
        if self.said.dtypes and dtype not in self.said.dtypes:
            raise BadValueError(f"{file} computes in {self.said.dtypes[0]}, --dtype was {dtype}; give --dtype {self.said.dtypes[0]}")
        if self.said.seq_len and seq_len != self.said.seq_len:
            theirs = f"{self.said.seq_len:,}"
            raise BadValueError(f"{file} has sequences of {theirs} tokens, --seq-len was {seq_len:,}; give --seq-len {self.said.seq_len}")
        if self.said.optimizers and optimizer not in self.said.optimizers:
            theirs = self.said.optimizers[0]
            raise BadValueError(f"{file} has the optimizer {theirs}, --optimizer was {optimizer}; give --optimizer {theirs}")


def from_text(text: str, *, num_devices: int | None = None, global_batch: int | None = None, folder: str = "") -> LauncherFile:
    """What a launcher's file describes.

    Args:
        num_devices: of the run, where the file does not say it.
        global_batch: sequences of one step, where the file does not say it.
        folder: where another file may lie that this one refers to.

    Raises:
        BadValueError: no file of a known launcher, one that leaves the devices or the batch open, or one with a key that would change the
            answer and is not priced.
        UnavailableError: a file that it refers to cannot be read.
    """
    name = kind(text)
    if not name:
        raise BadValueError(f"this is not a launcher's file; expected one of: {', '.join(LAUNCHERS)}, as `plan --emit` writes them")
    try:
        found, said, notes = _read(text, name, folder)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadValueError(f"this {name} file cannot be read: {str(error)[:120]}") from None
    complete(found)
    if "dp" not in found and num_devices is not None:
        found["dp"] = _replicas(found, name, num_devices)
        complete(found)
    if global_batch is not None:
        found.setdefault("global_batch", global_batch)
        complete(found)
    found.pop("passes", None)
    missing = [key for key in NEEDED if key not in found] + ["vp"] * (found.get("vp") == OPEN)
    if missing:
        raise BadValueError(f"the {name} file says nothing of {', '.join(missing)}{_auto(text)}; {_ways_out(missing, name)}")
    return LauncherFile(launcher=name, layout=Layout(**found), said=said, notes=notes)


def _read(text: str, name: str, folder: str) -> tuple[dict[str, Any], Said, tuple[str, ...]]:
    """Of a file, and of the DeepSpeed configuration that one of accelerate may refer to: fields, conditions, notes."""
    module = LAUNCHERS[name]
    notes = module.KEYS.judge(name, module.values(text))
    found, said = module.fields(text), module.said(text)
    path = accelerate.deepspeed_file(text) if name == "accelerate" else ""
    if path:
        inner = read_config(path if os.path.isfile(path) else os.path.join(folder, path), FILE)
        more, theirs, further = _read(inner, "deepspeed", folder)
        found = more | found | {"dp": max(1, found["dp"] // more.get("tp", 1))}
        said = Said(dtypes=said.dtypes or theirs.dtypes, optimizers=theirs.optimizers)
        notes += further
    return found | remark(text), said, notes


def _replicas(found: dict[str, Any], name: str, num_devices: int) -> int:
    degree = found.get("tp", 1) * found.get("pp", 1) * found.get("cp", 1)
    if num_devices % degree:
        nearest = max(1, round(num_devices / degree)) * degree
        raise BadValueError(f"tp x pp x cp of the {name} file is {degree} and does not divide {num_devices:,} GPUs; nearest: {nearest:,}")
    return int(num_devices // degree)


def complete(found: dict[str, Any]) -> None:
    """Of devices, micro-batch, passes and batch, the one that follows from the others. Raises BadValueError."""
    dp, micro, passes, whole = (found.get(name) for name in ("dp", "micro_batch", "passes", "global_batch"))
    if dp and micro and passes:
        if found.setdefault("global_batch", dp * micro * passes) != dp * micro * passes:
            raise BadValueError(f"a batch of {whole:,} sequences is not {dp:,} replicas x {micro:,} sequences x {passes:,} passes")
    elif whole and passes and dp and whole % (dp * passes) == 0:
        found.setdefault("micro_batch", whole // (dp * passes))
    elif whole and passes and micro and whole % (micro * passes) == 0:
        found.setdefault("dp", whole // (micro * passes))


def _auto(text: str) -> str:
    return ' ("auto" is for the script to fill in)' if '"auto"' in text or ": auto" in text else ""


def _ways_out(missing: list[str], name: str) -> str:
    """The option for each thing that is missing, or what to write into the file."""
    options = {"dp": "--gpus", "global_batch": "--global-batch"}
    ways = [options[key] for key in missing if key in options]
    rest = [key for key in missing if key not in options]
    if not rest:
        return f"give {' and '.join(ways)}"
    pairs = ", ".join(f'"{key}": 2' for key in rest) if name == "deepspeed" else ",".join(f"{key}=2" for key in rest)
    line = f'"sixnd": {{{pairs}}}' if name == "deepspeed" else f"the line {REMARK}{pairs}"
    return f"give {' and '.join(ways)}, and add {line} to it" if ways else f"add {line} to it, with the number that is meant"


def from_file(path: str, *, num_devices: int | None = None, global_batch: int | None = None) -> LauncherFile:
    """What a launcher's file describes. Raises UnavailableError where it cannot be read, else as `from_text`."""
    return from_text(read_config(path, FILE), num_devices=num_devices, global_batch=global_batch, folder=os.path.dirname(path))


def kind(text: str) -> str:
    """The launcher whose file a text is; empty for none of those that are known."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and lines[0].startswith("{"):
        return "accelerate" if '"distributed_type"' in text else "deepspeed"
    if any(line.startswith(("[parallelism]", "[training]")) for line in lines):
        return "torchtitan"
    if any(line.startswith("distributed_type:") for line in lines):
        return "accelerate"
    return "megatron" if any("--" in line and "-parallel-size" in line for line in lines) else ""


def remark(text: str) -> dict[str, Any]:
    """What stands in our own remark, or under our own key. Raises BadValueError where that is no part of a layout."""
    if text.lstrip().startswith("{"):
        own = table(text, is_json=True).get("sixnd", {})
        return {key: _value(key, str(value)) for key, value in own.items()}
    line = next((line for line in text.splitlines() if line.startswith(REMARK)), REMARK)
    pairs = (part.partition("=") for part in line.removeprefix(REMARK).split(",") if part)
    return {key.strip(): _value(key.strip(), value.strip()) for key, _, value in pairs}


def _value(key: str, text: str) -> object:
    if key not in as_dict(Layout()):
        raise BadValueError(f"{key!r} is not a part of a layout")
    if key in ("recompute", "schedule"):
        return text
    return text in ("True", "1") if key == "sequence_parallel" else int(text)
