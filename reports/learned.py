"""What a suite's trainings show together: more days help, too many parameters overfit, and the rule of thumb of each of its models."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.record import Measurement
from bench.records.request import TASKS
from bench.statistics.rates import MAIN_PHASE
from estimators.counting.formulas import six_nd, two_n
from estimators.frozen import frozen


@frozen
class Learned:
    """What one network learned of daily views.

    Attributes:
        model: its name.
        params: of it.
        look_back_days, train_days: days that it sees, days that it was trained to predict.
        is_linear: whether it has no hidden layer.
        epochs: passes over the training days.
        train_loss, heldout_loss: after the last epoch.
        best_heldout_loss, best_epoch: the lowest on its curve, and where.
        record: it.
    """

    model: str
    params: int
    look_back_days: int
    train_days: int
    is_linear: bool
    epochs: int
    train_loss: float
    heldout_loss: float
    best_heldout_loss: float
    best_epoch: int
    record: Measurement

    @property
    def lost_by_overfitting(self) -> float:
        """How many times the held-out loss of its best epoch the last one's is."""
        return self.heldout_loss / self.best_heldout_loss


def learned(records: Sequence[Measurement]) -> list[Learned]:
    """Of the trainings on views that ended: fewest training days last, then the smallest first."""
    found = []
    for record in records:
        widths, said, best = (record.request.config or {}).get("widths"), record.learning, record.learning.best_epoch
        if not (isinstance(widths, list) and len(widths) > 1 and isinstance(widths[0], int)):  # of no dense network, or a changed record
            continue
        if said.normalised_by is None or best is None or said.train_loss is None or said.heldout_loss is None or not best.heldout_loss > 0:
            continue
        found.append(
            Learned(
                model=record.request.model,
                params=record.estimate.params or 0,
                look_back_days=widths[0],
                train_days=said.num_train or 0,
                is_linear=len(widths) == 2,
                epochs=record.request.epochs or best.epoch,
                train_loss=said.train_loss,
                heldout_loss=said.heldout_loss,
                best_heldout_loss=best.heldout_loss,
                best_epoch=best.epoch,
                record=record,
            )
        )
    return sorted(found, key=lambda each: (-each.train_days, each.params, each.record.created_utc))


def overfit(trained: Sequence[Learned]) -> Learned | None:
    """The one that lost most by training on, if it lost a tenth and more; None where none did."""
    worst = max(trained, key=lambda each: each.lost_by_overfitting, default=None)
    return worst if worst is not None and worst.lost_by_overfitting >= OVERFIT_RATIO else None


OVERFIT_RATIO = 1.1
"""Held-out loss of the last epoch over the best one's, from which it is called overfitting: a curve of sampled batches wanders by less."""


@frozen
class ByRule:
    """The rule of thumb of one model with its numbers put in.

    Attributes:
        rule: 6·N·D of a training, 2·N·D of a generation.
        params, tokens: N and D.
        rule_flop: what it comes to.
        counted_flop: every product, by the op table, of the same work.
        work: what that is.
    """

    model: str
    work: str
    rule: str
    params: int
    tokens: int
    rule_flop: int
    counted_flop: int

    @property
    def ratio(self) -> float:
        """Rule over count."""
        return self.rule_flop / self.counted_flop


def by_rule(records: Sequence[Measurement]) -> list[ByRule]:
    """Of the language models; a rule per token says nothing of other networks."""
    found = []
    for record in records:
        asked, params = record.request, record.estimate.params
        if params is None or (asked.config or {}).get("model_type") == "dense_network":
            continue
        if asked.tokens is not None and record.estimate.training_flop:
            work, train, tokens, counted = "whole training", True, asked.tokens, record.estimate.training_flop
        elif asked.task in TASKS and asked.task in ("train", "generate") and MAIN_PHASE[asked.task] in record.estimate.phases:
            train = asked.task == "train"
            rows = (asked.batch or 1) * (asked.num_beams or 1)
            # a generation reads the prompt once and each new token but the last
            length = (asked.seq_len or 1) if train else (asked.seq_len or 1) + (asked.new_tokens or 1) - 1
            work, tokens = "one step" if train else "one generation", rows * length
            counted = record.estimate.phases[MAIN_PHASE[asked.task]].flop.full
        else:
            continue
        product = (six_nd if train else two_n)(params, tokens)
        found.append(
            ByRule(
                model=asked.model,
                work=work,
                rule="6·N·D" if train else "2·N·D",
                params=params,
                tokens=tokens,
                rule_flop=product,
                counted_flop=counted,
            )
        )
    return sorted(found, key=lambda each: each.params)
