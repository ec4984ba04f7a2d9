"""Shares of peak that a training is priced at where no step is predicted, and who says so."""

from __future__ import annotations

from estimators.spec import Hardware, Model

BOUND = "at least"
"""The label of a training at the whole peak, which nothing reaches."""


def shares_of_peak(model: Model, hardware: Hardware, given: float | None, why_not_predicted: str) -> tuple[dict[str, float], str]:
    """Label to share of peak, and who says so: the user, or the published runs on the device's architecture.

    Those are of language models: of any other model only the bound is known, the time at the whole peak.

    Args:
        given: the share that the user gives; None for none.
        why_not_predicted: of the model's step; empty where it could be.
    """
    if given is not None:
        return {"given": given}, "given by --utilization"
    if not model.generates or model.sample is not None:
        source = (
            f"the whole peak, which nothing reaches: published runs are of language models, and {model.name} is no such model, so that "
            "their utilizations say nothing of it. --utilization sets your own."
        )
        return {BOUND: 1.0}, source
    from estimators.facts.registry import utilization_range  # deferred: a share that was given needs no published run

    published = utilization_range(hardware)
    source = f"{published.source.title}. {published.source.note} --utilization sets your own."
    if why_not_predicted:
        source += f" No step is predicted: {why_not_predicted}."
    return {"low": published.low, "median": published.median, "high": published.high}, source
