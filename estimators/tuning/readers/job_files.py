"""Several configuration files of one fine-tuning, combined by a stated order and filled in by the framework's recipe."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

from estimators.errors import BadValueError, UnavailableError
from estimators.frozen import frozen, replace
from estimators.tuning.readers import adapter, launcher_files
from estimators.tuning.readers.one_file import FORMATS, named, read_file
from estimators.tuning.readers.reading import FileRead, Filled, Overruled, Stated, Unread, possessive, shown
from estimators.tuning.readers.rules import OWN_REFERENCE, SEVERAL
from estimators.tuning.recipes import recipe
from estimators.tuning.settings import OF_ADAPTERS, Value, defaults

COMMAND_LINE = "the command line"
ORDER = (COMMAND_LINE, "the framework's own file", "adapter_config.json", "DeepSpeed's file", "the launcher's")
"""Of what states a setting in two ways the earlier goes before the later."""

_COMMAND, _FRAMEWORK, _ADAPTER, _DEEPSPEED, _LAUNCHER = range(len(ORDER))


@frozen
class Reading:
    """What all files of a job say, and the command line beside them.

    Attributes:
        framework: whose recipe fills in the rest, as the command line has it or the framework's own file; empty for none.
        version: of the framework; the newest if empty.
        files: what each says, in the order in which they go.
        stated: each setting once, by what goes first in ORDER.
        overruled: what is stated otherwise by what goes after it.
        unread: keys that say nothing.
        notes: what files say, and the answer does not heed.
    """

    framework: str
    version: str
    files: tuple[FileRead, ...]
    stated: tuple[Stated, ...]
    overruled: tuple[Overruled, ...]
    unread: tuple[Unread, ...]
    notes: tuple[str, ...]

    @property
    def settings(self) -> dict[str, Value]:
        """What is stated, by the names that a job has."""
        return {stated.setting: stated.value for stated in self.stated}

    @property
    def own_files(self) -> tuple[FileRead, ...]:
        """The files without the command line."""
        return tuple(file for file in self.files if file.format != COMMAND_LINE)

    def filled(self) -> tuple[Filled, ...]:
        """What is not stated, as the framework or peft has it; of a launcher's files alone what `plan` has of a layout.

        Raises:
            UnknownNameError, BadValueError: no recipe of that framework or version.
        """
        rows = _usual(self.framework, self.files, self.settings)
        if self.framework:
            known = recipe(self.framework, self.version)
            by_recipe = defaults(known, {**{each.setting: each.value for each in rows}, **self.settings})
            rows += [Filled(setting=name, value=value, framework=known.id, source=known.source) for name, value in by_recipe.items()]
        elif launched := [file for file in self.files if _place(file) >= _DEEPSPEED]:
            rows.append(_of_layout(launched[0]))
        return tuple(each for each in rows if each.setting not in self.settings)

    def given(self) -> dict[str, Value]:
        """All settings of a job, stated and filled in, as `settings.job_of` takes them."""
        return {**{each.setting: each.value for each in self.filled()}, **self.settings}


def _usual(framework: str, files: Sequence[FileRead], settings: Mapping[str, Value]) -> list[Filled]:
    """What recipes have no column of: of the framework that is named, else of the file's own, and of peft beside its adapters."""
    own = next((file for file in files if file.framework), None)
    forms = {form.framework: form for form in FORMATS.values() if form.framework}
    form = forms.get(framework) or (forms[own.framework] if own else None)
    when = ["", str(settings.get("objective", "sft"))]
    when += [SEVERAL] if int(str(settings.get("num_gpus", 1))) > 1 else []
    both = [adapter.FORMAT] * any(file.format == adapter.FORMAT.name for file in files) + ([form] if form else [])
    rows = {
        setting: Filled(setting=setting, value=value, framework=each.name, source=f"{possessive(each.name)} own where {key} is not set")
        for each in reversed(both)
        for name in when
        for setting, (value, key) in each.usual.get(name, {}).items()
    }
    return list(rows.values())


def _of_layout(file: FileRead) -> Filled:
    """What a layout that says nothing of recomputation is to `plan`, which writes such files."""
    source = "a layout that says nothing of recomputation, as `plan` writes and reads it"
    return Filled(setting="checkpointing", value="none", framework=file.format, source=source)


