"""What the processor of a vision-language model makes of an image of a size: pictures for the tower, tokens for the text.

Every rule here is held `==` to transformers' own image processors on many sizes (tests/estimators/architectures/test_image_tokens.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.samples import Image

MAX_ASPECT = 200
"""Of an image that Qwen's processors take."""


@frozen
class Seen:
    """What becomes of one image.

    Attributes:
        picture: size of each picture that the tower reads.
        pictures: how many of them.
        tokens: of the text that are features of the image.
        marks: tokens that the processor writes around them, such as ends of rows; words of a chat template are not among them.
        attended: features beside the text, which layers of their own attend to.
    """

    picture: Image
    pictures: int = 1
    tokens: int
    marks: int = 0
    attended: int = 0


class Rule(Protocol):
    """How a processor cuts an image."""

    def seen(self, image: Image) -> Seen:
        """What becomes of it. Raises BadValueError for one that the processor refuses."""
        ...

    def seen_in_video(self, image: Image, frames: int) -> Seen:
        """What becomes of so many frames of a video. Raises BadValueError where the rule for videos is not known."""
        ...


@frozen
class OfImages:
    """A rule that is known for images alone."""

    def seen_in_video(self, image: Image, frames: int) -> Seen:
        """Raises BadValueError."""
        raise BadValueError(f"a video of {frames:,} frames: how this model's processor cuts videos is not covered; give --images instead")


@frozen
class OneSize(OfImages):
    """Whatever its size, an image is scaled to one square (LLaVA 1.5, Gemma 3, PaliGemma).

    Attributes:
        side: of the square, in pixels.
        tokens, marks: as `Seen` has them.
    """

    side: int
    tokens: int
    marks: int = 0

    def seen(self, image: Image) -> Seen:
        """The one square."""
        return Seen(picture=Image(height=self.side, width=self.side), tokens=self.tokens, marks=self.marks)


def resized(image: Image, factor: int, min_pixels: int, max_pixels: int, *, frames: int = 1, depth: int = 1) -> Image:
    """The size with sides that are multiples of `factor` and pixels between two bounds, near the image's own aspect.

    Args:
        frames: that share the bounds (Qwen3-VL's videos); each frame by itself is 1.
        depth: frames that make one picture.

    Raises:
        BadValueError: a side is over MAX_ASPECT times the other.

    Source: transformers 5.24, smart_resize of models/qwen2_vl and models/qwen3_vl.

    >>> str(resized(Image(height=768, width=1024), 28, 3136, 1003520))
    'an image of 756 x 1036 pixels'
    """
    height, width = image.height, image.width
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise BadValueError(f"{image} has one side over {MAX_ASPECT} times the other; its processor refuses that")
    tall, wide = (round(side / factor) * factor for side in (height, width))
    taken = round(frames / depth) * depth
    if taken * tall * wide > max_pixels:
        beta = math.sqrt(frames * height * width / max_pixels)
        tall, wide = (max(factor, math.floor(side / beta / factor) * factor) for side in (height, width))
    elif taken * tall * wide < min_pixels:
        beta = math.sqrt(min_pixels / (frames * height * width))
        tall, wide = (math.ceil(side * beta / factor) * factor for side in (height, width))
    return Image(height=tall, width=wide)


