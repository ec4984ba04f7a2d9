"""Model types without an op table are counted on meta, labelled so; remote code never runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from bench.backend.counting import meta
from bench.backend.counting.built_class import parse
from bench.backend.counting.hf_config import count_config
from bench.backend.models import hf_config
from bench.cli.main import main
from estimators.architectures import FAMILIES
from estimators.architectures.from_config import model_from_config
from estimators.errors import BadConfigError, BadValueError, NoOpTableError
from estimators.spec import Workload

XGLM: dict[str, Any] = {"model_type": "xglm", "d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64, "vocab_size": 100}


def test_a_decoder_without_an_op_table_is_counted_in_every_phase_by_hand() -> None:
    """XGLM: per layer 4·D² + 2·D·F weights, a tied head of V·D, attention 4·D·T a token; decode after 16 tokens meets 17."""
    assert "xglm" not in FAMILIES
    said = count_config(XGLM, batch=2, seq_len=16)
    weights = 2 * (4 * 32 * 32 + 2 * 32 * 64) + 100 * 32
    attention = 2 * 4 * 32
    assert said.network.forward_flop == 2 * 16 * (2 * weights + attention * 16)
    assert said.network.backward_flop == 2 * said.network.forward_flop
    assert said.decode_flop == 2 * (2 * weights + attention * 17)
    assert said.built_as == "XGLMForCausalLM"
    assert said.network.unseen == ()


def test_the_fallback_agrees_with_the_route_that_known_families_take() -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "vocab_size": 50,
    }
    said = count_config(config, batch=1, seq_len=8)
    assert said.network.forward_flop == meta.torch_count(meta.meta_language_model(config), Workload(seq_len=8)).forward_flop


SMALL_LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 50,
}
LAYER_WEIGHTS = 4 * 32 * 32 + 3 * 32 * 64


def test_a_class_with_another_head_is_counted_with_that_head_by_hand() -> None:
    """LlamaForSequenceClassification: two layers, and 3 labels from every token's vector in place of 50 logits."""
    config = SMALL_LLAMA | {"architectures": ["LlamaForSequenceClassification"], "num_labels": 3}
    with pytest.raises(NoOpTableError, match="architectures names 'LlamaForSequenceClassification'; the op table is of the class with a"):
        model_from_config(config, "llama")
    said = count_config(config, batch=2, seq_len=16)
    assert said.built_as == "LlamaForSequenceClassification"
    assert said.network.params == 50 * 32 + 2 * (LAYER_WEIGHTS + 2 * 32) + 32 + 3 * 32
    assert said.network.forward_flop == 2 * 16 * (2 * (2 * LAYER_WEIGHTS + 3 * 32) + 2 * 4 * 32 * 16)


SMALL_BART: dict[str, Any] = {
    "model_type": "bart",
    "architectures": ["BartForSequenceClassification"],
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": 50,
    "max_position_embeddings": 16,
}


@pytest.mark.filterwarnings("error:.*deprecated.*:FutureWarning")
def test_a_class_that_reads_the_state_at_the_end_of_a_text_is_given_one() -> None:
    """BART's: its head sees one vector of 32 of each text, through a layer of 32 and 3 labels; six and ten products in its layers.

    Encoder: query, key, value, output, two of the feed-forward; decoder: four more of attention to the encoder.
    """
    said = count_config(SMALL_BART | {"num_labels": 3}, batch=2, seq_len=16)
    layers = 12 * 32 * 32 + 2 * 2 * 32 * 64
    assert said.network.forward_flop == 2 * 2 * (16 * (layers + 3 * 2 * 32 * 16) + 32 * 32 + 3 * 32)


@pytest.mark.parametrize("named", ["LlamaForCausalLM", "LLaMAForCausalLM", "GPT2LMHeadModel", "LlavaForConditionalGeneration"])
def test_a_class_with_the_usual_head_has_an_op_table(named: str) -> None:
    assert model_from_config(SMALL_LLAMA | {"architectures": [named]}, "llama").ops(Workload()) == model_from_config(
        SMALL_LLAMA, "llama"
    ).ops(Workload())


