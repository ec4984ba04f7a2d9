"""Types whose code comes with the repository that they are published in: their fields under a family's names, and which of them are read.

No class of transformers says what their sizes are, so nothing is taken for one that a configuration does not have, and a field that could
be of a size and is not read is said.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from estimators.architectures.decoder import Decoder
from estimators.architectures.fields import Fields
from estimators.errors import BadConfigError
from estimators.frozen import replace
from estimators.spec import Model, Source, Workload

SAME_SIZE: tuple[tuple[str, ...], ...] = (
    ("hidden_size", "n_embd", "n_embed", "d_model", "model_dim"),
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_transformer_layers"),
    ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", "d_ff", "mlp_hidden_size", "inner_hidden_size"),
    ("vocab_size", "padded_vocab_size"),
    ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
)
"""What configurations call the same size, one size a line."""

EXPERT_KEYS = SAME_SIZE[-1]

BESIDE = {
    "vision_config": "the vision encoder (vision_config)",
    "audio_config": "the audio encoder (audio_config)",
    "visual": "the vision encoder (visual)",
    "audio": "the audio encoder (audio)",
    "img_processor": "the vision encoder (img_processor)",
    "mm_vision_tower": "the vision encoder (mm_vision_tower) and the projection of its features",
    "embd_layer": "what embeds other inputs than text (embd_layer)",
    "audio_processor": "the audio encoder (audio_processor)",
    "vision_lora": "the adapters of images (vision_lora)",
    "speech_lora": "the adapters of speech (speech_lora)",
}
"""Fields that describe a part beside the language part, in words."""

_COMMON = (
    "architectures attn_implementation auto_map bf16 cache_implementation "
    "chunk_size_feed_forward dtype eos_token_id fp16 fp32 generation_config gradient_checkpointing id2label init_device initializer_factor "
    "initializer_range is_decoder is_encoder_decoder label2id max_length model_type name output_attentions output_hidden_states "
    "output_router_logits pad_token_id precision pretraining_tp problem_type quantization_config return_dict task_specific_params "
    "tokenizer_class torch_dtype torchscript transformers_version unk_token_id use_bfloat16 use_cache use_return_dict vocab_file"
)
_INSIDE = (
    "alibi_bias_max attention_softmax_in_fp32 bias_dropout_fusion clip_qkv dim_model_base flash_attention flash_attn "
    "fp32_residual_connection init_cutoff_factor init_fn init_std layer_norm_eps layer_norm_epsilon layernorm_epsilon logits_scaling "
    "masked_softmax_fusion mup_denominator norm_eps norm_epsilon rms_norm_eps scale_attn_weights scale_depth scale_emb scale_logits "
    "skip_bias_add skip_bias_add_qkv slow_but_exact use_flash_attn apply_query_key_layer_scaling mscale multiplier onnx_safe "
    "memory_efficient_attention logn use_logn_attn use_dynamic_ntk z_loss_weight hidden_dropout attention_dropout resid_pdrop embd_pdrop "
    "attn_pdrop classifier_dropout tokenizer_name verbose"
)
_POSITIONS = (
    "dynamic_ntk max_sequence_length max_tokenizer_truncation model_max_length original_max_position_embeddings original_rope "
    "partial_rotary_factor rope rope_freq_constant rope_full_precision rope_max_length rope_parameters rope_pct rope_ratio rope_scaling "
    "rope_theta rotary rotary_dim rotary_emb_base rotary_emb_fraction rotary_pct rotary_scaling_factor seq_length training_seqlen "
    "max_seq_len base_seqlen interpolate_factor max_position_embeddings mrope_section rope_base"
)
_ROUTING = (
    "aux_loss_alpha ep_size expert_capacity moe_router_enable_expert_bias norm_topk_prob routed_scaling_factor router_aux_loss_coef "
    "router_dtype router_jitter_noise score_function scoring_func seq_aux topk_method enable_expert_tensor_parallelism router_bias"
)
WITHOUT_SIZE = frozenset(f"{_COMMON} {_INSIDE} {_POSITIONS} {_ROUTING}".split())
"""Fields that change no parameter and no product: tokens, drop-outs, constants of norms, angles of positions, losses of routers."""

ENDS = ("_token", "_token_id", "_token_index", "_loss", "_prob", "_drop")
"""What the name of a field ends with that is of those, too."""

HEADED = (
    *("AquilaModel", "ChatGLMModel", "DreamModel", "LLaDA2MoeModelLM", "LLaDAModelLM", "MiniCPMO", "MiniCPMV"),
    *("Grok1ModelForCausalLM", "OpenELMForCausalLM", "QWenLMHeadModel"),
)
"""Classes of such code that have the head of a language model, whatever their names end with."""


class Noted(Mapping[str, Any]):
    """A configuration that knows which of its fields were looked up.

    Attributes:
        read: their names.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return self.config[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.config)

    def __len__(self) -> int:
        return len(self.config)


