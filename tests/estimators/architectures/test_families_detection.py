"""DETR and its kin, RT-DETR and YOLOS of random sizes, on images of random sizes, count like torch on the meta device."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import DetrForObjectDetection
from transformers.models.detr.modeling_detr import DetrFrozenBatchNorm2d

from bench.backend.counting import meta
from bench.backend.models import hf_config
from bench.backend.on_meta import on_meta
from estimators.architectures.from_config import model_from_config
from estimators.architectures.vision import Resizable
from estimators.counting.estimate import estimate
from estimators.errors import BadConfigError, BadValueError, NoOpTableError
from estimators.facts.registry import model_entry
from estimators.samples import Image
from estimators.spec import Case, Estimate, Workload
from tests.support.drawn_decoders import Config

STEP = Workload(phase="train", batch=2)
SEEDS = (0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 40)))


def residual(draw: random.Random, kind: str, read: int) -> Config:
    """A backbone of `kind`, of whose maps the last `read` are read."""
    stages, basic = draw.randint(max(3, read), 4), draw.random() < 0.5
    edge = draw.choice([8, 16])
    first = edge if kind == "rt_detr_resnet" and basic else draw.choice([8, 16, 32])
    config: Config = {"model_type": kind, "embedding_size": edge, "hidden_sizes": [first * 2**i for i in range(stages)]}
    config |= {"depths": [draw.randint(1, 3) for _ in range(stages)], "layer_type": "basic" if basic else "bottleneck"}
    config |= {"downsample_in_bottleneck": draw.random() < 0.3, "downsample_in_first_stage": not basic and draw.random() < 0.3}
    return config | {"out_features": [f"stage{i + 1}" for i in range(stages - read, stages)]}


def drawn_detr(seed: int) -> Config:
    draw = random.Random(seed)
    n, h = draw.choice([1, 2, 4]), draw.choice([4, 8])
    kinds = [*[("detr", "Detr")] * 2, ("table-transformer", "TableTransformer"), ("conditional_detr", "ConditionalDetr")]
    kind, name = draw.choice(kinds)
    config: Config = {"model_type": kind, "d_model": n * h, "encoder_attention_heads": n, "decoder_attention_heads": draw.choice([1, n])}
    config |= {"encoder_layers": draw.randint(1, 3), "decoder_layers": draw.randint(1, 3), "num_queries": draw.randint(3, 20)}
    config |= {"encoder_ffn_dim": 24, "decoder_ffn_dim": 40, "num_labels": draw.randint(1, 9)}
    config |= {"position_embedding_type": draw.choice(["sine", "learned"])}
    config |= {"architectures": [f"{name}{draw.choice(['ForObjectDetection', 'Model'])}"]}
    if draw.random() < 0.5:
        config |= {"backbone": draw.choice(["resnet18", "resnet34", "resnet50"]), "dilation": draw.random() < 0.5}
        masks = {"architectures": ["DetrForSegmentation"], "d_model": draw.choice([16, 32]), "encoder_attention_heads": 8}
        return config | (masks | {"decoder_attention_heads": 4} if kind == "detr" and draw.random() < 0.8 else {})
    backbone = residual(draw, draw.choice(["resnet", "rt_detr_resnet"]), 1)
    return config | {"use_timm_backbone": False, "backbone_config": backbone}


def drawn_deformable(seed: int) -> Config:
    """A norm over 32 groups of channels stands behind each projection."""
    draw = random.Random(seed)
    n, maps = draw.choice([1, 2, 4]), draw.randint(1, 3)
    config: Config = {
        "model_type": "deformable_detr",
        "d_model": 32,
        "encoder_attention_heads": n,
        "decoder_attention_heads": draw.choice([1, n]),
    }
    config |= {"encoder_layers": draw.randint(1, 3), "decoder_layers": draw.randint(2, 3), "num_queries": draw.randint(3, 20)}
    config |= {
        "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 40,
        "num_labels": draw.randint(1, 9),
        "two_stage_num_proposals": draw.randint(3, 9),
    }
    config |= {"encoder_n_points": draw.randint(1, 4), "decoder_n_points": draw.randint(1, 4)}
    config |= {
        "position_embedding_type": draw.choice(["sine", "learned"]),
        "num_feature_levels": maps + draw.randint(0, 2) if maps > 1 else 1,
    }
    ways: list[Config] = [{}, {"with_box_refine": True}, {"with_box_refine": True, "two_stage": True}, {"tie_word_embeddings": False}]
    config |= draw.choice([*ways, {"architectures": ["DeformableDetrModel"]}])
    if draw.random() < 0.5:
        levels = draw.choice([1, 3, 4])
        return config | {"backbone": draw.choice(["resnet18", "resnet50"]), "dilation": draw.random() < 0.5, "num_feature_levels": levels}
    return config | {"use_timm_backbone": False, "backbone_config": residual(draw, "resnet", maps)}


def drawn_yolos(seed: int) -> Config:
    draw = random.Random(seed)
    n, patch = draw.choice([1, 2]), draw.choice([8, 16])
    config: Config = {"model_type": "yolos", "hidden_size": 8 * n, "num_attention_heads": n, "num_hidden_layers": draw.randint(1, 3)}
    config |= {"intermediate_size": 24, "patch_size": patch, "image_size": [patch * draw.randint(2, 9), patch * draw.randint(2, 9)]}
    config |= {
        "num_detection_tokens": draw.randint(2, 9),
        "use_mid_position_embeddings": draw.random() < 0.7,
        "qkv_bias": draw.random() < 0.7,
    }
    return config | {"num_labels": draw.randint(1, 9), "architectures": [f"Yolos{draw.choice(['ForObjectDetection', 'Model'])}"]}


def drawn_rt_detr(seed: int) -> Config:
    draw = random.Random(seed)
    maps = draw.randint(2, 3)
    backbone = residual(draw, draw.choice(["resnet", "rt_detr_resnet"]), maps)
    n, h, width = draw.choice([1, 2, 4]), draw.choice([4, 8]), draw.choice([16, 32])
    kind, name = draw.choice([("rt_detr", "RTDetr"), ("rt_detr_v2", "RTDetrV2")])
    levels = maps + draw.randint(0, 1)
    config: Config = {"model_type": kind, "backbone_config": backbone, "freeze_backbone_batch_norms": draw.random() < 0.6}
    config |= {"encoder_in_channels": backbone["hidden_sizes"][-maps:], "decoder_in_channels": [width] * maps}
    config |= {"feat_strides": [8, 16, 32][-maps:], "encode_proj_layers": draw.sample(range(maps), draw.randint(1, 2))}
    config |= {"encoder_hidden_dim": width, "encoder_attention_heads": 2, "encoder_layers": draw.randint(0, 2), "encoder_ffn_dim": 24}
    config |= {"normalize_before": draw.random() < 0.3, "hidden_expansion": draw.choice([0.5, 1.0]), "d_model": n * h}
    config |= {"decoder_attention_heads": n, "decoder_layers": draw.randint(2, 3), "decoder_ffn_dim": 40, "num_queries": draw.randint(3, 9)}
    config |= {"num_feature_levels": levels, "decoder_n_points": draw.randint(1, 4), "num_denoising": draw.choice([0, 100])}
    config |= {"num_labels": draw.randint(1, 9), "architectures": [f"{name}{draw.choice(['ForObjectDetection', 'Model'])}"]}
    return config | ({"decoder_n_levels": levels, "tie_word_embeddings": draw.random() < 0.7} if kind == "rt_detr_v2" else {})


def said(config: Config, workload: Workload) -> Estimate:
    return estimate(Case(model=model_from_config(config, "m"), workload=workload))


def check(config: Config, image: Image) -> None:
    workload = Workload(phase="train", batch=2, sample=image)
    module = meta.meta_model(config)
    ours, counted = said(config, workload), meta.torch_count(module, workload)
    assert type(module).__name__ == model_from_config(config, "m").runs
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert (ours.params, ours.trainable_params) == (counted.params, trained)
    assert (ours.forward_flop, ours.backward_flop) == (counted.forward_flop, counted.backward_flop)
    names = [op.name for op in model_from_config(config, "m").ops(workload)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_detr_of_random_sizes_counts_like_torch_on_an_image_of_any_size(seed: int) -> None:
    draw = random.Random(seed)
    check(drawn_detr(seed), Image(height=draw.randint(40, 300), width=draw.randint(40, 300)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_deformable_detr_of_random_sizes_counts_like_torch_on_an_image_of_any_size(seed: int) -> None:
    draw = random.Random(seed)
    check(drawn_deformable(seed), Image(height=draw.randint(40, 200), width=draw.randint(40, 200)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_yolos_of_random_sizes_counts_like_torch_on_an_image_of_its_own_size_and_of_others(seed: int) -> None:
    config, draw = drawn_yolos(seed), random.Random(seed)
    check(config, Image(height=draw.randint(16, 200), width=draw.randint(16, 200)))
    check(config, Image(height=config["image_size"][0], width=config["image_size"][1]))


@pytest.mark.parametrize("seed", SEEDS)
def test_an_rt_detr_of_random_sizes_counts_like_torch(seed: int) -> None:
    """128 pixels are a multiple of every last stride here."""
    draw = random.Random(seed)
    check(drawn_rt_detr(seed), Image(height=128 * draw.randint(1, 3), width=128 * draw.randint(1, 3)))


def test_what_detr_trains_is_what_its_authors_print() -> None:
    """41,302,368 is what DETR's training prints as its number of parameters (its log, from memory, unchecked); by hand, what ResNet-50's
    first filter and stage have beside: 9,408 of the filter, and 4,096 + 36,864 + 2 · 16,384 and twice 69,632 of the stage's layers.
    """
    step = said(model_entry("detr-resnet-50").config, STEP)
    assert step.trainable_params == 41_302_368
    assert step.params - step.trainable_params == 9_408 + 73_728 + 2 * 69_632


BASIC, WIDE = [64, 128, 256, 512], [256, 512, 1024, 2048]


def rt_detr(kind: str, hidden_sizes: list[int], depths: list[int], **fields: object) -> Config:
    backbone = {
        "model_type": "rt_detr_resnet",
        "layer_type": kind,
        "hidden_sizes": hidden_sizes,
        "depths": depths,
        "out_indices": [2, 3, 4],
    }
    return {"model_type": "rt_detr", "num_labels": 80, "backbone_config": backbone, "encoder_in_channels": hidden_sizes[1:], **fields}


@pytest.mark.parametrize(
    ("config", "params", "macs"),
    [
        ({"model_type": "detr"}, 41e6, 86e9),
        ({"model_type": "detr", "dilation": True}, 41e6, 187e9),
        ({"model_type": "detr", "backbone": "resnet101"}, 60e6, 152e9),
        ({"model_type": "conditional_detr"}, 44e6, 90e9),
        ({"model_type": "deformable_detr"}, 40e6, 173e9),
    ],
)
def test_papers_say_of_detr_and_its_kin_what_a_somewhat_larger_image_costs(config: Config, params: float, macs: float) -> None:
    """Carion et al. 2020, Meng et al. 2021, Zhu et al. 2020, each in table 1: multiply-adds, the mean over images of COCO, whose
    shorter side is made 800 (from memory, unchecked). All of them cost 4 to 7 % less on 800 x 1,066, and DC5, whose attention grows
    with the square of its positions, 12 %.
    """
    step = said({**config, "num_labels": 91}, Workload())
    assert step.params == pytest.approx(params, rel=0.015)
    assert 0.88 < step.forward_flop / 2 / macs < 0.96


@pytest.mark.parametrize(
    ("config", "params", "flop"),
    [
        (rt_detr("basic", BASIC, [2, 2, 2, 2], hidden_expansion=0.5, decoder_layers=3), 20e6, 60e9),
        (rt_detr("basic", BASIC, [3, 4, 6, 3], hidden_expansion=0.5, decoder_layers=4), 31e6, 92e9),
        (rt_detr("bottleneck", WIDE, [3, 4, 6, 3]), 42e6, 136e9),
        (
            rt_detr(
                "bottleneck",
                WIDE,
                [3, 4, 23, 3],
                encoder_hidden_dim=384,
                encoder_ffn_dim=2048,
                decoder_in_channels=[384, 384, 384],
            ),
            76e6,
            259e9,
        ),
    ],
)
def test_rt_detr_costs_what_its_paper_says(config: Config, params: float, flop: float) -> None:
    """Zhao et al. 2023, table 2 and its authors' table of models (from memory, unchecked): FLOP on 640 x 640, a multiply-add being two, of
    the network whose filters side by side are joined to one, which saves 1 to 3 %.
    """
    step = said(config, Workload())
    assert step.params == pytest.approx(params, rel=0.025)
    assert 1.0 < step.forward_flop / flop < 1.03


def test_masks_are_made_of_every_map_for_every_query() -> None:
    """DETR's panoptic model: 43 M parameters (its authors' table of models, from memory, unchecked); 100 queries' filters of 3 x 3 from
    264 channels to 264 on the last map of 25 x 34 positions.
    """
    config: Config = {"model_type": "detr", "num_labels": 250, "architectures": ["DetrForSegmentation"]}
    step = said(config, Workload())
    assert step.params == pytest.approx(43e6, rel=0.01)
    first = next(op for op in model_from_config(config, "m").ops(Workload()) if op.name == "masks.conv1")
    assert first.flop == 2 * 100 * 25 * 34 * 9 * 264**2


def test_resnet_of_transformers_is_frozen_whole_since_its_names_are_others_than_its_filter_expects() -> None:
    """transformers 5.24 trains parameters with `stage.1`, `stage.2` or `stage.3` in their names; they are called `stages.1` and so on."""
    config = {"model_type": "detr", "use_timm_backbone": False, "backbone_config": {"model_type": "resnet"}}
    module = on_meta(lambda: DetrForObjectDetection(hf_config(config)))
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert not any("backbone" in name for name in trained)
    assert said(config, STEP).trainable_params == sum(dict(module.named_parameters())[name].numel() for name in trained)


def test_a_norm_that_is_held_keeps_no_map_for_backward() -> None:
    """What torch keeps of transformers' own is a number for each channel; the op table says that much is nothing."""
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        DetrFrozenBatchNorm2d(7)(torch.zeros(2, 7, 9, 9, requires_grad=True))
    assert max(kept, default=0) == 7
    held = model_from_config({"model_type": "detr"}, "m").ops(STEP)
    trained = model_from_config({"model_type": "rt_detr", "freeze_backbone_batch_norms": False}, "m").ops(STEP)
    of_norms = [{op.saved_bytes for op in ops if op.kind == "norm" and op.name.startswith("backbone")} for ops in (held, trained)]
    assert of_norms[0] == {0}
    assert 0 not in of_norms[1]


