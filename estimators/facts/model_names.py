"""Which model a person means by a name such as `unsloth/Llama-3.2-1B-Instruct-bnb-4bit`: the shape, and what its weights are held as.

A name of the registry is taken as it is. Of any other the owner goes, and then words that change no shape: how a model was tuned, how
its weights are stored, the month of a release. A word that is left and is no registry's name means another model: `-Vision`,
`-distill`, `-v0.3`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from estimators.errors import UnknownNameError
from estimators.facts.registry import ModelEntry, model_aliases, model_entry, model_ids
from estimators.frozen import field, frozen, replace

MODEL_LIST = "python -m bench list models --match TEXT"
TUNED = frozenset(
    [
        "instruct",
        "it",
        "chat",
        "hf",
        "base",
        "pt",
        "sft",
        "dpo",
        "rlhf",
        "orpo",
        "ppo",
        "tuned",
        "finetuned",
        "ft",
        "aligned",
        "thinking",
        "reasoning",
        "preview",
        "uncensored",
        "abliterated",
        "original",
        "transformers",
        "lora",
        "merged",
        "pretrained",
    ]
)
"""Words of tuning, which change weights and no shape."""

WORDS_OF_SIZE = frozenset(["tiny", "mini", "small", "medium", "large", "xl", "xxl", "huge", "giant"])
MAKERS = frozenset(["meta", "mistralai", "ibm", "c4ai", "facebook", "openai", "microsoft"])
"""Words that some put before a name, as in ``Meta-Llama-3-8B``."""

STORED = frozenset(
    [
        "gguf",
        "ggml",
        "exl2",
        "exl3",
        "mlx",
        "onnx",
        "marlin",
        "openvino",
        "qat",
        "imatrix",
        "dynamic",
        "unsloth",
        "quantized",
        "g128",
        "128g",
    ]
)
"""Words of files whose formats are not counted."""

SIZE = re.compile(r"(?:a?\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?)?[bm]|\d+x\d+b)")
"""A number of parameters, which pins a shape, so that the month of a release beside it tells none apart."""

MONTH = re.compile(r"\d{4}|20\d{6}|20\d\d|v?\d{2}\.\d{2}")
CONTEXT = re.compile(r"(\d{1,4})([km])")
CHECKED = frozenset(["gptq", "awq", "bnb", "bitsandbytes", "fp8", "nf4", "4bit", "8bit"])
QUANTISED = re.compile(r"\d+bits?|w\d+a\d+|i?q\d.*|int\d|bf16|fp16|f16")
BEHIND_QUANTISED = frozenset(["k", "m", "s", "l", "xs", "xxs", "nl", "0", "1"])
"""What ends the name of a format such as ``Q4_K_M`` or ``Q8_0``."""


@frozen
class NamedModel:
    """What a name was taken for.

    Attributes:
        model_id: of the model that has the shape.
        changes: fields of its configuration that the name says otherwise: the format of the weights, the longest sequence.
        said: one line on what was taken; empty where the name says as much.
    """

    model_id: str
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    said: str = ""


def entry_named(text: str) -> ModelEntry:
    """The facts of the model that a person means, with what the name says of its weights; `alias_note` says what was taken.

    Raises:
        UnknownNameError: no model is called so; the message says how to go on.

    >>> entry_named("TheBloke/Llama-2-7B-Chat-GPTQ").id
    'llama-2-7b'
    """
    named = model_named(text)
    entry = model_entry(named.model_id)
    return replace(entry, config={**entry.config, **named.changes}, alias_note=named.said)


def is_registered(text: str) -> bool:
    """Whether a name is one of the registry's, id or alias."""
    return text.casefold() in model_ids() or text.casefold() in model_aliases()


def model_named(text: str) -> NamedModel:
    """The model that a person means. Raises UnknownNameError.

    >>> model_named("deepseek-ai/DeepSeek-R1").said
    'deepseek-ai/DeepSeek-R1, the shape of deepseek-v3'
    >>> model_named("NousResearch/Meta-Llama-3-8B-Instruct").model_id
    'llama-3-8b'
    """
    key = text.strip().casefold()
    model_id = key if key in model_ids() else model_aliases().get(key)
    if model_id is not None:
        return NamedModel(model_id=model_id, said=_of_alias(text, key, model_id))
    owner_and_name = key.split("/")
    if len(owner_and_name) > 2 or not all(owner_and_name) or len(key) > 200:
        raise unknown_model(text)
    parts = _parts(owner_and_name[-1])
    for kept in _without(parts) if parts else ():
        model_id = _known().get("".join(kept))
        if model_id is not None and not _of_another_size(model_id, kept, parts):
            return _taken(text, model_id, kept, parts)
    raise unknown_model(text)


def unknown_model(text: str) -> UnknownNameError:
    """What to say of a name that means no model, and how to go on."""
    base = text.rpartition("/")[2]
    near = None
    if (known := [model_id for model_id in model_ids() if _parts(model_id)[:2] == _parts(base.casefold())[:2]]) and base:
        near = tuple(known[:4])
    repository = text if re.fullmatch(r"[\w.-]+/[\w.-]+", text) and len(text) < 100 else "OWNER/NAME"
    instead = f"another's: --fetch with --model OWNER/NAME, or `hf download {repository} config.json` and --config FILE"
    return UnknownNameError("model", text, (*model_ids(), *model_aliases()), MODEL_LIST, near=near, instead=instead)


