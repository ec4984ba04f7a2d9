"""Convolutional networks: a list of layers over maps of an image (ResNet, ConvNeXt, MobileNet)."""

from __future__ import annotations

from estimators.architectures.block import LAYER_NORM, Norm
from estimators.architectures.encoder import Projection
from estimators.architectures.rows import convolution, elementwise, linear, norm, parameters
from estimators.architectures.vision import demand_samples
from estimators.frozen import frozen, replace
from estimators.samples import Image
from estimators.spec import Model, Op, Source, Workload

Map = tuple[int, int]
"""Height and width of a map of features."""


def after(before: Map, *, kernel: int, stride: int, padding: int) -> Map:
    """The map that a filter makes: floor((side + 2·padding - kernel) / stride) + 1 along each side.

    >>> after((224, 224), kernel=7, stride=2, padding=3)
    (112, 112)
    """
    height, width = ((side + 2 * padding - kernel) // stride + 1 for side in before)
    return height, width


@frozen
class Convolution:
    """A filter over a map, the norm behind it and the activation behind that.

    Attributes:
        kernel: height and width of the filter.
        before, after: the map that it reads and the one that it makes.
        norm: None for none.
        batch_norm: whether it is over a batch, channel by channel, rather than over the channels of a position.
        bordered: whether the map is copied with its border of zeros before, as TensorFlow pads.
        activation: whether one follows.
        function: its name.
        reads_data: whether its input is the image, which needs no gradient.
        enters: whether it reads what enters its stage, rather than what the stage made.
    """

    name: str
    count: int = 1
    channels_in: int
    channels_out: int
    kernel: Map
    before: Map
    after: Map
    groups: int = 1
    bias: bool = False
    norm: Norm | None = LAYER_NORM
    batch_norm: bool = True
    bordered: bool = False
    activation: bool = True
    function: str = "relu"
    reads_data: bool = False
    enters: bool = False

    def ops(self, w: Workload) -> list[Op]:
        """Convolution, norm, activation."""
        positions = self.after[0] * self.after[1]
        table = [
            convolution(
                w,
                "",
                self.name,
                "embedding" if self.reads_data else "convolution",
                channels_in=self.channels_in,
                channels_out=self.channels_out,
                taps=self.kernel[0] * self.kernel[1],
                in_positions=self.before[0] * self.before[1],
                out_positions=positions,
                groups=self.groups,
                bias=self.bias,
                count=self.count,
                input_grad=not self.reads_data,
            )
        ]
        if self.norm:
            gain, bias = self.norm.gain, self.norm.bias
            row = norm(
                w,
                self.name,
                cut="whole",
                width=self.channels_out,
                gain=gain,
                bias=bias,
                rows=w.batch * positions,
                count=self.count,
                recomputed=False,
            )
            is_held = self.batch_norm and not (gain or bias)  # multiplied by numbers that nothing is learned of: backward needs these alone
            table.append(replace(row, saved_bytes=0) if is_held else row)
        if self.activation:
            width = positions * self.channels_out
            table.append(elementwise(w, self.name, "activation", cut="whole", width=width, count=self.count, recomputed=False))
        return table


@frozen
class Inverted:
    """ConvNeXt's layer behind its depthwise filter and norm: two linear layers on every position, a scale per channel.

    Attributes:
        map: height and width.
        scaled: whether there is a learned scale.
        response_normed: whether channels are normed by their size over the whole map, with a gain and a bias (ConvNeXt v2).
        function: name of the activation.

    Source: Liu et al. 2022 (arXiv 2201.03545), figure 4; Woo et al. 2023 (arXiv 2301.00808), figure 5.
    """

    name: str
    count: int
    width: int
    map: Map
    scaled: bool
    function: str = "gelu"
    response_normed: bool = False

    def ops(self, w: Workload) -> list[Op]:
        """Up, activation, down, scale."""
        positions, inner = self.map[0] * self.map[1], 4 * self.width
        rows = w.batch * positions
        table = [
            linear(w, self.name, "up", "mlp", cut="whole", d_in=self.width, d_out=inner, bias=True, rows=rows, count=self.count),
            elementwise(w, self.name, "activation", cut="whole", width=positions * inner, count=self.count, recomputed=False),
            linear(w, self.name, "down", "mlp", cut="whole", d_in=inner, d_out=self.width, bias=True, rows=rows, count=self.count),
        ]
        if self.scaled:
            table.append(parameters(w, self.name, "scale", "elementwise", num=self.width, count=self.count))
        if self.response_normed:
            row = norm(
                w, self.name, cut="whole", label="response_norm", width=inner, bias=True, rows=rows, count=self.count, recomputed=False
            )
            table.append(row)
        return table


@frozen
class MapNorm:
    """A norm of its own, on every position of a map."""

    name: str
    width: int
    map: Map

    def ops(self, w: Workload) -> list[Op]:
        """One row."""
        rows = w.batch * self.map[0] * self.map[1]
        return [norm(w, "", cut="whole", label=self.name, width=self.width, bias=True, rows=rows, recomputed=False)]


Layer = Convolution | Inverted | MapNorm
"""One kind of layer, as often as it is repeated."""


@frozen
class ConvolutionalNetwork(Model):
    """Layers over the maps of one image, and a head on what is pooled from the last.

    Attributes:
        runs: the class of transformers that this is.
        image: height and width in pixels.
    """

    name: str
    source: Source
    runs: str
    image: Map
    layers: tuple[Layer, ...]
    heads: tuple[Projection, ...]

    @property
    def sample(self) -> Image:
        """An image of the only size that its maps are laid out for."""
        return Image(height=self.image[0], width=self.image[1])

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch images. Raises BadValueError for a phase, a length or a size that it does not have."""
        demand_samples(self.name, workload, self.phases)
        self.demand_sample(workload)
        table: list[Op] = []
        for layer in (*self.layers, *self.heads):
            table += layer.ops(workload)
        return tuple(table)
