"""Models that read a source with an encoder and write with a decoder which attends to it (T5, BART, Whisper)."""

from __future__ import annotations

import math
from typing import ClassVar

from estimators.architectures.encoder import Tower
from estimators.architectures.rows import idle, linear, spare
from estimators.architectures.stems import FrameStem, TokenStem
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.samples import Audio
from estimators.spec import PHASES, Item, Model, Op, Phase, Source, Workload


@frozen
class EncoderDecoder(Model):
    """An encoder, a decoder with cross-attention, and a head on every decoder position.

    Train and forward run both. A prefill runs the encoder, projects its output to keys and values once, and starts the
    decoder on seq_len tokens; a decode step runs the decoder on one token, keys and values of both attentions cached.

    Attributes:
        runs: the class of transformers that this is.
        vocab: V of the head; 0 for a model without one.
        source_positions: tokens of the encoder where its input has one length only (Whisper's 30 seconds, or `with_source`'s); 0 for any.
        max_positions: the longest sequence that the decoder was made for.
        tied: whether the head reuses the token table.
        spare: parameters that no step uses: the common token table, where nothing is tied to it.
    """

    item: ClassVar[Item] = "token"
    phases: ClassVar[tuple[Phase, ...]] = PHASES

    name: str
    source: Source
    runs: str
    encoder: Tower
    decoder: Tower
    vocab: int
    max_positions: int
    source_positions: int = 0
    tied: bool = True
    spare: int = 0

    @property
    def positions(self) -> int:
        """Rows of the decoder's table of positions; 0 where attention knows them by itself."""
        return self.decoder.stem.positions if isinstance(self.decoder.stem, TokenStem) else 0

    @property
    def sample(self) -> Audio | None:
        """As much audio as fills its encoder once; None for text."""
        stem = self.encoder.stem
        return Audio(duration_s=stem.window_s) if isinstance(stem, FrameStem) else None

    def in_windows(self, workload: Workload) -> Workload:
        """Longer audio is read in windows of one length, each a sequence of its own; shorter audio is padded to one.

        Raises:
            BadValueError: samples that it does not read.
        """
        if not isinstance(workload.sample, Audio) or self.sample is None:
            self.demand_sample(workload)
            return workload
        windows = math.ceil(workload.sample.duration_s / self.sample.duration_s)
        return replace(workload, batch=workload.batch * windows, sample=None)

    def with_source(self, source_len: int) -> EncoderDecoder:
        """The same model on sources of one length, whatever the step.

        Raises:
            BadValueError: another length than the only one that the encoder takes, or more than its table of positions has.
        """
        stem = self.encoder.stem
        if isinstance(stem, TokenStem) and stem.positions and source_len > self.max_positions:
            raise BadValueError(
                f"source_len {source_len:,}: the encoder of {self.name} has {self.max_positions:,} positions; give at most that"
            )
        return replace(self, source_positions=self.source_tokens(Workload(source_len=source_len)))

    def source_tokens(self, workload: Workload) -> int:
        """Tokens of the encoder: what the workload says; else what the model takes, or as many as the decoder has seen.

        Raises:
            BadValueError: another length than the only one that the encoder takes.
        """
        if self.source_positions:
            if workload.source_len not in (0, self.source_positions):
                raise BadValueError(
                    f"source_len {workload.source_len}: the encoder of {self.name} takes {self.source_positions} positions and "
                    f"nothing else; give that or 0"
                )
            return self.source_positions
        return workload.source_len or workload.context_len + workload.seq_len

    def main_input_elements(self, workload: Workload) -> int:
        """Elements of the encoder's input: tokens, or mel bins of two frames per position."""
        workload, stem = self.in_windows(workload), self.encoder.stem
        per_position = 2 * stem.bins if isinstance(stem, FrameStem) else 1
        return workload.batch * self.source_tokens(workload) * per_position

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step.

        Raises:
            BadValueError: a source_len that the encoder does not take, or samples that it does not read.
        """
        once, w = self.works(workload)
        table = self.encoder.ops(once, "encoder.")
        if w.phase == "decode":
            table = [idle(op) for op in table]
        return (*table, *self.decoder.ops(w, "decoder."), *self.head_ops(w))

    def works(self, workload: Workload) -> tuple[Workload, Workload]:
        """What the encoder does of a step, and what the decoder does. Raises BadValueError, as `ops`."""
        workload = self.in_windows(workload)
        w = replace(workload, source_len=self.source_tokens(workload))
        reading: Phase = "train" if w.phase == "train" else "forward"
        return replace(w, phase=reading, seq_len=w.source_len, context_len=0, source_len=0), w

    def head_ops(self, w: Workload) -> list[Op]:
        """Rows behind the decoder, and those of what no step uses."""
        table = []
        if self.vocab:
            table.append(linear(w, "", "head", "head", cut="vocabulary", d_in=self.decoder.width, d_out=self.vocab, owned=not self.tied))
        if self.spare:
            table.append(spare("embedding", "spare", "embedding", num=self.spare))
        return table
