"""One configuration file of a fine-tuning: recognised by its keys, read by its format, refused in one line where it is neither."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from estimators import strict_text
from estimators.errors import BadValueError, UnavailableError
from estimators.frozen import replace
from estimators.training.layouts import emit
from estimators.training.layouts.launchers.keys import flat
from estimators.tuning.readers import adapter, axolotl, launcher_files, llama_factory, torchtune, trl
from estimators.tuning.readers.reading import FileRead, read_values
from estimators.tuning.readers.rules import Format

FORMATS: dict[str, Format] = {
    "axolotl": axolotl.FORMAT,
    "llama-factory": llama_factory.FORMAT,
    "trl": trl.TRL,
    "transformers": trl.TRAINER,
    "torchtune": torchtune.FORMAT,
    "adapter": adapter.FORMAT,
}
"""What may stand before a file, as in ``trl=args.json`` -> its format; the launchers' names beside these."""

WHAT = "the configuration of one fine-tuning"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_DEEPSPEED_KEYS = ("zero_optimization", "train_micro_batch_size_per_gpu", "train_batch_size", "zero_allow_untested_optimizer")


def named(given: str) -> tuple[str, str]:
    """The format that stands before a path, empty for none, and the path."""
    name, equals, path = given.partition("=")
    known = (*FORMATS, *emit.LAUNCHERS)
    return (name.lower(), path) if equals and name.lower() in known else ("", given)


def read_file(name: str, path: str, label: str) -> list[FileRead]:
    """What one file says, and a DeepSpeed configuration within it. Raises BadValueError.

    Args:
        name: of its format; empty to recognise it.
        label: what messages call it.
    """
    _refuse_pickle(path, label)
    text = strict_text.read_config(path, WHAT)
    try:
        return _read_text(text, name or _of_no_table(text), label, is_json=_is_json(path, text))
    except (BadValueError, UnavailableError) as error:
        raise type(error)(str(error) if label in str(error) else f"{label}: {error}") from None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadValueError(f"{label}: {' '.join(str(error).split())[:160]}") from None


def _refuse_pickle(path: str, label: str) -> None:
    """Raises BadValueError for a file that torch or pickle wrote, which is a program; it is not opened but for its first bytes."""
    head = b""
    if os.path.isfile(path):
        try:
            with open(path, "rb") as stream:
                head = stream.read(4)
        except OSError:
            return  # said by whoever reads it
    if head == b"PK\x03\x04" or head[:1] == b"\x80" or path.lower().endswith(_PICKLES):
        raise BadValueError(
            f"{label} is a pickle, a program that loading it runs; it is not read. Where you trust it, write it as JSON: "
            f"python -c 'import torch; print(torch.load(\"{label[:60]}\", weights_only=False).to_json_string())' > training_args.json"
        )


def _is_json(path: str, text: str) -> bool:
    lower = path.lower()
    return lower.endswith(".json") or (text.lstrip().startswith("{") and not lower.endswith((".yml", ".yaml")))


def _of_no_table(text: str) -> str:
    """The launcher whose file a text is that is neither JSON nor YAML; empty for any other."""
    found = emit.kind(text)
    return found if found in ("torchtitan", "megatron") else ""


def _read_text(text: str, name: str, label: str, *, is_json: bool) -> list[FileRead]:
    if name in ("torchtitan", "megatron"):
        return [launcher_files.read(text, name, label)]
    table = strict_text.table(text, is_json=is_json)
    values = flat(table)
    name = name or recognised(values)
    if name in emit.LAUNCHERS:
        return [launcher_files.read(text if name == "accelerate" or is_json else json.dumps(table), name, label)]
    inner = table.get("deepspeed")
    if not isinstance(inner, dict):
        found = read_values(values, FORMATS[name], label, FORMATS)
        return [replace(found, refers_to=inner.strip()) if isinstance(inner, str) else found]
    values = {key: value for key, value in values.items() if not key.startswith("deepspeed.")}
    return [
        read_values(values, FORMATS[name], label, FORMATS),
        launcher_files.read(json.dumps(inner), "deepspeed", f"deepspeed in {label}"),
    ]


def recognised(values: Mapping[str, Any]) -> str:
    """The format whose keys a file's are: each key counts for the formats that have it, the more the fewer they are.

    >>> recognised({"base_model": "gpt2", "micro_batch_size": 1})
    'axolotl'

    Raises:
        BadValueError: no key is one that any format reads.
    """
    if "distributed_type" in values or "compute_environment" in values:
        return "accelerate"
    if any(key.partition(".")[0] in _DEEPSPEED_KEYS for key in values):
        return "deepspeed"
    known = {name: set(values) - set(form.keys.unknown(values)) for name, form in FORMATS.items()}
    scores = {
        name: (sum(1 / sum(key in others for others in known.values()) for key in keys), -len(FORMATS[name].keys.read))
        for name, keys in known.items()
        if keys & FORMATS[name].keys.read
    }
    if not scores:
        names = ", ".join((*FORMATS, *emit.LAUNCHERS))
        raise BadValueError(f"no key is known of a fine-tuning's configuration; expected a file of one of: {names}")
    return max(scores, key=lambda name: scores[name])
