"""A simulated load: latencies by request and token, the four rates, the batch over time, and what was assumed."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.serving.load import LoadInterval, LoadQuestion
from estimators.serving.load_answer import DEFINITIONS, LoadAnswer
from estimators.units import format_duration, format_fraction, format_int, format_rate
from reports.screen import Screen, columns_kept
from reports.table import Column, Table, Value
from reports.views.serving.words import deployment_facts
from reports.views.training.conditions import held_lines

WORDS = {"queue_s": "queue", "ttft_s": "TTFT", "itl_s": "ITL", "tpot_s": "TPOT", "e2e_s": "end to end"}
"""Latencies as people call them."""

HEADERS = {"mean": "mean", "mean_low": "from", "mean_high": "to", "p50": "p50", "p90": "p90", "p99": "p99", "most": "most"}
"""Figures of a latency; from and to are the mean's 80 % interval."""

MOMENTS = 20
"""Of the table of the batch over time."""


def load_tables(question: LoadQuestion, answer: LoadAnswer, ends: LoadInterval) -> list[Table]:
    """Latencies, the batch over time, the assumptions."""
    return [latency_table(question, answer, ends), batch_table(answer), assumed_table(answer)]


def latency_table(question: LoadQuestion, answer: LoadAnswer, ends: LoadInterval) -> Table:
    """By latency: mean, median and percentiles, with their definitions."""
    rows: list[dict[str, Value]] = []
    for name, words in WORDS.items():
        spread = answer.latencies[name]
        seconds = dict.fromkeys(("mean_s", "p50_s", "p90_s", "p99_s", "most_s"))
        if spread:
            seconds = {"mean_s": spread.mean, "p50_s": spread.p50, "p90_s": spread.p90, "p99_s": spread.p99, "most_s": spread.most}
        low, high = ends.low.latencies[name], ends.high.latencies[name]
        bounds = {"mean_low_s": low.mean if low else None, "mean_high_s": high.mean if high else None}
        rows.append({"latency": words, **seconds, **bounds, "definition": DEFINITIONS[name]})
    return Table(
        title=f"{subject(question)} under {answer.load}, simulated",
        columns=[
            Column(key="latency", header="latency"),
            *(Column(key=f"{key}_s", header=header, format=format_duration, align="right") for key, header in HEADERS.items()),
            Column(key="definition", header="definition"),
        ],
        rows=rows,
        notes=[*held_lines(question.deployment.model), interval_text(ends), *answer.assumed],
        facts=_facts(question, answer) | {"step_low_fraction": ends.low_factor, "step_high_fraction": ends.high_factor},
        key="latencies",
        kind="estimated",
    )


def _facts(question: LoadQuestion, answer: LoadAnswer) -> dict[str, object]:
    d, requests = question.deployment, question.requests
    ttft, itl = answer.latencies["ttft_s"], answer.latencies["itl_s"]
    return deployment_facts(d) | {
        "num_gpus_per_replica": answer.num_gpus,
        "load": answer.load,
        "num_answered": answer.num_answered,
        "num_refused": answer.num_refused,
        "mean_input_tokens": requests.mean_input_tokens,
        "mean_output_tokens": requests.mean_output_tokens,
        "ttft_s": ttft.mean if ttft else None,
        "itl_s": itl.mean if itl else None,
        "wall_s": answer.duration_s,
        "requests_per_s_per_replica": answer.requests_per_s,
        "output_tokens_per_s_per_replica": answer.output_tokens_per_s,
        "output_tokens_per_s_per_gpu": answer.output_tokens_per_s_per_gpu,
        "output_tokens_per_s_per_user": answer.output_tokens_per_s_per_user,
        "prompt_tokens_per_s_per_replica": answer.prompt_tokens_per_s,
        "running": answer.running,
        "in_flight": answer.in_flight,
        "most_running": answer.most_running,
        "most_blocks_fraction": answer.most_blocks_share,
        "num_pushed_out": answer.num_pushed_out,
        "reread_fraction": answer.reread_share,
    }


