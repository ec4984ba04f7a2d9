"""Several configuration files of one fine-tuning, combined by a stated order and filled in by the framework's recipe."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

from estimators.errors import BadValueError, UnavailableError
from estimators.frozen import frozen, replace
from estimators.tuning.readers import adapter, launcher_files
from estimators.tuning.readers.one_file import FORMATS, named, read_file
from estimators.tuning.readers.reading import FileRead, Filled, Overruled, Stated, Unread, shown
from estimators.tuning.readers.rules import OWN_REFERENCE
from estimators.tuning.recipes import recipe
from estimators.tuning.settings import OF_ADAPTERS, Value, defaults

ORDER = ("the framework's own file", "adapter_config.json", "the launcher's file", "DeepSpeed's")
"""Of several files the earlier goes before the later; options of the command line go before all."""


@frozen
class Reading:
    """What all files of a job say.

    Attributes:
        framework: of the recipe that fills in the rest; empty where no file is a framework's.
        files: what each says, in the order in which they go.
        stated: each setting once, by the file that goes first.
        overruled: what another file states otherwise.
        unread: keys that say nothing.
        notes: what files say, and the answer does not heed.
    """

    framework: str
    files: tuple[FileRead, ...]
    stated: tuple[Stated, ...]
    overruled: tuple[Overruled, ...]
    unread: tuple[Unread, ...]
    notes: tuple[str, ...]

    @property
    def settings(self) -> dict[str, Value]:
        """What the files state, by the names that a job has."""
        return {stated.setting: stated.value for stated in self.stated}

    def filled(self, framework: str = "", version: str = "") -> tuple[Filled, ...]:
        """What no file states, as a framework has it.

        Args:
            framework: in place of the files' own; where neither is known, a launcher's file is a layout as `plan` has it, and no more.
            version: of the framework; the newest if empty.

        Raises:
            UnknownNameError, BadValueError: no recipe of that name or version.
        """
        name = framework or self.framework
        if not name:
            return tuple(_of_layout(file) for file in self.files if _place(file) > 1 and "checkpointing" not in self.settings)[:1]
        usual, known = _usual(name, self.settings), recipe(name, version)
        by_recipe = defaults(known, {**{setting: value for setting, (value, _) in usual.items()}, **self.settings})
        rows = {**usual, **{setting: (value, known.source) for setting, value in by_recipe.items()}}
        return tuple(
            Filled(setting=setting, value=value, framework=known.id, source=source)
            for setting, (value, source) in rows.items()
            if setting not in self.settings
        )


def _usual(framework: str, settings: Mapping[str, Value]) -> dict[str, tuple[Value, str]]:
    """What a framework has where recipes have no column, each with where that stands."""
    form = next((form for form in FORMATS.values() if form.framework == framework), None)
    if form is None:
        return {}
    usual = {**form.usual.get("", {}), **form.usual.get(str(settings.get("objective", "sft")), {})}
    return {setting: (value, f"{form.name}'s own where {key} is not set") for setting, (value, key) in usual.items()}


def _of_layout(file: FileRead) -> Filled:
    """What a layout that says nothing of recomputation is to `plan`, which writes such files."""
    source = "a layout that says nothing of recomputation, as `plan` writes and reads it"
    return Filled(setting="checkpointing", value="none", framework=file.format, source=source)


def combined(paths: Sequence[str]) -> Reading:
    """What the files of one job say together, in ORDER.

    A DeepSpeed configuration that a file names is read from its own path, or from beside the file that names it, unless one is given.

    Args:
        paths: of files, each of which may have the name of its format before it, as in ``trl=args.json``.

    Raises:
        BadValueError: one line on what cannot be read, or on what two files say that do not go together.
        UnavailableError: a file that is not there.
    """
    files: list[FileRead] = []
    for given, label in zip(paths, _labels(paths), strict=True):
        files += read_file(*named(given), label)
    for file, path in [(file, path) for file in files for path in paths if file.refers_to]:
        if not any(other.format == launcher_files.NAMES["deepspeed"] for other in files):
            files += _referred(file, os.path.dirname(named(path)[1]))
    ordered = sorted(files, key=_place)
    for first, second in itertools.pairwise(ordered):
        if _place(first) == _place(second):
            raise BadValueError(f"{first.file} and {second.file} are both {ORDER[_place(first)]} of a job; give one")
    framework = next((file.framework for file in ordered if file.framework), "")
    stated: dict[str, Stated] = {}
    overruled = []
    for each in (each for file in ordered for each in file.stated if not (framework and _leaves_on(file, each))):
        winner = stated.setdefault(each.setting, each)
        if winner.value != each.value:
            overruled.append(Overruled(stated=each, winner=winner))
    _demand_one_batch(overruled)
    _as_deepspeed_runs(stated)
    reference, method = stated.get("reference"), stated.get("method")
    if reference is not None and reference.value == OWN_REFERENCE:
        stated["reference"] = replace(reference, value="adapters-off" if method and method.value == "lora" else "copy")
    dropped = _adapters_of_none(stated, framework)
    return Reading(
        framework=framework,
        files=tuple(ordered),
        stated=tuple(stated.values()),
        overruled=tuple(overruled),
        unread=tuple(unread for file in ordered for unread in file.unread),
        notes=(*(note for file in ordered for note in file.notes), *dropped),
    )


def _labels(paths: Sequence[str]) -> list[str]:
    """What messages call the files: their names, or their paths where two have one name."""
    plain = [named(path)[1] for path in paths]
    short = [os.path.basename(path) or path for path in plain]
    return plain if len(set(short)) < len(short) else short


def _leaves_on(file: FileRead, each: Stated) -> bool:
    """Whether a launcher's file turns checkpointing off, which turns none of a framework's off."""
    return _place(file) > 1 and each.setting == "checkpointing" and each.value == "none"


def _referred(file: FileRead, folder: str) -> list[FileRead]:
    """The DeepSpeed configuration that a file names. Raises UnavailableError where it is not there and none brings one of its name."""
    path = file.refers_to if os.path.isfile(file.refers_to) else os.path.join(folder, file.refers_to)
    if not os.path.isfile(path) and (found := launcher_files.shipped(file.refers_to, file.file)) is not None:
        return [found]
    if not os.path.isfile(path):
        raise UnavailableError(
            f"{file.file} names the DeepSpeed configuration {file.refers_to[:80]!r}, which is not there; add --from FILE"
        )
    return read_file("deepspeed", path, os.path.basename(path))


def _place(file: FileRead) -> int:
    """Where a file stands in ORDER."""
    if file.framework:
        return 0
    if file.format == adapter.FORMAT.name:
        return 1
    return 3 if file.format == launcher_files.NAMES["deepspeed"] else 2


def _demand_one_batch(overruled: Sequence[Overruled]) -> None:
    """Demand that DeepSpeed's sizes are those of the others, as transformers does before it starts. Raises BadValueError."""
    for each in overruled:
        if each.stated.setting in ("micro_batch", "accumulation", "num_gpus"):
            one, other = each.winner, each.stated
            raise BadValueError(
                f"{other.file} has {shown(other.value)} by {other.key}, {one.file} {shown(one.value)} by {one.key}: "
                "the run would not start; make them equal"
            )


def _as_deepspeed_runs(stated: dict[str, Stated]) -> None:
    """Under ZeRO no autocast runs: what the trainer calls bf16 is what DeepSpeed holds the weights in."""
    precision = stated.get("autocast")
    if precision is None or not str(getattr(stated.get("sharding"), "value", "")).startswith("zero") or not precision.value:
        return
    stated.setdefault("weights_dtype", replace(precision, setting="weights_dtype"))
    stated["autocast"] = replace(precision, value="")


def _adapters_of_none(stated: dict[str, Stated], framework: str) -> list[str]:
    """Take back what a file says of adapters where none are trained, and say so."""
    usual = _usual(framework, {}).get("method", ("lora", ""))[0]
    method = stated["method"].value if "method" in stated else usual
    if method == "lora":
        return []
    keys = [stated.pop(setting).key for setting in OF_ADAPTERS if setting in stated]
    return [f"{', '.join(keys)}: without effect, because no adapters are trained"] if keys else []
