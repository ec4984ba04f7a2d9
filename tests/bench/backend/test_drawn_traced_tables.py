"""Traced tables of random configurations equal torch's own count of the same class, with real weights on a CPU, at sizes not fitted."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from bench.backend.counting.flop_formulas import MENDED
from bench.backend.counting.module import unfused
from bench.backend.tracing.trace import trace_config
from estimators.counting.estimate import estimate
from estimators.spec import Case, Workload
from tests.support.drawn_by_fields import drawn

QUICK = ("cwm", "granitemoe_swa", "gte", "megatron-bert")
TYPES = [
    "afmoe",
    "apertus",
    "apertus1p5_text",
    "aria_text",
    "beam",
    "big_bird",
    "bigbird_pegasus",
    "biogpt",
    "bitnet",
    "blenderbot",
    "blenderbot-small",
    "camembert",
    "clip_text_model",
    "cohere2_moe",
    "convbert",
    "cpmant",
    "ctrl",
    "cwm",
    "data2vec-text",
    "deberta",
    "doge",
    "ernie",
    "eurobert",
    "exaone_moe",
    "falcon_mamba",
    "flex_olmo",
    "flint",
    "fnet",
    "fsmt",
    "git",
    "gpt_neox_japanese",
    "granite_docling_text",
    "granite_swa",
    "granitemoe_swa",
    "granitemoeshared",
    "gte",
    "helium",
    "higgs_audio_v2",
    "hy_v3",
    "hy_v4",
    "hyperclovax",
    "ibert",
    "inkling2_loop_text",
    "inkling2_text",
    "inkling_text",
    "jais2",
    "jina_embeddings_v3",
    "kolibri1",
    "kosmos-2.5",
    "laguna",
    "lara_mini",
    "layoutlm",
    "lfm2",
    "lfm3",
    "longformer",
    "m2m_100",
    "markuplm",
    "megatron-bert",
    "mellum",
    "mimo_v2_flash",
    "minimax",
    "minimax_m2",
    "mllama",
    "modernbert-decoder",
    "modernvbert",
    "molmo2_text",
    "moshi",
    "mpnet",
    "mra",
    "muse_glimmer_text",
    "mvp",
    "nanochat",
    "nomic_bert",
    "nystromformer",
    "olmo_hybrid",
    "openai-gpt",
    "openai_privacy_filter",
    "pegasus",
    "persimmon",
    "phi4_multimodal",
    "plbart",
    "pop2piano",
    "prophetnet",
    "umt5",
    "xglm",
]
"""Those whose default configuration can be made small field by field, and that read tokens alone."""
SEEDS = (1, 2)


@pytest.mark.parametrize("model_type", QUICK)
def test_a_few_drawn_configurations_equal_torch(model_type: str) -> None:
    said, counted = both(model_type, 1)
    assert said == counted


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("model_type", TYPES)
def test_drawn_configurations_of_sixty_families_and_more_equal_torch(model_type: str, seed: int) -> None:
    said, counted = both(model_type, seed)
    assert said == counted


def test_another_configuration_would_be_told() -> None:
    assert both("cwm", 1)[0] != both("cwm", 2)[1]


def both(model_type: str, seed: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Parameters, FLOP forward and of both passes: of the traced table, and as torch dispatches them for real tensors.

    Forward by torch's own counter; of backward passes torch counts grouped convolutions as if they were whole, so that the formulas
    here stand in for its own.
    """
    rng = random.Random(seed)
    batch, length = rng.choice((2, 4)), rng.randrange(21, 31)
    config = drawn(model_type, seed)
    model = transformed(config)
    tokens = torch.full((batch, length), 5)
    inputs = {"input_ids": tokens} | ({"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {})
    with unfused(), FlopCounterMode(display=False) as plain, torch.no_grad():
        model.requires_grad_(False)(**inputs)
    with unfused(), FlopCounterMode(display=False, custom_mapping=MENDED) as counted:
        out = model.requires_grad_(True)(**inputs)
        made = [out.get(name) for name in ("logits", "last_hidden_state", "pooler_output")]
        sum(t.sum() for t in made if t is not None).backward()
    traced = trace_config(config, model_type)
    said = estimate(Case(model=traced, workload=Workload(phase="train", batch=batch, seq_len=length)))
    params = sum(p.numel() for p in model.parameters())
    return (
        (said.params, said.forward_flop, said.forward_flop + said.backward_flop),
        (params, plain.get_total_flops(), counted.get_total_flops()),
    )


def transformed(config: dict[str, Any]) -> Any:
    """The class that a configuration names, with random weights on a CPU; experts one by one, since torch counts no grouped product."""
    torch.manual_seed(0)
    made = getattr(transformers, config["architectures"][0])._from_config(
        transformers.AutoConfig.for_model(**config), attn_implementation="eager", experts_implementation="eager"
    )
    return made.eval()
