"""`estimate` for single steps: forward, prefill, decode, training, and a whole generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cli import arguments, data_options, step_options
from bench.cli.estimate_options import Options
from estimators.architectures.adapters import trained
from estimators.counting.conventions import CONVENTIONS
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.inference.single_steps import NEW_TOKENS, PROMPT_TOKENS, StepsQuestion, estimate_steps
from estimators.spec import Hardware, Model
from reports.screen import Screen
from reports.table import Table
from reports.views.serving.one_request import served_tables
from reports.views.training.step import steps_tables
from reports.views.training.step_screen import step_screen

if TYPE_CHECKING:
    from estimators.tuning.job import TuningJob

if TYPE_CHECKING:
    from estimators.serving.one_request import OneRequest


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
    served = _served(options, question)
    shown = [*steps_tables(answer, params_text=entry.published_params_text if entry else ""), *served_tables(served)]
    explained = []
    if options.explain:
        from reports.views.explain.step import explain_steps

        explained = [explain_steps(answer, model_option=arguments.model_option(options))]
    whole = arguments.with_all_facts(
        [*shown, *explained], model=question.model.name, hardware=hardware.id if hardware else None, dtype=options.dtype
    )
    return whole, step_screen(answer, whole, served=served, more=arguments.explain_more(options.explain), asked=explained)


def _tuning(options: Options, model: Model, hardware: Hardware | None, seq_len: int) -> TuningJob:
    """The fine-tuning that `fit` would be asked about in these words."""
    from bench.cli import fit  # deferred: other steps do without it
    from bench.cli.estimate_data_set import as_fit
    from estimators.tuning.settings import PRECISIONS

    dtype = options.dtype if options.dtype in PRECISIONS else "bf16"  # products of fewer bits are of 16-bit weights
    return fit.decided(as_fit(replace(options, dtype=dtype), seq_len), model, hardware)


def _served(options: Options, question: StepsQuestion) -> OneRequest | None:
    """The generation on a deployment; None where none is asked about, on no device, or of a model that no engine's step is known of.

    Raises:
        BadValueError: --gpus, --engine or --weights of what has no such deployment.
    """
    from estimators.serving.cuts import cut_over, named_checkpoint
    from estimators.serving.deployment import Deployment
    from estimators.serving.device_work import sixteen_of
    from estimators.serving.engines import DEFAULT_ENGINE, engine
    from estimators.serving.one_request import one_request

    named = any(value is not None for value in (options.gpus, options.engine, options.weights))
    if not question.generates or question.hardware is None:
        if named:
            raise BadValueError("--gpus, --engine and --weights are of a generation on a device: add --prompt-tokens and --hardware")
        return None
    if question.dtype not in SIXTEEN and not named:
        return None
    dtype = question.dtype if question.dtype in SIXTEEN else "bf16"
    compute = sixteen_of(question.hardware, dtype)
    model, weights = named_checkpoint(question.model, "", options.weights)
    try:
        deployment = Deployment(
            model=model,
            hardware=question.hardware,
            engine=engine(options.engine or DEFAULT_ENGINE),
            weights=weights,
            compute=compute,
            kv=compute,
        )
        return one_request(
            cut_over(deployment, options.gpus or 1),
            prompt_tokens=question.prompt_tokens or PROMPT_TOKENS,
            new_tokens=question.new_tokens or NEW_TOKENS,
            prompts=question.batch,
            beams=question.num_beams,
        )
    except BadValueError:
        if named:
            raise
        return None


SIXTEEN = ("bf16", "fp16")
"""Number formats that engines compute in."""


def _check(options: Options) -> None:
    of_a_training = {"--utilization": options.utilization, "--price": options.usd_per_gpu_hour}
    if not options.about_a_generation:
        of_a_training["--gpus"] = options.gpus
    arguments.refuse(of_a_training, "belongs to a training run: add --tokens, or leave it out for single steps")
    tuned = ("--optimizer", "--accumulation") if options.lora_rank is not None or options.frozen_layers is not None else ()
    data_options.refuse(options, but=tuned)  # gradients that are added up lie there while the model runs
    step_options.refuse(options, "add --tokens, --hardware and --gpus", but=tuned)
    if options.convention is not None and options.convention not in CONVENTIONS:
        raise BadValueError(
            f"--convention {options.convention} counts whole trainings: add --tokens, or take one of {', '.join(CONVENTIONS)}"
        )
    if options.num_beams is not None and options.prompt_tokens is None and options.new_tokens is None:
        raise BadValueError("--num-beams belongs to a generation: add --prompt-tokens or --new-tokens")
