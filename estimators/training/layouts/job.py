"""Job: what is trained on what, with everything that a price of a layout depends on but the layout."""

from __future__ import annotations

from estimators.architectures.adapters import FineTuned, trained
from estimators.cost.array_math import Lane
from estimators.cost.divisibility import check_cuts
from estimators.cost.efficiency import Efficiency, efficiency
from estimators.cost.layout import Layout
from estimators.cost.machine import Machine, MeasuredRates, machine_of
from estimators.cost.software import DEFAULT_STACK, Software, Stack, software, stack, stacks, usual_stack
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.memory.device import device_memory
from estimators.memory.kernels import BY_STACK
from estimators.memory.layer_memory import ModelMemory, model_memory_of
from estimators.method import FULL, TrainingMethod
from estimators.spec import Hardware, Model
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
        memory_margin: share of a device's memory that a chosen layout leaves free; one that was given may fill all of it.
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
    memory_margin: float = MEMORY_MARGIN

    def __post_init__(self) -> None:
        if reason := not_covered(self.trained, self.seq_len):
            raise BadValueError(f"{self.model.name} {reason}; no step of it is predicted")
        if self.optimizer not in OPTIMIZER_BYTES:
            raise BadValueError(f"optimizer {self.optimizer!r} is unknown; expected one of: {', '.join(OPTIMIZER_BYTES)}")
        chosen = self.stack
        quantised = isinstance(self.trained, FineTuned) and self.trained.base_format != PLAIN
        if chosen.dequantise_bytes and not quantised:
            raise BadValueError(f"software {chosen.id} trains adapters over 4-bit weights, but {self.model.name} has none; give another")
        if quantised and not chosen.dequantise_bytes:
            able = ", ".join(name for name, facts in stacks().items() if facts.dequantise_bytes)
            raise BadValueError(f"software {chosen.id} trains nothing over 4-bit weights; expected one of: {able}")

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
        return (1 - self.memory_margin) * self.capacity_bytes

    @property
    def efficiency(self) -> Efficiency:
        """The constants of the cost model."""
        return efficiency(self.without)

    @property
    def stack(self) -> Stack:
        """The software that was asked for, else what runs most layouts. Raises UnknownNameError."""
        return stack(self.stack_id or DEFAULT_STACK)

    def on(self, layout: Layout) -> Job:
        """The same with the software that usually runs a layout, where none was asked for."""
        return self if self.stack_id else replace(self, stack_id=usual_stack(layout))

    @property
    def software(self) -> Software:
        """The stack on this device. Raises UnknownNameError."""
        return software(self.stack, self.hardware.architecture, self.efficiency)

    def ledger(self, layout: Lane) -> Ledger:
        """Seconds of a step by part under the job's software, of one layout or of thousands."""
        return step_time(self.work, layout, self.machine, self.software, self.efficiency, optimizer=self.optimizer)

    def memory_bytes(self, layout: Lane) -> Lane:
        """Bytes on the fullest device under the job's software, of one layout or of thousands."""
        return device_memory(self.model_memory, layout, gradient_bytes=self.software.gradient_bytes, optimizer=self.optimizer).total_bytes

    def check(self, layout: Layout) -> None:
        """Demand that the model can be cut so, and that the software runs it. Raises BadValueError, with the nearest thing that works."""
        check_cuts(self.work, layout)
        check_runs(self.stack_id, layout)

    def predict(self, layout: Layout) -> Prediction:
        """The step of one layout, with its interval and its rates."""
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
            optimizer=self.optimizer,
            without=self.without,
        )
