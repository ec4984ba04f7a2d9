"""Diffusion: denoisers, autoencoders and text encoders count like diffusers, and pipelines have their published sizes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
import transformers

from bench.backend.counting import meta
from estimators.architectures.builders.diffusion import part_from
from estimators.architectures.fields import Fields
from estimators.architectures.from_config import model_from_config
from estimators.architectures.joint_denoisers import JointTransformer
from estimators.architectures.pipeline import Handover
from estimators.counting.estimate import count_params, estimate
from estimators.errors import BadConfigError, BadValueError, NoOpTableError
from estimators.facts.pipelines import known_params, pipeline_ids, pipeline_in, pipeline_named
from estimators.samples import Clip, Image
from estimators.spec import Case, Model, Source, Workload
from tests.support.diffusers_models import COUNTED, SMALL, counted, small

PAPER_GMAC = {"dit-s-2": 6.06, "dit-b-2": 23.01, "dit-l-2": 80.71, "dit-xl-2": 118.64}
"""Multiply-adds of a step at 256 pixels, in 10^9: Peebles and Xie 2023 (arXiv 2212.09748), table 4."""


def figures(model: Model, batch: int) -> tuple[int, int, int]:
    said = estimate(Case(model=model, workload=Workload(phase="train", batch=batch)))
    return said.params, said.forward_flop, said.backward_flop


@pytest.mark.parametrize("name", SMALL)
def test_a_small_part_counts_as_diffusers_counted(name: str) -> None:
    assert figures(small(name), 2) == COUNTED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_diffusers_counts_so_today(name: str) -> None:
    pytest.importorskip("diffusers")
    assert counted(*SMALL[name], 2) == COUNTED[name]


@pytest.mark.parametrize("name", pipeline_ids())
def test_each_part_of_a_pipeline_has_its_published_parameters(name: str) -> None:
    pipeline = pipeline_named(name)
    assert pipeline is not None
    parts: dict[str, Model | None] = {"unet": pipeline.denoiser, "transformer": pipeline.denoiser, "vae": pipeline.autoencoder}
    parts |= {"transformer_2": pipeline.late, "image_encoder": pipeline.image_encoder, "controlnet": pipeline.control}
    parts |= dict(zip(("text_encoder", "text_encoder_2", "text_encoder_3"), pipeline.encoders, strict=False))
    for part, params in known_params(name)[1].items():
        model = parts[part]
        assert model is not None
        assert count_params(model.ops(Workload())) == params


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
        ({"_class_name": "KandinskyUNet"}, "the class 'KandinskyUNet' has no op table"),
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


@pytest.mark.parametrize(("name", "published"), [("sd3.5-large", 8.1e9), ("sd3.5-medium", 2.5e9)])
def test_stable_diffusion_35_has_its_cards_parameters_with_its_table_of_positions(name: str, published: float) -> None:
    """The cards of stabilityai/stable-diffusion-3.5-large and -medium: 8.1 and 2.5 billion parameters, a digit behind the point."""
    pipeline = pipeline_named(name)
    assert pipeline is not None
    assert isinstance(pipeline.denoiser, JointTransformer)
    table = pipeline.denoiser.most_patches**2 * pipeline.denoiser.width
    assert round((count_params(pipeline.denoiser.ops(Workload())) + table) / 1e9, 1) == published / 1e9


@pytest.mark.parametrize(("name", "passes"), [("flux-dev", 1), ("flux-schnell", 1), ("sd3-medium", 2), ("sdxl", 2)])
def test_guidance_doubles_what_was_not_distilled(name: str, passes: int) -> None:
    """Flux dev embeds the strength of guidance, schnell has none; diffusers' FluxPipeline runs either once a step."""
    pipeline = pipeline_named(name)
    assert pipeline is not None
    runs = {run.part: run for run in pipeline.generation(28, guidance=True)}
    assert runs["denoiser"].times == 28 * passes
    assert {run.times for part, run in runs.items() if "encoder" in part} == {passes}


@pytest.mark.parametrize(
    ("name", "lengths"), [("flux-dev", [77, 512]), ("flux-schnell", [77, 256]), ("sd3-medium", [77, 77, 256]), ("pixart-sigma", [300])]
)
def test_prompts_are_as_long_as_the_denoiser_reads_them(name: str, lengths: list[int]) -> None:
    """CLIP pads to its 77 positions, T5 to max_sequence_length of diffusers' pipelines."""
    pipeline = pipeline_named(name)
    assert pipeline is not None
    assert [run.workload.seq_len for run in pipeline.generation(1, guidance=False) if "encoder" in run.part] == lengths


