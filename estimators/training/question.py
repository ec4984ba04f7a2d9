"""What is asked of a training: the question with everything that the user decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.frozen import frozen, replace
from estimators.method import FULL, TrainingMethod
from estimators.spec import Hardware, Model
from estimators.training.layouts.global_batch import PUBLISHED_BATCH, Batch

if TYPE_CHECKING:
    from estimators.cost.machine import MeasuredRates
    from estimators.training.layouts.job import Job


@frozen
class Question:
    """A training, decided but for what is left to be planned.

    Attributes:
        method: how it is trained.
        params_text: the published count, as printed; empty for a model of a file.
        tokens: None for those of one sequence, which stands for any number of them.
        work: the same in the user's words, such as ``1,000 hours of audio, 3 times``; empty for as many tokens or samples.
        seq_len_source: who says how long sequences are; empty where it was given.
        convention: under which the share of peak is counted; None is `full` for one that is given, and what an MFU counts for one that is
            predicted or assumed.
        num_devices: None where they are chosen.
        utilization: share of the dense peak; None predicts the step, or takes what published runs reached.
        layout: such as ``tp=2,pp=1``; empty where it is chosen.
        layout_notes: what the launcher's file that it is from says, and the answer does not heed.
        stack_id: the software; None for the one that is usual.
        network_bytes_per_s, own: measured by the user, in place of the shipped figures.
        memory_margin: share of a device's memory that a chosen layout leaves free; None for the usual one.
        usd_per_gpu_hour, carbon_kg_per_j: in place of the quotes that were seen, and of the world's average.
        framework, checkpointing: of a fine-tuning, as `Job` has them.
    """

    model: Model
    hardware: Hardware | None
    seq_len: int
    seq_len_source: str = ""
    method: TrainingMethod = FULL
    params_text: str = ""
    tokens: int | None = None
    work: str = ""
    dtype: str = "bf16"
    convention: str | None = None
    num_devices: int | None = None
    utilization: float | None = None
    layout: str = ""
    layout_notes: tuple[str, ...] = ()
    batch: Batch = PUBLISHED_BATCH
    stack_id: str | None = None
    optimizer: str = "adamw"
    network_bytes_per_s: float | None = None
    own: MeasuredRates | None = None
    memory_margin: float | None = None
    usd_per_gpu_hour: float | None = None
    carbon_kg_per_j: float | None = None
    framework: str = ""
    checkpointing: str = ""

    @property
    def trained(self) -> Model:
        """The model as the method trains it. Raises BadValueError where the model does not have what the method names."""
        if self.method == FULL:
            return self.model
        from estimators.architectures.adapters import trained  # deferred: most questions do without it

        return trained(self.model, self.method)

    @property
    def num_tokens(self) -> int:
        """Those that were given, or of one sequence."""
        return self.tokens or self.seq_len

    @property
    def wished_batch(self) -> Batch:
        """What is wished of a step's batch, with the tokens that it is a part of."""
        return replace(self.batch, training_tokens=self.tokens)

    @property
    def is_predicted(self) -> bool:
        """Whether the step is predicted: on a device, of a model that is covered, where no utilization is given."""
        return self.hardware is not None and self.utilization is None and not self.why_not_predicted

    @property
    def why_not_predicted(self) -> str:
        """What keeps the step from being predicted, in words; empty where nothing does."""
        from estimators.training.supported import why_not_predicted  # deferred: with a utilization nobody asks

        return why_not_predicted(self.trained, self.seq_len)

    @property
    def job(self) -> Job:
        """What is trained on what.

        Raises:
            BadValueError: a model or an optimizer that no step is predicted of.
        """
        from estimators.training.layouts.job import Job

        assert self.hardware is not None
        return Job(
            model=self.model,
            method=self.method,
            hardware=self.hardware,
            seq_len=self.seq_len,
            dtype=self.dtype,
            stack_id=self.stack_id or "",
            optimizer=self.optimizer,
            network_bytes_per_s=self.network_bytes_per_s,
            own=self.own,
            memory_margin=self.memory_margin,
            framework=self.framework,
            checkpointing=self.checkpointing,
        )