def test_a_model_without_a_head_is_counted_without_one() -> None:
    said = count_config(SMALL_LLAMA | {"architectures": ["LlamaModel"]}, batch=1, seq_len=16)
    assert said.network.forward_flop == 16 * (2 * 2 * LAYER_WEIGHTS + 2 * 4 * 32 * 16)
    assert said.decode_flop is None


def test_an_encoder_that_chooses_among_answers_is_counted_by_hand() -> None:
    """BertForMultipleChoice: 12·D² weights a layer, 4·D·S² of attention, a pooler and one logit per sequence."""
    config = {"model_type": "bert", "architectures": ["BertForMultipleChoice"], "hidden_size": 32, "intermediate_size": 128}
    config |= {"num_hidden_layers": 2, "num_attention_heads": 4}
    with pytest.raises(NoOpTableError, match=r"architectures is .*BertForMultipleChoice.*; expected a list that begins with one of"):
        model_from_config(config, "bert")
    said = count_config(config, batch=3, seq_len=8)
    assert said.network.forward_flop == 3 * (2 * (2 * 8 * 12 * 32**2 + 4 * 32 * 8**2) + 2 * 32**2 + 2 * 32)


@pytest.mark.parametrize(
    ("config", "built_as", "left_out"),
    [
        ({"model_type": "video_llava", "text_config": XGLM, "vision_config": {}}, "XGLMForCausalLM", "vision_config, and what joins"),
        ({"model_type": "llava", "text_config": XGLM}, "XGLMForCausalLM", "vision_config, and what joins them: only the language part"),
        (
            {"model_type": "some_chat", "auto_map": {"AutoModel": "evil.Model"}, "llm_config": XGLM},
            "XGLMForCausalLM",
            "all but llm_config: transformers does not know 'some_chat', and code of its own is never executed",
        ),
    ],
)
def test_of_a_vision_language_model_the_text_is_counted_and_the_rest_is_named(config: dict[str, Any], built_as: str, left_out: str) -> None:
    """As much as the text alone, which is a configuration of its own."""
    with pytest.raises(NoOpTableError):
        model_from_config(config, "vision-language")
    said, alone = (count_config(each, batch=1, seq_len=8) for each in (config, config.get("text_config") or config["llm_config"]))
    assert said.built_as == built_as
    assert said.left_out.startswith(left_out)
    assert (said.network.forward_flop, said.decode_flop) == (alone.network.forward_flop, alone.decode_flop)
    assert alone.left_out == ""


BLENDERBOT: dict[str, Any] = {"model_type": "blenderbot", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 50}
BLENDERBOT |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
BLENDERBOT |= {"architectures": ["BlenderbotForConditionalGeneration"]}


def test_a_longer_source_costs_an_encoder_decoder_its_encoder_and_the_keys_of_the_decoder() -> None:
    """Each source token: 4·D² + 2·D·F of the encoder and 2·D² of the decoder's cross-attention; 4·D of each pair."""
    shorter, longer = (count_config(BLENDERBOT, batch=1, seq_len=8, source_len=n).network.forward_flop for n in (10, 30))
    assert longer - shorter == 20 * 2 * (6 * 32**2 + 2 * 32 * 64) + 4 * 32 * (30**2 - 10**2) + 4 * 32 * 8 * 20
    with pytest.raises(BadValueError, match="--source-len 9: XGLMForCausalLM reads no tokens beside a decoder; leave --source-len out"):
        count_config(XGLM, batch=1, seq_len=8, source_len=9)


