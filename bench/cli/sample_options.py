"""What one sample is of a model that reads more than text: --images, --video or --audio, --text-tokens, and which parts are --freeze'd."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from bench.cli import arguments, names, sequences
from bench.cli.pipelines import is_diffusion
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.parsing import parse_duration, parse_float
from estimators.samples import MAX_FRAMES, MAX_IMAGES, Audio, Example, Image, Spoken

if TYPE_CHECKING:
    from estimators.architectures.joined import Joined, Side
    from estimators.facts.registry import ModelEntry
    from estimators.spec import Source

TEXT_TOKENS = 0
A_PHOTO = Image(height=768, width=1024)
"""Of an image where --image-size does not say."""


@frozen
class Video:
    """A video of which frames are taken at a rate."""

    duration_s: float
    frames_per_s: float

    @property
    def frames(self) -> int:
        """As many as are taken, at least one."""
        return max(1, round(self.duration_s * self.frames_per_s))


class SampleOptions(Protocol):
    """Options of verbs that take samples of images or audio beside text; None for what was not given."""

    @property
    def images(self) -> int | None:
        """Of a sample."""

    @property
    def video(self) -> Video | None:
        """In their place."""

    @property
    def audio(self) -> float | None:
        """Seconds of a sample's recording."""

    @property
    def text_tokens(self) -> int | None:
        """Beside them."""

    @property
    def freeze(self) -> tuple[str, ...] | None:
        """Parts that training leaves as they are."""


def add_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """--images, --video, --audio, --text-tokens, --freeze; the group, for what a verb has beside them."""
    group = parser.add_argument_group("samples: images, a video or a recording beside a text")
    group.add_argument(
        "--images", type=arguments.count("images", maximum=MAX_IMAGES), metavar="NUM", help="of a sample, each of --image-size; 768x1024"
    )
    group.add_argument(
        "--video",
        type=video,
        metavar="TIME@RATE",
        help="in place of images, such as 60s@2fps: frames of --image-size; of a diffusion model, what it makes",
    )
    group.add_argument("--audio", type=_recording, metavar="TIME", help="of a sample of a model that hears and reads, such as 30s")
    group.add_argument(
        "--text-tokens",
        type=sequences.length("text-tokens", minimum=0),
        metavar="NUM",
        help="of the text beside them, its template included",
    )
    group.add_argument(
        "--freeze",
        type=_parts,
        metavar="PART[,PART]",
        help="what training leaves as it is: vision or audio, projector, language",
    )
    return group


def video(given: str | float) -> Video:
    """Read a length and a rate, such as 60s@2fps. Raises BadValueError."""
    length, at, rate = str(given).partition("@")
    if not at:
        raise BadValueError(f"video {str(given)[:40]!r} has no rate; expected a length and frames per second, such as 60s@2fps")
    frames_per_s = parse_float(
        rate.strip().removesuffix("fps"), "video's frames per second", minimum=0, maximum=1000, exclusive_minimum=True
    )
    read = Video(duration_s=parse_duration(length, "video"), frames_per_s=frames_per_s)
    if read.frames > MAX_FRAMES:
        raise BadValueError(f"video {str(given)[:40]!r} has {read.frames:,} frames; expected at most {MAX_FRAMES:,}")
    return read


def _recording(given: str | float) -> float:
    return Audio(duration_s=parse_duration(given, "audio")).duration_s


def _parts(given: str | Sequence[str]) -> tuple[str, ...]:
    from estimators.architectures.joined import SIDES  # deferred: most questions are of no such model

    words = given.split(",") if isinstance(given, str) else given
    parts = tuple(dict.fromkeys(word.strip() for word in words))
    if strange := [word for word in parts if word not in SIDES]:
        raise BadValueError(f"freeze {strange[0][:40]!r} is no part of a model with a tower; expected some of: {', '.join(SIDES)}")
    return parts


def makes_video(options: arguments.ModelOptions, asked: SampleOptions) -> bool:
    """Whether --video is one that a diffusion model makes. Raises BadValueError for options of samples that are read beside it."""
    if asked.video is None or not is_diffusion(options.model, options.config):
        return False
    for word, value in {
        "--images": asked.images,
        "--audio": asked.audio,
        "--text-tokens": asked.text_tokens,
        "--freeze": asked.freeze,
    }.items():
        if value is not None:
            raise BadValueError(f"{word} has no part in a video that a diffusion model makes; leave it out")
    return True


def about_examples(options: SampleOptions) -> bool:
    """Whether a sample of images or audio beside a text is asked about. Raises BadValueError for its text or its parts alone."""
    if options.images is not None or options.video is not None or options.audio is not None:
        return True
    for word, value in {"--text-tokens": options.text_tokens, "--freeze": options.freeze}.items():
        if value is not None:
            raise BadValueError(f"{word} is of samples with images: add --images NUM, --video TIME@RATE or --audio TIME, or leave it out")
    return False


