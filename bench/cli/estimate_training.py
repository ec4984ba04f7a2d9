"""`estimate` for a whole training: the run itself, a claim, a budget, a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cli import arguments, data_options, step_options
from bench.cli.estimate_options import Options
from estimators.counting.rules_of_thumb import rules
from estimators.errors import BadValueError, PhysicsError
from estimators.frozen import replace
from estimators.spec import Model, Workload
from estimators.training.answer import TrainingAnswer
from estimators.training.inverse import Inverse, TrainingEstimate, estimate_training
from reports.screen import Screen
from reports.table import Table
from reports.views.counting.rules_of_thumb import rules_tables
from reports.views.training.at_utilization import answer_table, flop_table
from reports.views.training.training_screen import estimate_screen

if TYPE_CHECKING:
    from estimators.facts.registry import ModelEntry
    from estimators.training.question import Question


def answered(options: Options) -> tuple[list[Table], Screen]:
    """Every table of the answer, what was asked first, and its one screen.

    Raises:
        RequestError: options that contradict each other, an unknown name, a value out of range.
        PhysicsError: a claimed run that would pass the peak.
    """
    return answer_of(options, *arguments.load_model(options))


def answer_of(options: Options, model: Model, entry: ModelEntry | None, *, work: str = "") -> tuple[list[Table], Screen]:
    """The same of a model that is loaded.

    Args:
        work: what is trained on, in the user's words; empty for --tokens.

    Raises:
        RequestError, PhysicsError: as `answered`.
    """
    _check(options)
    hardware = [arguments.load_hardware(options.hardware)] if options.hardware else []
    question = replace(step_options.question(options, model, entry, hardware, tokens=options.tokens), work=work)
    inverse = Inverse(
        claimed_s=options.claimed_s,
        deadline_s=options.deadline_s,
        budget_usd=options.budget_usd,
        budget_gpu_days=options.budget_gpu_days,
    )
    answer = estimate_training(question, inverse)
    shown = _inverse_tables(answer)
    if options.tokens is not None:
        shown += _training_tables(answer)
    explained = []
    if options.explain:
        from reports.views.explain.inverse import explain_estimate

        explained = [explain_estimate(answer, model_option=arguments.model_option(options), whole=options.tokens is not None)]
    around = _around(question, answer) if options.outlook else []
    screen = estimate_screen(answer, shown, more=arguments.explain_more(options.explain), asked=[*around, *explained])
    return arguments.with_all_facts([*shown, *around, *explained]), screen


def _around(question: Question, answer: TrainingEstimate) -> list[Table]:
    """What fills a device, more devices, what moves it, published runs; nothing where no step is predicted, or no tokens are given."""
    if answer.predicted is None or question.tokens is None:
        return []
    from bench.cli.outlook import around_tables, held_tables
    from estimators.training.layouts.outlook import held

    job, step = question.job, answer.predicted.run.prediction
    price, deadline_s = answer.training.price, answer.inverse.deadline_s
    return [*held_tables([held(job, step.layout)]), *around_tables(job, step, question.num_tokens, price, deadline_s=deadline_s)]


def _check(options: Options) -> None:
    """Demand what the question needs, and nothing of a single step. Raises BadValueError."""
    of_a_step = {
        "--batch": options.batch,
        "--prompt-tokens": options.prompt_tokens,
        "--new-tokens": options.new_tokens,
        "--num-beams": options.num_beams,
        "--engine": options.engine,
        "--weights": options.weights,
    }
    arguments.refuse(of_a_step, "describes a single step; leave it out, or leave --tokens and the like out")
    data_options.refuse(options)
    on_a_device = {
        "--gpus": options.gpus,
        "--utilization": options.utilization,
        "--price": options.usd_per_gpu_hour,
        "--days": options.claimed_s,
        "--deadline": options.deadline_s,
        "--budget-usd": options.budget_usd,
        "--budget-gpu-days": options.budget_gpu_days,
    }
    if options.hardware is None:
        arguments.refuse(on_a_device, "needs a device: add --hardware ID; list them: python -m bench list hardware")
    if options.claimed_s is not None and (options.tokens is None or options.gpus is None):
        raise BadValueError("--days is a claim about a run: add its --gpus, and its --tokens (or images, or hours of audio)")
    if options.deadline_s is not None and options.tokens is None:
        raise BadValueError("--deadline needs to know how much is trained: add --tokens")


def _inverse_tables(answer: TrainingEstimate) -> list[Table]:
    """The tables that answer the inverse questions; what each tool would print for a claim is left to `check-claim`.

    Raises:
        PhysicsError: no run such as was claimed exists.
    """
    shown = []
    if answer.claim is not None:
        from reports.views.training.claim import claim_tables, judgement

        if not answer.claim.possible:
            raise PhysicsError(judgement(answer.claim, answer.training))
        shown += claim_tables(answer.claim, answer.training)[:2]
    if answer.inverse.deadline_s is not None:
        from reports.views.training.inverse import deadline_table, predicted_deadline_table

        in_time = answer.in_time
        shown.append(predicted_deadline_table(in_time, answer.inverse.deadline_s) if in_time else deadline_table(answer))
    if answer.inverse.budget_usd is not None or answer.inverse.budget_gpu_days is not None:
        from reports.views.training.inverse import budget_table

        shown.append(budget_table(answer))
    return shown


def _training_tables(answer: TrainingEstimate) -> list[Table]:
    """The training itself: what it takes, where a predicted step goes and what whole runs add, FLOP by convention, rules of thumb."""
    training = answer.training
    if answer.predicted is None:
        shown = [answer_table(training)]
    else:
        from reports.views.training.predicted import answer_table as predicted_table
        from reports.views.training.predicted import goodput_table
        from reports.views.training.step_ledger import ledger_table

        predicted = answer.predicted
        shown = [
            predicted_table(predicted, claimed_s=answer.inverse.claimed_s),
            ledger_table(predicted.run.prediction),
            goodput_table(predicted),
        ]
    return [*shown, flop_table(training.training_flop, training.tokens, training.item), *_rules(training)]


def _rules(training: TrainingAnswer) -> list[Table]:
    one_sequence = rules(training.model, Workload(phase="train", seq_len=training.seq_len, dtype=training.dtype))
    return rules_tables(one_sequence, work="the whole training", num_steps=(training.tokens, training.seq_len))
