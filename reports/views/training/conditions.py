"""What was held fixed, in lines for the head of a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.prediction import in_words
from estimators.counting.conventions import CONVENTIONS, step_flop, surplus_flop
from estimators.counting.estimate import count_params, count_trainable_params
from estimators.spec import Workload
from estimators.units import format_flop, format_flop_rate, format_fraction, format_int

if TYPE_CHECKING:
    from estimators.architectures.detection import Finder
    from estimators.architectures.joined import Joined
    from estimators.architectures.traced import TracedModel
    from estimators.architectures.vision_language import VisionLanguage
    from estimators.facts.prices import PriceRange
    from estimators.spec import Hardware, Model
    from estimators.training.answer import TrainingAnswer

COUNTED_BY_6ND = "6·N·D, N the parameters that a token uses; attention not counted"


def convention_line(name: str) -> str:
    """What a way of counting FLOP includes, for the head of a table."""
    return f"FLOP counted {name}: {COUNTED_BY_6ND if name == '6nd' else CONVENTIONS[name].includes}"


def scope_lines(model: Model, workload: Workload) -> list[str]:
    """What the figures of a page leave out, of any model and any verb; nothing for most models.

    What a sample is, what an encoder reads, what a configuration has that is not counted, and what transformers runs beside
    what is needed.

    Args:
        workload: a step whose FLOP say how much that is.
    """
    base = model.base
    if not isinstance(base, Decoder):
        from estimators.architectures.joined import Joined  # deferred, as all others: most models are decoders
        from estimators.architectures.traced import TracedModel

        if isinstance(model, Joined):
            return _example_lines(model, workload)
        if not isinstance(base, TracedModel):
            return _source_lines(base)
    return [*held_lines(base), *_surplus_lines(model, workload)]


def held_lines(model: Model) -> list[str]:
    """What of its configuration a language model leaves out, and how its file holds the rest; nothing for most.

    All that `scope_lines` says of one where no FLOP are counted: what memory and speed are of.
    """
    model = model.base
    if type(model) is not Decoder:
        from estimators.architectures.traced import TracedModel
        from estimators.architectures.traced_decoder import TracedDecoder

        if isinstance(model, TracedDecoder):
            model = model.model
        if isinstance(model, TracedModel):
            return _traced_lines(model)
    if not isinstance(model, Decoder):
        return []
    lines = [f"left out: {model.left_out}"] if model.left_out else []
    if crossing := [block for block in model.blocks if block.of_source]:
        params = sum(count_params(block.ops(Workload(), model.width)) for block in crossing)
        lines.append(f"without images nothing is done with {format_int(params)} parameters, of layers that attend to them: add --images")
    lines += [model.stored.said] if model.stored else []
    lines += _identity_lines(model)
    if model.prediction:
        params = count_params(model.prediction.ops(Workload(), model.width, model.vocab))
        lines.append(f"left out: {in_words(model.prediction.block.count)}, {format_int(params)} parameters; `show -v` has them")
    return lines


def _identity_lines(model: Decoder) -> list[str]:
    """Which experts a token is counted with where it may choose some that compute nothing, and what is held for those."""
    part = next((part for block in model.blocks for _, part in block.parts if isinstance(part, Experts) and part.identities), None)
    if not part:
        return []
    line = (
        f"experts: a token's {format_int(part.per_token)} choices are counted as experts that compute, the most it can cost; of "
        f"{format_int(part.num + part.identities)}, {format_int(part.identities)} compute nothing"
    )
    unread = count_params(model.ops(Workload())) - count_params(model.without_unread().ops(Workload()))
    held = f"transformers' class holds {format_int(unread)} parameters for those, which nothing reads: engines and published sizes do not"
    return [f"{line}. {held}" if unread else line]


def _traced_lines(model: TracedModel) -> list[str]:
    made_of = f"; each sample is {model.reads}" if model.reads else ""
    lines = [f"op table traced from {model.traced_from}, on meta; exact at the sizes it was held to{made_of}"]
    lines += [f"left out: {model.left_out}"] if model.left_out else []
    lines += [model.stored.said] if model.stored else []
    return [*lines, f"not run, and no FLOP counted: {model.not_run}"] if model.not_run else lines


def _example_lines(model: Joined, workload: Workload) -> list[str]:
    """What an example is, what becomes of it, and which parts training changes."""
    from estimators.architectures.speech_language import SpeechLanguage
    from estimators.architectures.vision_language import VisionLanguage

    lines = [f"each sample is {model.sample}: a sequence of {format_int(model.sequence_tokens)} tokens"]
    if isinstance(model, VisionLanguage):
        lines.append(_seen_line(model))
    if isinstance(model, SpeechLanguage):
        windows = model.hearing.windows(model.example.audio)
        each = f"{format_int(windows)} windows" if windows > 1 else "a window"
        lines.append(
            f"the recording is {each} of {model.hearing.window_s:g} s for the tower, padded where it is shorter, and "
            f"{format_int(model.audio_tokens)} tokens of the text, by the rule of its processor"
        )
    if workload.phase == "train":
        held = [side for side in model.own_sides if side in model.held]
        inside = " (adapters in it)" if model.language.base is not model.language else ""
        lines.append(f"trained: {', '.join(model.trained_sides)}{inside}; frozen: {', '.join(held) if held else 'nothing'}")
    tower, _, language = model.sides(workload)
    if surplus := surplus_flop(tower, workload):
        lines.append(
            f"needed and counted: each picture attends to itself. transformers multiplies all pictures of a step with each other, and "
            f"masks: {format_flop(surplus)} more, counted full"
        )
    if surplus := surplus_flop(language, workload):
        lines.append(
            f"needed and counted: the experts that a token is routed to. transformers runs all of them: {format_flop(surplus)} more, "
            "counted full"
        )
    return lines


def _seen_line(model: VisionLanguage) -> str:
    seen = model.seen
    pictures = f"{format_int(seen.pictures)} pictures" if seen.pictures > 1 else "a picture"
    size = f"{format_int(seen.picture.height)} x {format_int(seen.picture.width)} pixels"
    whole = "the video" if model.example.frames else "an image"
    marks = f" and {format_int(seen.marks)} around them" if seen.marks else ""
    read = f"{format_int(seen.tokens)} tokens of the text{marks}"
    if seen.attended:
        read = f"{format_int(seen.attended)} features that layers attend to, {format_int(seen.marks)} token of the text"
    return f"{whole} is {pictures} of {size} for the tower, {read}, by the rule of its processor"


def _surplus_lines(model: Model, workload: Workload) -> list[str]:
    ops = model.ops(workload)
    surplus, needed = surplus_flop(ops, workload), step_flop(ops, workload)["full"]
    if not surplus:
        return []
    step = "forward and backward" if workload.phase == "train" else "forward"
    return [
        f"needed and counted: the experts that a token is routed to. transformers runs all of them on every token: on "
        f"{format_int(workload.batch)} x {format_int(workload.seq_len)} tokens {format_flop(needed + surplus)} {step}, where "
        f"{format_flop(needed)} are needed, both counted full"
    ]


def _source_lines(model: Model) -> list[str]:
    from estimators.architectures.denoisers import Denoiser
    from estimators.architectures.detection import Finder
    from estimators.architectures.encoder_decoder import EncoderDecoder
    from estimators.architectures.vision import Resizable

    if isinstance(model, EncoderDecoder):
        audio = f", {model.sample}" if model.sample else ""
        fixed = f"{format_int(model.source_positions)} positions{audio}" if model.source_positions else "as many tokens as the decoder"
        return [f"the encoder reads {fixed}{'' if model.source_positions else '; --source-len changes it'}"]
    if isinstance(model, Denoiser):
        height, width = model.latent
        frames, changes = (f"{format_int(model.latent_frames)} x ", " and --video change") if model.frames else ("", " changes")
        return [
            f"each sample is the latent of {model.sample}, {frames}{format_int(height)} x {format_int(width)} positions; "
            f"--image-size{changes} it",
            "left out: the autoencoder and text encoders; latents and texts are taken as made beforehand",
        ]
    if isinstance(model, Finder):
        return _finder_lines(model)
    if isinstance(model, Resizable) and model.any_size:
        return [f"each sample is {model.sample}; --image-size changes it"]
    return [f"each sample is {model.sample}"] if model.sample else []


def _finder_lines(model: Finder) -> list[str]:
    """Size of an image, what training leaves as it is, and what it adds."""
    padded = ", or a smaller one padded to it" if model.pads else ""
    lines = [f"each sample is {model.sample}{padded}; --image-size changes it"]
    ops = model.ops(Workload(phase="train"))
    if frozen := count_params(ops) - count_trainable_params(ops):
        lines.append(f"frozen, as its class trains it: {format_int(frozen)} parameters of the backbone")
    return [*lines, f"left out: {model.left_out}"] if model.left_out else lines


def length_lines(seq_len: int, source: str) -> list[str]:
    """How long sequences are, as short as it can be said; nothing where it was given."""
    said = source.partition(":")[0] if source.startswith("as ") else "as it was pre-trained"
    return [f"sequences: {format_int(seq_len)} tokens, {said}; --seq-len sets yours."] if source else []


def device_lines(devices: Iterable[Hardware]) -> list[str]:
    """What one device is, a line for each kind that is a part of what is sold; nothing for most."""
    return [f"{device.id}: one device is {device.one_device}" for device in devices if device.one_device]


def scope_notes(model: Model, workload: Workload, devices: Iterable[Hardware] = ()) -> list[str]:
    """The same of a model and of devices, as sentences; nothing for most."""
    return [f"{line}." for line in (*scope_lines(model, workload), *device_lines(devices))]


def length_source(source: str) -> str:
    """Who says how long sequences are, in parentheses; nothing where it was given."""
    return f" ({source}; --seq-len changes it)" if source else ""


def conditions(training: TrainingAnswer, *, work: bool = True) -> list[str]:
    """What was held fixed, one line each; `work` says whether the tokens are among it."""
    published = f" (published: {training.params_text})" if training.params_text else ""
    length = "" if training.item == "sample" else f" sequences of {format_int(training.seq_len)}"
    trained = f" {format_int(training.tokens)} {training.item}s{' in' if length else ''}" if work else ""
    said_by = length_source(training.seq_len_source) if length else ""
    lines = [
        f"{training.model.name}: {format_int(training.params)} parameters{published};{trained}{length}{said_by}".rstrip(";"),
        convention_line(training.convention),
        *scope_lines(training.model, Workload(phase="train", seq_len=training.seq_len)),
    ]
    if training.hardware:
        peak = format_flop_rate(training.hardware.peak(training.dtype))
        lines.append(f"{training.hardware.id}: dense {training.dtype} peak {peak} each, fp32 accumulate ({training.hardware.source.title})")
        lines += device_lines([training.hardware])
        lines.append(utilization_line(training))
    if training.price:
        lines.append(f"price per GPU-hour {price_text(training.price)}: {training.price.source}")
    return lines


def utilization_line(training: TrainingAnswer, of: str = "that peak") -> str:
    """The shares of peak that are taken, and who says so."""
    shares = ", ".join(
        f"{format_fraction(run.utilization)}{f' ({label})' if len(training.labels) > 1 else ''}"
        for run, label in zip(training.runs, training.labels, strict=True)
    )
    return f"utilization {shares} of {of}: {training.utilization_source}"


def price_line(price: PriceRange) -> str:
    """What a device-hour is taken to cost, as short as it can be said."""
    if price.low == price.high:
        return f"price: ${price.low:.2f} per GPU-hour."
    return f"price: ${price.median:.2f} per GPU-hour, the middle of quotes from ${price.low:.2f} to ${price.high:.2f}; --price sets yours."


def price_text(price: PriceRange) -> str:
    """Such as ``$0.60 (lowest), $1.60 (middle of the medians), $5.07 (highest)``, or one figure where all are the same."""
    if price.low == price.high:
        return f"${price.low:.2f}"
    return f"${price.low:.2f} (lowest), ${price.median:.2f} (middle of the medians), ${price.high:.2f} (highest)"
