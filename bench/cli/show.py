"""A model's operations, parameters and FLOP, row by row.

python -m bench show --model phi-2
python -m bench show --model llama-3-8b --phase decode --batch 8 --context-len 4096
python -m bench show --config path/to/config.json --phase train --seq-len 1024 --convention causal
python -m bench show --model qwen2.5-vl-7b --images 2 --image-size 768x1024 --text-tokens 300
python -m bench show --model sdxl --image-size 1024 --denoising-steps 30 --guidance
python -m bench show --model wan2.1-t2v-14b --image-size 720x1280 --video 5s@16fps --denoising-steps 50 --guidance
python -m bench show --config path/to/config.json --export table.json    # the traced table, for --config on a machine without torch
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from bench.cli import arguments, sample_options, sequences
from bench.cli.output import Output
from estimators.architectures.adapters import trained
from estimators.architectures.traced import TracedModel
from estimators.counting.conventions import CONVENTIONS
from estimators.counting.phases import PhasesAnswer, PhasesQuestion, count_phases
from estimators.errors import BadValueError, NoOpTableError, UnavailableError
from estimators.frozen import frozen
from estimators.spec import PHASES, Model, Phase
from estimators.training.sequence_length import SequenceLength
from reports.table import Table
from reports.views.counting.ops import phases_tables
from reports.views.counting.ops_screen import ops_screen, whole_screen

if TYPE_CHECKING:
    from estimators.facts.registry import ModelEntry

COUNTED_SEQ_LEN = 512
"""Tokens that a class without an op table is counted on, unless said."""


@frozen
class Options(arguments.MethodOptions):
    """Options of `show`.

    Attributes:
        export: the file that a traced op table is written to.
        images, video, text_tokens, freeze: as `SampleOptions` has them.
        denoising_steps, guidance: of an image or a video that a diffusion pipeline makes.
    """

    phase: Phase
    batch: int
    seq_len: int | None
    context_len: int | None
    dtype: str
    convention: str
    export: str | None
    images: int | None
    video: sample_options.Video | None
    audio: float | None
    text_tokens: int | None
    freeze: tuple[str, ...] | None
    denoising_steps: int | None
    guidance: bool

    @property
    def frames(self) -> int | None:
        """Of --video."""
        return self.video.frames if self.video else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `show`."""
    arguments.add_model(parser)
    group = parser.add_argument_group("the step")
    group.add_argument("--phase", choices=PHASES, default="forward", help="whose operations are listed; forward by default")
    group.add_argument("--batch", type=sequences.batch_size, default=1, metavar="NUM", help="sequences (or samples); 1 by default")
    sequences.add_sequence(group)
    group.add_argument(
        "--context-len",
        type=sequences.length("context-len", minimum=0),
        metavar="NUM",
        help="tokens in the cache before a decode step; --seq-len by default, one less where the positions end there",
    )
    arguments.add_dtype(group)
    group.add_argument(
        "--convention",
        type=arguments.convention((*CONVENTIONS, "all")),
        default="full",
        metavar="NAME",
        help=f"{', '.join(CONVENTIONS)}; or all, side by side",
    )
    group.add_argument("--export", metavar="FILE", help="write the op table that was traced to a file, which every --config reads as well")
    arguments.add_method(parser)
    sample_options.add_arguments(parser)
    made = parser.add_argument_group("an image or a video that a diffusion pipeline makes, such as sdxl")
    made.add_argument(
        "--denoising-steps",
        type=arguments.count("denoising-steps", maximum=10**4),
        metavar="NUM",
        help="of its denoiser; else its op table alone",
    )
    made.add_argument("--guidance", action="store_true", help="run it twice in each step, with the text and without")


def run(options: Options, out: Output) -> int:
    """Show; a configuration without an op table has one traced by torch, or where that fails is counted by it, and labelled so."""
    if options.export is not None:
        return _export(options, options.export, out)
    if options.denoising_steps is not None or options.guidance:
        tables = _generation(options)
        out.emit(tables, whole_screen(tables))
        return 0
    try:
        if options.convention == "all":
            tables = _by_convention(options)
            screen = whole_screen(tables)
        else:
            tables = _by_operation(options)
            screen = ops_screen(tables)
    except NoOpTableError:
        if sample_options.about_examples(options):  # no whole is counted for them
            raise
        tables = _counted(options)
        screen = whole_screen(tables)
    out.emit(tables, screen)
    return 0


def _counted(options: Options) -> list[Table]:
    """Only --config leads here: every model of the registry has an op table. Raises BadValueError for an option that needs one."""
    from bench.cli.show_counted import counted_tables

    if options.phase != "forward" or options.convention != "full":
        raise BadValueError("what has no op table is counted in all phases under `full`; leave --phase and --convention out")
    if options.image is not None:
        raise BadValueError("what has no op table is counted on the images of its configuration; leave --image-size out")
    assert options.config is not None
    return counted_tables(options.config, batch=options.batch, seq_len=options.seq_len or COUNTED_SEQ_LEN, source_len=options.source_len)


