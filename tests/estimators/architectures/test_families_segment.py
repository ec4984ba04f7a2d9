"""Segment Anything of random sizes counts like torch, trained on one point an image."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import SamModel

from bench.backend.counting import meta
from bench.backend.models import hf_config
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.errors import BadConfigError, BadValueError
from estimators.facts.registry import model_entry
from estimators.samples import Image
from estimators.spec import Case, Workload
from tests.support.drawn_decoders import Config


def drawn(seed: int) -> Config:
    draw = random.Random(seed)
    n, h, patch, depth, width = draw.randint(1, 3), draw.choice([8, 16]), draw.choice([8, 16]), draw.randint(1, 4), draw.choice([16, 32])
    side = draw.randint(3, 9)
    vision = {"hidden_size": n * h, "num_attention_heads": n, "num_hidden_layers": depth, "patch_size": patch, "image_size": side * patch}
    vision |= {"window_size": draw.choice([0, 2, 4]), "global_attn_indexes": draw.sample(range(5), 2), "output_channels": width}
    vision |= {"num_pos_feats": width // 2, "use_rel_pos": draw.random() < 0.7, "qkv_bias": draw.random() < 0.7}
    vision |= {"use_abs_pos": draw.random() < 0.7, "mlp_ratio": draw.choice([2.0, 4.0])}
    prompt = {"hidden_size": width, "image_size": side * patch, "patch_size": patch, "mask_input_channels": draw.choice([8, 16])}
    masks = {"hidden_size": width, "num_attention_heads": draw.choice([1, 2]), "num_hidden_layers": draw.randint(1, 3), "mlp_dim": 40}
    masks |= {"attention_downsample_rate": draw.choice([1, 2]), "num_multimask_outputs": draw.randint(1, 3)}
    masks |= {"iou_head_depth": draw.randint(2, 4), "iou_head_hidden_dim": 24}
    return {"model_type": "sam", "vision_config": vision, "prompt_encoder_config": prompt, "mask_decoder_config": masks}


def counted(config: Config, batch: int) -> tuple[int, int, int]:
    """Parameters, and FLOP forward and backward of one point an image, by torch's counter on the CPU."""
    torch.manual_seed(0)
    module = SamModel._from_config(hf_config(config), attn_implementation="eager").train()
    side = config["vision_config"]["image_size"]
    given: dict[str, Any] = {"pixel_values": torch.rand(batch, 3, side, side), "input_points": torch.ones(batch, 1, 1, 2)}
    counter = meta.flop_counter()
    with counter:
        out = module(**given)
    forward = counter.get_total_flops()
    with counter:
        (out.pred_masks.sum() + out.iou_scores.sum()).backward()
    return meta.params_of(module), forward, counter.get_total_flops()


@pytest.mark.parametrize("seed", range(12))
def test_a_model_of_random_sizes_counts_like_torch(seed: int) -> None:
    config = drawn(seed)
    said = estimate(Case(model=model_from_config(config, "sam"), workload=Workload(phase="train", batch=2)))
    assert (said.params, said.forward_flop, said.backward_flop) == counted(config, batch=2)


def test_windows_that_reach_over_the_edge_are_paid_for() -> None:
    """ViT-B: 64 patches along a side are 5 windows of 14, so 25 x 14² queries each of which meets 14² keys, in 12 heads of 64."""
    rows = model_from_config(model_entry("sam-vit-base").config, "sam").ops(Workload())
    scores = next(op for op in rows if op.name == "layer.0.attention.scores")
    assert (scores.count, scores.flop) == (8, 2 * 25 * 14**4 * 12 * 64)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(BadValueError, match="reads an image of 1024 x 1024 pixels"):
        model_from_config(model_entry("sam-vit-base").config, "sam").ops(Workload(sample=Image(height=512, width=512)))


def test_parts_of_different_widths_are_refused() -> None:
    with pytest.raises(BadConfigError, match="output_channels"):
        model_from_config({"model_type": "sam", "vision_config": {"output_channels": 128}}, "m")
