"""`estimate` for a training on images, on images beside text, or on audio: so many of them, so many times."""

from __future__ import annotations

import math

from bench.cli import amounts, arguments, data_options, sample_options, sequences
from bench.cli.estimate_options import Options
from bench.cli.estimate_training import answer_of
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.samples import Audio
from estimators.spec import Model
from estimators.units import HOUR_S, format_count, format_int
from reports.screen import Screen
from reports.table import Table

MUCH = "of what? add --examples NUM, each of which has the --images, the --video or the --audio"
WINDOW_S = 30.0
"""Of a sample that is cut from hours of audio, where --audio does not say: what Whisper's encoder hears at once."""


def answered(options: Options) -> tuple[list[Table], Screen]:
    """Every table of the answer, and its one screen.

    Raises:
        RequestError: options that belong to other questions, a model that reads no such samples, an unknown name.
    """
    _demand_nothing_else(options)
    epochs = options.epochs or 1.0
    plain = replace(options, examples=None, epochs=None)
    if sample_options.makes_video(options, options):
        if options.examples is None:
            raise BadValueError(f"a training on videos {MUCH}")
        loaded, entry = arguments.load_model(options)
        work = _work(options.examples, "video", epochs)
        return answer_of(replace(plain, tokens=_times(options.examples, epochs)), loaded, entry, work=work)
    hours = options.audio_hours
    if hours is not None and sample_options.hears(options):
        asked = replace(options, audio=options.audio or WINDOW_S)
        model, entry = sample_options.load_whole(asked, asked)
        count = math.ceil(hours * HOUR_S / (options.audio or WINDOW_S))
        without = replace(plain, lora_rank=None, lora_targets=None, frozen_layers=None)  # they are in the model
        return answer_of(replace(without, tokens=_times(count, epochs)), model, entry, work=_hours(hours, epochs))
    if sample_options.about_examples(options):
        if options.examples is None:
            raise BadValueError(f"a training on examples {MUCH}")
        model, entry = sample_options.load_whole(options, options)
        without = replace(plain, lora_rank=None, lora_targets=None, frozen_layers=None, image=None)  # they are in the model
        return answer_of(
            replace(without, tokens=_times(options.examples, epochs)), model, entry, work=_work(options.examples, "example", epochs)
        )
    if options.examples is not None:
        raise BadValueError("--examples are of samples with --images, --video or --audio; of images alone give --images-total")
    loaded, entry = arguments.load_model(options)
    if options.images_total is not None:
        amounts.demand_images(loaded)
        work = _work(options.images_total, "image", epochs)
        return answer_of(replace(plain, tokens=_times(options.images_total, epochs)), loaded, entry, work=work)
    assert hours is not None
    tokens = _times(_windows(loaded, hours) * sequences.sequence_length(loaded, options.seq_len), epochs)
    return answer_of(replace(plain, tokens=tokens), loaded, entry, work=_hours(hours, epochs))


def _times(count: int, epochs: float) -> int:
    return max(1, round(count * epochs))


def _work(count: int, what: str, epochs: float) -> str:
    """Such as ``1.28 M images, 300 epochs``."""
    shown = format_int(count) if count < 10**6 else format_count(count)
    return f"{shown} {what}{'' if count == 1 else 's'}{_epochs(epochs)}"


def _hours(hours: float, epochs: float) -> str:
    return f"{hours:,.10g} {'hour' if hours == 1 else 'hours'} of audio{_epochs(epochs)}"


def _epochs(epochs: float) -> str:
    return "" if epochs == 1 else f", {epochs:,.10g} epochs"


def _windows(model: Model, hours: float) -> int:
    """Windows that so much audio fills, laid end to end. Raises BadValueError for a model that reads no audio."""
    if not isinstance(model.sample, Audio):
        raise BadValueError(f"--audio-hours is of a model of speech, such as whisper-large-v3; {model.name} reads none")
    return math.ceil(hours * HOUR_S / model.sample.duration_s)


def _demand_nothing_else(options: Options) -> None:
    """Demand one amount, and no option of another question. Raises BadValueError."""
    amounts = {
        "--images-total": options.images_total,
        "--audio-hours": options.audio_hours,
        "--images or --video": options.images if options.images is not None else options.video,
    }
    if len(given := [word for word, value in amounts.items() if value is not None]) > 1:
        raise BadValueError(f"{' and '.join(given)} are of different models; give one of them")
    elsewhere = {
        "--tokens": options.tokens,
        "--budget-usd": options.budget_usd,
        "--budget-gpu-days": options.budget_gpu_days,
        "--batch": options.batch,
        "--prompt-tokens": options.prompt_tokens,
        "--new-tokens": options.new_tokens,
        "--num-beams": options.num_beams,
        "--engine": options.engine,
        "--weights": options.weights,
        "--method": options.method,
        "--data": options.data,
        "--lengths": options.lengths,
        "--mean-tokens": options.mean_tokens,
        "--p95-tokens": options.p95_tokens,
        "--measured-step": options.measured_step_s,
        "--from": options.from_file,
    }
    arguments.refuse(elsewhere, "has no part in a training on images or audio; leave it out")
    data_options.refuse(options, but=("--epochs",))