SWITCH: dict[str, Any] = {"model_type": "switch_transformers", "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12}
SWITCH |= {"num_decoder_layers": 12, "num_heads": 12, "num_experts": 8, "num_sparse_encoder_layers": 6, "num_sparse_decoder_layers": 6}
SWITCH |= {"vocab_size": 32128, "tie_word_embeddings": True, "feed_forward_proj": "relu"}
JETMOE: dict[str, Any] = {"model_type": "jetmoe", "hidden_size": 32, "num_hidden_layers": 2, "num_key_value_heads": 2, "kv_channels": 16}
JETMOE |= {"intermediate_size": 64, "num_experts_per_tok": 2, "num_local_experts": 4, "vocab_size": 64}
JETMOE |= {"architectures": ["JetMoeForCausalLM"]}
LED: dict[str, Any] = {"model_type": "led", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
LED |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "attention_window": 8, "vocab_size": 64}
LED |= {"max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 64, "architectures": ["LEDForConditionalGeneration"]}
NLLB: dict[str, Any] = {"model_type": "nllb-moe", "vocab_size": 256206, "d_model": 2048, "encoder_layers": 24, "decoder_layers": 24}
NLLB |= {"encoder_attention_heads": 16, "decoder_attention_heads": 16, "encoder_ffn_dim": 8192, "decoder_ffn_dim": 8192}
NLLB |= {"num_experts": 128, "encoder_sparse_step": 4, "decoder_sparse_step": 4}


@pytest.mark.parametrize(
    ("config", "params"),
    [
        # Parameters of transformers' classes on meta. Switch-base-8 is published as 619 M, NLLB-MoE as 54.5 B.
        pytest.param(SWITCH, 619_339_008, id="switch"),
        pytest.param(NLLB, 54_500_569_088, id="nllb-moe", marks=pytest.mark.slow),
    ],
)
def test_what_does_not_run_on_meta_has_its_parameters_and_a_reason_in_one_line(
    config: dict[str, Any], params: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert main(["show", "--config", str(path), "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["params"], body["forward_flop"], body["training_flop"]) == (params, None, None)
    (note,) = body["notes"]
    assert note == f"no FLOP: {body['unavailable']['forward_flop']}."
    assert "values of tensors" in note
    assert "torch" not in note
    assert "\n" not in note


@pytest.mark.parametrize("config", [JETMOE, LED], ids=["jetmoe", "led"])
def test_what_looks_into_values_that_its_tokens_alone_decide_is_counted_as_torch_counts_the_real_model(config: dict[str, Any]) -> None:
    said = count_config(config, batch=2, seq_len=8, **({"source_len": 8} if config is LED else {})).network
    real = getattr(transformers, config["architectures"][0])(transformers.AutoConfig.for_model(**config, attn_implementation="eager"))
    ids = torch.randint(5, 60, (2, 8))
    with FlopCounterMode(display=False) as counter:
        out = real.train()(input_ids=ids, **({"decoder_input_ids": ids} if config is LED else {})).logits
        forward_flop = counter.get_total_flops()
        out.sum().backward()
    assert said is not None
    assert (said.forward_flop, said.backward_flop) == (forward_flop, counter.get_total_flops() - forward_flop)


def test_an_error_that_is_not_of_values_is_told_and_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`items` is no `item()`, and what went wrong is said."""

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise AttributeError("'NoneType' object has no attribute 'items'")

    monkeypatch.setattr("transformers.XGLMForCausalLM.forward", broken)
    said = count_config(XGLM, batch=1, seq_len=8)
    assert said.network is None
    assert said.flop_reason.endswith("made up from its configuration: 'NoneType' object has no attribute 'items'")
    assert said.decode_reason.endswith(said.flop_reason)


def test_a_model_that_compares_images_and_texts_is_given_both() -> None:
    """SigLIP, whose parameters are 203,155,970: an image of 14 x 14 patches and a text of 64 tokens through 12 layers each."""
    said = count_config(
        {"model_type": "siglip", "text_config": {"vocab_size": 32000}, "vision_config": {"image_size": 224}}, batch=1, seq_len=8
    )
    assert said.params == 203_155_970
    width, hidden, patches, text = 768, 3072, 14 * 14, 64
    layer = 4 * width**2 + 2 * width * hidden
    towers = sum(12 * (2 * tokens * layer + 4 * tokens**2 * width) for tokens in (patches, text))
    stem = 2 * patches * width * 3 * 16 * 16
    pooled = 2 * (2 * patches + 2) * width**2 + 4 * patches * width + 2 * 2 * width * hidden  # one query over all patches, and its MLP
    projected = 2 * width**2  # of the text's last token
    assert said.network is not None
    assert said.network.forward_flop == towers + stem + pooled + projected + 2 * width  # and the one product of the two vectors


@pytest.mark.parametrize("model_type", [None, "my_xglm"])
def test_a_type_that_is_absent_or_unknown_is_that_of_the_class(model_type: str | None) -> None:
    config = XGLM | {"model_type": model_type, "architectures": ["XGLMForCausalLM"]}
    said = count_config({key: value for key, value in config.items() if value is not None}, batch=2, seq_len=16)
    assert said == count_config(XGLM, batch=2, seq_len=16)


def test_an_image_model_gets_images_of_its_own_size() -> None:
    config = {"model_type": "levit", "image_size": 32, "architectures": ["LevitForImageClassification"]}
    said = count_config(config, batch=1, seq_len=1)
    assert said.network.forward_flop > 0
    assert said.network.params > 0
    assert said.decode_flop is None
    assert "no cache" in said.decode_reason


LIGHTNING: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "head_dim": 8}
LIGHTNING |= {"num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2, "vocab_size": 50, "attn_type_list": [0, 0, 1]}
LIGHTNING |= {"model_type": "minimax_text_01", "architectures": ["MiniMaxText01ForCausalLM"], "auto_map": {"AutoConfig": "mine.Config"}}


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"model_type": "no_such_type"}, "has no op table and transformers .* does not know it"),
        ({"model_type": "my_model", "auto_map": {"AutoModel": "evil.Model"}}, "its own code .auto_map. is never executed"),
        ({"model_type": None}, "does not know it"),
        (SMALL_LLAMA | {"architectures": ["LlamaForChess"]}, "names 'LlamaForChess', which transformers .* does not have; leave archi"),
        (SMALL_LLAMA | {"architectures": "LlamaModel"}, "architectures is 'LlamaModel'; expected a list of names of classes"),
        (
            {"model_type": "my_model", "auto_map": {"AutoModel": "evil.Model"}},
            "write its name as model_type .*; or build it with trust_remote_code",
        ),
        ({"architectures": ["MineForCausalLM"]}, "it has no model_type, and of the class that architectures names, tra"),
        (
            {"model_type": "git", "architectures": ["Grok1ForCausalLM"]},
            "names 'Grok1ForCausalLM', and model_type is 'git': which of the two",
        ),
        ({"model_type": "jetmoe", "num_layers": 24}, "num_hidden_layers is missing, and num_layers is 24, which 'jetmoe' does not read"),
        (
            {"model_type": "jetmoe", "num_hidden_layers": 2, "ffn_hidden_size": 64},
            "intermediate_size is missing, and ffn_hidden_size is 64",
        ),
        ({"model_type": "vipllava", "hidden_size": 64}, "text_config.hidden_size is missing, and hidden_size is 64, which"),
        (LIGHTNING | {"attn_type_list": [0, 1]}, r"attn_type_list is '\[0, 1\]'; expected 3 times 0 or 1"),
        (LIGHTNING | {"shared_intermediate_size": 9}, "shared_intermediate_size is '9'; expected 0: transformers' MiniMax has no shared"),
        (XGLM | {"attention_heads": 5}, "transformers cannot build 'xglm'|does not run"),
        (XGLM | {"d_model": -1}, "transformers cannot build 'xglm'|refuses"),
    ],
)
def test_what_cannot_be_counted_is_one_line(config: dict[str, Any], match: str) -> None:
    with pytest.raises(BadConfigError, match=match) as caught:
        count_config(config, batch=1, seq_len=8)
    assert "\n" not in str(caught.value)


def test_a_type_of_own_code_that_transformers_has_under_another_name_is_that() -> None:
    """MiniMax-Text-01's two kinds of layers: of 32·(3·32 + 2·32) + 32 of attention in chunks, of 32·(2·32 + 2·16) of attention to all."""
    said = count_config(LIGHTNING, batch=1, seq_len=8)
    assert said.built_as == "MiniMaxForCausalLM"
    layer = 4 * 3 * 32 * 16 + 4 * 32 + 2 * 32
    assert said.params == 2 * 50 * 32 + 32 + 3 * layer + 2 * (32 * 5 * 32 + 32) + 32 * (2 * 32 + 2 * 16)


@pytest.mark.slow
def test_minimax_text_01_has_the_parameters_of_its_files() -> None:
    """456,089,655,296 elements (from memory, unchecked), of 80 layers of which every eighth attends to all tokens."""
    config = LIGHTNING | {
        "hidden_size": 6144,
        "intermediate_size": 9216,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "head_dim": 128,
    }
    config |= {"num_key_value_heads": 8, "num_local_experts": 32, "vocab_size": 200064, "attn_type_list": [0, 0, 0, 0, 0, 0, 0, 1] * 10}
    assert count_config(config, batch=1, seq_len=8).params == 456_089_655_296


def test_a_size_beside_the_part_that_has_it_is_no_hindrance() -> None:
    """Published files say some of the text's sizes at the top, too."""
    from bench.backend.counting.built_class import parse

    parsed, _, _ = parse({"model_type": "vipllava", "hidden_size": 64, "vocab_size": 70, "text_config": SMALL_LLAMA})
    assert parsed.get_text_config().hidden_size == 32


def test_authors_names_of_classes_are_transformers_own_where_the_type_and_the_head_are() -> None:
    """Ling 2.5's file names the class of its authors' code, and transformers has the type's under another name."""
    from bench.backend.counting.built_class import parse

    ling = {"model_type": "bailing_hybrid", "num_hidden_layers": 2}
    _, named, left_out = parse(ling | {"architectures": ["BailingMoeV2_5ForCausalLM"], "num_nextn_predict_layers": 1})
    assert named == "BailingHybridForCausalLM"
    assert left_out.startswith("1 multi-token prediction layer (num_nextn_predict_layers)")
    with pytest.raises(BadConfigError, match=r"names 'BailingMoeV2_5ForChess', which transformers .* does not have"):
        parse(ling | {"architectures": ["BailingMoeV2_5ForChess"]})


BANK: dict[str, Any] = {
    "model_type": "llama4_text",
    "architectures": ["Llama4TextModel"],
    "hidden_size": 32,
    "intermediate_size": 16,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "num_hidden_layers": 2,
    "num_local_experts": 8,
    "vocab_size": 50,
}


def test_experts_that_run_for_nothing_are_told_apart_by_hand() -> None:
    """8 tokens, D 32, F 16, 3 matrices, 2 layers: seven of eight experts are not chosen."""
    said = count_config(BANK, batch=1, seq_len=8)
    assert said.surplus_flop == 2 * 7 * (2 * 8 * 3 * 32 * 16)
    assert said.network.forward_flop - said.surplus_flop == 8 * 2 * (2 * (4 * 32 * 32 + 2 * 3 * 32 * 16 + 32 * 8) + 4 * 32 * 8)


def test_show_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(BANK))
    assert main(["show", "--config", str(tmp_path), "--seq-len", "8"]) == 0
    assert "needed and counted: the experts that a token is routed to. transformers runs all of them on every token" in " ".join(
        capsys.readouterr().out.split()
    )


def test_experts_that_run_on_their_tokens_alone_are_no_surplus() -> None:
    config = {**BANK, "model_type": "mixtral", "architectures": ["MixtralModel"]}
    assert count_config(config, batch=1, seq_len=8).surplus_flop == 0


def test_a_size_under_the_name_that_its_class_writes_is_read() -> None:
    """Kolibri's class calls its experts num_experts, and its file num_local_experts."""
    written = json.loads(hf_config({"model_type": "kolibri1", "num_experts": 8}).to_json_string(use_diff=False))
    assert written["num_local_experts"] == 8
    parsed, _, _ = parse(written)
    assert parsed.num_experts == 8
