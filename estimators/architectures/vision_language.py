"""A whole vision-language model: a tower over pictures, what projects its features, and the decoder that reads them among words."""

from __future__ import annotations

from typing import Literal, get_args

from estimators.architectures.attention import SOURCE, Attention
from estimators.architectures.block import Block
from estimators.architectures.decoder import Decoder
from estimators.architectures.encoder import Tower
from estimators.architectures.freezing import positions, trained_in_part, with_gradients, without_gradient
from estimators.architectures.image_tokens import Rule, Seen
from estimators.architectures.part import Part
from estimators.architectures.projector import Projector
from estimators.architectures.stems import PatchStem
from estimators.architectures.tiled_tower import TiledTower
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.method import FULL, TrainingMethod
from estimators.samples import Example, Image
from estimators.spec import Model, Op, Phase, Source, Workload

Side = Literal["vision", "projector", "language"]
SIDES: tuple[Side, ...] = get_args(Side)
"""What a vision-language model consists of, in the order of the forward pass."""


@frozen
class GridWindows(Part):
    """Attention inside square windows over a grid of patches; those at the right and lower edge are smaller (Qwen2.5-VL).

    Attributes:
        grid: patches in height and width.
        side: of a window, in patches.

    Source: Bai et al. 2025, Qwen2.5-VL (arXiv 2502.13923), section 2.1.1.
    """

    attention: Attention
    grid: tuple[int, int]
    side: int

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of the attention; the two products are sums over all windows."""
        table = self.attention.ops(w, width, prefix, count)
        inside = [
            self.attention.ops(replace(w, batch=w.batch * number, seq_len=patches), width, prefix, count)
            for patches, number in self.windows.items()
        ]
        return [
            _sum([rows[index] for rows in inside]) if op.role in ("scores", "context") and inside else op for index, op in enumerate(table)
        ]

    @property
    def windows(self) -> dict[int, int]:
        """Patches of a window -> how many windows have so many.

        >>> GridWindows(attention=Attention(heads=1, kv_heads=1, head_width=8), grid=(10, 8), side=8).windows
        {64: 1, 16: 1}
        """
        sizes: dict[int, int] = {}
        for height in self._cuts(self.grid[0]):
            for width in self._cuts(self.grid[1]):
                sizes[height * width] = sizes.get(height * width, 0) + 1
        return sizes

    def _cuts(self, length: int) -> list[int]:
        whole, rest = divmod(length, self.side)
        return [self.side] * whole + ([rest] if rest else [])


@frozen
class OneMaskedSequence(Part):
    """Attention over the pictures of a step laid end to end, each of which sees itself alone under a mask (Pixtral in transformers)."""

    attention: Attention

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of the attention of each picture; what lies under the mask is computed as well, and no result depends on it."""
        table = self.attention.ops(w, width, prefix, count)
        return [replace(op, surplus_flop=(w.batch - 1) * op.flop) if op.role in ("scores", "context") else op for op in table]


def _sum(rows: list[Op]) -> Op:
    """The same product over windows of several sizes, as one row."""
    first = rows[0]
    return replace(
        first,
        flop=sum(op.flop for op in rows),
        backward_flop=sum(op.backward_flop for op in rows),
        activation_bytes=sum(op.activation_bytes for op in rows),
        saved_bytes=sum(op.saved_bytes for op in rows),
        mnk=first.mnk if len(rows) == 1 else None,
    )


@frozen
class PictureTower:
    """A tower over pictures of any size that its processor makes, and what reads its layers.

    Attributes:
        tower: its stem is a PatchStem; of the size that it was made for.
        unread: layers at the end whose outputs nobody reads: they run forward, and no gradient comes back to them.
        taps: after how many layers features are taken beside the last, each through a projector of its own.
        tap: that projector; None for no taps.
    """

    tower: Tower
    unread: int = 0
    taps: int = 0
    tap: Projector | None = None

    def at(self, picture: Image) -> Tower:
        """The tower on pictures of a size."""
        stem = self.tower.stem
        assert isinstance(stem, PatchStem)
        sized = stem if stem.image == (picture.height, picture.width) else stem.sized((picture.height, picture.width))
        blocks = tuple(_on_grid(block, sized.grid) if isinstance(block, Block) else block for block in self.tower.blocks)
        return replace(self.tower, stem=sized, blocks=blocks)

    def ops(self, w: Workload, seen: Seen, images: int) -> tuple[list[Op], int]:
        """Rows of all pictures of the step, and how many patches have features."""
        tower = self.at(seen.picture)
        stem = tower.stem
        assert isinstance(stem, PatchStem)
        pictures = w.batch * images * seen.pictures
        reading: Phase = "train" if w.phase == "train" else "forward"
        inside = replace(w, phase=reading, batch=pictures, seq_len=stem.tokens, context_len=0, sample=None)
        patches = pictures * stem.grid[0] * stem.grid[1]
        if not self.unread:
            return tower.ops(inside, "vision."), patches
        read, last = tower.blocks[0], tower.blocks[-1]
        assert isinstance(read, Block)
        assert len(tower.blocks) == 1
        table = replace(tower, blocks=(replace(read, count=read.count - self.unread),), final_norm=None).ops(inside, "vision.")
        behind = replace(last, count=self.unread).ops(inside, tower.width, "vision.unread")
        tail = tower.ops(inside, "vision.")[-1:] if tower.final_norm else []
        return [*table, *(replace(op, backward_flop=0, saved_bytes=0) for op in (*behind, *tail))], patches


