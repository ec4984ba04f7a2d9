"""Models of images: random configurations against torch on meta, `==`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.encoders_and_images import check


def named(draw: st.DrawFn, base: str, classes: tuple[str, ...]) -> dict[str, Any]:
    """A class, or none and perhaps labels."""
    chosen = draw(st.none() | st.sampled_from(classes))
    labels = draw(st.sampled_from([{}, {"num_labels": 3}, {"id2label": {"0": "a", "1": "b", "2": "c", "3": "d"}}]))
    return {**({"architectures": [base + chosen]} if chosen else {}), **labels}


def image(draw: st.DrawFn, low: int, high: int) -> int | list[int]:
    side = st.integers(low, high)
    found: int | list[int] = draw(side | st.lists(side, min_size=2, max_size=2))
    return found


@st.composite
def vit_like(draw: st.DrawFn) -> dict[str, Any]:
    model_type, base, classes = draw(
        st.sampled_from(
            [
                ("vit", "ViT", ("Model", "ForImageClassification")),
                ("deit", "DeiT", ("Model", "ForImageClassification", "ForImageClassificationWithTeacher")),
                ("dinov2", "Dinov2", ("Model", "ForImageClassification")),
                ("dinov2_with_registers", "Dinov2WithRegisters", ("Model", "ForImageClassification")),
            ]
        )
    )
    heads = draw(st.integers(1, 4))
    own = (
        {
            "mlp_ratio": draw(st.integers(1, 5)),
            "use_swiglu_ffn": draw(st.booleans()),
            **({"use_mask_token": draw(st.booleans())} if model_type == "dinov2" else {"num_register_tokens": draw(st.integers(0, 5))}),
        }
        if model_type.startswith("dinov2")
        else {"intermediate_size": draw(st.integers(1, 60)), "pooler_output_size": draw(st.none() | st.integers(1, 20))}
    )
    return {
        "model_type": model_type,
        **named(draw, base, classes),
        "hidden_size": heads * draw(st.integers(2, 12)),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 4)),
        "image_size": draw(st.integers(9, 40)) if model_type.startswith("dinov2") else image(draw, 9, 40),
        "patch_size": image(draw, 2, 9),
        "num_channels": draw(st.integers(1, 4)),
        "qkv_bias": draw(st.booleans()),
        **own,
    }


@given(vit_like())
@settings(max_examples=28, deadline=None)
def test_random_vision_transformers_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def beit(draw: st.DrawFn) -> dict[str, Any]:
    heads = draw(st.integers(1, 4))
    flags = ("use_mask_token", "use_absolute_position_embeddings", "use_relative_position_bias", "use_mean_pooling")
    return {
        "model_type": "beit",
        **named(draw, "Beit", ("Model", "ForImageClassification")),
        "hidden_size": heads * draw(st.integers(2, 12)),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "intermediate_size": draw(st.integers(1, 60)),
        "image_size": draw(st.integers(9, 40)),
        "patch_size": draw(st.integers(2, 9)),
        "layer_scale_init_value": draw(st.sampled_from([0.0, 0.1])),
        **{key: draw(st.booleans()) for key in flags},
    }


@given(beit())
@settings(max_examples=12, deadline=None)
def test_random_beits_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def dinov3(draw: st.DrawFn) -> dict[str, Any]:
    heads = draw(st.integers(1, 4))
    return {
        "model_type": "dinov3_vit",
        "hidden_size": 4 * heads * draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "intermediate_size": draw(st.integers(1, 60)),
        "num_register_tokens": draw(st.integers(0, 5)),
        "image_size": image(draw, 9, 40),
        "patch_size": image(draw, 2, 9),
        "num_channels": draw(st.integers(1, 4)),
        **{key: draw(st.booleans()) for key in ("query_bias", "key_bias", "value_bias", "proj_bias", "mlp_bias", "use_gated_mlp")},
    }


@given(dinov3())
@settings(max_examples=10, deadline=None)
def test_random_dinov3s_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def swin(draw: st.DrawFn) -> dict[str, Any]:
    second = draw(st.booleans())
    stages, window, patch = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    least = window * 2 ** (stages - 1)
    sides = st.integers(least, least + 9)
    return {
        "model_type": "swinv2" if second else "swin",
        **named(draw, "Swinv2" if second else "Swin", ("Model", "ForImageClassification")),
        "embed_dim": 12,
        "depths": draw(st.lists(st.integers(1, 3), min_size=stages, max_size=stages)),
        "num_heads": draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=stages, max_size=stages)),
        "window_size": window,
        "patch_size": patch,
        "image_size": [patch * draw(sides), patch * draw(sides)],
        "mlp_ratio": draw(st.sampled_from([4.0, 2.0, 1.5])),
        "qkv_bias": draw(st.booleans()),
        "use_absolute_embeddings": not second and draw(st.booleans()),
    }


@given(swin())
@settings(max_examples=20, deadline=None)
def test_random_swins_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


def tower(draw: st.DrawFn, **more: Any) -> dict[str, Any]:
    heads = draw(st.integers(1, 4))
    return {
        "hidden_size": heads * draw(st.integers(1, 10)),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "intermediate_size": draw(st.integers(1, 50)),
        **more,
    }


def text_tower(draw: st.DrawFn, **more: Any) -> dict[str, Any]:
    lengths = {"vocab_size": draw(st.integers(5, 90)), "max_position_embeddings": draw(st.integers(2, 20))}
    return tower(draw, **lengths, eos_token_id=3, pad_token_id=1, **more)


@st.composite
def clip(draw: st.DrawFn) -> dict[str, Any]:
    text = text_tower(draw)
    vision = tower(draw, image_size=draw(st.integers(9, 40)), patch_size=draw(st.integers(2, 9)), num_channels=draw(st.integers(1, 3)))
    old = draw(st.sampled_from(["", "_dict"]))
    return {"model_type": "clip", f"text_config{old}": text, "vision_config": vision, "projection_dim": draw(st.integers(1, 30))}


@given(clip())
@settings(max_examples=20, deadline=None)
def test_random_clips_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def siglip(draw: st.DrawFn) -> dict[str, Any]:
    model_type, base = draw(st.sampled_from([("siglip", "Siglip"), ("siglip2", "Siglip2"), ("siglip_vision_model", "SiglipVision")]))
    side = {"num_patches": draw(st.integers(1, 7)) ** 2} if model_type == "siglip2" else {"image_size": draw(st.integers(9, 40))}
    vision = tower(draw, **side, patch_size=draw(st.integers(2, 9)), num_channels=draw(st.integers(1, 3)))
    if model_type == "siglip_vision_model":
        return {"model_type": model_type, **vision, "vision_use_head": draw(st.booleans())}
    text = text_tower(draw, projection_size=vision["hidden_size"])
    classes = ("Model", "ForImageClassification")
    return {"model_type": model_type, **named(draw, base, classes), "text_config": text, "vision_config": vision}


@given(siglip())
@settings(max_examples=12, deadline=None)
def test_random_siglips_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def resnet(draw: st.DrawFn) -> dict[str, Any]:
    stages = draw(st.integers(1, 4))
    return {
        "model_type": "resnet",
        **named(draw, "ResNet", ("Model", "ForImageClassification")),
        "layer_type": draw(st.sampled_from(["basic", "bottleneck"])),
        "depths": draw(st.lists(st.integers(1, 3), min_size=stages, max_size=stages)),
        "hidden_sizes": draw(st.lists(st.integers(4, 30), min_size=stages, max_size=stages)),
        "embedding_size": draw(st.integers(1, 30)),
        "num_channels": draw(st.integers(1, 4)),
        "downsample_in_first_stage": draw(st.booleans()),
        "downsample_in_bottleneck": draw(st.booleans()),
    }


@given(resnet())
@settings(max_examples=20, deadline=None)
def test_random_resnets_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def convnext(draw: st.DrawFn) -> dict[str, Any]:
    stages, second = draw(st.integers(1, 4)), draw(st.booleans())
    return {
        "model_type": "convnextv2" if second else "convnext",
        **named(draw, "ConvNextV2" if second else "ConvNext", ("Model", "ForImageClassification")),
        "num_stages": stages,
        "depths": draw(st.lists(st.integers(1, 3), min_size=stages, max_size=stages)),
        "hidden_sizes": draw(st.lists(st.integers(1, 20), min_size=stages, max_size=stages)),
        "patch_size": draw(st.integers(1, 5)),
        "image_size": image(draw, 40, 70),
        "num_channels": draw(st.integers(1, 4)),
        **({} if second else {"layer_scale_init_value": draw(st.sampled_from([1e-6, 0.0]))}),
    }


@given(convnext())
@settings(max_examples=20, deadline=None)
def test_random_convnexts_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def mobilenet(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "model_type": "mobilenet_v2",
        **named(draw, "MobileNetV2", ("Model", "ForImageClassification")),
        "depth_multiplier": draw(st.sampled_from([0.35, 0.5, 1.0, 1.4])),
        "depth_divisible_by": draw(st.sampled_from([1, 4, 8])),
        "min_depth": draw(st.sampled_from([1, 8])),
        "expand_ratio": draw(st.sampled_from([1, 3.5, 6.0])),
        "output_stride": draw(st.sampled_from([8, 16, 32])),
        "image_size": image(draw, 33, 70),
        **{key: draw(st.booleans()) for key in ("first_layer_is_expansion", "finegrained_output", "tf_padding")},
    }


@given(mobilenet())
@settings(max_examples=12, deadline=None)
def test_random_mobilenets_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def segformer(draw: st.DrawFn) -> dict[str, Any]:
    stages = draw(st.integers(1, 3))

    def per_stage(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=stages, max_size=stages))

    heads = per_stage(1, 3)
    return {
        "model_type": "segformer",
        **named(draw, "Segformer", ("Model", "ForImageClassification", "ForSemanticSegmentation")),
        "num_encoder_blocks": stages,
        "depths": per_stage(1, 2),
        "hidden_sizes": [n * draw(st.integers(1, 8)) for n in heads],
        "num_attention_heads": heads,
        "sr_ratios": per_stage(1, 3),
        "patch_sizes": [2 * side + 1 for side in per_stage(0, 3)],
        "strides": per_stage(1, 2),
        "mlp_ratios": per_stage(1, 4),
        "image_size": image(draw, 24, 50),
        "num_channels": draw(st.integers(1, 4)),
        "decoder_hidden_size": draw(st.integers(1, 20)),
    }


@given(segformer())
@settings(max_examples=12, deadline=None)
def test_random_segformers_count_like_torch(config: dict[str, Any]) -> None:
    check(config)
