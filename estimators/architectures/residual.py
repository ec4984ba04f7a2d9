"""Residual networks of convolutions: stages of layers over maps of an image of any size, as classifiers and detectors have them."""

from __future__ import annotations

from estimators.architectures.block import LAYER_NORM, Norm
from estimators.architectures.convolution import Convolution, Map, after
from estimators.architectures.freezing import with_gradients, without_gradient
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class Maps:
    """A residual network laid out for images of one size.

    Attributes:
        stem: the filters before the stages.
        stages: the filters of each.
        sizes: height and width of the map that each stage makes.
    """

    stem: tuple[Convolution, ...]
    stages: tuple[tuple[Convolution, ...], ...]
    sizes: tuple[Map, ...]

    @property
    def filters(self) -> tuple[Convolution, ...]:
        """All of them, in order."""
        return sum(self.stages, self.stem)

    def ops(self, w: Workload, prefix: str, *, trained: int | None = None) -> list[Op]:
        """Rows of all filters.

        Args:
            prefix: of their names.
            trained: stages, from the last, that training changes; None for all, and the stem.
        """
        first = -1 if trained is None else len(self.stages) - trained
        table: list[Op] = []
        for index, filters in enumerate((self.stem, *self.stages), start=-1):
            for each in filters:
                rows = replace(each, name=f"{prefix}.{each.name}").ops(w)
                if index < first:
                    rows = [without_gradient(op) for op in rows]
                elif index == first and each.enters:
                    rows = [with_gradients(op, frozen=False, fed=(False,)) for op in rows]
                table += rows
        return table


@frozen
class ResidualNetwork:
    """ResNet v1.5, or its variant D.

    Attributes:
        channels: of the image.
        edge: channels behind the stem.
        widths, depths: channels and layers of each stage.
        bottleneck: whether a layer is a filter of 3 x 3 between two of 1 x 1, on a quarter of the channels, rather than two of 3 x 3.
        shrinks_early: whether a bottleneck's first filter shrinks the map, rather than its second.
        shrinks_first_stage: whether the first stage shrinks the map, as all others do.
        variant_d: three filters of 3 x 3 in the place of the first of 7 x 7; a shortcut reads the pooled map where the map shrinks.
        dilated: whether the last stage does not shrink the map, its filters being widened instead.
        function: name of the activation.
        norm: of the norms over the batch; without parameters where they are held as they are.

    Source: He et al. 2015 (arXiv 1512.03385), table 1; He et al. 2018, Bag of Tricks (arXiv 1812.01187), figure 2.
    """

    channels: int
    edge: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    bottleneck: bool = True
    shrinks_early: bool = False
    shrinks_first_stage: bool = False
    variant_d: bool = False
    dilated: bool = False
    function: str = "relu"
    norm: Norm = LAYER_NORM

    def maps(self, image: Map) -> Maps:
        """The network over images of one size; a map that a stage shrinks to nothing has a side below 1."""
        stem = self._stem(image)
        here, channels = after(stem[-1].after, kernel=3, stride=2, padding=1), self.edge
        stages, sizes = list[tuple[Convolution, ...]](), list[Map]()
        for i, (out, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            shrinks = i > 0 or self.shrinks_first_stage
            stride = 2 if shrinks and not (self.dilated and i == len(self.widths) - 1) else 1
            there = after(here, kernel=1, stride=stride, padding=0)
            filters = self._layer(f"stage.{i + 1}.first", 1, (channels, out), (here, there), enters=True)
            if channels != out or stride > 1 or (self.variant_d and not self.bottleneck):
                pools = self.variant_d and (self.bottleneck or channels != out)
                filters.append(self._shortcut(f"stage.{i + 1}.first", (channels, out), (there if pools else here, there)))
            if depth > 1:
                filters += self._layer(f"stage.{i + 1}.rest", depth - 1, (out, out), (there, there))
            stages.append(tuple(replace(each, function=self.function, norm=self.norm) for each in filters))
            sizes.append(there)
            here, channels = there, out
        return Maps(stem=tuple(replace(e, function=self.function, norm=self.norm) for e in stem), stages=tuple(stages), sizes=tuple(sizes))

    def _stem(self, image: Map) -> list[Convolution]:
        if not self.variant_d:
            shapes: tuple[tuple[str, int, int, int, int], ...] = (("embedding.convolution", self.channels, self.edge, 7, 2),)
        else:
            half = self.edge // 2
            shapes = (
                ("embedding.conv1", self.channels, half, 3, 2),
                ("embedding.conv2", half, half, 3, 1),
                ("embedding.conv3", half, self.edge, 3, 1),
            )
        table, here = list[Convolution](), image
        for name, c_in, c_out, kernel, stride in shapes:
            there = after(here, kernel=kernel, stride=stride, padding=kernel // 2)
            one = Convolution(
                name=name,
                channels_in=c_in,
                channels_out=c_out,
                kernel=(kernel, kernel),
                before=here,
                after=there,
                reads_data=not table,
            )
            table.append(one)
            here = there
        return table

    def _layer(self, prefix: str, count: int, channels: tuple[int, int], maps: tuple[Map, Map], enters: bool = False) -> list[Convolution]:
        """The filters of equal layers; `enters` says that they are the first of their stage."""
        (c_in, c_out), (before, there) = channels, maps
        if self.bottleneck:
            inner, middle = c_out // 4, there if self.shrinks_early else before
            shapes: tuple[tuple[str, int, int, int, Map, Map], ...] = (
                ("conv1", c_in, inner, 1, before, middle),
                ("conv2", inner, inner, 3, middle, there),
                ("conv3", inner, c_out, 1, there, there),
            )
        else:
            shapes = (("conv1", c_in, c_out, 3, before, there), ("conv2", c_out, c_out, 3, there, there))
        return [
            Convolution(
                name=f"{prefix}.{name}",
                count=count,
                channels_in=a,
                channels_out=b,
                kernel=(k, k),
                before=p,
                after=q,
                enters=enters and name == "conv1",
            )
            for name, a, b, k, p, q in shapes
        ]

    def _shortcut(self, prefix: str, channels: tuple[int, int], maps: tuple[Map, Map]) -> Convolution:
        return Convolution(
            name=f"{prefix}.shortcut",
            channels_in=channels[0],
            channels_out=channels[1],
            kernel=(1, 1),
            before=maps[0],
            after=maps[1],
            activation=False,
            enters=True,
        )