def _by_operation(options: Options) -> list[Table]:
    if not sample_options.makes_video(options, options) and sample_options.about_examples(options):
        return _of_examples(options)
    model, entry = arguments.load_model(options)
    length = _length(options, model, entry)
    if options.context_len is not None and model.generates:
        sequences.sequence_length(model, options.context_len + 1)
    question = PhasesQuestion(
        model=trained(model, arguments.method(options)),
        phase=options.phase,
        seq_len=length.tokens,
        context_len=options.context_len,
        batch=options.batch,
        dtype=options.dtype,
        convention=options.convention,
    )
    answer = count_phases(question)
    traced = isinstance(model, TracedModel)
    assumed = _defaults_lines(options.config) if options.config is not None and not traced else []
    if length.source:
        assumed = [f"sequences of {length.tokens:,}: {length.source}; --seq-len changes it", *assumed]
    tables = phases_tables(answer, params_text=entry.published_params_text if entry else "", assumed=assumed)
    return arguments.with_all_facts(
        tables,
        model=question.model.name,
        phase=options.phase,
        convention=options.convention,
        dtype=options.dtype,
        trainable_params=answer.cost.trainable_params,
        active_params=answer.cost.active_params,
        decode_flop_by_code_path=answer.decode_flop_by_code_path,
        **({"tag": "counted", "built_as": model.runs, "left_out": model.left_out} if isinstance(model, TracedModel) else {}),
        **_flop_by_phase(answer),
    )


def _generation(options: Options) -> list[Table]:
    """What a diffusion pipeline does to make an image. Raises BadValueError for any other model, and for guidance of no steps."""
    from bench.cli.pipelines import pipeline_of
    from estimators.facts.pipelines import known_params
    from reports.views.counting.generation import generation_table

    pipeline = pipeline_of(options.model, options.config, options.image, options.frames)
    if pipeline is None:
        raise BadValueError(
            f"--denoising-steps and --guidance are of diffusion pipelines: python -m bench list pipelines; "
            f"{options.model or options.config} is none"
        )
    if options.denoising_steps is None:
        raise BadValueError("--guidance is of the steps that make an image: add --denoising-steps NUM, such as 30")
    by, counts = known_params(pipeline.name) if options.model else ("", {})
    known = (by, sum(counts.values())) if len(counts) == pipeline.num_parts else None
    steps = options.denoising_steps
    runs = pipeline.generation(steps, guidance=options.guidance, dtype=options.dtype)
    return [generation_table(pipeline, runs, batch=options.batch, steps=steps, guidance=options.guidance, known=known)]


def _flop_by_phase(answer: PhasesAnswer) -> dict[str, int]:
    return {f"{'training' if phase == 'train' else phase}_flop": cost.flop["full"] for phase, cost in answer.costs.items()}


def _of_examples(options: Options) -> list[Table]:
    """The whole of a model on samples of images or audio beside text. Raises BadValueError for a length or a cache."""
    for word, value in {"--seq-len": options.seq_len, "--context-len": options.context_len}.items():
        if value is not None:
            raise BadValueError(f"{word} {value:,}: a sequence is as long as the sample and --text-tokens make it; leave it out")
    from estimators.architectures.speech_language import SpeechLanguage
    from estimators.architectures.vision_language import VisionLanguage

    model, entry = sample_options.load_whole(options, options)
    question = PhasesQuestion(
        model=model, phase=options.phase, seq_len=1, batch=options.batch, dtype=options.dtype, convention=options.convention
    )
    answer = count_phases(question)
    return arguments.with_all_facts(
        phases_tables(answer, params_text=entry.published_params_text if entry else ""),
        model=model.name,
        phase=options.phase,
        convention=options.convention,
        dtype=options.dtype,
        **({"visual_tokens": model.visual_tokens} if isinstance(model, VisionLanguage) else {}),
        **({"audio_tokens": model.audio_tokens} if isinstance(model, SpeechLanguage) else {}),
        sequence_tokens=model.sequence_tokens,
        trainable_params=answer.cost.trainable_params,
        **_flop_by_phase(answer),
    )


def _export(options: Options, path: str, out: Output) -> int:
    """Write the traced table. Raises BadValueError for a model of a family, whose table needs no file; UnavailableError."""
    from estimators.architectures.from_config import read_config
    from estimators.architectures.traced_file import as_json

    model, _ = arguments.load_model(options)
    if not isinstance(model, TracedModel):
        raise BadValueError(f"--export {path}: the op table of {model.name} is its family's, not traced; give its configuration instead")
    try:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(as_json(model, read_config(options.config) if options.config is not None else None))
    except OSError as error:
        raise UnavailableError(f"cannot write {path!r}: {error.strerror}; give --export a file in a folder that is there") from None
    out.emit_text(f"{path}: the op table of {model.name}, traced from {model.traced_from}; give it as --config {path}\n")
    return 0


def _length(options: Options, model: Model, entry: ModelEntry | None) -> SequenceLength:
    """--seq-len, or of a training step the length that the model was pre-trained at, of any other its longest."""
    if options.phase == "train":
        return sequences.training_length(model, entry, options.seq_len)
    return SequenceLength(tokens=sequences.sequence_length(model, options.seq_len))


def _defaults_lines(path: str) -> list[str]:
    """What a configuration does not say, and what is taken for it; nothing where it says all."""
    from estimators.architectures.from_config import defaults_taken, read_config

    defaults = defaults_taken(read_config(path), path)
    said = ", ".join(f"{field} {json.dumps(value)}" for field, value in defaults.items())
    return [f"not in the file, so as the model type's defaults are: {said}"] if said else []


def _by_convention(options: Options) -> list[Table]:
    """Every tool's way of counting a training step, side by side, with what each includes."""
    from estimators.counting.flop_by_tool import count
    from estimators.facts.tool_conventions import tools
    from reports.views.counting.all_conventions import all_conventions_table
    from reports.views.training.conditions import length_source

    model, entry = arguments.load_model(options)
    length = sequences.training_length(model, entry, options.seq_len)
    counted = [count(tool, model, length.tokens, "full") for tool in tools().values()]
    conditions = [
        f"sequences of {length.tokens:,}{length_source(length.source)}; with full recomputation where a tool counts it",
        f"configuration: {model.source}",
    ]
    return [all_conventions_table(model.name, counted, conditions=conditions)]
