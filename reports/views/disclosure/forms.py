"""The forms that a disclosure is asked for in: a model card, NeurIPS's checklist, a paper, the EU's AI Act."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from estimators.disclosure.disclosure import NOT_ADVICE, Disclosure
from estimators.frozen import replace
from estimators.units import plural
from reports import latex
from reports.render import render
from reports.screen import columns_kept
from reports.table import Table
from reports.views.disclosure import words
from reports.views.disclosure.tables import experiments_table, thresholds_table, totals_table

DIGITS = 6
"""Significant digits of grams in a card."""

MOST_ROWS = 20
"""Experiments that a paper's table names one by one."""


def model_card(disclosure: Disclosure) -> str:
    """Front matter with co2_eq_emissions, grams, as huggingface_hub loads it, and a section for people.

    Without any energy there is no block: the field has no way to say that a figure is missing.
    """
    block = emissions_block(disclosure)
    return (_front_matter(block) if block else "") + _card_section(disclosure)


def emissions_block(disclosure: Disclosure) -> dict[str, object] | None:
    """The fields of co2_eq_emissions; None where no energy is known. Their one figure adds up the kinds that `source` tells apart."""
    masses_kg = [found for kind in disclosure.kinds if (found := disclosure.carbon_kg(kind)) is not None]
    if not masses_kg:
        return None
    together = " added up here" if len(masses_kg) > 1 else ""
    block: dict[str, object] = {
        "emissions": float(f"{1000 * sum(masses_kg):.{DIGITS}g}"),
        "source": f"sixnd disclose: {words.energy_words(disclosure)}{together}; {words.factor_words(disclosure)}",
    }
    if disclosure.training_type:
        block["training_type"] = disclosure.training_type
    if disclosure.setting.grid.code:
        block["geographical_location"] = disclosure.setting.grid.name
    return {**block, "hardware_used": words.hardware_words(disclosure)}


def _front_matter(block: Mapping[str, object]) -> str:
    import yaml  # deferred: no other form needs it

    return f"---\n{yaml.safe_dump({'co2_eq_emissions': dict(block)}, sort_keys=False, allow_unicode=True, width=10**6)}---\n\n"


def _card_section(disclosure: Disclosure) -> str:
    total = disclosure.total
    lines = [
        f"Hardware: {words.hardware_words(disclosure)}",
        f"Time: {words.hours_words(total)}, {plural(len(total.experiments), 'experiment')}",
        words.begun(words.compute_words(total)),
        words.device_time_words(total),
        f"Energy: {words.energy_words(disclosure)}",
        words.window_words(total),
        f"CO2e: {words.carbon_words(disclosure)}; {words.factor_words(disclosure)}",
        _apart(disclosure),
        *disclosure.remarks,
        *(f"left out: {line}" for line in disclosure.left_out),
    ]
    return "## Compute, energy and emissions\n\n" + "\n".join(f"- {line}" for line in filter(None, lines))


def _apart(disclosure: Disclosure) -> str:
    apart = words.apart_words(disclosure)
    return f"Of these: {apart}" if apart else ""


def neurips(disclosure: Disclosure) -> str:
    """The answer to "Experiments Compute Resources" of NeurIPS's checklist: workers, memory, time of each and of all, what else was run."""
    total = disclosure.total
    seconds = [each.device_s for each in disclosure.experiments if each.device_s is not None]
    each_took = f"; one took {words.time_words(min(seconds))} to {words.time_words(max(seconds))}" if len(seconds) > 1 else ""
    apart = words.apart_words(disclosure)
    whole = (
        f"Beyond the runs that completed, the total holds {apart}."
        if apart
        else "No failed or preliminary run is among the records; if there were any, the project needed more than this."
    )
    parts = [
        f"Workers and their memory: {words.hardware_words(disclosure)}.",
        f"{plural(len(total.experiments), 'experiment')} took {words.hours_words(total)} in total{each_took}.",
        f"In sum: {words.compute_words(total)}.",
        whole,
    ]
    answer = "Yes" if total.device_s.is_whole and not disclosure.left_out else "No"
    if answer == "No":
        parts.append("The time of some of what was run is not known.")
    said = " ".join(latex.escaped(part) for part in parts)
    return "\n".join(
        [
            "% Experiments Compute Resources; no record knows whether this was a cluster of your own or a cloud, nor its storage: say so",
            rf"\item[] Answer: \answer{answer}{{}}",
            rf"\item[] Justification: {said}",
        ]
    )


def paper(disclosure: Disclosure) -> str:
    """A paragraph and a table for a paper."""
    total = disclosure.total
    sentences = [
        f"All experiments ran on {words.hardware_words(disclosure)}.",
        f"Together they took {words.hours_words(total)} ({plural(len(total.experiments), 'experiment')}).",
        f"In sum: {words.compute_words(total)}.",
        f"{words.device_time_words(total)}." if words.device_time_words(total) else "",
        f"Of these: {words.apart_words(disclosure)}." if words.apart_words(disclosure) else "",
        f"Energy at the devices: {words.energy_words(disclosure)}.",
        f"CO2 equivalent: {words.carbon_words(disclosure)}, at {words.factor_words(disclosure)}.",
    ]
    paragraph = " ".join(latex.escaped(sentence) for sentence in sentences if sentence)
    table = latex.latex(_paper_table(disclosure).printable())
    return "\n".join([r"\paragraph{Compute, energy and emissions.}", paragraph, "", latex.document([table])])


def _paper_table(disclosure: Disclosure) -> Table:
    """The experiments, or where they are many the totals."""
    if len(disclosure.experiments) > MOST_ROWS:
        totals = totals_table(disclosure)
        return _bare(totals, *(column.key for column in totals.columns))
    table = experiments_table(disclosure)
    keys = [column.key for column in table.shown if column.key not in ("name", "reached_fraction")]
    return _bare(table, *keys)


def _bare(table: Table, *keys: str) -> Table:
    """The table without what its paragraph says, and without columns that are empty."""
    filled = [key for key in keys if any(row.get(key) is not None for row in table.rows)]
    return replace(columns_kept(table, *filled), conditions=[], notes=[], title="Experiments and what they took")


def ai_act(disclosure: Disclosure) -> str:
    """Training compute by both routes, and the thresholds of the EU's AI Act with date, source and confidence, as Markdown."""
    total = disclosure.total
    lines = [
        f"{NOT_ADVICE}",
        f"{words.begun(words.compute_words(total))}.",
        f"{words.device_time_words(total)}.",
        _apart(disclosure),
    ]
    table = thresholds_table(disclosure)
    return "\n\n".join([*filter(None, lines), render([table], "md")])


FORMS: dict[str, Callable[[Disclosure], str]] = {"model-card": model_card, "neurips": neurips, "latex": paper, "ai-act": ai_act}
"""What --format takes beside the formats of every table; `latex` in place of the tables' own."""
