"""Models of images: the op table against torch on meta, `==`, for published and for random configurations."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from bench.backend import count, kinds
from estimators.architectures.builders.convolutional import after
from estimators.architectures.rows import convolution
from estimators.architectures.vision import DualEncoder, VisionTransformer
from estimators.errors import BadConfigError, BadValueError
from estimators.estimate import count_params, estimate
from estimators.hf_config import model_from_config
from estimators.registry import model_entry, model_ids
from estimators.rules import rules
from estimators.spec import Case, Estimate, Model, Op, Workload

FAMILIES = ("clip", "convnext", "deit", "dinov2", "mobilenet_v2", "resnet", "swin", "vit")
SHIPPED = [name for name in model_ids() if model_entry(name).config["model_type"] in FAMILIES]
SMALLEST = (
    *("clip-vit-base-patch32", "convnext-tiny-224", "deit-base-distilled-patch16-224", "dinov2-small", "mobilenet-v2-1.0-224"),
    *("resnet-18", "resnet-50", "swin-tiny-patch4-window7-224", "vit-base-patch16-224"),
)
TRAIN = Workload(phase="train", batch=2)


def step(model: Model, workload: Workload) -> Estimate:
    return estimate(Case(model=model, workload=workload))


def check(config: dict[str, Any], workload: Workload = TRAIN) -> None:
    """Parameters, forward and backward FLOP equal torch's, and every rule of thumb is explained to the FLOP."""
    model, module = model_from_config(config, "checked"), count.meta_model(config)
    assert type(module).__name__ == model.runs  # type: ignore[attr-defined]
    expected, counted = step(model, workload), count.torch_count(module, workload)
    assert (expected.params, expected.forward_flop) == (counted.params, counted.forward_flop)
    assert expected.backward_flop == counted.backward_flop
    names = [op.name for op in model.ops(workload)]
    assert len(names) == len(set(names))
    for phase in ("train", "forward"):
        found = rules(model, Workload(phase=phase, batch=3))  # type: ignore[arg-type]
        assert [rule.unexplained_flop for rule in found] == [0] * len(found)


@pytest.mark.parametrize("name", SHIPPED)
def test_parameters_of_every_shipped_model_are_torchs_and_the_published_ones(name: str) -> None:
    entry = model_entry(name)
    params = count_params(model_from_config(entry.config, name).ops(Workload()))
    assert params == entry.published_params == count.params_of(count.meta_model(entry.config))


@pytest.mark.parametrize("name", SMALLEST)
def test_published_models_count_like_torch_forward_and_backward(name: str) -> None:
    check(dict(model_entry(name).config))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SHIPPED) - set(SMALLEST)))
def test_all_shipped_models_count_like_torch_forward_and_backward(name: str) -> None:
    check(dict(model_entry(name).config))


# Reference: hand formulas of matrix products and torch's counter, both by others; parameters as torchvision and timm print them.
@pytest.mark.parametrize(
    ("name", "params", "forward_flop"),
    [("vit-base-patch16-224", 86_567_656, 35_127_656_448), ("resnet-50", 25_557_032, 8_178_368_512)],
)
def test_reference_counts_of_vit_and_resnet(name: str, params: int, forward_flop: int) -> None:
    said = step(model_from_config(model_entry(name).config, name), Workload())
    assert (said.params, said.forward_flop) == (params, forward_flop)


# torchvision, `_ops` of its pre-trained weights: billions of multiply-adds of one image, to three digits.
@pytest.mark.parametrize(
    ("name", "printed_gmac"),
    [
        ("resnet-18", 1.814),
        ("resnet-50", 4.089),
        ("resnet-101", 7.801),
        ("resnet-152", 11.514),
        ("convnext-tiny", 4.456),
        ("convnext-base", 15.355),
        ("convnext-large", 34.361),
        ("mobilenet-v2", 0.301),
        ("swin-tiny", 4.491),
        ("swin-base", 15.431),
        ("vit-base", 17.564),
        ("vit-large", 61.555),
    ],
)
def test_multiply_adds_are_those_that_torchvision_prints(name: str, printed_gmac: float) -> None:
    said = step(model_from_config(model_entry(name).config, name), Workload())
    assert said.forward_flop / 2e9 == pytest.approx(printed_gmac, abs=0.00051)


