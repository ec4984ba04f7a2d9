"""Diffusion: denoisers, autoencoders and text encoders count like diffusers, and pipelines have their published sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params, estimate
from estimators.errors import BadConfigError, BadValueError, NoOpTableError
from estimators.facts.pipelines import pipeline_ids, pipeline_in, pipeline_named, published_params
from estimators.samples import Image
from estimators.spec import Case, Model, Workload
from tests.support.diffusers_models import COUNTED, SMALL, counted, small

PAPER_GMAC = {"dit-s-2": 6.06, "dit-b-2": 23.01, "dit-l-2": 80.71, "dit-xl-2": 118.64}
"""Multiply-adds of a step at 256 pixels, in 10^9: Peebles and Xie 2023 (arXiv 2212.09748), table 4."""


def ours(model: Model, batch: int) -> tuple[int, int, int]:
    said = estimate(Case(model=model, workload=Workload(phase="train", batch=batch)))
    return said.params, said.forward_flop, said.backward_flop


@pytest.mark.parametrize("name", SMALL)
def test_a_small_part_counts_as_diffusers_counted(name: str) -> None:
    assert ours(small(name), 2) == COUNTED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_diffusers_counts_so_today(name: str) -> None:
    pytest.importorskip("diffusers")
    assert counted(name, 2) == COUNTED[name]


@pytest.mark.parametrize("name", pipeline_ids())
def test_each_part_of_a_pipeline_has_its_published_parameters(name: str) -> None:
    pipeline = pipeline_named(name)
    assert pipeline is not None
    parts: dict[str, Model] = {"unet": pipeline.denoiser, "transformer": pipeline.denoiser, "vae": pipeline.autoencoder}
    parts |= dict(zip(("text_encoder", "text_encoder_2"), pipeline.encoders, strict=False))
    for part, params in published_params(name).items():
        assert count_params(parts[part].ops(Workload())) == params


@pytest.mark.parametrize(("name", "gmac"), PAPER_GMAC.items())
def test_a_step_of_dit_has_the_multiply_adds_of_its_paper(name: str, gmac: float) -> None:
    """Within 0.1 %: the paper's code embeds the time step once, diffusers in every layer, and the table is rounded."""
    pipeline = pipeline_named(name)
    assert pipeline is not None
    assert estimate(Case(model=pipeline.denoiser, workload=Workload())).forward_flop / 2e9 == pytest.approx(gmac, rel=1e-3)


def test_sdxl_makes_an_image_of_the_flop_that_diffusers_counts() -> None:
    """diffusers 0.42.1 on meta: 6,761,236,398,080 FLOP of the U-Net at 1,024 pixels, 10,470,392,594,432 of the decoder."""
    pipeline = pipeline_named("sdxl")
    assert pipeline is not None
    runs = {run.part: run for run in pipeline.generation(30, guidance=True)}
    flop = {part: estimate(Case(model=run.model, workload=run.workload)).forward_flop for part, run in runs.items()}
    assert (flop["denoiser"], runs["denoiser"].times) == (6761236398080, 60)
    assert (flop["decoder"], runs["decoder"].times) == (10470392594432, 1)
    assert runs["text encoder 2"].times == 2


def test_more_pixels_cost_more_than_their_number() -> None:
    """Four times the positions: convolutions cost four times as much, attention among positions sixteen times."""
    pipeline = pipeline_named("sdxl")
    assert pipeline is not None
    small_image = pipeline.sized(Image(height=512, width=512)).denoiser
    ratio = estimate(Case(model=pipeline.denoiser, workload=Workload())).forward_flop
    assert 4 < ratio / estimate(Case(model=small_image, workload=Workload())).forward_flop < 16


def test_a_folder_of_diffusers_is_a_pipeline(tmp_path: Path) -> None:
    body = {"unet": SMALL["unet"][0], "vae": SMALL["autoencoder"][0]}
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    for part, config in body.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config), encoding="utf-8")
    pipeline = pipeline_in(str(tmp_path))
    assert pipeline is not None
    assert pipeline.denoiser.channels == (32, 64, 64)  # type: ignore[union-attr]
    assert pipeline_in(str(tmp_path / "unet")) is None


def test_a_folder_without_an_autoencoder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BadConfigError, match="expected one of unet, transformer, and vae"):
        pipeline_in(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"_class_name": "FluxTransformer2DModel"}, "the class 'FluxTransformer2DModel' has no op table"),
        ({"down_block_types": ["AttnDownBlock2D"] * 3}, "CrossAttnDownBlock2D or DownBlock2D"),
        ({"up_block_types": ["UpBlock2D"] * 3}, "the mirror image"),
        ({"addition_embed_type": "image"}, "text_time, or none"),
        ({"class_embed_type": "timestep"}, "class_embed_type is 'timestep'"),
    ],
)
def test_what_has_no_op_table_is_refused_by_name(changes: dict[str, object], said: str) -> None:
    with pytest.raises(NoOpTableError, match=said):
        model_from_config({**SMALL["unet"][0], **changes}, "mine")


def test_sides_that_a_denoiser_does_not_halve_are_refused() -> None:
    with pytest.raises(BadValueError, match="give sides that 32 divides"):
        small("unet").sized(Image(height=72, width=64))  # type: ignore[attr-defined]
    with pytest.raises(BadValueError, match="give sides that this divides"):
        small("dit").sized(Image(height=24, width=64))  # type: ignore[attr-defined]


def test_a_field_that_makes_no_sense_is_named() -> None:
    with pytest.raises(BadConfigError, match="block_out_channels"):
        model_from_config({"_class_name": "UNet2DConditionModel", "block_out_channels": "320"}, "mine")
