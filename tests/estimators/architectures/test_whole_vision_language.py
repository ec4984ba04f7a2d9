"""Whole vision-language models count like torch: parameters, forward and backward FLOP, of all families and of each part frozen."""

from __future__ import annotations

import pytest

from bench.backend.counting import meta
from estimators.architectures.vision_language import SIDES, Side
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError
from estimators.samples import Example, Image
from estimators.spec import Case, Workload
from tests.support.whole_vision_language import SMALL, built, counted, inputs, torchs


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
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_a_frozen_part_counts_like_torch(name: str, held: tuple[Side, ...]) -> None:
    """A part below all that is trained has no backward pass; one above passes gradients through and has none of its own weights."""
    model, module = built(name).holding(frozenset(held)), torchs(name)
    sides = {"language": ("model.language_model", "lm_head"), "projector": ("model.multi_modal_projector", "model.visual.merger")}
    sides["vision"] = ("model.vision_tower", "model.visual.blocks", "model.visual.patch_embed")
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
        built("llava").holding(frozenset(SIDES))


def test_a_video_is_read_two_frames_at_once() -> None:
    """Qwen2-VL: 60 s at 2 frames a second, 448 x 448 pixels, is 60 pictures of (448 / 28)² = 256 tokens."""
    model = built("qwen2_vl").on(Example(image=Image(height=448, width=448), images=0, frames=120, text_tokens=40))
    assert (model.seen.pictures, model.visual_tokens, model.sequence_tokens) == (60, 60 * 256, 60 * 256 + 40)


def test_a_video_whose_rule_is_not_known_is_refused() -> None:
    with pytest.raises(BadValueError, match="how this model's processor cuts videos is not covered"):
        _ = built("llava").on(Example(image=Image(height=448, width=448), images=0, frames=8)).seen