def _on_grid(block: Block, grid: tuple[int, int]) -> Block:
    parts = tuple((name, replace(part, grid=grid) if isinstance(part, GridWindows) else part) for name, part in block.parts)
    return replace(block, parts=parts)


@frozen
class VisionLanguage(Model):
    """Tower, projector and language part on examples of one kind.

    Attributes:
        runs: the class of transformers that this is.
        rule: how its processor cuts images.
        example: what each sample is.
        language: the decoder; or one that `method` trains in part, beside a frozen tower.
        held: parts that training leaves as they are.
        method: how the language part is trained.
    """

    name: str
    source: Source
    runs: str
    vision: PictureTower | TiledTower
    projector: Projector
    language: Model
    rule: Rule
    example: Example
    held: frozenset[Side] = frozenset()
    method: TrainingMethod = FULL

    @property
    def sample(self) -> Example:
        """The example."""
        return self.example

    @property
    def seen(self) -> Seen:
        """What the processor makes of one image, or of the video. Raises BadValueError for one that it refuses."""
        if self.example.frames:
            return self.rule.seen_in_video(self.example.image, self.example.frames)
        return self.rule.seen(self.example.image)

    @property
    def trained_sides(self) -> tuple[Side, ...]:
        """Parts that training changes; the language part with adapters is one of them."""
        return tuple(side for side in SIDES if side not in self.held)

    @property
    def visual_tokens(self) -> int:
        """Tokens of an example that are features of its images, and those that the processor writes around them."""
        return (self.seen.tokens + self.seen.marks) * max(1, self.example.images)

    @property
    def sequence_tokens(self) -> int:
        """Tokens that the language part reads of one example."""
        return max(1, self.visual_tokens + self.example.text_tokens)

    def on(self, example: Example) -> VisionLanguage:
        """The same model on other examples."""
        return replace(self, example=example)

    def holding(self, held: frozenset[Side]) -> VisionLanguage:
        """The same model, of which training leaves these parts as they are. Raises BadValueError where nothing is left to train."""
        if held == frozenset(SIDES):
            raise BadValueError(f"{', '.join(SIDES)} all frozen: nothing is left to train; leave one out")
        return replace(self, held=held)

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch examples.

        Raises:
            BadValueError: a phase or a length that it does not have, other examples, or more tokens than the language part has positions.
        """
        if workload.phase not in self.phases:
            raise BadValueError(
                f"phase {workload.phase!r}: with images {self.name} has forward and train; a decode step is its language part's"
            )
        if (workload.seq_len, workload.context_len, workload.source_len) != (1, 0, 0):
            given = f"seq_len {workload.seq_len}, context_len {workload.context_len}, source_len {workload.source_len}"
            raise BadValueError(f"{given}: the examples of {self.name} say how long a sequence is; leave them at 1, 0 and 0")
        self.demand_sample(workload)
        vision, projector, language = self.sides(workload)
        return (*vision, *projector, *language)

    def sides(self, workload: Workload) -> tuple[list[Op], list[Op], list[Op]]:
        """The rows of the tower, the projector and the language part, with the gradients that training needs of them."""
        seen, w = self.seen, replace(workload, sample=None)
        tower, patches = self.vision.ops(w, seen, max(1, self.example.images))
        tap = self.vision.tap
        taps = [tap.ops(w, patches, f"projector.{index}") for index in range(self.vision.taps)] if tap else []
        projectors = [self.projector.ops(w, patches, "projector"), *taps]
        attended = seen.attended * max(1, self.example.images)
        language = list(self.language.ops(replace(w, seq_len=self.sequence_tokens, source_len=attended)))
        if w.phase != "train":
            return tower, [op for rows in projectors for op in rows], language
        tower = tower if "vision" not in self.held else [without_gradient(op) for op in tower]
        if {"vision", "projector"} <= self.held:
            language = [with_gradients(op, frozen=False, fed=(False,)) if SOURCE in op.reads else op for op in language]
        if "language" in self.held:
            language = self._held_language(replace(w, seq_len=self.sequence_tokens, source_len=attended), language)
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
        held, fed, table = "projector" in self.held, "vision" not in self.held, list[Op]()
        for op in rows:
            table.append(with_gradients(op, frozen=held, fed=(fed,)))
            fed = fed or (op.params > 0 and not held)
        return table
