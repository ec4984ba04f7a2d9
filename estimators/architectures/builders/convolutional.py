"""Convolutional networks: ResNet, ConvNeXt and its second version.

The class of transformers that `architectures` names decides the head; without it, a classifier where the configuration
speaks of labels, else the plain model. An image has the `image_size` of the configuration, 224 where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import LAYER_NORM
from estimators.architectures.builders.parts import (
    IMAGE_SIDE,
    HeadTable,
    classifier,
    default_class,
    heads_named,
    labels,
    per_stage,
    size_pair,
)
from estimators.architectures.convolution import Convolution, ConvolutionalNetwork, Inverted, Layer, Map, MapNorm, after
from estimators.architectures.residual import ResidualNetwork
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def _stages(f: Fields, sizes: tuple[int, ...], depths: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`hidden_sizes` and `depths`. Raises BadConfigError where they are not equally long."""
    widths, counts = per_stage(f, "hidden_sizes", sizes), per_stage(f, "depths", depths)
    if len(widths) != len(counts):
        raise f.fail("hidden_sizes", list(widths), f"one number for each of the {len(counts)} stages in depths")
    return widths, counts


def _check_size(f: Fields, image: Map, smallest: Map) -> None:
    if min(smallest) < 1:
        raise f.fail("image_size", f"{image[0]} x {image[1]}", "an image that no stage shrinks to nothing")


def resnet(f: Fields, name: str, source: Source) -> ConvolutionalNetwork:
    """ResNet (v1.5, the stride in the 3 x 3 filter): ResNetForImageClassification, ResNetModel.

    Raises:
        BadConfigError: stages that do not match, channels that a bottleneck cannot quarter; one line.
    """
    network = residual_network(f)
    image = size_pair(f, "image_size", IMAGE_SIDE)
    known: HeadTable = {"ResNetModel": lambda: (), "ResNetForImageClassification": lambda: (classifier(network.widths[-1], labels(f)),)}
    runs, heads = heads_named(f, known, default_class(f, "ResNet"))
    maps = network.maps(image)
    _check_size(f, image, maps.sizes[-1])
    return ConvolutionalNetwork(name=name, source=source, runs=runs, image=image, layers=maps.filters, heads=heads)


def residual_network(f: Fields) -> ResidualNetwork:
    """The layers of ResNet, without a head.

    Raises:
        BadConfigError: stages that do not match, channels that a bottleneck cannot quarter; one line.
    """
    widths, depths = _stages(f, (256, 512, 1024, 2048), (3, 4, 6, 3))
    bottleneck = f.choice("layer_type", "bottleneck", ("basic", "bottleneck")) == "bottleneck"
    if bottleneck and min(widths) < 4:
        raise f.fail("hidden_sizes", list(widths), "4 or more channels, which a bottleneck divides by 4")
    return ResidualNetwork(
        channels=f.integer("num_channels", default=3),
        edge=f.integer("embedding_size", default=64),
        widths=widths,
        depths=depths,
        bottleneck=bottleneck,
        shrinks_early=f.flag("downsample_in_bottleneck", False),
        shrinks_first_stage=f.flag("downsample_in_first_stage", False),
        function=f.text("hidden_act", default="relu"),
    )


def convnext(f: Fields, name: str, source: Source) -> ConvolutionalNetwork:
    """ConvNeXt: ConvNextForImageClassification, ConvNextModel; depthwise filters of 7 x 7, two linear layers per position.

    Raises:
        BadConfigError: stages that do not match; one line.
    """
    scale = f.config.get("layer_scale_init_value", 1e-6)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)):
        raise f.fail("layer_scale_init_value", scale, "a number; 0 for no scale")
    return _convnext(f, name, source, "ConvNext", scaled=scale > 0)


def convnextv2(f: Fields, name: str, source: Source) -> ConvolutionalNetwork:
    """ConvNeXt v2: ConvNextV2ForImageClassification, ConvNextV2Model; a norm over each channel's map in the place of the scale."""
    return _convnext(f, name, source, "ConvNextV2", scaled=False)


def _convnext(f: Fields, name: str, source: Source, base: str, *, scaled: bool) -> ConvolutionalNetwork:
    widths, depths = _stages(f, (96, 192, 384, 768), (3, 3, 9, 3))
    if f.integer("num_stages", default=len(depths)) != len(depths):
        raise f.fail("num_stages", f.config["num_stages"], f"the {len(depths)} stages in depths")
    image, patch = size_pair(f, "image_size", IMAGE_SIDE), size_pair(f, "patch_size", 4)
    known: HeadTable = {f"{base}Model": lambda: (), f"{base}ForImageClassification": lambda: (classifier(widths[-1], labels(f)),)}
    runs, heads = heads_named(f, known, default_class(f, base))
    here = (image[0] // patch[0], image[1] // patch[1])
    layers: list[Layer] = [
        Convolution(
            name="embedding.patch",
            channels_in=f.integer("num_channels", default=3),
            channels_out=widths[0],
            kernel=patch,
            before=image,
            after=here,
            bias=True,
            batch_norm=False,
            activation=False,
            reads_data=True,
        )
    ]
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        prefix = f"stage.{i + 1}"
        if i:
            there = after(here, kernel=2, stride=2, padding=0)
            layers += [
                MapNorm(name=f"{prefix}.downsample.norm", width=widths[i - 1], map=here),
                Convolution(
                    name=f"{prefix}.downsample",
                    channels_in=widths[i - 1],
                    channels_out=width,
                    kernel=(2, 2),
                    before=here,
                    after=there,
                    bias=True,
                    norm=None,
                    activation=False,
                ),
            ]
            here = there
        layers += [
            Convolution(
                name=f"{prefix}.depthwise",
                count=depth,
                channels_in=width,
                channels_out=width,
                kernel=(7, 7),
                before=here,
                after=here,
                groups=width,
                bias=True,
                norm=LAYER_NORM,
                batch_norm=False,
                activation=False,
            ),
            Inverted(
                name=prefix,
                count=depth,
                width=width,
                map=here,
                scaled=scaled,
                function=f.text("hidden_act", default="gelu"),
                response_normed=base == "ConvNextV2",
            ),
        ]
    _check_size(f, image, here)
    layers.append(MapNorm(name="final.norm", width=widths[-1], map=(1, 1)))
    return ConvolutionalNetwork(name=name, source=source, runs=runs, image=image, layers=tuple(layers), heads=heads)
