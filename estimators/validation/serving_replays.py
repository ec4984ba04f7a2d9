"""Replays: measured requests one by one through the simulator, with the arrivals and lengths that the engine had."""

from __future__ import annotations

import functools

from estimators.facts import data
from estimators.facts.registry import hardware
from estimators.frozen import field, frozen, replace
from estimators.serving.budget import budget
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.load_answer import LoadAnswer, load_answer
from estimators.serving.requests import Requests
from estimators.serving.schedule import schedule_of
from estimators.serving.simulate import simulate
from estimators.serving.step import StepLaw, step_law
from estimators.validation.model import shipped_model

RUN_COLUMNS = ("id", "model", "hardware_id", "engine", "version", "kv_blocks", "max_num_seqs", "token_budget", "date", "source", "note")
REQUEST_COLUMNS = ("replay", "arrival_s", "input_tokens", "output_tokens", "scheduled_s", "first_token_s", "last_token_s")


@frozen
class Replay:
    """A measured load.

    Attributes:
        deployment: that had it; `kv_blocks` where the engine printed them.
        requests: their arrivals and lengths.
        measured: mean seconds over requests by the names of `load_answer.DEFINITIONS`: queue_s, ttft_s, tpot_s, e2e_s.
        source, note: where it is from, and what else is known.
    """

    id: str
    deployment: Deployment
    requests: Requests
    measured: dict[str, float] = field(hash=False)
    source: str
    note: str


@functools.cache
def replays() -> dict[str, Replay]:
    """All of them, by id."""
    stamps: dict[str, list[tuple[float, int, int, float, float, float]]] = {}
    for row in data.read_rows(data.file("measured/serving_requests.csv"), REQUEST_COLUMNS):
        lengths = row.integer("input_tokens"), row.integer("output_tokens")
        later = row.number("scheduled_s"), row.number("first_token_s"), row.number("last_token_s")
        stamps.setdefault(row.text("replay"), []).append((float(row.text("arrival_s")), *lengths, *later))
    return {
        row.text("id"): _replay(row, stamps[row.text("id")])
        for row in data.read_rows(data.file("measured/serving_replays.csv"), RUN_COLUMNS)
    }


def _replay(row: data.Row, stamps: list[tuple[float, int, int, float, float, float]]) -> Replay:
    arrival_s, prompts, answers, scheduled_s, first_s, last_s = zip(*stamps, strict=True)
    number = len(stamps)
    several = [(last - first) / (answer - 1) for first, last, answer in zip(first_s, last_s, answers, strict=True) if answer > 1]
    return Replay(
        id=row.text("id"),
        deployment=Deployment(
            model=shipped_model(row.text("model")),
            hardware=hardware(row.text("hardware_id")),
            engine=engine(row.text("engine")),
            kv_blocks=row.optional_integer("kv_blocks"),
            max_num_seqs=row.integer("max_num_seqs"),
            token_budget=row.integer("token_budget"),
            max_model_len=max(map(sum, zip(prompts, answers, strict=True))),
        ),
        requests=Requests(input_tokens=prompts, output_tokens=answers, arrival_s=arrival_s, source=row.text("source")),
        measured={
            "queue_s": (sum(scheduled_s) - sum(arrival_s)) / number,
            "ttft_s": (sum(first_s) - sum(arrival_s)) / number,
            "tpot_s": sum(several) / len(several),
            "e2e_s": (sum(last_s) - sum(arrival_s)) / number,
        },
        source=row.text("source"),
        note=row.optional_text("note"),
    )


def in_process(law: StepLaw) -> StepLaw:
    """A step whose host is hidden: an engine that schedules ahead prepares one while another runs, and where its caller shares its
    process nothing is streamed to a client."""
    return replace(law, step_s=0.0, sequence_s=0.0)


def replayed(replay: Replay, kv_blocks: int | None = None) -> LoadAnswer:
    """A replay through the simulator.

    Args:
        kv_blocks: in place of those that were printed, or are predicted where none were.
    """
    deployment = replay.deployment
    law = step_law(deployment)
    schedule = schedule_of(deployment, kv_blocks or deployment.kv_blocks or budget(deployment).kv_blocks)
    return load_answer(simulate(in_process(law) if deployment.engine.schedules_ahead else law, schedule, replay.requests), 1)


def errors(replay: Replay, answer: LoadAnswer) -> dict[str, float]:
    """Simulated over measured, less 1, of each mean."""
    means = {name: spread.mean for name, spread in answer.latencies.items() if spread}
    return {name: means[name] / measured - 1 for name, measured in replay.measured.items()}
