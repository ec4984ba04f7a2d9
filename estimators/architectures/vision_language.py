"""A whole vision-language model: a tower over pictures, what projects its features, and the decoder that reads them among words."""

from __future__ import annotations

from estimators.architectures.attention import Attention
from estimators.architectures.block import Block
from estimators.architectures.encoder import Tower
from estimators.architectures.image_tokens import Rule, Seen
from estimators.architectures.joined import Joined, Side
from estimators.architectures.part import Part
from estimators.architectures.projector import Projector
from estimators.architectures.stems import PatchStem
from estimators.architectures.tiled_tower import TiledTower
from estimators.frozen import frozen, replace
from estimators.samples import Example, Image
from estimators.spec import Op, Phase, Workload


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
        joined: layers whose features are read, end to end; the last of them is the last that is read.
        taps: after how many layers features are taken beside the last, each through a projector of its own.
        tap: that projector; None for no taps.
    """

    tower: Tower
    unread: int = 0
    joined: int = 1
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
        bare = replace(tower, final_norm=None, pool=None)
        table = replace(bare, blocks=(replace(read, count=read.count - self.unread),)).ops(inside, "vision.")
        behind = replace(last, count=self.unread).ops(inside, tower.width, "vision.unread")
        tail = tower.ops(inside, "vision.")[len(bare.ops(inside, "vision.")) :]
        return [*table, *(replace(op, backward_flop=0, saved_bytes=0) for op in (*behind, *tail))], patches


def _on_grid(block: Block, grid: tuple[int, int]) -> Block:
    parts = tuple((name, replace(part, grid=grid) if isinstance(part, GridWindows) else part) for name, part in block.parts)
    return replace(block, parts=parts)


@frozen
class VisionLanguage(Joined):
    """The whole of a model that reads pictures among words.

    Attributes:
        rule: how its processor cuts images.
        example: what each sample is.
    """

    vision: PictureTower | TiledTower
    rule: Rule
    example: Example

    @property
    def tower_side(self) -> Side:
        """What sees."""
        return "vision"

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
    def visual_tokens(self) -> int:
        """Tokens of an example that are features of its images, and those that the processor writes around them."""
        return (self.seen.tokens + self.seen.marks) * max(1, self.example.images)

    @property
    def sequence_tokens(self) -> int:
        """Tokens that the language part reads of one example."""
        return max(1, self.visual_tokens + self.example.text_tokens)

    @property
    def attended(self) -> int:
        """Features of an example's images that layers attend to."""
        return self.seen.attended * max(1, self.example.images)

    def on(self, example: Example) -> VisionLanguage:
        """The same model on other examples."""
        return replace(self, example=example)

    def below(self, w: Workload) -> tuple[list[Op], list[list[Op]]]:
        """The rows of the tower, of its projector, and of those for features of its earlier layers."""
        tower, patches = self.vision.ops(w, self.seen, max(1, self.example.images))
        tap = self.vision.tap
        taps = [tap.ops(w, patches, f"projector.{index}") for index in range(self.vision.taps)] if tap else []
        return tower, [self.projector.ops(w, patches, "projector"), *taps]
