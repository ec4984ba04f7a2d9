"""A tower over pictures or sound, what projects its features, and the decoder that reads them among words."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, TypeVar, get_args

from estimators.architectures.attention import SOURCE
from estimators.architectures.decoder import Decoder
from estimators.architectures.freezing import positions, trained_in_part, with_gradients, without_gradient
from estimators.architectures.projector import Projector
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.method import FULL, TrainingMethod
from estimators.spec import Model, Op, Source, Workload

Side = Literal["vision", "audio", "projector", "language"]
SIDES: tuple[Side, ...] = get_args(Side)
"""What such models consist of, in the order of the forward pass; each has one tower."""

J = TypeVar("J", bound="Joined")


@frozen
class Joined(Model):
    """Tower, projector and language part on examples of one kind.

    Attributes:
        runs: the class of transformers that this is.
        language: the decoder; or one that `method` trains in part, beside a frozen tower.
        held: parts that training leaves as they are.
        method: how the language part is trained.
    """

    name: str
    source: Source
    runs: str
    projector: Projector
    language: Model
    held: frozenset[Side] = frozenset()
    method: TrainingMethod = FULL

    @property
    @abstractmethod
    def tower_side(self) -> Side:
        """What its tower is called."""

    @property
    @abstractmethod
    def sequence_tokens(self) -> int:
        """Tokens that the language part reads of one example."""

    @property
    def attended(self) -> int:
        """Features of an example that layers of the language part attend to, beside its sequence."""
        return 0

    @abstractmethod
    def below(self, w: Workload) -> tuple[list[Op], list[list[Op]]]:
        """The rows of the tower, all of it trained, and those of each projector. Raises BadValueError for what its processor refuses."""

    @property
    def own_sides(self) -> tuple[Side, ...]:
        """The parts that it has."""
        return tuple(side for side in SIDES if side in (self.tower_side, "projector", "language"))

    @property
    def trained_sides(self) -> tuple[Side, ...]:
        """Parts that training changes; the language part with adapters is one of them."""
        return tuple(side for side in self.own_sides if side not in self.held)

    def holding(self: J, held: frozenset[Side]) -> J:
        """The same model, of which training leaves these parts as they are.

        Raises:
            BadValueError: a part that it does not have, or nothing is left to train.
        """
        if strange := sorted(held - frozenset(self.own_sides)):
            raise BadValueError(f"freeze {strange[0]}: {self.name} has no such part; expected some of: {', '.join(self.own_sides)}")
        if held == frozenset(self.own_sides):
            raise BadValueError(f"{', '.join(self.own_sides)} all frozen: nothing is left to train; leave one out")
        return replace(self, held=held)

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch examples.

        Raises:
            BadValueError: a phase or a length that it does not have, other examples, or more tokens than the language part has positions.
        """
        if workload.phase not in self.phases:
            what = "images" if self.tower_side == "vision" else "audio"
            raise BadValueError(
                f"phase {workload.phase!r}: with {what} {self.name} has forward and train; a decode step is its language part's"
            )
        if (workload.seq_len, workload.context_len, workload.source_len) != (1, 0, 0):
            given = f"seq_len {workload.seq_len}, context_len {workload.context_len}, source_len {workload.source_len}"
            raise BadValueError(f"{given}: the examples of {self.name} say how long a sequence is; leave them at 1, 0 and 0")
        self.demand_sample(workload)
        tower, projector, language = self.sides(workload)
        return (*tower, *projector, *language)

    def sides(self, workload: Workload) -> tuple[list[Op], list[Op], list[Op]]:
        """The rows of the tower, the projector and the language part, with the gradients that training needs of them."""
        w = replace(workload, sample=None)
        tower, projectors = self.below(w)
        reading = replace(w, seq_len=self.sequence_tokens, source_len=self.attended)
        language = list(self.language.ops(reading))
        if w.phase != "train":
            return tower, [op for rows in projectors for op in rows], language
        tower = tower if self.tower_side not in self.held else [without_gradient(op) for op in tower]
        if {self.tower_side, "projector"} <= self.held:
            language = [with_gradients(op, frozen=False, fed=(False,)) if SOURCE in op.reads else op for op in language]
        if "language" in self.held:
            language = self._held_language(reading, language)
        return tower, [op for rows in projectors for op in self._projected(rows)], language

    def _held_language(self, w: Workload, table: list[Op]) -> list[Op]:
        """Rows of a frozen language part, which passes gradients through: what is below it is trained, or `holding` had refused."""
        crossing = [i for i, block in enumerate(self.language.blocks) if block.of_source] if isinstance(self.language, Decoder) else []
        if not crossing:
            return [without_gradient(op) if op.kind == "lookup" else with_gradients(op, frozen=True, fed=(True,)) for op in table]
        assert isinstance(self.language, Decoder)
        lowest = min(positions(self.language, i)[0] for i in crossing)
        rows = trained_in_part(self.language, w, lowest=lowest, base_frozen=True, adapters=lambda op, fed: (), source_fed=True)
        return list(rows)

    def _projected(self, rows: list[Op]) -> list[Op]:
        """A projector's rows: its first layer passes a gradient on only where the tower is trained."""
        held, fed, table = "projector" in self.held, self.tower_side not in self.held, list[Op]()
        for op in rows:
            table.append(with_gradients(op, frozen=held, fed=(fed,)))
            fed = fed or (op.params > 0 and not held)
        return table
