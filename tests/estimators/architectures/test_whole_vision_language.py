"""Whole vision-language models count like torch: parameters, forward and backward FLOP, of all families and of each part frozen."""

from __future__ import annotations

import re

import pytest

from bench.backend.counting import meta
from estimators.architectures.builders.whole import whole
from estimators.architectures.fields import Fields
from estimators.architectures.joined import Side
from estimators.counting.estimate import count_params, estimate
from estimators.errors import BadConfigError, BadValueError, NoOpTableError
from estimators.facts.registry import model_entry, model_ids
from estimators.samples import Example, Image
from estimators.spec import Case, Source, Workload
from tests.support.drawn_decoders import Config
from tests.support.whole_vision_language import CLIP, SMALL, built, config_of, counted, inputs, torchs


@pytest.mark.parametrize("name", SMALL)
def test_the_whole_model_counts_like_torch(name: str) -> None:
    model, module = built(name), torchs(name)
    given = inputs(name, model, batch=2)
    assert given["input_ids"].shape[1] == model.sequence_tokens
    forward, backward = counted(module, given, train=True)
    said = estimate(Case(model=model, workload=Workload(phase="train", batch=2)))
    assert type(module).__name__ == model.runs
    assert said.params == meta.params_of(module)
    assert (said.forward_flop, said.backward_flop) == (forward, backward)
    names = [op.name for op in model.ops(Workload())]
    assert len(names) == len(set(names))


HELD: list[tuple[Side, ...]] = [("vision",), ("vision", "projector"), ("vision", "language"), ("language",), ("projector", "language")]


@pytest.mark.parametrize("held", HELD, ids=" ".join)
@pytest.mark.parametrize("name", ["llava", "mllama", "qwen2_5_vl"])
def test_a_frozen_part_counts_like_torch(name: str, held: tuple[Side, ...]) -> None:
    """A part below all that is trained has no backward pass; one above passes gradients through and has none of its own weights."""
    model, module = built(name).holding(frozenset(held)), torchs(name)
    sides = {"language": ("model.language_model", "lm_head"), "projector": ("model.multi_modal_projector", "model.visual.merger")}
    sides["vision"] = ("model.vision_tower", "model.vision_model", "model.visual.blocks", "model.visual.patch_embed")
    for side in held:
        for part, parameter in module.named_parameters():
            if part.startswith(sides[side]):
                parameter.requires_grad_(False)
    _, backward = counted(module, inputs(name, model, batch=2), train=True)
    said = estimate(Case(model=model, workload=Workload(phase="train", batch=2)))
    assert said.backward_flop == backward
    assert said.trainable_params == sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def test_nothing_is_trained_where_all_is_frozen() -> None:
    with pytest.raises(BadValueError, match="nothing is left to train"):
        built("llava").holding(frozenset(built("llava").own_sides))


def test_a_video_is_read_two_frames_at_once() -> None:
    """Qwen2-VL: 60 s at 2 frames a second, 448 x 448 pixels, is 60 pictures of (448 / 28)² = 256 tokens."""
    model = built("qwen2_vl").on(Example(image=Image(height=448, width=448), images=0, frames=120, text_tokens=40))
    assert (model.seen.pictures, model.visual_tokens, model.sequence_tokens) == (60, 60 * 256, 60 * 256 + 40)


def test_a_video_whose_rule_is_not_known_is_refused() -> None:
    with pytest.raises(BadValueError, match="how this model's processor cuts videos is not covered"):
        _ = built("llava").on(Example(image=Image(height=448, width=448), images=0, frames=8)).seen


WHOLES = [name for name in model_ids() if (entry := model_entry(name)).whole and "vision_config" in entry.whole]


@pytest.mark.parametrize("name", WHOLES)
def test_a_shipped_model_has_the_published_number_of_parameters_language_part_and_whole(name: str) -> None:
    entry = model_entry(name)
    assert entry.whole_config
    example = Example(image=Image(height=768, width=1024), text_tokens=100)
    model = whole(Fields(entry.whole_config, name), name, entry.source, example)
    assert count_params(model.ops(Workload())) == entry.whole_params
    assert count_params(model.language.ops(Workload())) == entry.published_params


def test_windows_of_qwen2_5_are_paid_for_and_not_the_whole_image() -> None:
    """Two images of 1,036 x 756 pixels are 54 x 74 patches each; windows of 8 x 8, of 6 and of 2 at the edges.

    Rows of patches fall apart into 6 windows of 8 and one of 6, columns into 9 of 8 and one of 2: the pairs inside are
    (6·8² + 6²)·(9·8² + 2²) = 420 · 580 of each image, times 16 heads, 80 wide, 2 FLOP.
    """
    entry = model_entry("qwen2.5-vl-7b")
    assert entry.whole_config
    example = Example(image=Image(height=1036, width=756), images=2, text_tokens=1)
    rows = whole(Fields(entry.whole_config, "q"), "q", entry.source, example).ops(Workload())
    scores = next(op for op in rows if op.name == "vision.layer.0.attention.scores")
    assert scores.flop == 2 * 2 * 16 * 80 * 420 * 580


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vision_config": CLIP | {"model_type": "davit"}}, "the tower 'davit' has no op table"),
        ({"vision_feature_layer": [-2, -5]}, "expected layers of the 3"),
        ({"vision_feature_layer": []}, "expected layers of the 3"),
        ({"vision_feature_layer": 9}, "expected layers of the 3"),
        ({"vision_config": CLIP | {"image_size": [56, 28]}}, "one side for both"),
    ],
)
def test_a_tower_that_is_not_covered_is_refused_by_name(changes: Config, said: str) -> None:
    config = config_of("llava") | changes
    with pytest.raises(BadConfigError, match=re.escape(said)):
        whole(Fields(config, "m"), "m", Source(title="m"), SMALL["llava"][1])


def test_a_family_whose_tower_has_no_op_table_is_refused_by_name() -> None:
    with pytest.raises(NoOpTableError, match="only the language part of model_type 'aya_vision' has an op table"):
        whole(Fields({"model_type": "aya_vision"}, "m"), "m", Source(title="m"), SMALL["llava"][1])


def test_a_frozen_tower_keeps_nothing_for_a_backward_pass() -> None:
    """Trained, LLaVA's tower keeps the inputs of its linear layers: of 23 layers that are read, 577 tokens, 3 of 1,024 and one of 4,096."""
    entry = model_entry("llava-1.5-7b")
    assert entry.whole_config
    model = whole(Fields(entry.whole_config, "m"), "m", entry.source, Example(image=Image(height=336, width=336)))
    kept = [
        sum(op.count * op.saved_bytes for op in each.sides(Workload(phase="train"))[0] if op.kind != "attention")
        for each in (model, model.holding(frozenset(("vision",))))
    ]
    assert kept[0] > 23 * 577 * 2 * (3 * 1024 + 4096)
    assert kept[1] == 0
