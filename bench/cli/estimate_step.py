"""`estimate` for single steps: forward, prefill, decode, training, and a whole generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cli import arguments, step_options
from bench.cli.estimate_options import Options
from estimators.architectures.adapters import trained
from estimators.counting.conventions import CONVENTIONS
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.inference.single_steps import StepsQuestion, estimate_steps
from estimators.spec import Hardware, Model
from reports.screen import Screen
from reports.table import Table
from reports.views.training.step import steps_tables
from reports.views.training.step_screen import step_screen

if TYPE_CHECKING:
    from estimators.tuning.job import TuningJob


def answered(options: Options) -> tuple[list[Table], Screen]:
    """Every table of the answer, a generation first, if one was asked for; and its one screen.

    Raises:
        RequestError: options that belong to a training run, an unknown name, a value out of range.
    """
    _check(options)
    model, entry = arguments.load_model(options)
    hardware = arguments.load_hardware(options.hardware) if options.hardware else None
    length, method = step_options.length_of(options, model, entry), step_options.method_of(options, model)
    tuning = _tuning(options, model, hardware, length.tokens) if step_options.is_tuned(options, model) else None
    question = StepsQuestion(
        model=trained(model, method),
        seq_len=length.tokens,
        seq_len_source=length.source,
        hardware=hardware,
        batch=options.batch or (tuning.micro_batch if tuning else 1),
        prompt_tokens=options.prompt_tokens,
        new_tokens=options.new_tokens,
        num_beams=options.num_beams or 1,
        dtype=options.dtype,
        convention=options.convention or "full",
        tuning=tuning,
    )
    answer = estimate_steps(question)
    shown = steps_tables(answer, params_text=entry.published_params_text if entry else "")
    explained = []
    if options.explain:
        from reports.views.explain.step import explain_steps

        explained = [explain_steps(answer, model_option=arguments.model_option(options))]
    whole = arguments.with_all_facts(
        [*shown, *explained], model=question.model.name, hardware=hardware.id if hardware else None, dtype=options.dtype
    )
    return whole, step_screen(answer, whole, more=arguments.explain_more(options.explain), asked=explained)


def _tuning(options: Options, model: Model, hardware: Hardware | None, seq_len: int) -> TuningJob:
    """The fine-tuning that `fit` would be asked about in these words."""
    from bench.cli import fit  # deferred: other steps do without it
    from bench.cli.estimate_data_set import as_fit
    from estimators.tuning.settings import PRECISIONS

    dtype = options.dtype if options.dtype in PRECISIONS else "bf16"  # products of fewer bits are of 16-bit weights
    return fit.decided(as_fit(replace(options, dtype=dtype), seq_len), model, hardware)


def _check(options: Options) -> None:
    of_a_training = {"--gpus": options.gpus, "--utilization": options.utilization, "--price": options.usd_per_gpu_hour}
    for word, value in of_a_training.items():
        if value is not None:
            raise BadValueError(f"{word} belongs to a training run: add --tokens, or leave it out for single steps")
    tuned = ("--optimizer",) if options.lora_rank is not None or options.frozen_layers is not None else ()
    step_options.refuse(options, "add --tokens, --hardware and --gpus", but=tuned)
    if options.convention is not None and options.convention not in CONVENTIONS:
        raise BadValueError(
            f"--convention {options.convention} counts whole trainings: add --tokens, or take one of {', '.join(CONVENTIONS)}"
        )
    if options.num_beams is not None and options.prompt_tokens is None and options.new_tokens is None:
        raise BadValueError("--num-beams belongs to a generation: add --prompt-tokens or --new-tokens")
