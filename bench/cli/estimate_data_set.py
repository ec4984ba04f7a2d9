"""`estimate` for a fine-tuning on a data set: hours, device time, money, energy, and whether its longest batch fits."""

from __future__ import annotations

from bench.cli import arguments, data_options, fit, fit_files, sequences, step_options
from bench.cli.arguments import MethodOptions
from bench.cli.estimate_options import Options
from bench.cli.output import Output
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.tuning.data_training import DataTraining, train_on_data
from estimators.tuning.readers.job_files import Reading
from estimators.tuning.recipes import UNKNOWN, recipe, recipe_of
from estimators.tuning.settings import transformers_name, usual_length
from estimators.tuning.usual_batch import usual_job
from reports.screen import Screen
from reports.table import Table
from reports.views.training.data_set import data_set_tables
from reports.views.training.data_set_screen import data_set_screen

WHAT = "fine-tuning on what? add --data FILE --tokenizer DIR, --lengths FILE, or --examples NUM --mean-tokens NUM"
WHERE = "a fine-tuning on a data set needs a device: add --hardware ID; list them: python -m bench list hardware"


def answered(options: Options, reading: Reading | None = None) -> tuple[list[Table], Screen]:
    """Every table of the answer, and its one screen.

    Args:
        reading: what the job's own file says, see `read`.

    Raises:
        RequestError: options that belong to other questions, an unknown name, a file that cannot be read.
    """
    demand_nothing_else(options)
    if (options.completion_tokens, options.generations, options.reuse) != (None, None, None):
        raise BadValueError("--completion-tokens, --generations and --reuse are of --method grpo; add it, or leave them out")
    lengths = data_options.lengths_of(options)
    if lengths is None:
        raise BadValueError(WHAT)
    model, _ = arguments.load_model(options)
    if options.hardware is None:
        raise BadValueError(WHERE)
    hardware = arguments.load_hardware(options.hardware)
    chosen = recipe_of(options.framework) if reading is None else recipe(reading.framework or UNKNOWN, reading.version)
    said = {} if reading is None else reading.given()
    cut = options.max_length or int(str(said.get("seq_len") or usual_length(chosen, model)))
    max_length = sequences.sequence_length(model, cut)
    longest = min(max_length, lengths.longest)
    if reading is None:
        job = fit.decided(as_fit(options, longest), model, hardware)
    else:
        job = replace(fit.in_files(as_fit(options, None), reading, model, hardware), seq_len=longest)
    is_chosen = options.batch is None and options.framework is None and "micro_batch" not in said
    if is_chosen:
        job = usual_job(job, hardware, accumulation=options.accumulation)
    packing = options.packing if options.packing is not None or job.packing != "packed" else ""
    answer = train_on_data(
        DataTraining(
            job=job,
            hardware=hardware,
            lengths=lengths,
            max_length=max_length,
            epochs=options.epochs or float(str(said.get("epochs") or chosen.epochs or 1)),
            packs=packing is not None,
            algorithm=packing or None,  # type: ignore[arg-type]
            long_samples=options.long_samples,  # type: ignore[arg-type]
            is_grouped=options.group_by_length,
            measured_step_s=options.measured_step_s,
            usd_per_gpu_hour=options.usd_per_gpu_hour,
            carbon_kg_per_j=options.carbon_kg_per_j,
            own=step_options.measured_rates(options, [hardware.id]),
        )
    )
    shown = [*data_set_tables(answer, batch_is_chosen=is_chosen), *fit_files.tables(reading)]
    screen = data_set_screen(answer, shown, batch_is_chosen=is_chosen)
    return arguments.with_all_facts(shown), fit_files.on_screen(screen, reading, job)


def read(options: Options, out: Output) -> tuple[Options, Reading | None]:
    """The options with the model that the file of --from names where none was given, and what else the file says; None without one.

    Raises:
        RequestError: as `fit_files`.
    """
    if options.from_file is None:
        return options, None
    reading = fit_files.read(fit_files.paths(options.from_file), options, options.framework, fit.stated_beside_files(as_fit(options, None)))
    return replace(fit_files.with_model(options, reading, out), from_file=None), reading


def as_fit(options: Options, seq_len: int | None) -> fit.Options:
    """The same job as `fit` is asked about. Raises BadValueError.

    Args:
        seq_len: of the longest row; None where a file says it.
    """
    if strange := [word for word in options.method if word not in (*data_options.TRAINED, *data_options.OBJECTIVES)]:
        known = ", ".join((*data_options.TRAINED, *data_options.OBJECTIVES))
        raise BadValueError(f"--method {strange[0]} is not timed on a data set; expected one of: {known}")
    mine = {name: getattr(options, name) for name in MethodOptions._fields}  # type: ignore[attr-defined]
    return fit.Options(
        **mine,
        method=options.method,
        from_files=(),
        hardware=options.hardware or "",
        gpus=options.gpus,
        framework=options.framework,
        batch=options.batch,
        seq_len=seq_len,
        accumulation=options.accumulation,
        packing=None,
        optimizer=transformers_name(options.optimizer) if options.optimizer else None,
        checkpointing=options.checkpointing,
        attention=None,
        loss=None,
        sharding=None,
        offload=(),
        precision=None if options.dtype == "bf16" else options.dtype,
        lora_dropout=None,
        largest=None,
        menu=False,
        strict=False,
    )


def demand_nothing_else(options: Options) -> None:
    """Demand that no option of another question was given. Raises BadValueError."""
    if options.tokens is not None:
        raise BadValueError(
            "--tokens has no part in a fine-tuning on a data set, whose samples say how many are processed; "
            "give --examples NUM --mean-tokens NUM, or --data FILE"
        )
    elsewhere = {
        "--days": options.claimed_s,
        "--deadline": options.deadline_s,
        "--budget-usd": options.budget_usd,
        "--budget-gpu-days": options.budget_gpu_days,
        "--utilization": options.utilization,
        "--convention": options.convention,
        "--prompt-tokens": options.prompt_tokens,
        "--new-tokens": options.new_tokens,
        "--num-beams": options.num_beams,
        "--frozen-layers": options.frozen_layers,
        "--layout": options.layout,
        "--from": options.from_file,
        "--global-batch": options.global_batch,
        "--software": options.software,
        "--network": options.network_bytes_per_s,
        "--memory-margin": options.memory_margin,
        "--engine": options.engine,
        "--weights": options.weights,
        "--explain": options.explain,
        "--outlook": options.outlook,
    }
    arguments.refuse(elsewhere, "has no part in a fine-tuning on a data set; leave it out")
    if options.seq_len is not None:
        raise BadValueError("--seq-len: the data set says how long rows are; give --max-length for the most")
