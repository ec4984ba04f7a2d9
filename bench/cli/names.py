"""What the names on a command line mean: read once before a verb answers, said on stderr and at the head of its answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from estimators.errors import BadValueError, UnknownNameError
from estimators.frozen import frozen, replace

if TYPE_CHECKING:
    from types import ModuleType

    from bench.cli.output import Output
    from estimators.facts.device_names import Taken

MODEL_HELP = (
    "with or without the word --model: a name here or on the hub, a size such as 13b, or a folder with a config.json: "
    "python -m bench list models"
)
HARDWARE_HELP = "a device, such as h100, 8xH100, p5.48xlarge, or your own as JSON or a file of it: python -m bench list hardware"
EVERY_DEVICE = "all"


@frozen
class _Devices:
    """The devices that were named: their ids, how many where a name says so, and what each name was taken for."""

    ids: tuple[str, ...]
    num_devices: int | None
    whole_nodes: bool
    said: Mapping[str, str]


def listed(option: str, maximum: int) -> Callable[[str | Sequence[str]], tuple[str, ...]]:
    """A reader of names with commas between them, each once."""

    def read(given: str | Sequence[str]) -> tuple[str, ...]:
        from estimators.facts.own_device import names_in  # deferred: help needs none of it

        parts = names_in(given) if isinstance(given, str) else given
        listed = tuple(dict.fromkeys(name.strip() for name in parts if name.strip()))
        if not 1 <= len(listed) <= maximum:
            raise BadValueError(f"{option} {str(given)[:40]!r} names {len(listed)} devices; expected 1 to {maximum}, separated by commas")
        return listed

    return read


def options(verb: ModuleType, given: Mapping[str, Any], out: Output) -> Any:
    """The options of a verb with every name read, and `out` told what is to be said of that.

    Raises:
        UnknownNameError: a name that means nothing.
        BadValueError: a name that means several things, or that counts other devices than --gpus.
    """
    values, said = named_model(given)
    devices = _devices(values["hardware"]) if values.get("hardware") is not None else None
    if devices is not None:
        values["hardware"] = devices.ids[0] if isinstance(values["hardware"], str) else devices.ids
    asked = verb.Options(**values)
    if devices is not None:
        asked, of_devices = _counted(verb, asked, devices)
        said |= of_devices
    say_taken(said, out)
    return asked


def _counted(verb: ModuleType, asked: Any, devices: _Devices) -> tuple[Any, dict[str, str]]:
    """The options with the number of devices that a name says, and what is to be said of the names. Raises BadValueError."""
    said = dict(devices.said)
    if devices.num_devices is not None:
        if "gpus" in verb.Options._fields and getattr(asked, "counts_devices", True):
            asked = replace(asked, gpus=_agreed(devices, asked.gpus))
        else:
            said = {name: f"{line}; the answer is of one of them" for name, line in said.items()}
    return asked, said


def configuration(model: str | None, config: str | None, *, whole: bool = False) -> tuple[str, dict[str, Any], str | None]:
    """Of the model that is to be built here, by name or by the path of its configuration: its name, its fields, its name on the hub.

    Of a diffusion pipeline it is the denoiser.

    Args:
        whole: of a vision-language model, all of it in place of its language part.

    Raises:
        UnknownNameError: no model is called so.
        BadValueError: a whole is asked for of a model that is none.
        BadConfigError, UnavailableError: there is no configuration at the path.
    """
    if config is not None:
        from estimators.architectures.from_config import read_config
        from estimators.facts.hub_config import name_of

        fields = dict(read_config(config))  # first: it complains of what is no file
        return name_of(config) or _config_name(config), fields, None
    from estimators.facts.model_names import model_named
    from estimators.facts.registry import model_entry
    from estimators.facts.sized_llama import sized_llama

    assert model is not None
    if sized := sized_llama(model):
        return sized.name, dict(sized.config), None
    if (denoiser := _denoiser(model)) is not None:
        return denoiser
    named = model_named(model)
    if "quantization_config" in named.changes:
        from bench.machine.ranks import say  # deferred: most names say nothing of weights

        say(f"{model} is built and measured here with none of its weights quantised")
    entry = model_entry(named.model_id)
    if whole and entry.whole_config is None:
        raise BadValueError(f"{entry.id} reads no images beside text; --images is of models that do: {READS_IMAGES}")
    return entry.id, dict(entry.whole_config if whole and entry.whole_config else entry.config), entry.checkpoint


READS_IMAGES = "python -m bench list models --match vl, llava-1.5-7b, gemma-3-4b, ... or --config with a vision_config"


def _denoiser(name: str) -> tuple[str, dict[str, Any], None] | None:
    """The denoiser of a diffusion pipeline that has the name; None where none has."""
    from estimators.facts.pipelines import denoiser_config, is_pipeline

    if not is_pipeline(name):
        return None
    from bench.machine.ranks import say  # deferred: most names are no pipeline's

    pipeline_id, config = denoiser_config(name)
    say(f"{name} is a diffusion pipeline: its denoiser is run, one step of it; its text encoders and its autoencoder are not")
    return pipeline_id, config, None


def _config_name(path: str) -> str:
    """What to call a model that has no name but its file's, or where that is config.json, its folder's."""
    given = os.path.realpath(path)
    parent, name = os.path.split(given)
    return os.path.basename(parent) if name == "config.json" else os.path.splitext(name)[0] if os.path.isfile(given) else name


def named_model(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values with a --model that is a folder, or known by its configuration alone, as --config; and what is to be said of the name.

    Raises:
        UnknownNameError: no model is called so.
        UnavailableError: its configuration was to be fetched and could not be.
    """
    values, text = dict(given), given.get("model")
    if not isinstance(text, str) or "config" not in given or given.get("endpoint") is not None:
        return values, {}  # of an endpoint it is the server's own word
    from estimators.facts.model_names import is_registered, model_named  # deferred: most verbs name no model
    from estimators.facts.sized_llama import sized_llama

    path = os.path.expanduser(text)
    if not is_registered(text) and (_is_path(text) or _holds_config(path)):
        return values | {"model": None, "config": path}, {}
    if (sized := sized_llama(text)) is not None:
        return values, {text: sized.said}
    try:
        named = model_named(text)
    except UnknownNameError:
        from estimators.facts.hub_config import cached_config, fetch_config, hub_name, is_repository
        from estimators.facts.pipelines import is_pipeline

        if is_pipeline(text):
            return values, {}
        name = hub_name(text)
        found = cached_config(name) if is_repository(name) else None
        if found is None and given.get("fetch") and is_repository(name):
            found = fetch_config(name)
        if found is None:
            _say_of_timm(text)
            raise
        return values | {"model": None, "config": found}, {text: f"taking {text!r} by its config.json on this machine, {found}"}
    return values, {text: named.said} if named.said else {}


