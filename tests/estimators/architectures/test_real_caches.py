"""What the cache holds: the bytes of transformers' own cache behind real forward passes, `==`, for every family that has one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.backend.kv_cache import new_cache, with_cache
from bench.backend.model_classes import class_named
from bench.backend.models import hf_config, language_model
from bench.records.asked import Asked
from bench.records.run import Run
from bench.records.run_estimate import memory_needed
from estimators.architectures import FAMILIES
from estimators.architectures.attention import Attention
from estimators.architectures.block import Beside
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import model_entry, model_ids
from estimators.frozen import replace
from estimators.inference.generation import generation
from estimators.serving.kv_cache import kv_cache
from estimators.spec import Model, Op, Workload
from tests.support.dense_models import DENSE
from tests.support.drawn_decoders import Config
from tests.support.encoder_decoder_models import bart_like, t5_like, whisper
from tests.support.expert_models import EXPERTS
from tests.support.real_caches import generated, held_bytes
from tests.support.state_space_models import STATE_SPACE
from tests.support.vision_language_models import INSIDE_VISION_LANGUAGE, VISION_LANGUAGE

DECODERS = DENSE | EXPERTS | STATE_SPACE
NEW_TOKENS = 3
B: Config = {
    "vocab_size": 1000,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
MAMBA2 = {"mamba_n_heads": 16, "mamba_d_head": 32, "mamba_n_groups": 1, "mamba_d_state": 32, "mamba_expand": 2, "mamba_d_conv": 4}
MAMBA2 |= {"mamba_chunk_size": 64}
WINDOWED = {"head_dim": 32, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"] * 2}
MIXER = {"vocab_size": 1000, "hidden_size": 256, "num_hidden_layers": 4, "expand": 2, "conv_kernel": 4, "tie_word_embeddings": False}
DELTA = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 32, "linear_value_head_dim": 32}

SMALL: dict[str, tuple[Config, list[int]]] = {
    # 64 B x 2 keys and values x 2 heads x 2 rows x 2 layers of either kind x (300 or 301, and 63)
    "gemma3_text": (B | WINDOWED, [371_712, 372_736]),
    "gpt_oss": (B | WINDOWED | {"num_local_experts": 4, "num_experts_per_tok": 2}, [371_712, 372_736]),
    "llama4_text": (
        B
        | {"intermediate_size_mlp": 512, "head_dim": 32, "num_local_experts": 4, "num_experts_per_tok": 1, "attention_chunk_size": 64}
        | {"layer_types": ["chunked_attention", "full_attention"] * 2, "no_rope_layers": [1, 0, 1, 0]},
        [371_712, 372_736],
    ),
    # 4 columns of the convolution's channels in bf16, a state in fp32: of 2 rows, of each layer that has one
    "mamba": (MIXER | {"state_size": 16}, [294_912] * 2),
    "mamba2": (MIXER | {"num_heads": 16, "head_dim": 32, "state_size": 32, "n_groups": 1, "chunk_size": 64}, [561_152] * 2),
    "jamba": (
        B
        | {"num_experts": 2, "num_experts_per_tok": 1, "attn_layer_period": 4, "attn_layer_offset": 1, "use_mamba_kernels": False}
        | {"mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": 16},
        [374_784, 374_784 + 512],
    ),
    "bamba": (B | MAMBA2 | {"attn_layer_indices": [2]}, [574_464, 574_464 + 512]),
    "falcon_h1": (B | MAMBA2 | {"head_dim": 32, "mamba_d_ssm": 512}, [1_175_552, 1_175_552 + 4 * 512]),
    "qwen3_next": (
        B
        | DELTA
        | {"head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
        | {"shared_expert_intermediate_size": 64, "layer_types": ["linear_attention"] * 3 + ["full_attention"]},
        [264_192, 264_192 + 512],
    ),
}
"""Small models with windows, chunks and states, and the bytes of their caches: 2 prompts of 300 tokens, 1 and 2 new ones, bf16."""


def said(model: Model, prompt: int, new: int, batch: int = 2, dtype: str = "bf16") -> int:
    """What the estimate says that the cache holds when the last of the new tokens is there."""
    return generation(model, prompt_tokens=prompt, new_tokens=new, batch=batch, dtype=dtype).peak_memory_bytes.get("kv_cache", 0)


def of_prompt(module: Any, prompt: int, new: int = NEW_TOKENS) -> list[int]:
    return generated(module, {"input_ids": torch.zeros(2, prompt, dtype=torch.long)}, new_tokens=new)


@pytest.mark.parametrize("model_type", SMALL)
def test_windows_chunks_and_states_are_held_as_transformers_holds_them(model_type: str) -> None:
    fields, right = SMALL[model_type]
    config = fields | {"model_type": model_type}
    assert of_prompt(language_model(config, attn="eager", dtype=torch.bfloat16), 300, new=2) == right
    assert [said(model_from_config(config, model_type), 300, new) for new in (1, 2)] == right


@pytest.mark.parametrize(("dtype", "name"), [(torch.float32, "fp32"), (torch.float16, "fp16")])
@pytest.mark.parametrize("model_type", ["mamba", "mamba2", "qwen3_next"])
def test_a_state_is_in_fp32_whatever_the_model_computes_in(model_type: str, dtype: torch.dtype, name: str) -> None:
    config = SMALL[model_type][0] | {"model_type": model_type}
    held = of_prompt(language_model(config, attn="eager", dtype=dtype), 70)
    assert held == [said(model_from_config(config, model_type), 70, new + 1, dtype=name) for new in range(NEW_TOKENS)]


STATIC = {
    "llama": B,
    "gemma3_text": SMALL["gemma3_text"][0],
    "gpt_oss": SMALL["gpt_oss"][0],
    "llama4_text": SMALL["llama4_text"][0],
    "qwen3": B | {"head_dim": 32},
}


@pytest.mark.parametrize("length", [20, 63, 64, 65, 300])
@pytest.mark.parametrize("model_type", STATIC)
def test_a_static_cache_has_its_room_from_the_start(model_type: str, length: int) -> None:
    """Windows and chunks of 64 have 64 places, or as many as the cache has; a run asks for prompt and new tokens."""
    config = STATIC[model_type] | {"model_type": model_type}
    module = language_model(config, attn="eager", dtype=torch.bfloat16).eval()
    cache = new_cache(module, static_len=length)
    with torch.inference_mode():
        module(input_ids=torch.zeros(2, length - 4, dtype=torch.long), **with_cache(module, cache))
    model = model_from_config(config, model_type)
    run = Run(
        model=model_type,
        config=config,
        task="decode",
        batch=2,
        num_beams=1,
        seq_len=length - 4,
        new_tokens=4,
        dtype="bf16",
        optimizer="adamw",
        recompute="none",
        job=None,
        request=Asked(model=model_type, task="decode", cache="static"),
    )
    assert memory_needed(model, run)["kv_cache"] == held_bytes(cache)


def prompts(config: Config) -> list[int]:
    """Below, at and beyond the window or the chunk, at two more of them; of a model without one, two lengths."""
    ends = [config[key] for key in ("sliding_window", "window_size", "attention_chunk_size") if config.get(key)]
    return [length for end in ends[:1] for length in (end - 1, end, end + 1, 3 * end)] or [1, 30]


def check_cache(model_type: str, fields: Config) -> None:
    config = fields | {"model_type": model_type}
    model, module = model_from_config(config, model_type), language_model(config, attn="eager", dtype=torch.bfloat16)
    for prompt in prompts(config):
        assert of_prompt(module, prompt) == [said(model, prompt, new + 1) for new in range(NEW_TOKENS)], prompt


def check_drawn(configs: st.SearchStrategy[Config], examples: int, check: Callable[[Config], None]) -> None:
    settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))(given(configs)(check))()


ONE_OF_EACH = {"llama", "bloom", "mistral", "cohere2", "deepseek_v3", "mixtral", "qwen3_moe"}
"""Keys of many heads and of few, windows everywhere and in some layers, latents, experts; SMALL has chunks, states and mixtures of both."""


@pytest.mark.parametrize("model_type", [kind if kind in ONE_OF_EACH else pytest.param(kind, marks=pytest.mark.slow) for kind in DECODERS])
def test_the_cache_of_every_family_of_decoders_is_that_of_transformers(model_type: str) -> None:
    check_drawn(DECODERS[model_type], 2, lambda fields: check_cache(model_type, fields))


@pytest.mark.slow
@pytest.mark.parametrize("model_type", DECODERS)
def test_the_caches_of_many_decoders_of_every_family_are_those_of_transformers(model_type: str) -> None:
    check_drawn(DECODERS[model_type], 30, lambda fields: check_cache(model_type, fields))


@pytest.mark.parametrize("model_type", VISION_LANGUAGE)
def test_the_cache_of_a_vision_language_model_is_that_of_its_language_part(model_type: str) -> None:
    config = VISION_LANGUAGE[model_type] | {"model_type": model_type}
    module = transformers.AutoModelForImageTextToText.from_config(hf_config(config), dtype=torch.bfloat16)
    if model_type == "llama4":
        module = module.language_model  # the forward of the whole asks the part's output for images, in transformers 5.24
    model = model_from_config(config, model_type)
    for prompt in (8, 9, 10, 30):  # windows are of 9
        held = generated(module, {"input_ids": torch.ones(2, prompt, dtype=torch.long)}, new_tokens=2)
        assert held == [said(model, prompt, new) for new in (1, 2)]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(t5_like(), bart_like(), whisper()))
def test_an_encoder_decoder_keeps_keys_and_values_of_what_it_wrote_and_of_what_was_read(config: Config) -> None:
    chosen = class_named(config)
    if "Encoder" in chosen.__name__:
        return
    build = chosen.from_config if chosen.__name__.startswith("Auto") else chosen._from_config
    module = build(hf_config(config), dtype=torch.bfloat16)
    model = model_from_config(config, "drawn")
    for written, read in ((1, 5), (6, 3)):
        first: dict[str, Any] = {"decoder_input_ids": torch.ones(2, written, dtype=torch.long)}
        if config["model_type"] == "whisper":
            length, features = config["max_source_positions"], config["num_mel_bins"]
            first["input_features"] = torch.zeros(2, features, 2 * length, dtype=torch.bfloat16)
        else:
            length = read
            first["input_ids"] = torch.ones(2, read, dtype=torch.long)
        held = generated(module, first, new_tokens=NEW_TOKENS, ids="decoder_input_ids")
        source = model.with_source(length)  # type: ignore[attr-defined]
        assert held == [said(source, written, new + 1) for new in range(NEW_TOKENS)]


def test_no_family_with_a_cache_is_without_a_test() -> None:
    encoder_decoders = {kind for kind, where in FAMILIES.items() if where.split(".")[0] in ("encoder_decoders", "speech")}
    assert encoder_decoders == {"t5", "mt5", "bart", "mbart", "pegasus", "marian", "whisper"}
    tested = DECODERS.keys() | VISION_LANGUAGE.keys() | INSIDE_VISION_LANGUAGE | encoder_decoders
    shipped = [model_from_config(entry.config, entry.id) for entry in map(model_entry, model_ids())]
    caching = {model_entry(model.name).config["model_type"] for model in shipped if model.generates}
    assert caching <= tested
    texts = {"deberta", "encoders", "recent_encoders", "rotary_encoders"}
    others = {"convolutional", "dense", "detection", "dino", "image_text", "images", "mobilenet", "pyramid", "real_time_detection"}
    others |= {"segment", "swin", "waves"}
    assert {kind for kind, where in FAMILIES.items() if where.split(".")[0] not in texts | others} == tested


def changed(model: Decoder, change: Callable[[Attention], Attention]) -> Decoder:
    def along(part: Any) -> Any:
        if isinstance(part, Beside):
            return replace(part, parts=tuple((name, along(inner)) for name, inner in part.parts))
        return change(part) if isinstance(part, Attention) else part

    blocks = tuple(replace(block, parts=tuple((name, along(part)) for name, part in block.parts)) for block in model.blocks)
    return replace(model, blocks=blocks)


def test_a_window_that_is_forgotten_would_be_found() -> None:
    config = SMALL["gemma3_text"][0] | {"model_type": "gemma3_text"}
    model = model_from_config(config, "windowed")
    assert isinstance(model, Decoder)
    for change in ({"window": None}, {"trims_cache": False}):
        assert said(changed(model, lambda part, change=change: replace(part, **change)), 300, 1) == 614_400 != 371_712  # type: ignore[misc]


SHIPPED = {
    "gpt-oss-20b": (8192, 1, 32, 6_542_327_808),  # 12 layers x 2,048 B x 8,192 and 12 x 2,048 B x 127, x 32
    "llama-4-scout": (8192, 2, 1, 1_610_514_432),  # 4,096 B a layer and token, 12 layers of 8,193 and 36 of 8,191
    "deepseek-v3": (32767, 2, 1, 70_272 * 32768),
    "deepseek-v2-lite": (32767, 2, 1, 31_104 * 32768),
    "glm-5": (32767, 2, 1, 2 * 78 * (512 + 64 + 128) * 32768),  # a latent, a rotary key and an indexer's key on 78 layers
    "gemma-4-31b": (8192, 2, 1, 10 * 8_192 * 8193 + 50 * 16_384 * 1023),  # 4 heads of 512 on 10 layers, 16 of 256 behind a window on 50
    # a latent and a key of all heads on 7 layers; 20 states of 32 x 128 x 128 in fp32, and 4 columns of queries, keys and values
    "kimi-linear-48b-a3b": (32767, 2, 1, 7 * 2 * (512 + 64) * 32768 + 20 * (4 * 32 * 128 * 128 + 2 * 4 * 3 * 32 * 128)),
    # 2 heads of 256 on 10 layers; 30 states of 32 x 128 x 128 in fp32, and 4 columns of 2 x 16 x 128 + 32 x 128 channels
    "qwen3.5-35b-a3b": (32767, 2, 1, 10 * 2_048 * 32768 + 30 * (4 * 32 * 128 * 128 + 2 * 4 * 8192)),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_caches_of_published_models_by_hand(name: str) -> None:
    prompt, new, batch, right = SHIPPED[name]
    entry = model_entry(name)
    assert said(model_from_config(entry.config, entry.id), prompt, new, batch) == right


def test_qwen3_next_keeps_keys_on_twelve_layers_and_a_state_on_the_others() -> None:
    """2,048 B a layer and token; 36 states of 32 x 128 x 128 in fp32, and 4 columns of 2 x 16 x 128 + 32 x 128 channels."""
    entry = model_entry("qwen3-next-80b-a3b")
    right = 805_306_368 + 36 * (4 * 32 * 128 * 128 + 2 * 4 * (2 * 16 * 128 + 32 * 128))
    assert said(model_from_config(entry.config, entry.id), 32767, 2, 1) == right


def test_gemma_after_a_prefill_by_hand() -> None:
    """8,192 B a layer and token, 8 layers of 16,384 and 40 of 1,023."""
    config = {"model_type": "gemma3_text", "vocab_size": 262208, "hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48}
    config |= {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "sliding_window": 1024, "sliding_window_pattern": 6}
    assert said(model_from_config(config, "gemma"), 16384, 1, 1) == 1_408_958_464


def test_deepseek_v4s_cache_of_a_million_tokens_is_what_vllm_says() -> None:
    """9.62 GiB a sequence of V4-Pro in bf16: the post on vLLM's support of it, of April 2026, as the press quotes it.

    By hand, in elements: 30 layers x (512 + 128) / 4 and 31 x 512 / 128 a token; beside them 127 tokens of 61 windows; of the
    sparse layers 4 keys, and 4 gates of twice the size, from the last entry (tokens end one here, so that none is begun).
    """
    entry, tokens = model_entry("deepseek-v4-pro"), 1_048_576
    model = model_from_config(entry.config, entry.id)
    entries = 2 * tokens * (30 * 160 + 31 * 4)
    held = said(model, tokens - 1, 2, 1)
    assert f"{entries / 2**30:.2f}" == "9.62"
    assert held == entries + 2 * 127 * 61 * 512 + 30 * 4 * (512 + 128) * (2 + 4)
    served = kv_cache(model, "bf16").sequence_bytes(tokens)
    assert entries < held < served < 1.003 * entries


BEGUN = {"deepseek_v4"}
"""Types whose cache holds of each token of an entry that is not complete more than it holds of the entry."""

WRITERS = [
    name
    for name in model_ids()
    if model_from_config(model_entry(name).config, name).generates and model_entry(name).config["model_type"] not in BEGUN
]


def test_a_complete_entry_takes_less_than_what_it_was_made_of() -> None:
    entry = model_entry("deepseek-v4-flash")
    assert falls(model_from_config(entry.config, entry.id), 127, 1)


def falls(model: Model, written: int, new: int) -> bool:
    """Whether one more token, of the prompt or new, leaves less in the cache; or not the same in either place."""
    before, prompt, further = said(model, written, new), said(model, written + 1, new), said(model, written, new + 1)
    return not before <= prompt == further


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=5, deadline=None, database=None)
@given(
    written=st.one_of(st.integers(1, 40_000), st.sampled_from([127, 128, 511, 512, 1023, 1024, 4095, 4096, 8191, 8192])),
    new=st.integers(1, 3),
)
def test_the_cache_never_falls_as_the_text_grows(name: str, written: int, new: int) -> None:
    entry = model_entry(name)
    model = model_from_config(entry.config, entry.id)
    assert not falls(model, min(written, model.max_positions), new)


@dataclasses.dataclass(frozen=True)
class Forgetful(Model):
    """A model whose cache is what the next query sees: what was held of chunks once."""

    inner: Model

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def source(self) -> Any:
        return self.inner.source

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        return tuple(replace(op, held_cache_bytes=op.cache_bytes) for op in self.inner.ops(workload))


def test_a_cache_that_falls_would_be_found() -> None:
    chunks = model_from_config(SMALL["llama4_text"][0] | {"model_type": "llama4_text"}, "chunks")
    assert falls(Forgetful(chunks), 64, 1)
    assert not falls(chunks, 64, 1)
