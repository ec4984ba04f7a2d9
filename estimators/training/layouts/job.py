"""Job: what is trained on what, with everything that a price of a layout depends on but the layout."""

from __future__ import annotations

from estimators.architectures.adapters import FineTuned, trained
from estimators.cost.array_math import Lane
from estimators.cost.divisibility import check_cuts
from estimators.cost.efficiency import Efficiency, efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import Machine, MeasuredRates, machine_of
from estimators.cost.software import DEFAULT_STACK, Software, Stack, software, stack, usual_stack
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.memory.device import device_memory
from estimators.memory.kernels import BY_STACK
from estimators.memory.layer_memory import ModelMemory, model_memory_of
from estimators.memory.optimizers import OPTIMIZERS
from estimators.method import FULL, TrainingMethod
from estimators.spec import Hardware, Model
from estimators.training.layouts import fine_tuning
from estimators.training.layouts.global_batch import Batch
from estimators.training.layouts.software_limits import check_runs
from estimators.training.prediction import Prediction, predict
from estimators.training.sequence_cost import SequenceCost, sequence_cost_of
from estimators.training.step import OPTIMIZER_BYTES, Ledger, step_time
from estimators.training.supported import not_covered
from estimators.weight_formats import PLAIN

MEMORY_MARGIN = 0.05
"""Share of a device's memory that a chosen layout leaves free: what a prediction of memory may be wrong by."""


