"""Classes of diffusers without an op table: traced where diffusers is installed, said in one line where it is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.backend.counting import meta
from bench.backend.counting.diffusers_class import TEXT_TOKENS, build, feed_of
from bench.cli.main import main
from estimators.counting.estimate import estimate
from estimators.errors import BadConfigError, MissingPackageError
from estimators.samples import Image
from estimators.spec import Case, Workload
from tests.support.diffusers_models import FLUX, ours

UNET: dict[str, Any] = {
    "_class_name": "UNet2DModel",
    "sample_size": 16,
    "block_out_channels": [16, 32],
    "norm_num_groups": 8,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
}


def test_a_class_of_diffusers_names_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingPackageError, match=r"counting UNet2DModel needs diffusers: .*\[diffusion\]"):
        build(UNET)


def test_estimate_says_the_same_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(UNET), encoding="utf-8")
    for words in (["estimate", "--images-total", "1M", "--hardware", "a100-sxm4-80gb"], ["show"]):
        assert main([*words, "--config", str(path)]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("·")]
        assert "needs diffusers: " in line
        assert line.endswith("[diffusion]'")


def test_a_name_of_timm_says_what_counts_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "timm/no_such_network"]) == 2
    said = capsys.readouterr().err
    assert "sixnd.count(timm.create_model('no_such_network'), inputs)" in said
    assert said.rstrip().endswith("[timm]'")


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        UNET,
        {"_class_name": "AutoencoderTiny"},
        {"_class_name": "SanaTransformer2DModel", "num_layers": 2, "num_attention_heads": 2, "num_cross_attention_heads": 2}
        | {"attention_head_dim": 8, "cross_attention_head_dim": 8, "cross_attention_dim": 16, "caption_channels": 24, "sample_size": 8},
        {"_class_name": "HunyuanVideoTransformer3DModel", "num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 1}
        | {"num_single_layers": 1, "num_refiner_layers": 1, "text_embed_dim": 16, "pooled_projection_dim": 8, "rope_axes_dim": [4, 4, 4]},
    ],
    ids=lambda config: str(config["_class_name"]),
)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_traced_class_has_what_torch_counts_on_meta(config: dict[str, Any], batch: int) -> None:
    pytest.importorskip("diffusers")
    from bench.backend.tracing.diffusers_class import trace_class

    said = estimate(Case(model=trace_class(config, "mine"), workload=Workload(phase="train", batch=batch)))
    module = build(config)
    given = {name: value.to("meta") if isinstance(value, torch.Tensor) else value for name, value in feed_of(module)(batch).items()}
    counter = meta.flop_counter()
    with counter:
        out = module(**given).sample
    forward = counter.get_total_flops()
    with counter:
        out.sum().backward()
    assert (said.params, said.forward_flop, said.backward_flop) == (meta.params_of(module), forward, counter.get_total_flops())


@pytest.mark.slow
def test_a_traced_flux_is_the_one_by_hand() -> None:
    """On 16 patches, 4 x 4, of 16 pixels, and as many tokens of text as are made up."""
    pytest.importorskip("diffusers")
    from bench.backend.tracing.diffusers_class import trace_class

    config = FLUX | {"num_layers": 2, "num_single_layers": 3, "text_tokens": TEXT_TOKENS}
    by_hand, traced = ours(config, Image(height=64, width=64)), trace_class(config, "mine")
    totals = [estimate(Case(model=model, workload=Workload(phase="train", batch=2))) for model in (by_hand, traced)]
    assert [(each.params, each.forward_flop, each.backward_flop) for each in totals[:1]] == [
        (each.params, each.forward_flop, each.backward_flop) for each in totals[1:]
    ]


@pytest.mark.slow
def test_a_class_that_takes_what_cannot_be_made_up_gives_its_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("diffusers")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"_class_name": "ControlNetModel"}), encoding="utf-8")
    assert main(["show", "--config", str(path), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    with torch.device("meta"):
        import diffusers

        assert body["params"] == meta.params_of(diffusers.ControlNetModel())


@pytest.mark.slow
def test_a_class_that_diffusers_does_not_have_is_refused_by_name() -> None:
    pytest.importorskip("diffusers")
    with pytest.raises(BadConfigError, match="has no network of that name"):
        build({"_class_name": "NoSuchModel"})