def load_whole(options: arguments.MethodOptions, asked: SampleOptions) -> tuple[Joined, ModelEntry | None]:
    """The whole model on the samples that are asked about, and the registry's entry with the whole's published count.

    Raises:
        BadValueError: two of images, a video and a recording, a model that reads none, or adapters and frozen parts at once.
        NoOpTableError: a tower that no op table is of.
    """
    words = {"--images": asked.images, "--video": asked.video, "--audio": asked.audio}
    if len(given := [word for word, value in words.items() if value is not None]) > 1:
        raise BadValueError(f"{' and '.join(given)} {'both' if len(given) == 2 else 'all'} say what a sample is; leave one out")
    if options.source_len is not None:
        raise BadValueError(f"--source-len {options.source_len:,}: a model with a tower has no encoder of text; leave it out")
    config, name, source, entry = _config_of(options)
    text_tokens, model = asked.text_tokens or TEXT_TOKENS, None
    if asked.audio is not None:
        if options.image is not None:
            raise BadValueError("--image-size is of images, and --audio of a recording; leave one out")
        model = _hearing(config, name, source, Spoken(audio=Audio(duration_s=asked.audio), text_tokens=text_tokens))
    else:
        frames = asked.video.frames if asked.video else 0
        example = Example(image=options.image or A_PHOTO, images=asked.images or 0, frames=frames, text_tokens=text_tokens)
        model = _seeing(config, name, source, example)
    length = model.sequence_tokens
    if length > model.language.max_positions:
        less = "shorter --audio" if asked.audio is not None else "fewer images or a smaller --image-size"
        most = f"more than the {model.language.max_positions:,} that {model.name} was made for"
        raise BadValueError(f"{model.sample} are {length:,} tokens, {most}; give {less}")
    return _held(model, options, asked.freeze), entry


def hears(options: arguments.ModelOptions) -> bool:
    """Whether the model is one that hears a recording and reads a text. Raises BadConfigError, UnknownNameError."""
    from estimators.architectures.builders.hearing import HEARING

    return _config_of(options)[0]["model_type"] in HEARING


def _config_of(options: arguments.ModelOptions) -> tuple[dict[str, Any], str, Source, ModelEntry | None]:
    """The configuration of the whole model, its name, where it is from, and the registry's entry with the whole's published count."""
    from estimators.spec import Source

    if options.config is not None:
        from estimators.architectures.from_config import read_config
        from estimators.facts.hub_config import name_of

        config, name = read_config(options.config), name_of(options.config) or options.config
        return {**config, "model_type": str(config.get("model_type"))}, name, Source(title=name), None
    from estimators.facts.model_names import entry_named

    assert options.model is not None
    entry = entry_named(options.model)
    if entry.whole_params is not None:
        entry = replace(entry, published_params=entry.whole_params, published_params_text=f"{entry.whole_params:,}")
    return entry.whole_config or dict(entry.config), entry.id, entry.source, entry


def _seeing(config: dict[str, Any], name: str, source: Source, example: Example) -> Joined:
    from estimators.architectures.builders.whole import WHOLE, whole
    from estimators.architectures.fields import Fields

    if config["model_type"] not in WHOLE and not _describes(config, "vision_config"):
        raise BadValueError(f"{name} reads no images beside text; --images and --video are of models that do: {names.READS_IMAGES}")
    return whole(Fields(config, name), name, source, example)


def _describes(config: dict[str, Any], part: str) -> bool:
    """Whether a configuration has a part, itself or inside another part, as that of a thinker."""
    return part in config or any(isinstance(inside, dict) and part in inside for inside in config.values())


def _hearing(config: dict[str, Any], name: str, source: Source, example: Spoken) -> Joined:
    from estimators.architectures.builders.hearing import HEARING, hearing
    from estimators.architectures.fields import Fields

    if config["model_type"] not in HEARING and not _describes(config, "audio_config"):
        raise BadValueError(
            f"{name} hears no recording beside text; --audio is of models that do: qwen2-audio-7b, voxtral-mini-3b, voxtral-small-24b, "
            "or --config with an audio_config; a model of speech alone takes --audio-hours"
        )
    return hearing(Fields(config, name), name, source, example)


def _held(model: Joined, options: arguments.MethodOptions, freeze: tuple[str, ...] | None) -> Joined:
    """The model as it is trained: parts left as they are, or adapters in the language part beside a frozen tower."""
    from estimators.architectures.adapters import trained
    from estimators.method import FULL

    method = arguments.method(options)
    if method == FULL:
        held: frozenset[Side] = frozenset(freeze or ())  # type: ignore[arg-type]
        return model.holding(held) if held else model
    if freeze is not None:
        raise BadValueError("--freeze beside --lora-rank or --frozen-layers: those freeze the tower and the projector by themselves")
    return replace(model, language=trained(model.language, method), held=frozenset((model.tower_side, "projector")), method=method)