@frozen
class Job:
    """A model on a kind of device.

    Attributes:
        method: how the model is trained.
        dtype: of the matrix products.
        stack_id: the software; see stacks.json. Empty for the one that usually runs a layout.
        cluster: a known one, for its network.
        network_bytes_per_s, own: measured by the user, in place of the shipped figures.
        without: a source that the constants must not have seen.
        memory_margin: share of a device's memory that a chosen layout leaves free; one that was given may fill all of it. None for the
            usual share: MEMORY_MARGIN, and none of a fine-tuning, of which more is asked for than is allocated.
        framework: of a fine-tuning: whose habits fill in the rest, as NAME or NAME@VERSION; empty where nobody named one.
        checkpointing: of a fine-tuning: which activations are kept; empty for the framework's default.
    """

    model: Model
    hardware: Hardware
    seq_len: int
    dtype: str = "bf16"
    stack_id: str = ""
    optimizer: str = "adamw"
    cluster: str = ""
    network_bytes_per_s: float | None = None
    own: MeasuredRates | None = None
    without: str = ""
    method: TrainingMethod = FULL
    memory_margin: float | None = None
    framework: str = ""
    checkpointing: str = ""

    def __post_init__(self) -> None:
        if reason := not_covered(self.trained, self.seq_len):
            raise BadValueError(f"{self.model.name} {reason}; no step of it is predicted, and `estimate` bounds its training")
        if self.is_tuned:
            fine_tuning.demand(self)
            return
        if self.optimizer not in OPTIMIZER_BYTES and (self.method == FULL or self.optimizer not in OPTIMIZERS):
            raise BadValueError(f"optimizer {self.optimizer!r} is unknown; expected one of: {', '.join(OPTIMIZER_BYTES)}")
        chosen = self.stack
        quantised = isinstance(self.trained, FineTuned) and self.trained.base_format != PLAIN
        if chosen.dequantise_bytes and not quantised:
            raise BadValueError(f"software {chosen.id} trains adapters over 4-bit weights, but {self.model.name} has none; give another")
        if quantised:
            able = ", ".join(name for name in fine_tuning.SOFTWARE if name)
            raise BadValueError(f"software {chosen.id} trains nothing over 4-bit weights; expected one of: {able}")

    @property
    def is_tuned(self) -> bool:
        """Whether it is a fine-tuning by software that leaves the model whole; its layouts are then those of one of its frameworks."""
        return fine_tuning.leaves_whole(self)

    def tunes(self, layout: Layout) -> bool:
        """Whether a layout is one of them."""
        return self.is_tuned and bool(fine_tuning.is_whole(layout))

    @property
    def trained(self) -> Model:
        """The model as the method trains it. Raises BadValueError where the model does not have what the method names."""
        return trained(self.model, self.method)

    @property
    def work(self) -> SequenceCost:
        """One sequence's work. Raises BadValueError for a model without tokens."""
        return sequence_cost_of(self.trained, self.seq_len)

    @property
    def model_memory(self) -> ModelMemory:
        """What its layers hold and keep under the software's kernels. Raises UnknownNameError."""
        return model_memory_of(self.trained, self.seq_len, BY_STACK[self.stack.id], self.dtype)

    @property
    def machine(self) -> Machine:
        """The device and its links. Raises BadValueError where it has no peak for the dtype."""
        return machine_of(self.hardware, self.dtype, cluster=self.cluster, network_bytes_per_s=self.network_bytes_per_s, own=self.own)

    @property
    def capacity_bytes(self) -> float:
        """What a layout that is given may fill: all that the driver shows."""
        return float(self.machine.memory_bytes)

    @property
    def plannable_bytes(self) -> float:
        """What a chosen layout may fill: all but the margin."""
        return (1 - self.margin) * self.capacity_bytes

    @property
    def margin(self) -> float:
        """Share of a device's memory that a chosen layout leaves free."""
        if self.memory_margin is not None:
            return self.memory_margin
        return 0.0 if self.is_tuned else MEMORY_MARGIN

    @property
    def efficiency(self) -> Efficiency:
        """The constants of the cost model."""
        return efficiency(self.without)

    @property
    def stack(self) -> Stack:
        """The software that was asked for, else what runs most layouts. Raises UnknownNameError."""
        return stack(self.stack_id or DEFAULT_STACK)

    @property
    def optimizer_kind(self) -> str:
        """Which of OPTIMIZER_BYTES the optimizer is."""
        return fine_tuning.optimizer_kind(self.optimizer)

    def on(self, layout: Layout) -> Job:
        """The same with the software that usually runs a layout, where none was asked for."""
        return self if self.stack_id or self.tunes(layout) else replace(self, stack_id=usual_stack(layout))

    @property
    def software(self) -> Software:
        """The stack on this device. Raises UnknownNameError."""
        return software(self.stack, self.hardware.architecture, self.efficiency)

    def ledger(self, layout: Lane) -> Ledger:
        """Seconds of a step by part under the job's software, of one layout or of thousands."""
        return step_time(self.work, layout, self.machine, self.software, self.efficiency, optimizer=self.optimizer_kind)

    def memory_bytes(self, layout: Lane) -> Lane:
        """Bytes on the fullest device under the job's software, of one layout or of thousands.

        With a reserve; of a fine-tuning, of which one layout is asked about at a time, what is allocated.
        """
        if isinstance(layout, Layout) and self.tunes(layout):
            return fine_tuning.fit_of(self, layout).allocated_bytes
        size, kind = self.software.gradient_bytes, self.optimizer_kind
        return device_memory(self.model_memory, layout, gradient_bytes=size, optimizer=kind).total_bytes

    def memory_parts(self, layout: Layout) -> dict[str, float]:
        """What fills the fullest device at its fullest moment: bytes by part, and a reserve; they sum to needed_bytes."""
        if self.tunes(layout):
            found = fine_tuning.fit_of(self, layout)
            return {name: float(size) for name, size in found.decides.parts.items()} | {"reserve": found.reserve_bytes}
        job = self.on(layout)
        held = device_memory(job.model_memory, layout, gradient_bytes=job.software.gradient_bytes, optimizer=job.optimizer_kind)
        return {name: float(size) for name, size in held.parts.items()} | {"reserve": float(held.reserve_bytes)}

    def needed_bytes(self, layout: Layout) -> float:
        """Memory of a device on which a layout fits, reserve included."""
        return fine_tuning.fit_of(self, layout).needed_bytes if self.tunes(layout) else float(self.on(layout).memory_bytes(layout))

    def fits(self, layout: Layout) -> bool:
        """Whether a layout that was given runs; of a fine-tuning whether `fit` does not say NO."""
        if self.tunes(layout):
            return fine_tuning.fit_of(self, layout).verdict != "NO"
        return self.needed_bytes(layout) <= self.capacity_bytes

    def sequences(self, batch: Batch, num_devices: int) -> int:
        """Sequences of one step on so many devices. Raises BadValueError as `Batch.on`."""
        if self.is_tuned and not batch.is_given:
            return batch.at_most(fine_tuning.usual_sequences(self, num_devices), num_devices, self.seq_len)
        return batch.on(num_devices, params=self.work.params, seq_len=self.seq_len)

    def sequences_of(self, batch: Batch, unit: int, num_devices: int) -> int:
        """Sequences of one step of a layout, a multiple of `unit`. Raises BadValueError as `Batch.for_layout`."""
        if self.is_tuned and not batch.is_given:
            return max(1, round(self.sequences(batch, num_devices) / unit)) * unit
        return batch.for_layout(unit, num_devices, params=self.work.params, seq_len=self.seq_len)

    def batch_source(self, batch: Batch, taken_tokens: int) -> str:
        """Whose batch a step has; empty where it was given."""
        if self.is_tuned and not batch.is_given:
            return fine_tuning.batch_source(self)
        return batch.source(self.work.params, taken_tokens)

    def check(self, layout: Layout) -> None:
        """Demand that the model can be cut so, and that the software runs it. Raises BadValueError, with the nearest thing that works."""
        check_cuts(self.work, layout)
        check_runs(self.stack_id, layout)

    def predict(self, layout: Layout) -> Prediction:
        """The step of one layout, with its interval and its rates."""
        if self.tunes(layout):
            return fine_tuning.predicted(self, layout)
        return predict(
            self.trained,
            self.seq_len,
            layout,
            self.hardware,
            dtype=self.dtype,
            stack_id=self.stack_id,
            cluster=self.cluster,
            network_bytes_per_s=self.network_bytes_per_s,
            own=self.own,
            optimizer=self.optimizer_kind,
            without=self.without,
        )
