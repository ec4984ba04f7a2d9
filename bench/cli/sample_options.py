"""What one sample is of a model that reads images beside text: --images or --video, --text-tokens, and which parts are --freeze'd."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from bench.cli import arguments, sequences
from bench.cli.pipelines import is_diffusion
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.parsing import parse_duration, parse_float
from estimators.samples import MAX_FRAMES, MAX_IMAGES, Example, Image

if TYPE_CHECKING:
    from estimators.architectures.vision_language import Side, VisionLanguage
    from estimators.facts.registry import ModelEntry

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
    """Options of verbs that take samples of images beside text; None for what was not given."""

    @property
    def images(self) -> int | None:
        """Of a sample."""

    @property
    def video(self) -> Video | None:
        """In their place."""

    @property
    def text_tokens(self) -> int | None:
        """Beside them."""

    @property
    def freeze(self) -> tuple[str, ...] | None:
        """Parts that training leaves as they are."""


def add_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """--images, --video, --text-tokens, --freeze; the group, for what a verb has beside them."""
    group = parser.add_argument_group("samples: images or a video beside a text")
    group.add_argument(
        "--images", type=arguments.count("images", maximum=MAX_IMAGES), metavar="NUM", help="of a sample, each of --image-size; 768x1024"
    )
    group.add_argument(
        "--video",
        type=video,
        metavar="TIME@RATE",
        help="in place of images, such as 60s@2fps: frames of --image-size; of a diffusion model, what it makes",
    )
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
        help="what training leaves as it is: vision, projector, language",
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


def _parts(given: str | Sequence[str]) -> tuple[str, ...]:
    from estimators.architectures.vision_language import SIDES  # deferred: most questions are of no such model

    words = given.split(",") if isinstance(given, str) else given
    parts = tuple(dict.fromkeys(word.strip() for word in words))
    if strange := [word for word in parts if word not in SIDES]:
        raise BadValueError(f"freeze {strange[0][:40]!r} is no part of a vision-language model; expected some of: {', '.join(SIDES)}")
    return parts


def makes_video(options: arguments.ModelOptions, asked: SampleOptions) -> bool:
    """Whether --video is one that a diffusion model makes. Raises BadValueError for options of samples that are read beside it."""
    if asked.video is None or not is_diffusion(options.model, options.config):
        return False
    for word, value in {"--images": asked.images, "--text-tokens": asked.text_tokens, "--freeze": asked.freeze}.items():
        if value is not None:
            raise BadValueError(f"{word} has no part in a video that a diffusion model makes; leave it out")
    return True


def about_images_and_text(options: SampleOptions) -> bool:
    """Whether a sample of images and text is asked about. Raises BadValueError for its text or its parts alone."""
    if options.images is not None or options.video is not None:
        return True
    for word, value in {"--text-tokens": options.text_tokens, "--freeze": options.freeze}.items():
        if value is not None:
            raise BadValueError(f"{word} is of samples with images: add --images NUM or --video TIME@RATE, or leave it out")
    return False


def load_whole(options: arguments.MethodOptions, asked: SampleOptions) -> tuple[VisionLanguage, ModelEntry | None]:
    """The whole vision-language model on the samples that are asked about, and the registry's entry with the whole's published count.

    Raises:
        BadValueError: both images and a video, a model that reads none, or adapters and frozen parts at once.
        NoOpTableError: a tower that no op table is of.
    """
    if asked.images is not None and asked.video is not None:
        raise BadValueError("--images and --video both say what is seen; leave one out")
    image, frames = options.image or A_PHOTO, asked.video.frames if asked.video else 0
    example = Example(image=image, images=asked.images or 0, frames=frames, text_tokens=asked.text_tokens or TEXT_TOKENS)
    if options.source_len is not None:
        raise BadValueError(f"--source-len {options.source_len:,}: a vision-language model has no encoder of text; leave it out")
    model, entry = _whole(options, example)
    length = model.sequence_tokens
    if length > model.language.max_positions:
        raise BadValueError(
            f"{example} are {length:,} tokens, more than the {model.language.max_positions:,} that {model.name} was made for; "
            f"give fewer images or a smaller --image-size"
        )
    return _held(model, options, asked.freeze), entry


def _whole(options: arguments.MethodOptions, example: Example) -> tuple[VisionLanguage, ModelEntry | None]:
    from estimators.architectures.builders.whole import WHOLE, whole
    from estimators.architectures.fields import Fields
    from estimators.spec import Source

    if options.config is not None:
        from estimators.architectures.from_config import read_config
        from estimators.facts.hub_config import name_of

        config, name, entry = read_config(options.config), name_of(options.config) or options.config, None
        return whole(Fields({**config, "model_type": str(config.get("model_type"))}, name), name, Source(title=name), example), None
    from estimators.facts.model_names import entry_named

    assert options.model is not None
    entry = entry_named(options.model)
    config = entry.whole_config or dict(entry.config)
    if config["model_type"] not in WHOLE:
        raise BadValueError(
            f"{entry.id} reads no images beside text; --images and --video are of models that do: "
            "python -m bench list models --match vl, llava-1.5-7b, gemma-3-4b, ... or --config with a vision_config"
        )
    if entry.whole_params is not None:
        entry = replace(entry, published_params=entry.whole_params, published_params_text=f"{entry.whole_params:,}")
    return whole(Fields(config, entry.id), entry.id, entry.source, example), entry


def _held(model: VisionLanguage, options: arguments.MethodOptions, freeze: tuple[str, ...] | None) -> VisionLanguage:
    """The model as it is trained: parts left as they are, or adapters in the language part beside a frozen tower."""
    from estimators.architectures.adapters import trained
    from estimators.method import FULL

    method = arguments.method(options)
    if method == FULL:
        held: frozenset[Side] = frozenset(freeze or ())  # type: ignore[arg-type]
        return model.holding(held) if held else model
    if freeze is not None:
        raise BadValueError("--freeze beside --lora-rank or --frozen-layers: those freeze the tower and the projector by themselves")
    return replace(model, language=trained(model.language, method), held=frozenset(("vision", "projector")), method=method)