class Renamed(Mapping[str, Any]):
    """A configuration under the names of another family's."""

    def __init__(self, config: Mapping[str, Any], names: Mapping[str, str], fixed: Mapping[str, Any], missing: Mapping[str, Any]) -> None:
        self._config, self._names, self._fixed, self._missing = config, names, fixed, missing

    def __getitem__(self, key: str) -> Any:
        if key in self._fixed:
            return self._fixed[key]
        theirs = self._names.get(key, key)
        if self._config.get(theirs) is None and key in self._missing:
            return self._missing[key]
        return self._config[theirs]

    def __iter__(self) -> Iterator[str]:
        ours = {theirs: key for key, theirs in self._names.items()}
        return iter({**dict.fromkeys(ours.get(key, key) for key in self._config), **self._missing, **self._fixed})

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _RenamedFields(Fields):
    """Fields whose complaints name a field as the configuration has it."""

    names: Mapping[str, str]

    def fail(self, key: str, value: object, expected: str) -> BadConfigError:
        return super().fail(self.names.get(key, key), value, expected)


def renamed(
    f: Fields, names: Mapping[str, str], *, fixed: Mapping[str, Any] | None = None, missing: Mapping[str, Any] | None = None
) -> Fields:
    """The fields under the names of a family.

    Args:
        names: the family's name of a field -> that of this configuration.
        fixed: fields of the family that are always so.
        missing: what stands in for fields that this configuration does not have.
    """
    other = _RenamedFields(Renamed(f.config, names, fixed or {}, missing or {}), f.name)
    other.taken, other._prefix, other.names = f.taken, f._prefix, names
    return other


def only(f: Fields, values: Mapping[str, Any]) -> None:
    """Demand of fields that they are so, or not there. Raises BadConfigError."""
    for key, value in values.items():
        given = f.config.get(key)
        if given is not None and given != value:
            raise f.fail(key, given, f"{str(value).lower()}: nothing else is known of this type, whose code comes with its repository")


def without_size(f: Fields, *keys: str) -> None:
    """Note of fields that they are known to change no size of what is counted."""
    for key in keys:
        f.config.get(key)


Built = TypeVar("Built", bound=Model)


def by_hand(build: Callable[[Fields, str, Source], Built]) -> Callable[[Fields, str, Source], Built]:
    """A builder of such a type, that demands the sizes and says what it did not read.

    Raises:
        BadConfigError: a size that the configuration does not have, experts that the type has none of, or fields that are not read of
            a model that could not say so.
    """

    @functools.wraps(build)
    def built(f: Fields, name: str, source: Source) -> Built:
        noted, before = Noted(f.config), set(f.taken)
        try:
            model = build(f.over(noted), name, source)
        except BadConfigError:
            _demand_sizes(f, before)  # what was taken in place of a size may be what made no sense
            raise
        _demand_sizes(f, before)
        demand_experts(f, model)
        unread = unread_fields(f.config, noted.read)
        if not unread:
            return model
        if not isinstance(model, Decoder):
            raise BadConfigError(f"{f.name}: {unread}; leave out what changes no size")
        return replace(model, left_out="; ".join(said for said in (model.left_out, unread) if said))

    return built


def _demand_sizes(f: Fields, before: set[str]) -> None:
    for key in (key.removeprefix(f.prefix) for key in f.taken if key not in before):
        if group := next((group for group in SAME_SIZE if key in group), ()):
            said = f"{f.name}: {' or '.join(group[:4])} is missing; expected a whole number from 1"
            raise BadConfigError(f"{said}: the code of {f.config.get('model_type')!r}, which says its default, comes with its repository")


def demand_read(f: Fields) -> None:
    """Refuse a size that the configuration has under a name that the family does not read, and that a default stands in for.

    Raises:
        BadConfigError: there is one.
    """
    for group in SAME_SIZE:
        for key in group:
            other = next((other for other in group if type(f.config.get(other)) is int), "") if key in f.taken else ""
            if other:
                raise unread_size(f.name, key, other, f.config)


def unread_size(name: str, key: str, other: str, config: Mapping[str, Any]) -> BadConfigError:
    """The error to raise for a size that stands under another name."""
    given, model_type = config[other], str(config.get("model_type"))[:40]
    return BadConfigError(
        f"{name}: {key} is missing, and {other} is {given!r}, which {model_type!r} does not read; expected it as {key}: by this name it "
        "would not be counted"
    )


def demand_experts(f: Fields, model: Model) -> None:
    """Refuse experts that a model has none of. Raises BadConfigError."""
    for key in EXPERT_KEYS:
        value = f.config.get(key)
        if value not in (None, 0, 1) and not any(op.component == "experts" for op in model.ops(Workload())):
            raise f.fail(key, value, f"1, or none: the op table of {f.config.get('model_type')!r} has no experts")


def unread_fields(config: Mapping[str, Any], read: Iterable[str]) -> str:
    """In words, the fields that were not read and that could be of a size; empty for none."""
    unread = [key for key, value in config.items() if value not in (None, False, 0, "", [], {}) and not _without_size(key)]
    unused = ("sliding_window", "max_window_layers") if config.get("use_sliding_window") is False else ()
    unread = [key for key in unread if key not in {*read, *unused}]
    parts = [words for key, words in BESIDE.items() if key in unread]
    others = sorted(key for key in unread if key not in BESIDE and not (key.startswith("mm_") and "mm_vision_tower" in unread))
    said = [f"{', '.join(parts)}: only the language part is counted"] if parts else []
    if others:
        shown = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
        said.append(f"what these fields may change, which are not read, as the code that comes with the repository is not: {shown}")
    return "; ".join(said)


def _without_size(key: str) -> bool:
    return key in WITHOUT_SIZE or key.endswith(ENDS) or "dropout" in key or key.startswith(("_", "initializer", "tokenizer"))
