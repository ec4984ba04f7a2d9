"""MobileNet v2: narrow maps widened, filtered channel by channel, and narrowed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.builders.parts import IMAGE_SIDE, HeadTable, classifier, default_class, heads_named, labels, scaled, size_pair
from estimators.architectures.convolution import Convolution, ConvolutionalNetwork, Layer, Map, after
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

CHANNELS = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
STRIDES = (2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
"""Sandler et al. 2018 (arXiv 1801.04381), table 2: channels behind the stem and each of 16 layers, strides of those."""

LAST_CHANNELS = 1280


def divisible(value: float, divisor: int, minimum: int) -> int:
    """The multiple of `divisor` nearest to a number of channels, and not more than 10 % below it.

    >>> divisible(11.0, 8, 8), divisible(13.0, 8, 8)
    (16, 16)
    """
    rounded = max(minimum, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class _Maker:
    """Makes layers in a row, each reading the map and the channels that the one before it left."""

    def __init__(self, image: Map, channels: int, same_padding: bool, function: str) -> None:
        self.function = function
        self.here, self.channels, self.same_padding, self.layers = image, channels, same_padding, list[Layer]()

    def add(self, name: str, channels: int, *, kernel: int = 1, stride: int = 1, depthwise: bool = False, activation: bool = True) -> None:
        """One filter with its norm; with same_padding (TensorFlow's) a map of n is left with ceil(n / stride)."""
        padded = after(self.here, kernel=kernel, stride=stride, padding=(kernel - 1) // 2)
        there = (-(-self.here[0] // stride), -(-self.here[1] // stride)) if self.same_padding else padded
        self.layers.append(
            Convolution(
                name=name,
                channels_in=self.channels,
                channels_out=channels,
                kernel=(kernel, kernel),
                before=self.here,
                after=there,
                groups=channels if depthwise else 1,
                activation=activation,
                function=self.function,
                bordered=self.same_padding and kernel > 1,
                reads_data=not self.layers,
            )
        )
        self.here, self.channels = there, channels


def mobilenet_v2(f: Fields, name: str, source: Source) -> ConvolutionalNetwork:
    """MobileNet v2: MobileNetV2ForImageClassification, MobileNetV2Model. A dilated filter costs what one of stride 1 costs."""
    divisor, minimum = f.integer("depth_divisible_by", default=8), f.integer("min_depth", default=8)

    def width(channels: int) -> int:
        return divisible(scaled(f, "depth_multiplier", 1.0, channels, rounded=True), divisor, minimum)

    image = size_pair(f, "image_size", IMAGE_SIDE)
    maker = _Maker(image, f.integer("num_channels", default=3), f.flag("tf_padding", True), f.text("hidden_act", default="relu6"))
    first, widths = width(32), [width(channels) for channels in CHANNELS]
    maker.add("embedding.convolution", first, kernel=3, stride=2)
    if not f.flag("first_layer_is_expansion", True):
        maker.add("embedding.expand", first)
    maker.add("embedding.depthwise", first, kernel=3, depthwise=True)
    maker.add("embedding.reduce", widths[0], activation=False)
    reached, limit = 2, f.integer("output_stride", default=32)
    for i, out in enumerate(widths[1:]):
        stride = 1 if reached == limit else STRIDES[i]
        reached *= stride
        inner = divisible(scaled(f, "expand_ratio", 6.0, widths[i], rounded=True), divisor, minimum)
        maker.add(f"layer.{i}.expand", inner)
        maker.add(f"layer.{i}.depthwise", inner, kernel=3, stride=stride, depthwise=True)
        maker.add(f"layer.{i}.reduce", out, activation=False)
    narrow = f.config.get("depth_multiplier") is not None and f.config["depth_multiplier"] < 1
    last = LAST_CHANNELS if f.flag("finegrained_output", True) and narrow else width(LAST_CHANNELS)
    maker.add("final.convolution", last)
    known: HeadTable = {
        "MobileNetV2Model": lambda: (),
        "MobileNetV2ForImageClassification": lambda: (classifier(last, labels(f)),),
    }
    runs, heads = heads_named(f, known, default_class(f, "MobileNetV2"))
    return ConvolutionalNetwork(name=name, source=source, runs=runs, image=image, layers=tuple(maker.layers), heads=heads)
