"""Published encoders, encoder-decoders and models of images: the op table against torch on meta, `==`, and published figures."""

from __future__ import annotations

from typing import Any

import pytest

from bench.backend import model_classes
from bench.backend.counting import meta
from estimators.architectures.encoder import Encoder
from estimators.architectures.encoder_decoder import EncoderDecoder
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params
from estimators.counting.rules_of_thumb import TRAINER_RULE, rules
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Workload
from tests.support.encoders_and_images import SMALLEST_OF_IMAGES, WRITING, check, step
from tests.support.shipped_sizes import shallow

SHIPPED = [name for name in model_ids() if model_entry(name).config["model_type"] in model_classes.KINDS]
TEXT_MODELS = [name for name in SHIPPED if isinstance(model_from_config(model_entry(name).config, name), Encoder | EncoderDecoder)]
SMALLEST = (
    *(
        "albert-base-v2",
        "bert-base-uncased",
        "deberta-base",
        "deberta-v3-base",
        "distilbert-base-uncased",
        "electra-small",
        "modernbert-base",
    ),
    *("distilroberta-base", "xlm-roberta-base", "bart-base", "opus-mt-en-de", "mt5-small", "t5-small", "flan-t5-small", "whisper-tiny"),
    *("mpnet-base", "nomic-embed-text-v1.5", "eurobert-210m"),
    *("wav2vec2-base-960h", "hubert-base-ls960", "wavlm-base-plus"),
    *SMALLEST_OF_IMAGES,
)
"""One shipped model per family and its head, each counted whole; the others are counted with two layers unless slow tests run."""


@pytest.mark.parametrize("name", SHIPPED)
def test_parameters_of_every_shipped_model_are_torchs_and_the_published_ones(name: str) -> None:
    entry = model_entry(name)
    params = count_params(model_from_config(entry.config, name).ops(Workload()))
    assert params == entry.published_params == meta.params_of(meta.meta_model(entry.config))


@pytest.mark.parametrize("name", SMALLEST)
def test_published_models_count_like_torch_in_every_phase(name: str) -> None:
    check(model_entry(name).config)


@pytest.mark.parametrize("name", sorted({*TEXT_MODELS} - {*SMALLEST}))
def test_the_widths_of_the_other_shipped_models_count_like_torch(name: str) -> None:
    check(shallow(dict(model_entry(name).config)))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*SHIPPED} - {*SMALLEST}))
def test_all_shipped_models_count_like_torch_at_full_depth(name: str) -> None:
    check(model_entry(name).config, WRITING)


# Reference: hand formulas of matrix products and torch's counter on meta, both by others; parameters as the checkpoints' files hold them.
@pytest.mark.parametrize(
    ("config", "workload", "params", "forward_flop"),
    [
        ({"model_type": "bert"}, Workload(seq_len=512), 109_482_240, 96_637_943_808),
        (model_entry("t5-small").config, Workload(seq_len=512), 60_506_624, 71_605_157_888),
        (model_entry("whisper-small").config, Workload(seq_len=448), 241_734_912, 543_275_778_048),
    ],
)
def test_reference_counts_of_bert_t5_and_whisper(config: dict[str, Any], workload: Workload, params: int, forward_flop: int) -> None:
    said = step(model_from_config(config, "reference"), workload)
    assert (said.params, said.forward_flop) == (params, forward_flop)


def test_bert_base_by_hand() -> None:
    """12 layers of 12·D² weights and 4·D·S² of attention FLOP (Kaplan et al. 2020, table 1), and a pooler on one token."""
    d, s, layers = 768, 512, 12
    said = step(model_from_config({"model_type": "bert"}, "bert"), Workload(seq_len=s))
    assert said.forward_flop == layers * (2 * s * 12 * d * d + 4 * d * s * s) + 2 * d * d


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


@pytest.mark.parametrize(
    ("name", "workload"),
    [
        ("bert-base-uncased", Workload(phase="train", batch=2, seq_len=40)),
        ("t5-small", Workload(phase="train", batch=2, seq_len=40, source_len=70)),
        ("flan-t5-small", Workload(phase="train", batch=2, seq_len=40)),
        ("bart-base", Workload(phase="train", batch=2, seq_len=40, source_len=70)),
        ("whisper-tiny", Workload(phase="train", batch=2, seq_len=40)),
        ("clip-vit-base-patch32", Workload(phase="train", batch=2)),
    ],
)
def test_the_trainers_rule_is_what_transformers_says_of_every_kind_of_model(name: str, workload: Workload) -> None:
    """Trainer.floating_point_ops: 6 times elements of the main input (mel bins of Whisper, too) times parameters outside embeddings."""
    config = dict(model_entry(name).config)
    module = meta.meta_model(config)
    elements = model_classes.step_inputs(module, workload)[module.main_input_name].numel()
    found = next(rule for rule in rules(model_from_config(config, name), workload) if rule.name == TRAINER_RULE)
    assert found.flop == 6 * elements * module.num_parameters(exclude_embeddings=True)
    assert found.unexplained_flop == 0


def test_flan_t5_has_a_head_of_its_own_though_transformers_builds_it_tied() -> None:
    """The checkpoint's files hold 2,849,757,184 parameters (Hugging Face, google/flan-t5-xl)."""
    config = dict(model_entry("flan-t5-xl").config)
    apart, tied = (count_params(model_from_config({**config, "tie_word_embeddings": tie}, "flan").ops(Workload())) for tie in (False, True))
    assert (apart, apart - tied) == (2_849_757_184, 32128 * 2048)
