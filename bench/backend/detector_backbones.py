"""ResNet of timm below a detector, as transformers' own ResNet: the same filters under other names, and trained in the same part.

timm need not be installed. What timm's would train, and where its last stage is dilated, is done to transformers' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from estimators.architectures.builders.detection import TRAINED_STAGES, detector_backbone
from estimators.architectures.fields import Fields
from estimators.architectures.residual import ResidualNetwork

TYPES = ("conditional_detr", "deformable_detr", "detr", "table-transformer")
"""Model types whose backbone is timm's unless they say otherwise."""


def own_backbone(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, with transformers' own ResNet in the place of timm's; as it is where there is none.

    Raises:
        BadConfigError, NoOpTableError: a backbone of which no op table is.
    """
    if (found := _of_timm(config)) is None:
        return dict(config)
    network, read = found
    own = {
        "model_type": "resnet",
        "num_channels": network.channels,
        "embedding_size": network.edge,
        "hidden_sizes": list(network.widths),
        "depths": list(network.depths),
        "layer_type": "bottleneck" if network.bottleneck else "basic",
        "out_features": [f"stage{index + 1}" for index in read],
    }
    left = ("backbone", "backbone_kwargs", "dilation", "use_pretrained_backbone")
    return {**{key: value for key, value in config.items() if key not in left}, "use_timm_backbone": False, "backbone_config": own}


def as_of_timm(model: nn.Module, config: Mapping[str, Any]) -> None:
    """Change the model of `own_backbone` in place: the stages that training changes, and a dilated last stage."""
    if (found := _of_timm(config)) is None:
        return
    backbone: Any = next(part for part in model.modules() if type(part).__name__ == "ResNetBackbone")
    for stage in backbone.encoder.stages[-TRAINED_STAGES:]:
        stage.requires_grad_(True)
    for part in backbone.encoder.stages[-1].modules() if found[0].dilated else ():
        if isinstance(part, nn.Conv2d):
            part.stride = (1, 1)
            if part.kernel_size == (3, 3):
                part.dilation = part.padding = (2, 2)


def _of_timm(config: Mapping[str, Any]) -> tuple[ResidualNetwork, tuple[int, ...]] | None:
    """What timm's backbone of a configuration is, and the stages whose maps are read; None where it has none."""
    if config.get("model_type") not in TYPES:
        return None
    network, kind, read = detector_backbone(Fields(config, config["model_type"]))
    return (network, read) if kind == "timm_backbone" else None