def _say_of_timm(text: str) -> None:
    """Say what counts a network of timm that has no op table here. Raises BadValueError for a name of timm's."""
    owner, _, name = text.partition("/")
    if owner.casefold() != "timm" or not name:
        return
    from estimators.extras import install_line

    raise BadValueError(
        f"{text[:80]} has no op table here; sixnd.count(timm.create_model({name[:60]!r}), inputs) counts it where timm is installed: "
        f"{install_line('timm')}"
    )


def _is_path(text: str) -> bool:
    """Whether a text can be no model's name, here or on the hub, but a configuration's place, whether or not it is there."""
    return text.startswith((".", "/", "~")) or (text.endswith(".json") and not text.startswith(("http:", "https:")))


def _holds_config(path: str) -> bool:
    """Whether a name is that of a folder with a config.json, or a pipeline's index, or of such a file."""
    held = ("config.json", "model_index.json")
    return (path.endswith(".json") and os.path.isfile(path)) or any(os.path.isfile(os.path.join(path, name)) for name in held)


def _devices(named: str | Sequence[str]) -> _Devices:
    """The devices of --hardware. Raises UnknownNameError, BadValueError."""
    from estimators.facts.own_device import is_own  # deferred, as the next: most verbs name no device

    ids: list[str] = []
    counts: set[int] = set()
    said: dict[str, str] = {}
    nodes = True
    for name in (named,) if isinstance(named, str) else named:
        if name.casefold() == EVERY_DEVICE or is_own(name):
            ids.append(name)
            continue
        taken = _taken(name)
        ids.append(taken.hardware_id)
        if taken.num_devices is not None:
            counts.add(taken.num_devices)
            nodes = nodes and taken.whole_nodes
        if taken.said:
            said[name] = taken.said
    if len(counts) > 1:
        raise BadValueError(
            f"--hardware names {' and '.join(f'{count:,}' for count in sorted(counts))} devices; expected one number for all"
        )
    return _Devices(ids=tuple(dict.fromkeys(ids)), num_devices=min(counts, default=None), whole_nodes=nodes, said=said)


def _taken(name: str) -> Taken:
    from estimators.facts.device_names import device_named

    return device_named(name)


def _agreed(devices: _Devices, gpus: int | None) -> int | None:
    """The number of devices that --hardware and --gpus agree on. Raises BadValueError where they do not."""
    number = devices.num_devices
    assert number is not None
    if gpus is None or gpus == number or (devices.whole_nodes and gpus % number == 0):
        return gpus or number
    machines = ", so many or a multiple of them with --gpus" if devices.whole_nodes else "; leave one of the two out"
    raise BadValueError(f"--hardware names {number:,} devices, --gpus was {gpus:,}{machines}")


def say_taken(said: Mapping[str, str], out: Output) -> None:
    """Say on stderr, and at the head of the answer, what names were taken for."""
    if not said:
        return
    from bench.machine.ranks import say  # deferred: most names are exact

    for line in said.values():
        say(line)
    out.named = {**out.named, **said}