def test_sides_beyond_the_positions_are_refused() -> None:
    with pytest.raises(BadValueError, match="positions for sides of up to 256 pixels"):
        small("sd3").sized(Image(height=272, width=64))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "changes", "error", "said"),
    [
        ("sd3", {"caption_projection_dim": 24}, BadConfigError, "caption_projection_dim is '24'; expected 32"),
        ("sd3", {"qk_norm": "layer_norm"}, NoOpTableError, "expected rms_norm, or none"),
        ("sd3", {"dual_attention_layers": [7]}, BadConfigError, "a list of layers from 0 to 1"),
        ("flux", {"in_channels": 6}, BadConfigError, "a multiple of 4"),
        ("flux", {"patch_size": 2}, NoOpTableError, "latents are packed"),
        ("qwen-image", {"in_channels": 6}, BadConfigError, "a multiple of 4"),
        ("qwen-image", {"zero_cond_t": True}, NoOpTableError, "expected false"),
        ("z-image", {"all_patch_size": [1, 2]}, NoOpTableError, "one size"),
        ("z-image", {"siglip_feat_dim": 8}, NoOpTableError, "images from text"),
        ("pixart", {"norm_type": "layer_norm"}, NoOpTableError, "expected ada_norm_single"),
        ("pixart", {"activation_fn": "geglu"}, NoOpTableError, "gelu-approximate"),
        ("pixart", {"cross_attention_dim": 30}, BadConfigError, "expected 24, the width of the heads"),
    ],
)
def test_a_transformer_of_other_fields_is_refused_by_name(name: str, changes: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        model_from_config({**SMALL[name][0], **changes}, "mine")


def test_pixart_alpha_has_its_papers_parameters() -> None:
    """Chen et al. 2023 (arXiv 2310.00426): 0.6 B; those of Σ, which lacks the embeddings of sizes, and those embeddings.

    Two of them, each of 256 to 384 to 384 with biases: 2 * (256 * 384 + 384 + 384 * 384 + 384) = 493,056.
    """
    alpha, sigma = pipeline_named("pixart-alpha"), pipeline_named("pixart-sigma")
    assert alpha is not None
    assert sigma is not None
    params = count_params(alpha.denoiser.ops(Workload()))
    assert round(params / 1e9, 1) == 0.6
    assert params == count_params(sigma.denoiser.ops(Workload())) + 493_056


@pytest.mark.parametrize("name", ["dit", "pixart"])
def test_an_older_file_of_a_transformer_is_read_by_its_norms(name: str) -> None:
    """diffusers maps Transformer2DModel to DiTTransformer2DModel or PixArtTransformer2DModel by norm_type."""
    norms = {"dit": "ada_norm_zero", "pixart": "ada_norm_single"}
    older = SMALL[name][0] | {"_class_name": "Transformer2DModel", "norm_type": norms[name]}
    assert model_from_config(older, "small").ops(Workload()) == model_from_config(SMALL[name][0], "small").ops(Workload())


def test_an_older_file_of_another_transformer_is_refused() -> None:
    with pytest.raises(NoOpTableError, match="one of ada_norm_zero, ada_norm_single"):
        model_from_config({"_class_name": "Transformer2DModel"}, "mine")


def test_a_folder_of_pixart_sigma_reads_its_longer_prompts(tmp_path: Path) -> None:
    body = {
        "transformer": {key: value for key, value in SMALL["pixart"][0].items() if key != "text_tokens"},
        "vae": SMALL["autoencoder"][0],
    }
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "PixArtSigmaPipeline"}), encoding="utf-8")
    for part, config in body.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config), encoding="utf-8")
    pipeline = pipeline_in(str(tmp_path))
    assert pipeline is not None
    assert pipeline.denoiser.t5_tokens == 300


