"""A layout as a launcher's own file, and back: what the launcher has a key for stands under that key, the rest in a remark of ours."""

from __future__ import annotations

import json
import os
from types import ModuleType
from typing import Any

from estimators.cost.layout import Layout
from estimators.errors import BadValueError, UnavailableError
from estimators.frozen import as_dict
from estimators.training.layouts.launchers import accelerate, deepspeed, megatron, torchtitan
from estimators.training.layouts.launchers.setup import Setup

LAUNCHERS: dict[str, ModuleType] = {"accelerate": accelerate, "deepspeed": deepspeed, "torchtitan": torchtitan, "megatron": megatron}
REMARK = "# sixnd: "
NEEDED = ("dp", "micro_batch", "global_batch")
"""Fields without a sensible default: a file that says nothing of them is not read by guessing."""

MAX_FILE_BYTES = 10**6


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
    wanted = as_dict(layout)
    defaults = as_dict(Layout())
    rest = {key: value for key, value in wanted.items() if said.get(key, None if key in NEEDED else defaults[key]) != value}
    if name == "deepspeed":
        return json.dumps(json.loads(body) | ({"sixnd": rest} if rest else {}), indent=2) + "\n"
    remark = REMARK + ",".join(f"{key}={value}" for key, value in rest.items()) if rest else ""
    lines = [f"# {module.COMMAND}", remark, body]
    return "\n".join(line for line in lines if line) + "\n"


def from_text(text: str, *, num_devices: int | None = None, global_batch: int | None = None) -> Layout:
    """The layout that a launcher's file describes.

    Args:
        num_devices: of the run, where the file does not say it.
        global_batch: sequences of one step, where the file does not say it.

    Raises:
        BadValueError: no file of a known launcher, or one that leaves the devices or the batch open.
    """
    name = _kind(text)
    try:
        fields: dict[str, Any] = LAUNCHERS[name].fields(text) | _rest(text, name)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadValueError(f"this {name} file cannot be read: {str(error)[:120]}") from None
    if "dp" not in fields and num_devices is not None:
        degree = fields.get("tp", 1) * fields.get("pp", 1) * fields.get("cp", 1)
        if num_devices % degree:
            nearest = max(1, round(num_devices / degree)) * degree
            raise BadValueError(
                f"tp x pp x cp of the {name} file is {degree} and does not divide {num_devices:,} GPUs; nearest: {nearest:,}"
            )
        fields["dp"] = num_devices // degree
    if global_batch is not None:
        fields.setdefault("global_batch", global_batch)
    missing = [key for key in NEEDED if key not in fields]
    if missing:
        raise BadValueError(
            f"the {name} file says nothing of {', '.join(missing)}; give --gpus and --global-batch, or add a line {REMARK}dp=..."
        )
    return Layout(**fields)


def from_file(path: str, *, num_devices: int | None = None, global_batch: int | None = None) -> Layout:
    """The layout of a launcher's file. Raises UnavailableError where it cannot be read, else as `from_text`."""
    try:
        if os.path.isfile(path) and os.path.getsize(path) > MAX_FILE_BYTES:
            raise BadValueError(f"{path!r} has more than {MAX_FILE_BYTES:,} bytes; expected the launcher's file of one run")
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or 'not a text file'}") from None
    return from_text(text, num_devices=num_devices, global_batch=global_batch)


def _kind(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and lines[0].startswith("{"):
        return "deepspeed"
    if any(line.startswith(("[parallelism]", "[training]")) for line in lines):
        return "torchtitan"
    if any(line.startswith("distributed_type:") for line in lines):
        return "accelerate"
    if any("--" in line and "-parallel-size" in line for line in lines):
        return "megatron"
    raise BadValueError(f"this is not a launcher's file; expected one of: {', '.join(LAUNCHERS)}, as `plan --emit` writes them")


def _rest(text: str, name: str) -> dict[str, Any]:
    if name == "deepspeed":
        return dict(json.loads(text).get("sixnd", {}))
    line = next((line for line in text.splitlines() if line.startswith(REMARK)), REMARK)
    pairs = (part.partition("=") for part in line.removeprefix(REMARK).split(",") if part)
    return {key.strip(): _value(key.strip(), value.strip()) for key, _, value in pairs}


def _value(key: str, text: str) -> object:
    if key not in as_dict(Layout()):
        raise BadValueError(f"{key!r} is not a part of a layout")
    if key in ("recompute", "schedule"):
        return text
    return text == "True" if key == "sequence_parallel" else int(text)
