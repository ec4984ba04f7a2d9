"""A search over deployments: the front, what each choice costs, why the others lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from estimators.serving.search import Found, SearchAnswer, cut_words
from estimators.units import format_duration, format_fraction, format_int, format_rate
from reports.screen import Screen, columns_kept
from reports.table import Column, Table, Value
from reports.views.serving.words import dollars, lengths_text, limits_text
from reports.views.training.conditions import held_lines

SHOWN_CHOICES = 2
"""Other values of each choice that one screen names."""

COLUMNS = [
    Column(key="num_gpus", header="GPUs", format=format_int, align="right"),
    Column(key="cut", header="cut"),
    Column(key="weights", header="weights"),
    Column(key="kv", header="cache"),
    Column(key="max_num_seqs", header="limit", format=format_int, align="right"),
    Column(key="users", header="users", format=format_int, align="right"),
    Column(key="ttft_s", header="TTFT", format=format_duration, align="right"),
    Column(key="itl_s", header="ITL", format=format_duration, align="right"),
    Column(key="output_tokens_per_s_per_user", header="tok/s user", format=format_rate, align="right"),
    Column(key="output_tokens_per_s_per_gpu", header="per GPU", format=format_rate, align="right"),
    Column(key="usd_per_million_output", header="$/M out", format=dollars, align="right"),
]


def search_tables(answer: SearchAnswer) -> list[Table]:
    """The front, the best of each choice, why the others lose."""
    return [front_table(answer), choices_table(answer), losers_table(answer)]


def _row(found: Found) -> dict[str, Value]:
    d = found.deployment
    return {
        "num_gpus": d.num_devices,
        "cut": cut_words(d),
        "weights": d.weights,
        "kv": d.kv,
        "max_num_seqs": d.sequences_at_most,
        "users": found.users,
        "ttft_s": found.ttft_s,
        "itl_s": found.itl_s,
        "output_tokens_per_s_per_user": found.output_tokens_per_s_per_user,
        "output_tokens_per_s_per_gpu": found.output_tokens_per_s_per_gpu,
        "usd_per_million_output": found.usd_per_million_output,
    }


def front_table(answer: SearchAnswer) -> Table:
    """What nothing beats in both rates."""
    d, best = answer.question.deployment, answer.best
    facts: dict[str, object] = {
        "model": d.model.name,
        "hardware": d.hardware.id,
        "engine": d.engine.id,
        "num_candidates": answer.num_candidates,
        "num_on_front": len({found.deployment for found in answer.front}),
        "best": None if best is None else _row(best),
    }
    return Table(
        title=f"{d.model.name} on {d.hardware.name}: deployments that no other beats for users and GPUs alike",
        conditions=[
            f"{format_int(answer.num_candidates)} deployments, {lengths_text(answer.question)}",
            limits_text(answer.question) or "no limits",
        ],
        columns=COLUMNS,
        rows=[_row(found) for found in answer.front],
        notes=_notes(answer),
        facts=facts,
        key="front",
        kind="estimated",
    )


def choices_table(answer: SearchAnswer) -> Table:
    """The best deployment with each value of each choice."""
    best = answer.best
    rows: list[Mapping[str, Value]] = [
        {
            "choice": choice,
            "value": value,
            "loses_fraction": 1 - found.output_tokens_per_s_per_gpu / best.output_tokens_per_s_per_gpu if best else None,
            **_row(found),
        }
        for choice, value, found in answer.best_by
    ]
    head = [
        Column(key="choice", header="choice", once=True),
        Column(key="value", header="value"),
        Column(key="loses_fraction", header="loses", format=format_fraction, align="right"),
    ]
    return Table(
        title="The best with each choice",
        conditions=["by output tokens/s and GPU within the limits"],
        columns=[*head, *COLUMNS],
        rows=rows,
        key="choices",
        kind="estimated",
    )


def losers_table(answer: SearchAnswer) -> Table:
    """Why deployments are not on the front."""
    rows: list[dict[str, Value]] = [{"why": why, "num": count} for why, count in answer.losers]
    columns = [Column(key="why", header="why"), Column(key="num", header="deployments", format=format_int, align="right")]
    return Table(title="Why the others lose", columns=columns, rows=rows, key="losers")


def search_screen(answer: SearchAnswer, tables: Sequence[Table]) -> Screen:
    """The best, the front, why the others lose."""
    d, best, limits = answer.question.deployment, answer.best, limits_text(answer.question)
    where = f"{d.model.name} on {d.hardware.name}{f' within {limits}' if limits else ''}"
    if best is None:
        return Screen(
            answer=f"none of {format_int(answer.num_candidates)} deployments serves one user: {where}", table=tables[2], failed=True
        )
    b = best.deployment
    money = f", {dollars(best.usd_per_million_output)} per million output tokens" if best.usd_per_million_output is not None else ""
    return Screen(
        answer=f"{where}: {b.num_devices} GPU{'s' * (b.num_devices > 1)} ({cut_words(b)}), {b.weights} weights, {b.kv} cache: "
        f"{format_rate(best.output_tokens_per_s_per_gpu)} tokens/s a GPU for {format_int(best.users)} users{money}",
        lead=[f"of {format_int(answer.num_candidates)} deployments; no other gives more both to a user and for a GPU than these:"],
        table=columns_kept(
            tables[0],
            "num_gpus",
            "cut",
            "weights",
            "users",
            "output_tokens_per_s_per_user",
            "output_tokens_per_s_per_gpu",
            "usd_per_million_output",
            "ttft_s",
            "itl_s",
            "kv",
            "max_num_seqs",
            always=6,
        ),
        notes=_notes(answer),
    )


def _notes(answer: SearchAnswer) -> list[str]:
    notes = held_lines(answer.question.deployment.model)
    notes += [f"others: {'; '.join(f'{format_int(count)} {why}' for why, count in answer.losers)}"]
    best = answer.best
    if best is None:
        return notes
    said = []
    for choice in dict.fromkeys(choice for choice, _, _ in answer.best_by):
        if choice == "max_num_seqs":
            continue
        others = [(value, found) for name, value, found in answer.best_by if name == choice][1 : 1 + SHOWN_CHOICES]
        worse = [f"{value} {1 - found.output_tokens_per_s_per_gpu / best.output_tokens_per_s_per_gpu:.0%} fewer" for value, found in others]
        said.append(f"{choice} {', '.join(worse)}")
    if said:
        notes.append(f"tokens/s a GPU with another: {'; '.join(said)}")
    notes.append("what a format changes of the answers is not judged; --weights and --kv hold them fixed")
    return notes
