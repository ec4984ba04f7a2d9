"""Residual networks below a detector: ResNet of transformers, RT-DETR's variant D of it, and ResNet of timm by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.block import Norm
from estimators.architectures.builders.convolutional import residual_network
from estimators.architectures.residual import ResidualNetwork
from estimators.errors import NoOpTableError
from estimators.frozen import replace

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

HELD_NORM = Norm(gain=False)
"""A norm over the batch whose numbers are held as they are, and are no parameters."""

OF_TIMM: dict[str, tuple[bool, tuple[int, ...]]] = {
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
    "resnet152": (True, (3, 8, 36, 3)),
}
"""Name in timm -> whether its layers are bottlenecks, and layers of each stage.

Source: He et al. 2015 (arXiv 1512.03385), table 1.
"""

DILATED_STRIDE = 16
"""Pixels to a position of the last map, where the last stage does not shrink it."""


def backbone_of(f: Fields, default: str, usual: tuple[int, ...] = ()) -> tuple[ResidualNetwork, str, tuple[int, ...]]:
    """What `backbone_config` describes, or the older fields beside it; its type; and which maps are read, by their stages from 0.

    Args:
        default: type of the backbone where nothing is said; `timm_backbone` is ResNet-50.
        usual: stages of timm's whose maps are read where nothing is said, from 0; the last alone unless given.

    Raises:
        BadConfigError: fields that make no sense, or a network whose last map is not read.
        NoOpTableError: a network of another kind.
    """
    part = _described(f, default, usual)
    kind = part.text("model_type", default=default)
    if kind == "timm_backbone":
        return _of_timm(part), kind, _read(part, 4)
    if kind not in ("resnet", "rt_detr_resnet"):
        raise NoOpTableError(str(part.fail("model_type", kind, "resnet, rt_detr_resnet or timm_backbone")))
    network = residual_network(part)
    if kind == "rt_detr_resnet":
        first = network.widths[0]
        if not network.bottleneck and first != network.edge and not network.shrinks_first_stage:
            raise part.fail("hidden_sizes", list(network.widths), f"{network.edge} channels in the first stage, as embedding_size")
        network = replace(network, variant_d=True)
    return network, kind, _read(part, len(network.widths))


def _described(f: Fields, default: str, usual: tuple[int, ...]) -> Fields:
    """The fields of the backbone: those of `backbone_config`, or timm's by the older fields. Raises BadConfigError."""
    given = f.config.get("backbone_config")
    if isinstance(given, dict):
        return f.part("backbone_config", given)
    if given is not None:
        raise f.fail("backbone_config", given, "an object that describes the backbone")
    if default != "timm_backbone" or not f.flag("use_timm_backbone", True):
        plain = {"model_type": default, "out_indices": [2, 3, 4]} if default != "timm_backbone" else {"model_type": "resnet"}
        return f.part("backbone_config", plain)
    named, kwargs = f.text("backbone", default="resnet50"), f.config.get("backbone_kwargs") or {}
    if not isinstance(kwargs, dict):
        raise f.fail("backbone_kwargs", kwargs, "an object")
    old = {"model_type": "timm_backbone", "backbone": named, "num_channels": f.config.get("num_channels", 3), **kwargs}
    if usual:
        old.setdefault("out_indices", [index + 1 for index in usual])
    if f.flag("dilation", False):
        old.setdefault("output_stride", DILATED_STRIDE)
    return f.part("backbone_config", old)


def _of_timm(part: Fields) -> ResidualNetwork:
    named = part.text("backbone", default="resnet50").partition(".")[0]
    if named not in OF_TIMM:
        raise NoOpTableError(str(part.fail("backbone", named, f"one of {', '.join(OF_TIMM)}")))
    bottleneck, depths = OF_TIMM[named]
    stride = part.integer("output_stride", default=2 * DILATED_STRIDE)
    if stride not in (DILATED_STRIDE, 2 * DILATED_STRIDE):
        raise NoOpTableError(str(part.fail("output_stride", stride, f"{2 * DILATED_STRIDE}, or {DILATED_STRIDE} for a dilated last stage")))
    widths = tuple((256 if bottleneck else 64) * 2**i for i in range(4))
    return ResidualNetwork(
        channels=part.integer("num_channels", "in_chans", default=3),
        edge=64,
        widths=widths,
        depths=depths,
        bottleneck=bottleneck,
        dilated=stride == DILATED_STRIDE,
    )


def _read(part: Fields, stages: int) -> tuple[int, ...]:
    """Stages whose maps are read, from 0; the last alone where nothing is said. Raises BadConfigError where the last is not among them."""
    names, indices = part.config.get("out_features"), part.config.get("out_indices")
    known = {f"stage{i + 1}": i for i in range(stages)}
    if isinstance(names, list) and names:
        if not all(isinstance(name, str) and name in known for name in names):
            raise part.fail("out_features", names, f"some of {', '.join(known)}")
        read = tuple(sorted(known[name] for name in names))
    elif isinstance(indices, list) and indices:
        if not all(type(index) is int and 1 <= index <= stages for index in indices):
            raise part.fail("out_indices", indices, f"stages from 1 to {stages}")
        read = tuple(sorted(index - 1 for index in indices))
    else:
        read = (stages - 1,)
    if read[-1] != stages - 1:
        raise part.fail(
            "out_features", names or indices, f"stage{stages} among them: what runs behind the last map that is read is for nothing"
        )
    return read
