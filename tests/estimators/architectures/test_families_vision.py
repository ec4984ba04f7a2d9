"""Models of images: what their figures mean, and configurations that are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.backend import model_classes
from bench.backend.counting import meta
from estimators.architectures.from_config import model_from_config
from estimators.architectures.vision import DualEncoder, VisionTransformer
from estimators.errors import BadValueError
from estimators.facts.registry import model_entry
from estimators.spec import Workload
from tests.support.encoders_and_images import IMAGES, SMALLEST_OF_IMAGES, step
from tests.support.refused_configs import refused


def test_full_recomputation_of_vit_is_what_torch_counts_when_layers_run_forward_again() -> None:
    """Dropout is on, so that torch recomputes each layer to its very end."""
    config = {"model_type": "vit", "num_hidden_layers": 2, "hidden_dropout_prob": 0.1}
    module = meta.meta_model(config).train()
    module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    counter = meta.flop_counter()
    with counter:
        outputs = module(pixel_values=torch.zeros(1, 3, 224, 224, device="meta"))
        torch.autograd.backward([root.sum() for root in model_classes.differentiable(outputs)])
    said = step(model_from_config(config, "vit"), Workload(phase="train", recompute="full"))
    assert said.flop["hardware"] == counter.get_total_flops()


@pytest.mark.parametrize(("name", "tokens"), [("vit-base", 14 * 14 + 1), ("deit-base", 14 * 14 + 2), ("dinov2", 37 * 37 + 1)])
def test_the_tokens_of_an_image_follow_from_its_patches(name: str, tokens: int) -> None:
    model = model_from_config(model_entry(name).config, name)
    assert isinstance(model, VisionTransformer)
    assert model.tokens == tokens


def test_clip_compares_every_image_with_every_text() -> None:
    """Twice the batch is twice the towers and four times the similarity matrix: B²·512 multiply-adds (base, 32)."""
    model = model_from_config(model_entry("clip").config, "clip")
    assert isinstance(model, DualEncoder)
    one, two = (step(model, Workload(batch=batch)).forward_flop for batch in (8, 16))
    assert two - 2 * one == 2 * 512 * (16 * 16 - 2 * 8 * 8)
    assert (model.image_tokens, model.text_tokens) == (50, 77)


def test_only_clips_text_tower_is_causal() -> None:
    """12 layers, 8 heads of 64, 77 tokens: half of 4·L·N·H·T²."""
    said = step(model_from_config(model_entry("clip").config, "clip"), Workload())
    assert said.flop["full"] - said.flop["causal"] == 2 * 12 * 512 * 77 * 77


@pytest.mark.parametrize("name", SMALLEST_OF_IMAGES)
def test_flop_of_images_is_linear_in_the_batch_but_for_the_comparison_of_images_with_texts(name: str) -> None:
    model = model_from_config(model_entry(name).config, name)
    width = {"clip-vit-base-patch32": 512, "siglip-base-patch16-224": 768, "siglip2-base-patch16-naflex": 768}.get(name, 0)
    once = sum(op.count * op.flop for op in model.ops(Workload()) if ".position_bias." in op.name)  # Swin v2's biases, whatever the batch
    apart = 2 * width * (5 * 5 - 5) - 4 * once
    assert step(model, Workload(batch=5)).forward_flop == 5 * step(model, Workload()).forward_flop + apart


@pytest.mark.parametrize("name", SMALLEST_OF_IMAGES)
def test_images_are_not_generated_and_have_no_length(name: str) -> None:
    model = model_from_config(model_entry(name).config, name)
    with pytest.raises(BadValueError, match=f"{name} has no decoder, so that it does not generate; expected one of: train, forward"):
        model.ops(Workload(phase="prefill"))
    for workload in (Workload(seq_len=197), Workload(context_len=1), Workload(source_len=1)):
        with pytest.raises(BadValueError, match=f"{name} takes samples whose size its configuration fixes; leave them at 1, 0 and 0"):
            model.ops(workload)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"model_type": "vit", "patch_size": 300}, "patch_size is '300'; expected at most image_size, 224 x 224"),
        ({"model_type": "vit", "image_size": [224, 224, 3]}, "image_size is .*; expected one whole number, or height and width"),
        ({"model_type": "vit", "image_size": "large"}, "image_size is 'large'; expected a whole number"),
        ({"model_type": "vit", "num_attention_heads": 5}, "hidden_size 768 is not a multiple of num_attention_heads 5"),
        (
            {"model_type": "vit", "architectures": ["ViTForMaskedImageModeling"]},
            "architectures is .*expected a list that begins with one of",
        ),
        ({"model_type": "dinov2", "mlp_ratio": -1}, "mlp_ratio is '-1'; expected a number above 0, up to 10,000"),
        ({"model_type": "dinov2", "mlp_ratio": float("nan")}, "mlp_ratio is 'nan'"),
        ({"model_type": "dinov2", "mlp_ratio": 1e-9}, "mlp_ratio is '1e-09'; expected a number that leaves at least 1 of 768"),
        ({"model_type": "dinov3_vit", "hidden_size": 36}, "hidden_size is '36'; expected a multiple of 4 times num_attention_heads, 6"),
        ({"model_type": "siglip2", "vision_config": {"num_patches": 200}}, "num_patches is '200'; expected a square number"),
        (
            {"model_type": "siglip", "text_config": {"hidden_size": 384}},
            "text_config: projection_size is '384'; expected the image's width, 768",
        ),
        ({"model_type": "siglip", "vision_config": {"vision_use_head": False}}, "vision_use_head is false; the op table of SiglipModel"),
        ({"model_type": "segformer", "strides": [4, 2]}, r"strides is .*; expected one number for each of the 4 stages"),
        ({"model_type": "segformer", "image_size": 16}, "sr_ratios is '8'; expected at most 4, the positions along a side of stage 1"),
        ({"model_type": "swin", "num_heads": [3, 6]}, r"num_heads is '\[3, 6\]'; expected one number for each of the 4 stages"),
        ({"model_type": "swin", "window_size": 14}, "window_size is '14'; expected at most 7, the tokens along a side of stage 4"),
        ({"model_type": "swin", "image_size": 225}, "image_size is '225'; expected a multiple of patch_size, 4 x 4"),
        ({"model_type": "swin", "embed_dim": 97}, r"embed_dim 97 is not a multiple of num_heads\[0\] 3"),
        ({"model_type": "swin", "depths": [1] * 31}, "depths is 'a list of 31'; expected at most 30 stages"),
        ({"model_type": "clip", "text_config": 3}, "text_config is '3'; expected an object that describes this part"),
        ({"model_type": "clip", "vision_config": {"hidden_size": 0}}, "vision_config: hidden_size is '0'"),
        ({"model_type": "resnet", "depths": [1, 2]}, "hidden_sizes is .*; expected one number for each of the 2 stages in depths"),
        ({"model_type": "resnet", "hidden_sizes": [3], "depths": [1]}, "hidden_sizes is .*; expected 4 or more channels"),
        ({"model_type": "resnet", "layer_type": "wide"}, "layer_type is 'wide'; expected one of basic, bottleneck"),
        ({"model_type": "convnext", "num_stages": 3}, "num_stages is '3'; expected the 4 stages in depths"),
        ({"model_type": "convnext", "image_size": 16}, "image_size is '16 x 16'; expected an image that no stage shrinks to nothing"),
        (
            {"model_type": "convnext", "layer_scale_init_value": "small"},
            "layer_scale_init_value is 'small'; expected a number; 0 for no scale",
        ),
        ({"model_type": "mobilenet_v2", "depth_multiplier": 0}, "depth_multiplier is '0'; expected a number above 0"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused_in_one_line(config: dict[str, Any], match: str) -> None:
    refused(config, match)


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ({"model_type": "vit", "hidden_size": 24, "num_attention_heads": 2, "image_size": 32}, [{"patch_size": 8}, {"num_labels": 2}]),
        ({"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [8, 16]}, [{"downsample_in_bottleneck": True}, {"depths": [1, 2]}]),
    ],
)
def test_a_wrong_op_table_is_noticed(config: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    """The twin of all checks above: another patch, a head, a stride elsewhere or a layer more changes the count."""
    counted = meta.torch_count(meta.meta_model(config), IMAGES[0])
    said = step(model_from_config(config, "right"), IMAGES[0])
    assert (said.params, said.forward_flop, said.backward_flop) == (counted.params, counted.forward_flop, counted.backward_flop)
    for change in changes:
        wrong = step(model_from_config(config | change, "wrong"), IMAGES[0])
        assert (wrong.params, wrong.forward_flop) != (counted.params, counted.forward_flop), change
