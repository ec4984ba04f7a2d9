"""Shares of peak that a training is priced at where no step is predicted, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.spec import Hardware, Model, Workload

if TYPE_CHECKING:
    from estimators.training.sample_rates import Rate

BOUND = "at least"
"""The label of a training at the whole peak, which nothing reaches."""


def shares_of_peak(
    model: Model, hardware: Hardware, given: float | None, why_not_predicted: str, *, dtype: str, seq_len: int
) -> tuple[dict[str, float], str]:
    """Label to share of peak, counted `full`, and who says so: the user, or the published runs on the device's architecture.

    Those are of language models. A model of images or speech has the rate of its own class; of any other only the bound is known, the
    time at the whole peak.

    Args:
        given: the share that the user gives; None for none.
        why_not_predicted: of the model's step; empty where it could be.
        dtype: of the products.
        seq_len: tokens of a sequence; 1 for models of samples.

    Raises:
        BadValueError: no peak for the dtype.
    """
    if given is not None:
        return {"given": given}, "given by --utilization"
    if not model.generates or model.sample is not None:
        from estimators.training.sample_rates import rate_of  # deferred: language models do without it

        if model.base is model and (rate := rate_of(model, hardware, dtype, seq_len)) is not None:
            return shares_at(rate, model, hardware, dtype, seq_len), rate.said
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


def shares_at(rate: Rate, model: Model, hardware: Hardware, dtype: str, seq_len: int = 1) -> dict[str, float]:
    """The shares of peak that a predicted rate is: at the slow end of its interval, in the middle, at the fast end but no more than 1."""
    ops = model.ops(Workload(phase="train", seq_len=seq_len, dtype=dtype))
    bound = sum(op.count * (op.flop + op.backward_flop) for op in ops) / hardware.peak(dtype)
    return {label: min(1.0, bound / seconds) for label, seconds in (("low", rate.high_s), ("median", rate.seconds), ("high", rate.low_s))}