def test_vit_base_by_hand() -> None:
    """A 16 x 16 filter over 196 patches, 12 layers on 197 tokens (Dosovitskiy et al. 2020, table 1), 1,000 classes from one token."""
    d, t = 768, 197
    patches = 2 * 196 * d * 3 * 256
    layers = 12 * (2 * t * 12 * d * d + 4 * d * t * t)
    said = step(model_from_config(model_entry("vit-base").config, "vit"), Workload(phase="train"))
    assert said.forward_flop == patches + layers + 2 * d * 1000
    assert said.backward_flop == 2 * said.forward_flop - patches


# --- random configurations -------------------------------------------------------------------------------------------


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
            ]
        )
    )
    heads = draw(st.integers(1, 4))
    own = (
        {
            "mlp_ratio": draw(st.integers(1, 5)),
            "use_swiglu_ffn": draw(st.booleans()),
            "use_mask_token": draw(st.booleans()),
        }
        if model_type == "dinov2"
        else {"intermediate_size": draw(st.integers(1, 60)), "pooler_output_size": draw(st.none() | st.integers(1, 20))}
    )
    return {
        "model_type": model_type,
        **named(draw, base, classes),
        "hidden_size": heads * draw(st.integers(2, 12)),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 4)),
        "image_size": draw(st.integers(9, 40)) if model_type == "dinov2" else image(draw, 9, 40),
        "patch_size": image(draw, 2, 9),
        "num_channels": draw(st.integers(1, 4)),
        "qkv_bias": draw(st.booleans()),
        **own,
    }


@given(vit_like())
@settings(max_examples=24, deadline=None)
def test_random_vision_transformers_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def swin(draw: st.DrawFn) -> dict[str, Any]:
    stages, window, patch = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    least = window * 2 ** (stages - 1)
    sides = st.integers(least, least + 9)
    return {
        "model_type": "swin",
        **named(draw, "Swin", ("Model", "ForImageClassification")),
        "embed_dim": 12,
        "depths": draw(st.lists(st.integers(1, 3), min_size=stages, max_size=stages)),
        "num_heads": draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=stages, max_size=stages)),
        "window_size": window,
        "patch_size": patch,
        "image_size": [patch * draw(sides), patch * draw(sides)],
        "mlp_ratio": draw(st.sampled_from([4.0, 2, 1.5])),
        "qkv_bias": draw(st.booleans()),
        "use_absolute_embeddings": draw(st.booleans()),
    }


@given(swin())
@settings(max_examples=20, deadline=None)
def test_random_swins_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@st.composite
def clip(draw: st.DrawFn) -> dict[str, Any]:
    def tower(**more: Any) -> dict[str, Any]:
        heads = draw(st.integers(1, 4))
        return {
            "hidden_size": heads * draw(st.integers(1, 10)),
            "num_attention_heads": heads,
            "num_hidden_layers": draw(st.integers(1, 3)),
            "intermediate_size": draw(st.integers(1, 50)),
            **more,
        }

    text = tower(vocab_size=draw(st.integers(5, 90)), max_position_embeddings=draw(st.integers(2, 20)), eos_token_id=3, pad_token_id=1)
    vision = tower(image_size=draw(st.integers(9, 40)), patch_size=draw(st.integers(2, 9)), num_channels=draw(st.integers(1, 3)))
    old = draw(st.sampled_from(["", "_dict"]))
    return {"model_type": "clip", f"text_config{old}": text, "vision_config": vision, "projection_dim": draw(st.integers(1, 30))}