@pytest.mark.parametrize(("asked", "frames", "latent"), [(81, 81, 21), (80, 81, 21), (82, 81, 21), (1, 1, 1), (3, 1, 1)])
def test_a_video_is_a_frame_and_fours(asked: int, frames: int, latent: int) -> None:
    """diffusers' WanPipeline: num_frames // 4 * 4 + 1, where num_frames - 1 is no multiple of 4."""
    pipeline = pipeline_named("wan2.1-1.3b")
    assert pipeline is not None
    lasting = pipeline.lasting(asked)
    assert (lasting.denoiser.frames, lasting.denoiser.latent_frames) == (frames, latent)
    decoder = next(run.model for run in lasting.generation(1, guidance=False) if run.part == "decoder")
    assert decoder.sample == lasting.denoiser.sample


def test_what_makes_images_makes_no_videos() -> None:
    pipeline = pipeline_named("flux-dev")
    assert pipeline is not None
    with pytest.raises(BadValueError, match="makes images, not videos; leave --video out"):
        pipeline.lasting(81)


def test_wan_on_a_still_is_counted_by_hand() -> None:
    """Wan 2.1 1.3B, one frame of 16 x 16 pixels, which is one patch.

    Multiply-adds in the layers, D 1,536 and 512 tokens of text: four matrices of attention, queries and output of attention to the text
    6 D^2; its keys and values 2 * 512 D^2; feed-forward 2 * 8,960 D; products 2 * (1 + 512) D. Around them: patch 64 D, time 256 D + D^2,
    scales 6 D^2, text 512 (4,096 D + D^2), and 64 D out.
    """
    pipeline = pipeline_named("wan2.1-1.3b")
    assert pipeline is not None
    d = 1536
    layer = 6 * d * d + 2 * 512 * d * d + 2 * 8960 * d + 2 * (1 + 512) * d
    around = 64 * d + 256 * d + d * d + 6 * d * d + 512 * (4096 * d + d * d) + 64 * d
    still = pipeline.lasting(1).sized(Image(height=16, width=16)).denoiser
    assert estimate(Case(model=still, workload=Workload())).forward_flop == 2 * (30 * layer + around)


