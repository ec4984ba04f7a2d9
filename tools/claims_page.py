"""Every published run checked as a claim: the share of peak that its tokens and hours imply, beside what its authors print.

python -m tools.claims_page
"""

from __future__ import annotations

from estimators.architectures.from_config import model_from_config
from estimators.facts.percentile import percentile
from estimators.facts.published_runs import PublishedRun
from estimators.facts.registry import hardware, model_entry, published_runs
from estimators.training.at_utilization import training_flop
from estimators.training.claim import Claim, check_claim
from estimators.units import format_count, format_fraction, format_signed_fraction, format_signed_points
from reports.render import render
from reports.table import Column, Table, Value

CONVENTIONS = ("full", "causal")
"""Beside 6·N·D: they need the model's op table and the length of its sequences."""


def checked(run: PublishedRun) -> Claim | None:
    """The run as a claim about the shipped model of its architecture; None where it lacks tokens, hours, sequence length or model."""
    if run.tokens is None or run.device_seconds is None or run.seq_len is None or not run.model_id:
        return None
    entry = model_entry(run.model_id)
    return check_claim(
        model_from_config(entry.config, entry.id, entry.source),
        tokens=run.tokens,
        seq_len=run.seq_len,
        hardware=hardware(run.hardware_id),
        num_devices=1,
        wall_s=run.device_seconds,
        dtype=run.dtype,
    )


def _row(run: PublishedRun) -> dict[str, Value] | None:
    device = hardware(run.hardware_id)
    params = run.active_params or run.params
    if run.tokens is None or run.device_seconds is None or params is None:
        return None
    by_rule = 6 * params * run.tokens / (run.device_seconds * device.peak(run.dtype))
    claim = checked(run)
    shares = {name: claim.by_convention[name].utilization for name in CONVENTIONS} if claim else {}
    stands = percentile(by_rule, device, tokens=run.tokens, device_s=run.device_seconds)
    return {
        "run": run.name,
        "hardware": run.hardware_id,
        "tokens": run.tokens,
        **{f"{name}_fraction": shares.get(name) for name in CONVENTIONS},
        "six_nd_fraction": by_rule,
        "percentile_fraction": stands.percentile_fraction,
        "reported_fraction": run.reported_mfu,
        "difference_fraction": None if run.reported_mfu is None else (shares.get("full") or by_rule) - run.reported_mfu,
        "verdict": "" if claim is None else claim.verdict,
    }


def claims_table() -> Table:
    """One line per run with parameters, tokens and hours."""
    rows = [row for run in published_runs() if (row := _row(run))]
    impossible = [str(row["run"]) for row in rows if row["verdict"] == "impossible"]
    return Table(
        title=f"{len(rows)} published runs checked as claims: the share of peak that tokens and hours imply",
        conditions=[
            "full, causal: by the op table of the shipped model of the same architecture",
            "6·N·D: by the parameters as published, of a mixture of experts the active ones",
            "below it: the published dense runs on the same architecture, itself left out, with a smaller share by 6·N·D",
            "the hours cover the whole run, restarts and evaluation included; the MFU that authors print is mostly of the steady state",
        ],
        columns=[
            Column(key="run", header="run"),
            Column(key="hardware", header="device"),
            Column(key="tokens", header="tokens", format=format_count, align="right"),
            *(Column(key=f"{name}_fraction", header=name, format=format_fraction, align="right") for name in CONVENTIONS),
            Column(key="six_nd_fraction", header="6·N·D", format=format_fraction, align="right"),
            Column(key="percentile_fraction", header="below it", format=format_fraction, align="right"),
            Column(key="reported_fraction", header="MFU printed", format=format_fraction, align="right"),
            Column(key="difference_fraction", header="full, else 6·N·D, less it", format=format_signed_points, align="right"),
            Column(key="verdict", header="verdict"),
        ],
        rows=rows,
        notes=[f"Impossible: {', '.join(impossible) or 'none of them'}."],
        key="claims",
    )


def flop_table() -> Table:
    """One line per run whose authors print its FLOP: theirs beside the exact count and the rule."""
    rows: list[dict[str, Value]] = []
    for run in published_runs():
        params = run.active_params or run.params
        if run.training_flop is None or run.tokens is None or params is None:
            continue
        exact = None
        if run.model_id and run.seq_len:
            entry = model_entry(run.model_id)
            exact = training_flop(model_from_config(entry.config, entry.id, entry.source), run.tokens, run.seq_len)["full"]
        by_rule = 6 * params * run.tokens
        rows.append(
            {
                "run": run.name,
                "printed_flop": run.training_flop,
                "full_over_printed_fraction": None if exact is None else exact / run.training_flop - 1,
                "six_nd_over_printed_fraction": by_rule / run.training_flop - 1,
            }
        )
    return Table(
        title="Runs whose authors print their FLOP: ours over theirs, less one",
        columns=[
            Column(key="run", header="run"),
            Column(key="printed_flop", header="FLOP printed", format=lambda flop: f"{flop:.3g}", align="right"),
            Column(key="full_over_printed_fraction", header="full", format=format_signed_fraction, align="right"),
            Column(key="six_nd_over_printed_fraction", header="6·N·D", format=format_signed_fraction, align="right"),
        ],
        rows=rows,
        key="flop",
    )


def tables() -> list[Table]:
    """Both tables of the page."""
    return [claims_table(), flop_table()]


if __name__ == "__main__":
    print(render(tables(), "md"))
