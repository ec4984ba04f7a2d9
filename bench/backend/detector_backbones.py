"""ResNet of timm below a detector, as transformers' own ResNet: the same filters under other names, and trained in the same part.

timm need not be installed. What timm's would train, and where its last stage is dilated, is done to transformers' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from estimators.architectures.builders.backbones import backbone_of
from estimators.architectures.builders.detection import TRAINED_STAGES
from estimators.architectures.fields import Fields

TYPES = ("detr", "table-transformer")
"""Model types whose backbone is timm's unless they say otherwise."""


def own_backbone(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, with transformers' own ResNet in the place of timm's; as it is where there is none.

    Raises:
        BadConfigError, NoOpTableError: a backbone of which no op table is.
    """
    if not _is_of_timm(config):
        return dict(config)
    network, _, _ = backbone_of(Fields(config, config["model_type"]), "timm_backbone")
    own = {
        "model_type": "resnet",
        "num_channels": network.channels,
        "embedding_size": network.edge,
        "hidden_sizes": list(network.widths),
        "depths": list(network.depths),
        "layer_type": "bottleneck" if network.bottleneck else "basic",
        "out_features": [f"stage{i + 1}" for i in range(len(network.depths))],
    }
    left = ("backbone", "backbone_kwargs", "dilation", "use_pretrained_backbone")
    return {**{key: value for key, value in config.items() if key not in left}, "use_timm_backbone": False, "backbone_config": own}


def as_of_timm(model: nn.Module, config: Mapping[str, Any]) -> None:
    """Change the model of `own_backbone` in place: the stages that training changes, and a dilated last stage."""
    if not _is_of_timm(config):
        return
    network, _, _ = backbone_of(Fields(config, config["model_type"]), "timm_backbone")
    backbone: Any = next(part for part in model.modules() if type(part).__name__ == "ResNetBackbone")
    for stage in backbone.encoder.stages[-TRAINED_STAGES:]:
        stage.requires_grad_(True)
    for part in backbone.encoder.stages[-1].modules() if network.dilated else ():
        if isinstance(part, nn.Conv2d):
            part.stride = (1, 1)
            if part.kernel_size == (3, 3):
                part.dilation = part.padding = (2, 2)


def _is_of_timm(config: Mapping[str, Any]) -> bool:
    if config.get("model_type") not in TYPES:
        return False
    return backbone_of(Fields(config, config["model_type"]), "timm_backbone")[1] == "timm_backbone"