def test_an_image_of_another_size_than_a_square_is_read_as_it_is() -> None:
    """The last map of 800 x 1,066 pixels is 25 x 34, each side halved five times, upwards: 850 queries and keys in 8 heads of 32."""
    model = model_from_config(model_entry("detr-resnet-50").config, "m")
    assert isinstance(model, Resizable)
    rows = model.sized(Image(height=800, width=1066)).ops(Workload())
    scores = next(op for op in rows if op.name == "encoder.layer.attention.scores")
    assert (scores.count, scores.flop) == (6, 2 * 850**2 * 8 * 32)


def test_rt_detr_refuses_maps_that_do_not_fit_as_its_class_does() -> None:
    config = model_entry("rtdetr-r50vd").config
    model, odd = model_from_config(config, "m"), Image(height=800, width=1066)
    assert isinstance(model, Resizable)
    with pytest.raises(BadValueError, match="multiples of 32, such as 800 x 1088"):
        model.sized(odd)
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        meta.torch_count(meta.meta_model(config), Workload(sample=odd))


@pytest.mark.parametrize(
    ("config", "error", "match"),
    [
        ({"model_type": "detr", "backbone": "regnety_040"}, NoOpTableError, "resnet18, resnet34"),
        ({"model_type": "detr", "backbone_config": {"model_type": "swin"}}, NoOpTableError, "rt_detr_resnet"),
        ({"model_type": "conditional_detr", "architectures": ["ConditionalDetrForSegmentation"]}, NoOpTableError, "DetrForObjectDetection"),
        (
            {"model_type": "detr", "architectures": ["DetrForSegmentation"], "backbone_config": {"model_type": "resnet"}},
            BadConfigError,
            "all four stages",
        ),
        ({"model_type": "detr", "image_size": [20, 0]}, BadConfigError, "image_size"),
        ({"model_type": "rt_detr", "learn_initial_query": True}, BadConfigError, "learn_initial_query"),
        ({"model_type": "rt_detr", "encode_proj_layers": [3]}, BadConfigError, "from 0 to 2"),
        ({"model_type": "rt_detr", "decoder_in_channels": [256, 256, 128]}, BadConfigError, "decoder_in_channels"),
        ({"model_type": "rt_detr_v2", "decoder_n_levels": 4}, BadConfigError, "decoder_n_levels"),
    ],
)
def test_what_makes_no_sense_is_refused(config: Config, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        model_from_config(config, "m")
