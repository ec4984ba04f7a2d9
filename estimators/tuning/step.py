"""One step of a fine-tuning: where its seconds go, on the step model that trainings are predicted with."""

from __future__ import annotations

from estimators.architectures.adapters import trained
from estimators.cost.array_math import Lane
from estimators.cost.efficiency import efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import HOST_BYTES_PER_S, Machine, MeasuredRates, machine_of
from estimators.cost.software import Software
from estimators.errors import BadValueError
from estimators.frozen import field, frozen, replace
from estimators.spec import Hardware
from estimators.training.scoring import scoring_s
from estimators.training.sequence_cost import SequenceCost, sequence_cost_of
from estimators.training.step import OPTIMIZER_BYTES, TUNING_PARTS, Ledger, step_time
from estimators.training.supported import why_not_predicted
from estimators.tuning.constants import tuning_constants
from estimators.tuning.job import TuningJob
from estimators.tuning.software import optimizer_kind, tuning_software

STAGES = {"none": 0, "ddp": 0, "zero-1": 1, "zero-2": 2, "zero-3": 3, "fsdp": 3, "device-map": 0}
"""ZeRO stage of each way to share."""

HOST_MEMORY_BYTES_PER_S = 100e9
"""What an optimizer on the host reaches, all ranks of a node together: half of eight channels of DDR4-3200. Assumed."""


@frozen
class TuningStep:
    """One predicted step.

    Attributes:
        job: with `seq_len` the length of this step's rows.
        work: one row's work, of the model as it is trained.
        ledger: seconds by part; they sum to the step.
        notes: what was assumed of the machine.
    """

    job: TuningJob
    hardware: Hardware
    work: SequenceCost
    layout: Layout
    machine: Machine
    ledger: Ledger = field(hash=False)
    notes: tuple[str, ...] = ()

    @property
    def step_time_s(self) -> float:
        """Seconds of one optimizer step."""
        return float(self.ledger.step_time_s)

    @property
    def tokens(self) -> int:
        """Of one step over all devices, padding included, rows of pairs counted one by one."""
        return self.layout.global_batch * self.work.seq_len

    @property
    def flop(self) -> int:
        """Of one step under `full`: forward, backward as far as a gradient flows, and the reference's forward."""
        of_row = self.work.forward_flop(causal=False) + self.work.backward_flop(causal=False)
        return self.layout.global_batch * (of_row + (reference_work(self.job).forward_flop(causal=False) if has_reference(self.job) else 0))


def has_reference(job: TuningJob) -> bool:
    """Whether a reference model runs forward in every step."""
    return job.reference in ("adapters-off", "copy")


def reference_work(job: TuningJob) -> SequenceCost:
    """One row of the reference: the base without adapters, of which nothing is trained."""
    base = job.model if not job.trains_adapters else trained(job.model, replace(job.method, rank=1, targets=(), dora=False))
    work = sequence_cost_of(base, job.seq_len)
    plain = sequence_cost_of(job.model, job.seq_len)
    return replace(plain, quantised_params=work.quantised_params, quantised_bytes=work.quantised_bytes)


def layout_of(job: TuningJob) -> Layout:
    """The job as the step model cuts it: devices that share samples, rows of pairs counted one by one."""
    dp = job.data_parallel
    return Layout(
        dp=dp,
        zero=STAGES[job.sharding] if dp > 1 else 0,
        micro_batch=job.rows,
        global_batch=job.rows * job.accumulation * dp,
        recompute="none" if job.checkpointing == "none" else "full",
    )


def tuning_step(
    job: TuningJob,
    hardware: Hardware,
    *,
    square_share: float = 1.0,
    without: str = "",
    own: MeasuredRates | None = None,
    network_bytes_per_s: float | None = None,
    cluster: str = "",
) -> TuningStep:
    """The predicted step of a job whose rows have `seq_len` tokens.

    Args:
        square_share: of the pairs of positions in a row, those that attention computes: below 1 where samples are packed and do not see
            each other.
        without: a source that the constants of fine-tuning must not have seen.
        own, network_bytes_per_s: rates that the user measured.
        cluster: a known one, for its network.

    Raises:
        BadValueError: a model that no step is predicted of, no peak for the dtype, or a job that trains nothing.
    """
    model = trained(job.model, job.method)
    if job.objective == "inference":
        raise BadValueError("inference trains nothing; a step of fine-tuning needs another objective")
    if reason := why_not_predicted(model, job.seq_len):
        raise BadValueError(f"{reason}; no step of it is predicted")
    machine = machine_of(hardware, job.dtype, own=own, network_bytes_per_s=network_bytes_per_s, cluster=cluster)
    layout, e = layout_of(job), efficiency()
    kernels = tuning_software(job, hardware.architecture, e, tuning_constants(without))
    work = _packed(sequence_cost_of(model, job.seq_len), square_share)
    if work.scan_layers:
        raise BadValueError(
            f"{model.name} has scans in {work.scan_layers} layers, whose time in a fine-tuning hangs on kernels that may not be there; "
            "no step of it is predicted"
        )
    kind = optimizer_kind(job.optimizer)
    parts = dict(step_time(work, layout, machine, kernels, e, optimizer=kind).parts)
    if job.weights_dtype != "fp32" and not job.has_fp32_masters and not job.trains_adapters:
        parts["optimizer"] = parts["optimizer"] / 2  # weights, gradients and moments of 16 bits
    if job.offload.optimizer:
        parts["optimizer"] = 0.0
    reference = _packed(reference_work(job), square_share) if has_reference(job) else None
    parts["reference"] = scoring_s(reference, layout, machine, kernels, e) if reference else 0.0
    parts["offload"] = _offload_s(job, work, layout, hardware, kernels, kind, sum(parts.values()))
    return TuningStep(
        job=job,
        hardware=hardware,
        work=work,
        layout=layout,
        machine=machine,
        ledger=Ledger(parts={name: parts[name] for name in TUNING_PARTS}),
        notes=machine.notes,
    )


def _packed(work: SequenceCost, share: float) -> SequenceCost:
    """A row of samples that do not see each other: attention's products shrink, all else stays."""
    if share >= 1:
        return work
    fields = ("attention_flop", "masked_flop", "unseen_flop", "score_elements", "unfused_flop", "unfused_visible_flop")
    backward = ("attention_backward_flop", "masked_backward_flop", "unseen_backward_flop", "unfused_score_elements")
    return replace(work, **{name: int(getattr(work, name) * share) for name in (*fields, *backward)})


def _offload_s(job: TuningJob, work: SequenceCost, layout: Layout, hardware: Hardware, kernels: Software, kind: str, busy: Lane) -> float:
    """Exposed seconds of a step: weights come for every pass, behind compute; an optimizer on the host keeps all devices waiting."""
    pcie = min(HOST_BYTES_PER_S, hardware.pcie_bytes_per_s or HOST_BYTES_PER_S)
    seconds = 0.0
    if job.offload.parameters:
        stored = 2 * work.params - (2 * work.quantised_params - work.quantised_bytes)
        passes = job.accumulation * (2 + (job.checkpointing != "none"))
        seconds += max(0.0, passes * stored / layout.dp / pcie - float(busy))
    if job.offload.optimizer:
        moved = work.trained_params * (kernels.gradient_bytes + 2) / layout.dp / pcie
        seconds += moved + work.trained_params * OPTIMIZER_BYTES[kind] / HOST_MEMORY_BYTES_PER_S
    return seconds