def combined(paths: Sequence[str], options: Sequence[Stated] = (), *, framework: str = "", version: str = "") -> Reading:
    """What the files of one job and the options beside them say together, in ORDER.

    A DeepSpeed configuration that a file names is read from its own path, or from beside the file that names it, unless one is given.

    Args:
        paths: of files, each of which may have the name of its format before it, as in ``trl=args.json``.
        options: of the command line, by the settings that they are.
        framework: in place of the files' own.
        version: of that one, or of theirs.

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
    if options:
        files.append(FileRead(file=COMMAND_LINE, format=COMMAND_LINE, stated=tuple(options)))
    ordered = sorted(files, key=_place)
    for first, second in itertools.pairwise(ordered):
        if _place(first) == _place(second):
            raise BadValueError(f"{first.file} and {second.file} are both {ORDER[_place(first)]} of a job; give one")
    own = next((file for file in ordered if file.framework), None)
    whose = (
        [f"{own.file} is {possessive(own.format)}; {framework} fills in the rest"] if own and framework not in ("", own.framework) else []
    )
    framework = framework or (own.framework if own else "")
    stated: dict[str, Stated] = {}
    overruled = []
    for each in (each for file in ordered for each in file.stated if not (framework and _leaves_on(file, each))):
        winner = stated.setdefault(each.setting, each)
        if winner.value != each.value:
            overruled.append(Overruled(stated=each, winner=winner))
    _demand_one_run(overruled)
    _as_deepspeed_runs(stated)
    reference, method = stated.get("reference"), stated.get("method")
    if reference is not None and reference.value == OWN_REFERENCE:
        stated["reference"] = replace(reference, value="adapters-off" if method and method.value == "lora" else "copy")
    dropped = _adapters_of_none(
        stated, next((str(each.value) for each in _usual(framework, files, {}) if each.setting == "method"), "lora")
    )
    return Reading(
        framework=framework,
        version=version,
        files=tuple(ordered),
        stated=tuple(stated.values()),
        overruled=tuple(overruled),
        unread=tuple(unread for file in ordered for unread in file.unread),
        notes=(*whose, *(note for file in ordered for note in file.notes), *dropped),
    )


def _labels(paths: Sequence[str]) -> list[str]:
    """What messages call the files: their names, or their paths where two have one name."""
    plain = [named(path)[1] for path in paths]
    short = [os.path.basename(path) or path for path in plain]
    return plain if len(set(short)) < len(short) else short


def _leaves_on(file: FileRead, each: Stated) -> bool:
    """Whether a launcher's file turns checkpointing off, which turns none of a framework's off."""
    return _place(file) >= _DEEPSPEED and each.setting == "checkpointing" and each.value == "none"


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
    if file.format == COMMAND_LINE:
        return _COMMAND
    if file.framework:
        return _FRAMEWORK
    if file.format == adapter.FORMAT.name:
        return _ADAPTER
    return _DEEPSPEED if file.format == launcher_files.NAMES["deepspeed"] else _LAUNCHER


def _demand_one_run(overruled: Sequence[Overruled]) -> None:
    """Demand that the files are of one run: one engine that shards, and the sizes that transformers demands to be equal before it starts.

    Raises:
        BadValueError: they are not.
    """
    for each in overruled:
        if each.winner.file == COMMAND_LINE:
            continue
        one, other = each.winner, each.stated
        if one.setting == "sharding" and "fsdp" in (one.value, other.value) and not {one.value, other.value} & {"ddp", "none"}:
            raise BadValueError(
                f"{one.file} has {shown(one.value)} by {one.key}, {other.file} {shown(other.value)}: a run has one; take one out"
            )
        if one.setting in ("micro_batch", "accumulation", "num_gpus"):
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


def _adapters_of_none(stated: dict[str, Stated], usual_method: str) -> list[str]:
    """Take back what files say of adapters, and of the format below them, where no adapters are trained, and say so."""
    method = stated["method"].value if "method" in stated else usual_method
    if method == "lora":
        return []
    gone = [setting for setting in (*OF_ADAPTERS, "base_format") if setting in stated and stated[setting].file != COMMAND_LINE]
    is_format = "method" in stated and stated["method"].file == COMMAND_LINE
    keys = [stated.pop(setting).key for setting in gone if setting != "base_format" or is_format]
    return [f"{', '.join(dict.fromkeys(keys))}: without effect, because no adapters are trained"] if keys else []
