"""Learning: what a trained model learned, what a model wrote, and what a self-test tried."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bench.records.part import Part
from bench.records.proof import Proof


class CurvePoint(Part):
    """Losses after an epoch."""

    epoch: int
    train_loss: float
    heldout_loss: float


class ViewsScale(Part):
    """Of a series of views, what its values were normalised by."""

    mean_views: float
    std_views: float


class Learning(Part):
    """A record's `learning`. A figure that is stated as None was not finite.

    Attributes:
        data, loss_unit: what it was trained on, and what its losses are in.
        train_..., heldout_...: losses and scores on the training data and on held-out data.
        baseline_...: of the simplest guess; baseline_losses: of several, by name.
        bound_...: of the best that is possible, and how that is known.
        curve: losses after some of the epochs.
        sample, sample_lines, sample_grammatical_lines: what the small GPT wrote.
        output_ids, output_text: of a generation.
        clock_resolution_s, training_loop, idle_loop: of a self-test.
    """

    data: str | None = None
    loss_unit: str | None = None
    normalised_by: ViewsScale | None = None
    baseline_losses: Mapping[str, float] = MappingProxyType({})
    baseline_accuracy: float | None = None
    bound_loss: float | None = None
    bound_accuracy: float | None = None
    bound: str | None = None
    entropy_rate_nats_per_character: float | None = None
    num_train: int | None = None
    num_heldout: int | None = None
    curve: tuple[CurvePoint, ...] = ()
    train_loss: float | None = None
    heldout_loss: float | None = None
    train_accuracy: float | None = None
    heldout_accuracy: float | None = None
    train_rmse_views: float | None = None
    heldout_rmse_views: float | None = None
    sample: str | None = None
    sample_lines: int | None = None
    sample_grammatical_lines: int | None = None
    output_ids: tuple[int, ...] = ()
    output_text: str | None = None
    clock_resolution_s: float | None = None
    training_loop: Proof | None = None
    idle_loop: Proof | None = None

    @property
    def best_epoch(self) -> CurvePoint | None:
        """Of the curve, the point of the lowest held-out loss, the first of several; None without a curve."""
        return min(self.curve, key=lambda point: point.heldout_loss, default=None)