@given(clip())
@settings(max_examples=20, deadline=None)
def test_random_clips_count_like_torch(config: dict[str, Any]) -> None:
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
    stages = draw(st.integers(1, 4))
    return {
        "model_type": "convnext",
        **named(draw, "ConvNext", ("Model", "ForImageClassification")),
        "num_stages": stages,
        "depths": draw(st.lists(st.integers(1, 3), min_size=stages, max_size=stages)),
        "hidden_sizes": draw(st.lists(st.integers(1, 20), min_size=stages, max_size=stages)),
        "patch_size": draw(st.integers(1, 5)),
        "image_size": image(draw, 40, 70),
        "num_channels": draw(st.integers(1, 4)),
        "layer_scale_init_value": draw(st.sampled_from([1e-6, 0.0])),
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


# --- what the numbers mean -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"),
    [(1, 1, 0, 1), (3, 1, 1, 1), (3, 2, 1, 3), (7, 2, 3, 1), (5, 3, 0, 6), (4, 4, 0, 2)],
)
def test_a_convolution_costs_what_its_loops_multiply(kernel: int, stride: int, padding: int, groups: int) -> None:
    """Written out: every output, every input channel of its group, every position under the filter."""
    size, c_in, c_out = (13, 10), 6, 12
    out = after(size, kernel=kernel, stride=stride, padding=padding)
    multiplied = sum(c_out * (c_in // groups) for _ in itertools.product(range(out[0]), range(out[1]), range(kernel), range(kernel)))
    op = convolution(
        Workload(batch=2),
        "c",
        "convolution",
        channels_in=c_in,
        channels_out=c_out,
        taps=kernel * kernel,
        in_positions=size[0] * size[1],
        out_positions=out[0] * out[1],
        groups=groups,
        bias=True,
    )
    assert op.flop == 2 * 2 * multiplied
    layer = torch.nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=padding, groups=groups, device="meta")
    assert op.params == sum(p.numel() for p in layer.parameters())
    counter = count.flop_counter()
    with counter:
        made = layer(torch.zeros(2, c_in, *size, device="meta", requires_grad=True))
        made.sum().backward()
    assert tuple(made.shape[2:]) == out
    assert op.flop + op.backward_flop == counter.get_total_flops()


def test_torchs_own_counter_has_the_backward_of_grouped_convolutions_wrong() -> None:
    """Why bench mends it: the weight's gradient of a depthwise filter over 8 channels is counted 8 times."""
    layer = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8, device="meta")
    totals = []
    for counter in (FlopCounterMode(display=False), count.flop_counter()):
        with counter:
            layer(torch.zeros(1, 8, 5, 5, device="meta", requires_grad=True)).sum().backward()
        totals.append(counter.get_total_flops())
    one = 2 * 25 * 8 * 9
    assert totals == [one + one + 8 * one, 3 * one]


def test_overlapping_filters_are_not_held_to_the_multiplications_of_the_plain_loop() -> None:
    """Lavin and Gray 2016: Winograd's 3 x 3 kernels multiply up to 4 times less; 1 x 1 filters and patches have nothing to save."""

    def made(taps: int, before: int, behind: int) -> Op:
        return convolution(
            Workload(), "c", "convolution", channels_in=4, channels_out=8, taps=taps, in_positions=before, out_positions=behind
        )

    three = made(9, 100, 100)
    assert three.flop - three.masked_flop == 2 * 100 * 4 * 8 < three.flop // 4
    assert made(1, 100, 100).masked_flop == made(1, 100, 25).masked_flop == made(16, 160, 10).masked_flop == 0


def test_full_recomputation_of_vit_is_what_torch_counts_when_layers_run_forward_again() -> None:
    """Dropout is on, so that torch recomputes each layer to its very end."""
    config = {"model_type": "vit", "num_hidden_layers": 2, "hidden_dropout_prob": 0.1}
    module = count.meta_model(config).train()
    module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    counter = count.flop_counter()
    with counter:
        outputs = module(pixel_values=torch.zeros(1, 3, 224, 224, device="meta"))
        torch.autograd.backward([root.sum() for root in kinds.differentiable(outputs)])
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


@pytest.mark.parametrize("name", SMALLEST)
def test_flop_of_images_is_linear_in_the_batch_but_for_clips_comparison(name: str) -> None:
    model = model_from_config(model_entry(name).config, name)
    apart = 2 * 512 * (5 * 5 - 5) if isinstance(model, DualEncoder) else 0
    assert step(model, Workload(batch=5)).forward_flop == 5 * step(model, Workload()).forward_flop + apart


# --- requests that make no sense -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALLEST)
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
    with pytest.raises(BadConfigError, match=match) as caught:
        model_from_config(config, "hostile")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ({"model_type": "vit", "hidden_size": 24, "num_attention_heads": 2, "image_size": 32}, [{"patch_size": 8}, {"num_labels": 2}]),
        ({"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [8, 16]}, [{"downsample_in_bottleneck": True}, {"depths": [1, 2]}]),
    ],
)
def test_a_wrong_op_table_is_noticed(config: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    """The twin of all checks above: another patch, a head, a stride elsewhere or a layer more changes the count."""
    counted = count.torch_count(count.meta_model(config), TRAIN)
    said = step(model_from_config(config, "right"), TRAIN)
    assert (said.params, said.forward_flop, said.backward_flop) == (counted.params, counted.forward_flop, counted.backward_flop)
    for change in changes:
        wrong = step(model_from_config(config | change, "wrong"), TRAIN)
        assert (wrong.params, wrong.forward_flop) != (counted.params, counted.forward_flop), change
