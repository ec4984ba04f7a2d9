"""Llama 3.2 Vision's tower: all tiles of an image in one sequence, and layers behind whose features are read beside the last ones."""

from __future__ import annotations

from estimators.architectures.block import LAYER_NORM, Block
from estimators.architectures.image_tokens import Seen
from estimators.architectures.projector import Projector
from estimators.architectures.rows import edge_norm, lookup, parameters
from estimators.architectures.stems import PatchStem
from estimators.frozen import frozen, replace
from estimators.spec import Op, Phase, Workload

ALIGNED = 8
"""Tokens of a tile are padded to a multiple of it.

Source: transformers 5.24, MllamaVisionModel.
"""


@frozen
class TiledTower:
    """Tiles of an image, those that it leaves empty among them, in one sequence; each is padded, and padding is multiplied too.

    transformers masks what padding sees of padding, and nothing else: every token of the image sees it.

    Attributes:
        stem: of one tile.
        width: D.
        tiles: of every image.
        shapes: aspects that a table of vectors by tile knows, beside one for no image.
        local: layers whose outputs may be read.
        behind: layers behind those and their norm; gated.
    """

    stem: PatchStem
    width: int
    tiles: int
    shapes: int
    local: Block
    behind: Block

    @property
    def taps(self) -> int:
        """Projectors beside the one: none."""
        return 0

    @property
    def tap(self) -> Projector | None:
        """That projector."""
        return None

    @property
    def tokens(self) -> int:
        """Of an image inside the layers.

        A tile of 560 pixels has 40² patches of 14 and a class token, padded from 1,601 to 1,608.
        """
        return self.tiles * -(-self.stem.tokens // ALIGNED) * ALIGNED

    def ops(self, w: Workload, seen: Seen, images: int) -> tuple[list[Op], int]:
        """Rows of all images of the step, and how many features they have: one for each patch and class token of each tile."""
        reading: Phase = "train" if w.phase == "train" else "forward"
        inside = replace(w, phase=reading, batch=w.batch * images, seq_len=self.tokens, context_len=0, sample=None)
        by_tile = replace(inside, batch=inside.batch * self.tiles, seq_len=self.stem.tokens)
        table = self.stem.ops(by_tile, self.width, "vision.")
        table += self._by_shape(inside, "before", self.width)
        table += self._by_shape(inside, "position", self.stem.tokens * self.width)
        table.append(_mask(inside))
        table += self.local.ops(inside, self.width, "vision.layer.0")
        table.append(edge_norm(inside, "vision.final", width=self.width, gain=LAYER_NORM.gain, bias=LAYER_NORM.bias))
        table += self._by_shape(inside, "behind", self.width)
        table += self.behind.ops(inside, self.width, "vision.layer.1")
        return table, by_tile.num_tokens

    def _by_shape(self, w: Workload, name: str, elements: int) -> list[Op]:
        """A table of what is added to each tile by the image's aspect, and the gate before it."""
        part = f"vision.embedding.{name}"
        one = replace(w, seq_len=1)
        return [
            lookup(one, part, "position", num_rows=self.shapes + 1, width=self.tiles * elements),
            parameters(w, part, "gate", "embedding", num=1),
        ]


def _mask(w: Workload) -> Op:
    """The product of a vector of zeros and ones with itself, which marks padding that would see padding: no gradient."""
    return Op(
        name="vision.mask",
        component="attention",
        kind="attention",
        part="",
        role="elementwise",
        cut="whole",
        flop=2 * w.batch * w.seq_len**2,
        activation_bytes=w.bytes_of(w.batch * (w.seq_len**2 + 2 * w.seq_len)),
        mnk=(w.seq_len, w.seq_len, 1),
    )
