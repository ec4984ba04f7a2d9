"""One run of a model of samples, decided."""

from __future__ import annotations

from dataclasses import dataclass

from bench.backend.sample_networks import SampleNetwork
from bench.workloads.step_run import StepRun
from estimators.samples import Audio, Example, Image
from estimators.spec import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRun(StepRun):
    """Everything that training steps or forward passes of a model of samples need to know.

    Attributes:
        op_table: the model as it is estimated, on the samples that are asked about.
        network: what is built and fed.
    """

    op_table: Model
    network: SampleNetwork

    @property
    def items(self) -> tuple[int, str]:
        """How many of what a step processes, in the user's units: images, seconds of audio, examples, tokens, or samples."""
        read = self.op_table.sample
        if isinstance(read, Audio) and float(read.duration_s).is_integer():
            return self.batch * round(read.duration_s), "audio second"
        if self.op_table.item == "token" and read is None:
            return self.batch * self.seq_len, "token"
        return self.batch, "example" if isinstance(read, Example) else "image" if isinstance(read, Image) else "sample"
