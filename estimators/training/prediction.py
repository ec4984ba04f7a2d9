"""predict(): one training step on a cluster, with its ledger, its interval, and the rates that follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.cost.efficiency import efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import Machine, MeasuredRates, machine_of
from estimators.cost.software import Stack, software, stack, usual_stack
from estimators.errors import BadValueError
from estimators.frozen import field, frozen
from estimators.spec import Hardware, Model
from estimators.training.interval import case_class, has_measured_steps, interval, is_measured
from estimators.training.passes import holds_scores
from estimators.training.sequence_cost import SequenceCost, sequence_cost_of
from estimators.training.step import OPTIMIZER_BYTES, Ledger, step_time

if TYPE_CHECKING:
    from estimators.tuning.job import TuningJob

NEVER_MEASURED = "no measured step ran on {hardware.architecture}: the constants are those of other devices, and the interval is wider"

SCANS = (
    "scans of {work.scan_layers} layers are priced as fused attention of as many FLOP, and divided by data, stages and experts alone: "
    "no measured step has them"
)
"""What is assumed of layers with a recurrent state. It is optimistic for scans without products: Falcon-Mamba-7B's whole run took 2.93
times the steady steps predicted so, where others took 1.52."""

PLAIN_SCORES = "{work.unfused_layers} layers with sinks and a window: no fused kernel does them, plain products that write their scores do"
NO_SCORES = (
    "{work.unfused_layers} layers with sinks and a window: no memory holds the scores of plain products, so that a kernel is assumed that "
    "writes none; a shorter sequence may be priced slower by the token"
)

MOST_UNSEEN = 0.2
"""Of what `full` counts: published shares are of sequences of up to 8,192 tokens, of which the unseen half of attention is less."""


@frozen
class Prediction:
    """One predicted training step.

    Attributes:
        ledger: seconds by part; they sum to the step.
        case_class: one of `training.interval.CLASSES`.
        low_s, high_s: the 80 % interval of the step time.
        notes: what was assumed.
        tuning: what it is a step of where a framework of fine-tuning runs it; None else.
    """

    work: SequenceCost
    layout: Layout
    hardware: Hardware
    machine: Machine
    stack: Stack
    dtype: str
    case_class: str
    ledger: Ledger = field(hash=False)
    low_s: float
    high_s: float
    notes: tuple[str, ...]
    tuning: TuningJob | None = None

    @property
    def step_time_s(self) -> float:
        """Seconds of one step."""
        return float(self.ledger.step_time_s)

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one step, all devices together."""
        return self.layout.global_batch * self.work.seq_len

    def num_steps(self, tokens: int) -> float:
        """Steps on so many tokens: a last, shorter one counts in proportion, but whole of a fine-tuning, as on a data set."""
        return tokens / self.tokens_per_step if self.tuning is None else -(-tokens // self.tokens_per_step)

    def run_s(self, tokens: int, step_time_s: float | None = None) -> float:
        """Seconds of steady steps on so many tokens.

        Args:
            step_time_s: such as low_s, in place of the predicted one.
        """
        return self.num_steps(tokens) * (self.step_time_s if step_time_s is None else step_time_s)

    @property
    def tokens_per_s_per_device(self) -> float:
        """Throughput of one device."""
        return self.tokens_per_step / self.step_time_s / self.layout.num_devices

    def model_flop(self, convention: str = "full") -> int:
        """FLOP of one step under `full`, `causal` or `hardware` (as full, with what the layout recomputes in full)."""
        forward, backward = self.work.forward_flop(causal=False), self.work.backward_flop(causal=False)
        if convention == "causal":
            forward, backward = forward - self.work.unseen_flop, backward - self.work.unseen_backward_flop
        again = forward if convention == "hardware" and self.layout.full else 0
        return (forward + backward + again) * self.layout.global_batch

    def utilization(self, convention: str = "full") -> float | None:
        """FLOP under a convention over what the peaks would do in the step; None where no peak is published.

        It passes 1 where the convention counts what no kernel runs: `full` the square of layers with a window.
        """
        return self._share(self.model_flop(convention))

    def _share(self, flop: int) -> float | None:
        peak = self.hardware.peak_flop_per_s.get(self.dtype)
        return flop / (self.step_time_s * peak * self.layout.num_devices) if peak else None

    @property
    def convention(self) -> str:
        """What its MFU counts: `full`, as most published shares do, and `causal` where that overstates.

        So it does where a layer has a window or a chunk, where the sequence is so long that more than MOST_UNSEEN of the count are
        keys that no query may see, and where a share of peak would pass 1.
        """
        unseen = self.model_flop("full") - self.model_flop("causal")
        overstates = self.work.has_windows or unseen > MOST_UNSEEN * self.model_flop("full") or (self.utilization("hardware") or 0) > 1
        return "causal" if overstates else "full"

    @property
    def mfu(self) -> float | None:
        """FLOP of the model over what the peaks would do in the step; None where no peak is published."""
        return self.utilization(self.convention)

    @property
    def hfu(self) -> float | None:
        """As mfu, with the forward pass that the layout runs again in full."""
        forward = self.work.forward_flop(causal=False) - (self.work.unseen_flop if self.convention == "causal" else 0)
        again = forward * self.layout.global_batch if self.layout.full else 0
        return self._share(self.model_flop(self.convention) + again)


def predict(
    model: Model,
    seq_len: int,
    layout: Layout,
    hardware: Hardware,
    *,
    dtype: str = "bf16",
    stack_id: str = "",
    cluster: str = "",
    network_bytes_per_s: float | None = None,
    own: MeasuredRates | None = None,
    optimizer: str = "adamw",
    without: str = "",
) -> Prediction:
    """The predicted step of a model under a layout.

    Args:
        dtype: of the matrix products.
        stack_id: the software; see stacks.json. Empty for the one that usually runs the layout.
        network_bytes_per_s, own: measured by the user, in place of the shipped figures.
        without: a source whose rows the constants must not have seen.

    Raises:
        BadValueError: no peak for the dtype, an unknown optimizer, a model that layouts do not apply to; one line.
        UnknownNameError: an unknown software.
    """
    if optimizer not in OPTIMIZER_BYTES:
        raise BadValueError(f"optimizer {optimizer!r} is unknown; expected one of: {', '.join(OPTIMIZER_BYTES)}")
    work = sequence_cost_of(model, seq_len)
    machine = machine_of(hardware, dtype, cluster=cluster, network_bytes_per_s=network_bytes_per_s, own=own)
    chosen, e = stack(stack_id or usual_stack(layout)), efficiency(without)
    ledger = step_time(work, layout, machine, software(chosen, hardware.architecture, e), e, optimizer=optimizer)
    name = case_class(chosen.id, experts=work.experts > 1, measured=is_measured(hardware, own), scans=work.scan_layers > 0)
    below, above = interval(name, hardware)
    seconds = float(ledger.step_time_s)
    return Prediction(
        work=work,
        layout=layout,
        hardware=hardware,
        machine=machine,
        stack=chosen,
        dtype=dtype,
        case_class=name,
        ledger=ledger,
        low_s=seconds * below,
        high_s=seconds * above,
        notes=(*machine.notes, *_assumed(work, layout, machine, chosen, hardware)),
    )


def _assumed(work: SequenceCost, layout: Layout, machine: Machine, chosen: Stack, hardware: Hardware) -> list[str]:
    """What was assumed beside the rates of the machine."""
    notes = [] if has_measured_steps(hardware) else [NEVER_MEASURED.format(hardware=hardware)]
    if work.scan_layers:
        notes.append(SCANS.format(work=work))
    if work.unfused_layers and chosen.attention != "unfused":
        notes.append((PLAIN_SCORES if holds_scores(work, layout, machine) else NO_SCORES).format(work=work))
    return notes