def _of_another_size(model_id: str, kept: list[str], parts: list[str]) -> bool:
    """Whether `base` was dropped as a word of tuning and is one of size: of a family whose short name means its large model."""
    return "base" in parts and "base" not in kept and any(word in WORDS_OF_SIZE and word not in parts for word in _parts(model_id))


def _parts(name: str) -> list[str]:
    """The words of a name: what stands between `-`, `_`, `:` and blanks, and before the format in a file's name."""
    return [part for part in re.split(r"[-_:\s]+|\.(?=i?q\d|gguf)", name) if part]


@functools.cache
def _known() -> dict[str, str]:
    """Names of the registry without owner and punctuation; one that two models share means neither."""
    known: dict[str, str] = {}
    shared: set[str] = set()
    for name, model_id in (*((model_id, model_id) for model_id in model_ids()), *model_aliases().items()):
        key = _compact(name.rpartition("/")[2])
        if known.setdefault(key, model_id) != model_id:
            shared.add(key)
    return {key: model_id for key, model_id in known.items() if key not in shared or key in map(_compact, model_ids())}


def _compact(name: str) -> str:
    return "".join(_parts(name))


def _without(parts: list[str]) -> Iterator[list[str]]:
    """The words as they are, then with less and less of what changes no shape."""
    yield parts
    if parts[0] in MAKERS:
        parts = parts[1:]
        yield parts
    for tuned in (TUNED - {"base"}, TUNED):
        yield from _undated(_plain_storage([part for part in parts if part not in tuned]))


def _undated(stored: list[str]) -> Iterator[list[str]]:
    """The words as they are, then without the month of a release and the length of sequences."""
    yield stored
    if any(SIZE.fullmatch(part) for part in stored):
        undated = [part for part in stored if not MONTH.fullmatch(part)]
        yield undated
        yield [part for part in undated if not CONTEXT.fullmatch(part)]
    yield [part for part in stored if not CONTEXT.fullmatch(part)]


def _plain_storage(parts: list[str]) -> list[str]:
    """The words without those of a format, which stand at the end."""
    kept = list(parts)
    for place in range(1, len(parts)):
        if re.fullmatch(r"i?q\d", parts[place]) and all(part in BEHIND_QUANTISED or part in STORED for part in parts[place + 1 :]):
            kept = parts[:place]
            break
    while kept and (kept[-1] in STORED or kept[-1] in CHECKED or QUANTISED.fullmatch(kept[-1])):
        kept.pop()
    return kept


def _taken(text: str, model_id: str, kept: list[str], parts: list[str]) -> NamedModel:
    changes, stored = _format(parts)
    config = model_entry(model_id).config
    length = next((found for part in parts if part not in kept and (found := CONTEXT.fullmatch(part))), None)
    if length and "max_position_embeddings" in config:
        changes["max_position_embeddings"] = int(length[1]) * (2**10 if length[2] == "k" else 2**20)
    said = f"{text.strip()}, the shape of {model_id}{stored}"
    return NamedModel(model_id=model_id, changes=changes, said=said)


def _format(parts: list[str]) -> tuple[dict[str, Any], str]:
    """What the words of a name say of the weights, as a configuration has it, and in words."""
    words = set(parts)
    bits = next((int(found[1] or found[2]) for part in parts if (found := re.fullmatch(r"int([2-8])|([2-8])bits?", part))), 4)
    if "gptq" in words or "awq" in words:
        method = "gptq" if "gptq" in words else "awq"
        given: dict[str, Any] = {"quant_method": method, "bits": bits, "group_size": 128}
        said = f"weights as its {method.upper()} files usually hold them: {bits} bits in groups of 128"
    elif words & {"bnb", "bitsandbytes", "nf4"} and bits == 4:
        given = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
        said = "weights in nf4 with scales quantised in turn"
    elif words & {"bnb", "bitsandbytes"} and bits == 8:
        given, said = {"quant_method": "bitsandbytes", "load_in_8bit": True}, "weights in int8 with a scale per output"
    elif "fp8" in words:
        given, said = {"quant_method": "fp8"}, "weights in fp8 with a scale per matrix"
    elif words & STORED or any(re.fullmatch(r"i?q\d.*|w\d+a\d+|int\d|\d+bit", part) for part in parts):
        return {}, "; how its files hold the weights is not counted: they are as computed with"
    else:
        return {}, ""
    return {"quantization_config": given}, f", {said}"


def _of_alias(text: str, key: str, model_id: str) -> str:
    """What is said of a name of the registry: nothing where it spells the model's own, or begins it."""
    if key == model_id:
        return ""
    entry = model_entry(key)
    if entry.alias_note:
        return entry.alias_note
    base = _compact(key.rpartition("/")[2])
    own = [_compact(name.casefold()) for name in (model_id, entry.name, (entry.checkpoint or "").rpartition("/")[2])]
    bare = _compact("-".join(part for part in _parts(key.rpartition("/")[2]) if part not in TUNED | MAKERS))
    if any(spelt.startswith((base, bare)) for spelt in own if spelt):
        return ""
    return f"{text.strip()}, the shape of {model_id}"