def batch_table(answer: LoadAnswer) -> Table:
    """Sequences that decode and prompt tokens that are read, at moments evenly spread over the load."""
    rows: list[dict[str, Value]] = []
    place = 0
    for moment in range(MOMENTS):
        at_s = answer.steps[0][0] + answer.duration_s * moment / MOMENTS
        while place + 1 < len(answer.steps) and answer.steps[place + 1][0] <= at_s:
            place += 1
        rows.append({"at_s": at_s, "decoding": answer.steps[place][1], "prompt_tokens": answer.steps[place][2]})
    return Table(
        title="The batch over time",
        columns=[
            Column(key="at_s", header="at", format=format_duration, align="right"),
            Column(key="decoding", header="sequences that decode", format=format_int, align="right"),
            Column(key="prompt_tokens", header="prompt tokens of the step", format=format_int, align="right"),
        ],
        rows=rows,
        key="batch",
        kind="estimated",
    )


def assumed_table(answer: LoadAnswer) -> Table:
    """What the simulation takes for granted."""
    columns = [Column(key="assumed", header="assumed")]
    return Table(title="Assumptions", columns=columns, rows=[{"assumed": line} for line in answer.assumed], key="assumptions")


def load_screen(
    question: LoadQuestion, answer: LoadAnswer, ends: LoadInterval, tables: Sequence[Table], *, beyond: Sequence[str] = ()
) -> Screen:
    """The answer in one line, latencies, the rates, the assumptions that matter most.

    Args:
        beyond: latencies whose mean is beyond its limit.
    """
    ttft, itl = answer.latencies["ttft_s"], answer.latencies["itl_s"]
    assert ttft is not None
    between = f", then {format_duration(itl.mean)} a token (p99 {format_duration(itl.p99)})" if itl else ""
    user = answer.output_tokens_per_s_per_user
    rates = [
        f"output tokens/s: {format_rate(answer.output_tokens_per_s)} by replica, {format_rate(answer.output_tokens_per_s_per_gpu)} by GPU, "
        f"{format_rate(user) if user else '–'} by user; prompt tokens/s {format_rate(answer.prompt_tokens_per_s)}; "
        f"{format_rate(answer.requests_per_s)} requests/s"
    ]
    batch = (
        f"{answer.running:.3g} sequences decode in the mean, {format_int(answer.most_running)} at most; "
        f"{format_fraction(answer.most_blocks_share)} of the cache was held at most"
    )
    if answer.num_pushed_out:
        batch += (
            f"; requests gave way {format_int(answer.num_pushed_out)} times, {format_fraction(answer.reread_share)} of reading is again"
        )
    late = [f"the mean {WORDS[name]} is beyond its limit" for name in beyond]
    refused = [f"{format_int(answer.num_refused)} requests can never fit and were refused"] if answer.num_refused else []
    return Screen(
        answer=f"{format_duration(ttft.mean)} to the first token (p99 {format_duration(ttft.p99)}){between}: "
        f"{subject(question)} under {answer.load}",
        lead=[*rates, batch],
        table=columns_kept(tables[0], "latency", "mean_s", "mean_low_s", "mean_high_s", "p50_s", "p90_s", "p99_s", always=4),
        doubts=[*late, *refused],
        notes=[*held_lines(question.deployment.model), interval_text(ends), *answer.assumed],
        failed=bool(beyond),
    )


def interval_text(ends: LoadInterval) -> str:
    """What from and to mean."""
    return f"from and to: the mean where every step takes {ends.low_factor:.2f} and {ends.high_factor:.2f} times as long, its 80 % interval"


def subject(question: LoadQuestion) -> str:
    """Such as ``Llama 3.1 8B (fp8) on 2 x H100 SXM``."""
    d, pool = question.deployment, question.prefill
    devices = d.hardware.name if d.num_devices == 1 else f"{d.num_devices} x {d.hardware.name}"
    reading = f" behind {pool.num_devices} x {pool.hardware.name} for prompts" if pool else ""
    return f"{d.model.name} ({d.weights}) on {devices}{reading}"