@pytest.mark.parametrize(
    ("name", "changes", "error", "said"),
    [
        ("wan", {"image_dim": 1280}, NoOpTableError, "both this and image_dim, or neither"),
        ("ltx", {"patch_size": 2}, NoOpTableError, "patch_size"),
        ("ltx", {"cross_attention_dim": 30}, BadConfigError, "expected 24, the width of the heads"),
        ("hunyuan-video", {"image_condition_type": "token_replace"}, NoOpTableError, "latent_concat, or none"),
        ("cogvideox-autoencoder", {"block_out_channels": [8, 16]}, NoOpTableError, "4 levels"),
        ("cogvideox-autoencoder", {"temporal_compression_ratio": 8}, NoOpTableError, "temporal_compression_ratio"),
        ("hunyuan-autoencoder", {"block_out_channels": [8, 16]}, NoOpTableError, "4 levels"),
        ("hunyuan-autoencoder", {"spatial_compression_ratio": 16}, NoOpTableError, "spatial_compression_ratio"),
        ("cogvideox", {"ofs_embed_dim": 7}, BadConfigError, "expected 20, the width of the time step"),
        ("cogvideox", {"activation_fn": "geglu"}, NoOpTableError, "gelu-approximate"),
        ("wan-picture", {"added_kv_proj_dim": 36}, BadConfigError, "expected 24, the width of the heads"),
        ("wan", {"patch_size": [2, 2, 2]}, NoOpTableError, "patch_size"),
        ("wan", {"patch_size": 2}, NoOpTableError, "patch_size"),
        ("wan-autoencoder", {"is_residual": True}, BadConfigError, "averaged and repeated"),
        ("wan-autoencoder", {"patch_size": 2}, BadConfigError, "a multiple of 4, the pixels"),
        ("wan-autoencoder", {"attn_scales": [0.5]}, NoOpTableError, "attn_scales"),
        ("wan-autoencoder", {"temperal_downsample": [True] * 3}, NoOpTableError, "two true among 3"),
        ("wan-autoencoder", {"temperal_downsample": "no"}, NoOpTableError, "two true among 3"),
        ("wan-autoencoder", {"base_dim": 7}, BadConfigError, "an even number"),
    ],
)
def test_another_part_of_a_video_pipeline_is_refused_by_name(
    name: str, changes: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        model_from_config({**SMALL[name][0], **changes}, "mine")


@pytest.mark.parametrize(
    ("config", "params"),
    [
        ({"_class_name": "HunyuanVideoTransformer3DModel"}, 12_821_012_544),
        ({"_class_name": "CogVideoXTransformer3DModel", "num_attention_heads": 48, "num_layers": 42}, 5_570_283_072),
        ({"_class_name": "CogVideoXTransformer3DModel"}, 1_693_783_872),
        ({"_class_name": "LTXVideoTransformer3DModel"}, 1_923_385_472),
    ],
)
def test_a_denoiser_of_videos_has_the_parameters_of_its_class(config: dict[str, object], params: int) -> None:
    """diffusers 0.42.1 on meta, of the classes' defaults and of CogVideoX 5B's heads and layers; cards: 13, 5, 2, 2 B (from memory)."""
    assert count_params(model_from_config(config, "mine").ops(Workload())) == params


def test_hunyuan_video_needs_one_pass_and_two_text_encoders() -> None:
    """129 frames of 720 x 1280 are a latent of 33 x 90 x 160, 118,800 patches; 256 tokens of its text, 77 of CLIP."""
    pipeline = pipeline_named("hunyuanvideo-community/HunyuanVideo")
    assert pipeline is not None
    assert pipeline.denoiser.num_patches == 33 * 45 * 80  # type: ignore[union-attr]
    runs = {run.part: run for run in pipeline.generation(50, guidance=True)}
    assert runs["denoiser"].times == 50
    assert [run.workload.seq_len for part, run in runs.items() if "encoder" in part] == [256, 77]


def test_umt5_reads_the_text_with_a_table_of_biases_in_every_layer() -> None:
    """transformers' UMT5EncoderModel on meta."""
    sizes = {"vocab_size": 40, "d_model": 24, "d_kv": 6, "d_ff": 20, "num_layers": 3, "num_heads": 2, "feed_forward_proj": "gated-gelu"}
    config = {"model_type": "umt5", "architectures": ["UMT5EncoderModel"], **sizes}
    with torch.device("meta"):
        module = transformers.UMT5EncoderModel(transformers.UMT5Config(**sizes))
        counter = meta.flop_counter()
        with counter:
            module(input_ids=torch.zeros(2, 9, dtype=torch.long))
    encoder = part_from(Fields(config, "mine"), "mine", Source(title="mine"))
    said = estimate(Case(model=encoder, workload=Workload(batch=2, seq_len=9)))
    assert (said.params, said.forward_flop) == (meta.params_of(module), counter.get_total_flops())


def _folder(path: Path, parts: dict[str, dict[str, object]]) -> str:
    (path / "model_index.json").write_text("{}", encoding="utf-8")
    for part, config in parts.items():
        (path / part).mkdir()
        (path / part / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(path)


def test_qwen_image_reads_the_states_of_a_language_model_and_makes_a_video_of_one_frame() -> None:
    """Wu et al. 2025 (arXiv 2508.02324): 20 B parameters (from memory, unchecked); Wan 2.1's autoencoder, whose decoder has 73 M."""
    pipeline = pipeline_named("Qwen/Qwen-Image")
    assert pipeline is not None
    runs = {run.part: run for run in pipeline.sized(Image(height=512, width=768)).generation(2, guidance=True)}
    assert runs["text encoder"].workload.seq_len == 512
    assert runs["decoder"].model.sample == Clip(image=Image(height=512, width=768), frames=1)
    assert round(count_params(runs["denoiser"].model.ops(Workload())) / 1e9) == 20
    assert round(count_params(runs["decoder"].model.ops(Workload())) / 1e6) == 73


def test_a_folder_with_a_part_without_an_op_table_says_what_counts_it(tmp_path: Path) -> None:
    folder = _folder(tmp_path, {"transformer": {"_class_name": "SanaTransformer2DModel"}, "vae": SMALL["autoencoder"][0]})
    with pytest.raises(BadConfigError, match=r"transformer/config\.json by itself is traced") as caught:
        pipeline_in(folder)
    assert not isinstance(caught.value, NoOpTableError)


def test_a_folder_of_two_denoisers_shares_out_the_steps(tmp_path: Path) -> None:
    """UniPCMultistepScheduler of diffusers 0.42.1: at a shift of 12, 26 of 40 steps have a time step of at least 875, at 5, 17."""
    wan = {"transformer": SMALL["wan"][0], "transformer_2": SMALL["wan"][0], "vae": SMALL["wan-autoencoder"][0]}
    folder = _folder(tmp_path, wan | {"scheduler": {}})
    with pytest.raises(BadConfigError, match=r"has two denoisers, and boundary_ratio of model_index\.json is 'None'"):
        pipeline_in(folder)
    (tmp_path / "model_index.json").write_text(json.dumps({"boundary_ratio": 0.875}), encoding="utf-8")
    with pytest.raises(BadConfigError, match="flow_shift"):
        pipeline_in(folder)
    for shift, early in ((12.0, 26), (5, 17)):
        (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps({"flow_shift": shift}), encoding="utf-8")
        pipeline = pipeline_in(folder)
        assert pipeline is not None
        runs = {run.part: run.times for run in pipeline.generation(40, guidance=True)}
        assert (runs["denoiser, high noise"], runs["denoiser, low noise"]) == (2 * early, 2 * (40 - early))


@pytest.mark.slow
def test_a_schedule_hands_over_where_diffusers_does() -> None:
    diffusers = pytest.importorskip("diffusers")
    for shift, boundary, steps in itertools.product((1.0, 3.0, 5.0, 12.0), (0.5, 0.875, 0.9), (1, 2, 7, 30, 40, 50)):
        scheduler = diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=shift)
        scheduler.set_timesteps(steps)
        assert Handover(boundary=boundary, shift=shift).early(steps) == int((scheduler.timesteps >= 1000 * boundary).sum())


def test_what_steers_runs_in_every_pass_of_every_step() -> None:
    """Zhang et al. 2023 (arXiv 2302.05543); 361,279,120 parameters beside Stable Diffusion 1.5, from memory."""
    pipeline = pipeline_named("lllyasviel/sd-controlnet-canny")
    assert pipeline is not None
    runs = {run.part: run for run in pipeline.sized(Image(height=256, width=320)).generation(10, guidance=True)}
    assert runs["control"].times == runs["denoiser"].times == 20
    assert count_params(runs["control"].model.ops(Workload())) == 361_279_120
    assert runs["control"].model.sample == Image(height=256, width=320)


def test_a_controlnet_beside_a_transformer_is_refused(tmp_path: Path) -> None:
    folder = {"transformer": SMALL["dit"][0], "vae": SMALL["autoencoder"][0], "controlnet": SMALL["controlnet-unet"][0]}
    with pytest.raises(BadConfigError, match="expected a denoiser"):
        pipeline_in(_folder(tmp_path, folder))


def test_a_picture_that_is_not_halved_to_the_latents_size_is_refused() -> None:
    with pytest.raises(BadConfigError, match="halved to the 8th"):
        model_from_config(SMALL["controlnet-unet"][0] | {"conditioning_embedding_out_channels": [4, 8]}, "mine")


def test_what_begins_with_an_image_reads_it_twice() -> None:
    """Wan 2.1 I2V: CLIP once over 224 pixels, the autoencoder's other half once over the video, as WanImageToVideoPipeline runs them."""
    pipeline = pipeline_named("wan-2.1-i2v-14b")
    assert pipeline is not None
    runs = {run.part: run for run in pipeline.lasting(9).sized(Image(height=64, width=96)).generation(3, guidance=True)}
    assert {part: run.times for part, run in runs.items()} == {
        "text encoder": 2,
        "image encoder": 1,
        "video encoder": 1,
        "denoiser": 6,
        "decoder": 1,
    }
    assert runs["video encoder"].model.sample == runs["denoiser"].model.sample


def test_wan_22_small_makes_its_video_of_27_280_patches() -> None:
    """121 frames of 704 x 1280 are a latent of 31 x 44 x 80 at 4 x 16 x 16, and 31 * 22 * 40 patches."""
    pipeline = pipeline_named("wan2.2-5b")
    assert pipeline is not None
    assert pipeline.denoiser.num_patches == 31 * 22 * 40  # type: ignore[union-attr]
    assert pipeline.autoencoder.compression == pipeline.denoiser.compression  # type: ignore[union-attr]


def test_an_autoencoder_of_images_behind_a_denoiser_of_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="an autoencoder of what it makes"):
        pipeline_in(_folder(tmp_path, {"transformer": SMALL["wan"][0], "vae": SMALL["autoencoder"][0]}))