@frozen
class OwnSize:
    """An image keeps its size, rounded to whole tokens and held between two numbers of pixels (Qwen2-VL and after).

    Attributes:
        patch: side of a patch; `merge` by `merge` patches make a token.
        depth: frames of a video that make one picture.
        min_pixels, max_pixels: of an image.
        least_frame, most_frame: of a frame of a video, in pixels.
        shared: whether those bound all frames of a video together.
    """

    patch: int
    merge: int
    depth: int = 2
    min_pixels: int
    max_pixels: int
    least_frame: int = 0
    most_frame: int = 0
    shared: bool = False

    def seen(self, image: Image) -> Seen:
        """The image resized, and one token per merged patch."""
        picture = resized(image, self.patch * self.merge, self.min_pixels, self.max_pixels)
        return Seen(picture=picture, tokens=self._tokens(picture))

    def seen_in_video(self, image: Image, frames: int) -> Seen:
        """A picture of every `depth` frames; the last is repeated where some are missing."""
        pictures = -(-frames // self.depth)
        together = {"frames": max(frames, self.depth), "depth": self.depth} if self.shared else {}
        picture = resized(image, self.patch * self.merge, self.least_frame, self.most_frame, **together)
        return Seen(picture=picture, pictures=pictures, tokens=pictures * self._tokens(picture))

    def _tokens(self, picture: Image) -> int:
        return picture.height * picture.width // (self.patch * self.merge) ** 2


@frozen
class LongestEdge(OfImages):
    """An image is scaled down to fit a square, and rounded up to whole tokens; a mark ends each row (Pixtral, Mistral Small 3.1).

    Attributes:
        edge: the longest side, in pixels.
        patch: pixels of a token along a side.
    """

    edge: int
    patch: int

    def seen(self, image: Image) -> Seen:
        """The image resized, its tokens, and one mark for each row of them."""
        ratio = max(image.height / self.edge, image.width / self.edge)
        height, width = (math.floor(side / ratio) if ratio > 1 else side for side in (image.height, image.width))
        rows, columns = (max(1, -(-side // self.patch)) for side in (height, width))
        picture = Image(height=rows * self.patch, width=columns * self.patch)
        return Seen(picture=picture, tokens=rows * columns, marks=rows)


@frozen
class Pinpoints(OfImages):
    """An image is fitted into the best of several canvases of square tiles, and shown small once more (LLaVA-NeXT, LLaVA-OneVision).

    Features of the canvas's empty borders are dropped, and a learned vector ends each row.

    Attributes:
        side: of a tile, in pixels.
        patch: of a tile's patches.
        canvases: height and width in pixels.
        most_tiles: more features than this many tiles have are scaled down to it; None for no bound.
    """

    side: int
    patch: int
    canvases: tuple[tuple[int, int], ...]
    most_tiles: int | None = None

    def seen(self, image: Image) -> Seen:
        """A tile for each part of the canvas and one for the whole; features without the borders, ends of rows among them."""
        best = max(self.canvases, key=lambda canvas: self._fit(image, canvas))
        down, across = (extent // self.side for extent in best)
        per_side = self.side // self.patch
        rows, columns = down * per_side, across * per_side
        if image.width / image.height > columns / rows:
            rows -= (rows - int(round(image.height * columns / image.width, 7))) // 2 * 2
        else:
            columns -= (columns - int(round(image.width * rows / image.height, 7))) // 2 * 2
        if self.most_tiles is not None and (ratio := math.sqrt(rows * columns / (self.most_tiles * per_side**2))) > 1.1:
            rows, columns = int(rows // ratio), int(columns // ratio)
        tile = Image(height=self.side, width=self.side)
        return Seen(picture=tile, pictures=down * across + 1, tokens=rows * columns + rows + per_side**2)

    @staticmethod
    def _fit(image: Image, canvas: tuple[int, int]) -> tuple[int, int]:
        """Pixels of the image that a canvas keeps, and less the canvas's that stay empty; more is better, the first of equals is taken."""
        scale = min(canvas[1] / image.width, canvas[0] / image.height)
        kept = min(int(image.width * scale) * int(image.height * scale), image.width * image.height)
        return kept, kept - canvas[0] * canvas[1]


@frozen
class Tiles(OfImages):
    """An image is stretched over the grid of square tiles nearest to its aspect, and shown small once more (InternVL).

    Attributes:
        side: of a tile, in pixels.
        tile_tokens: of a tile.
        min_tiles, max_tiles: of the grid.
    """

    side: int
    tile_tokens: int
    min_tiles: int
    max_tiles: int

    def seen(self, image: Image) -> Seen:
        """The tiles, and one more where they are several; a mark at either end."""
        aspect, tiles, nearest = image.width / image.height, 1, math.inf
        for columns, rows in self._grids():
            distance = abs(aspect - columns / rows)
            fills = image.height * image.width > 0.5 * self.side**2 * columns * rows
            if distance < nearest or (distance == nearest and fills):
                nearest, tiles = distance, columns * rows
        pictures = tiles + (tiles > 1)
        return Seen(picture=Image(height=self.side, width=self.side), pictures=pictures, tokens=pictures * self.tile_tokens, marks=2)

    def _grids(self) -> Iterator[tuple[int, int]]:
        sides = range(1, self.max_tiles + 1)
        grids = [(across, down) for across in sides for down in sides if self.min_tiles <= across * down <= self.max_tiles]
        return iter(sorted(grids, key=lambda grid: grid[0] * grid[1]))


@frozen
class Canvases(OfImages):
    """An image is scaled to the canvas of square tiles that enlarges it least, else shrinks it least, and shown small once more (Llama 4).

    Attributes:
        side: of a tile, in pixels.
        tile_tokens: of a tile.
        max_tiles: of a canvas.
    """

    side: int
    tile_tokens: int
    max_tiles: int

    def seen(self, image: Image) -> Seen:
        """The tiles, and the whole where they are several; three marks around all, and one behind each tile."""
        sides = range(1, self.max_tiles + 1)
        grids = [(down, across) for down in sides for across in sides if down * across <= self.max_tiles]
        rows, columns = min(grids, key=lambda grid: self._worse(image, *grid))
        split = rows * columns > 1
        pictures = rows * columns + split
        marks = 3 + (rows * columns if split else 0)
        return Seen(picture=Image(height=self.side, width=self.side), pictures=pictures, tokens=pictures * self.tile_tokens, marks=marks)

    def _worse(self, image: Image, rows: int, columns: int) -> tuple[bool, float, int]:
        """Less is better: that it is enlarged, and how little; else how little it is shrunk; of equals the smallest canvas."""
        scale = min(rows * self.side / image.height, columns * self.side / image.width)
        return scale < 1, scale if scale >= 1 else -scale, rows * columns


@frozen
class SameTiles(OfImages):
    """Whatever its size, an image becomes a fixed number of square tiles, some of them empty; the text attends to all (Llama 3.2 Vision).

    Attributes:
        side: of a tile, in pixels.
        tiles: how many.
        tile_features: of a tile.
    """

    side: int
    tiles: int
    tile_features: int

    def seen(self, image: Image) -> Seen:
        """The tiles, and one token of the text in the place of the image."""
        picture = Image(height=self.side, width=self.side)
        return Seen(picture=picture, pictures=self.tiles, tokens=0, marks=1, attended=self.tiles * self.tile_features)


@frozen
class Splits(OfImages):
    """An image is scaled so that its longest side is a fixed number of tiles, cut, and shown small once more (Idefics3, SmolVLM).

    Attributes:
        edge: the longest side, in pixels.
        side: of a tile.
        tile_tokens: of a tile.
        bound: that no side of an image may pass.
    """

    edge: int
    side: int
    tile_tokens: int
    bound: int = 4096

    def seen(self, image: Image) -> Seen:
        """The tiles and the whole; two marks a tile, one a row, three around the whole."""
        rows, columns = (-(-side // self.side) for side in self._scaled(image))
        split = rows * columns > 1
        pictures = rows * columns + 1 if split else 1
        marks = (2 * rows * columns + rows if split else 0) + 3
        picture = Image(height=self.side, width=self.side)
        return Seen(picture=picture, pictures=pictures, tokens=pictures * self.tile_tokens, marks=marks)

    def _scaled(self, image: Image) -> tuple[int, int]:
        """Height and width in pixels; the shorter is even."""
        aspect = image.width / image.height
        if image.width >= image.height:
            width, height = self.edge, int(self.edge / aspect)
            height += height % 2
        else:
            height, width = self.edge, int(self.edge * aspect)
            width += width % 2
        height, width = max(height, 1), max(width, 1)
        if width >= height and width > self.bound:
            width, height = self.bound, int(self.bound / (width / height))
        elif height > width and height > self.bound:
            height, width = self.bound, int(self.bound * (width / height))
        return max(height, 1), max(width, 1)
