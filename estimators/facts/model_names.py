"""Which model a person means by a name such as `unsloth/Llama-3.2-1B-Instruct-bnb-4bit`: the shape, and what its weights are held as.

A name of the registry is taken as it is. Of any other the owner goes, and then words that change no shape: how a model was tuned, how
its weights are stored, the month of a release. A word that is left and is no registry's name means another model: `-Vision`,
`-distill`, `-v0.3`. What is left may be the name of a family, such as `llama3`: then data/usual_models.csv says which of its models
most people mean by it, and the answer says that it was taken.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from estimators.errors import MAX_NEAR_MISSES, UnknownNameError
from estimators.facts import data
from estimators.facts.hub_config import hub_name, is_repository
from estimators.facts.model_words import CONTEXT, MAKERS, SIZE, TUNED, WORDS_OF_SIZE, compact, shorter, words
from estimators.facts.named_formats import stored_as
from estimators.facts.registry import ModelEntry, model_aliases, model_entry, model_ids
from estimators.frozen import field, frozen, replace

MODEL_LIST = "python -m bench list models --match TEXT"
USUAL_COLUMNS = ("names", "ids", "source")
UNPUBLISHED_COLUMNS = ("names", "maker")
SIZE_TOLERANCE = 0.05
"""By how much names round a number of parameters: Phi-4 is called a 14B and has 14.66 billion."""


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
    >>> model_named("llama3").said
    "taking 'llama3' as llama-3-8b, the usual one; others: llama-3-70b"
    """
    name = hub_name(text)
    key = re.sub(r"/(?=\d+$)", "-", name.casefold())  # as in ViT-B/16
    model_id = key if key in model_ids() else model_aliases().get(key)
    if model_id is not None:
        return NamedModel(model_id=model_id, said=_of_alias(name, key, model_id))
    owner_and_name = key.split("/")
    if len(owner_and_name) > 2 or not all(owner_and_name) or len(key) > 200:
        raise unknown_model(text)
    said = words(owner_and_name[-1])
    tried = list(shorter(said)) if said else []
    for kept in tried:
        model_id = _known().get("".join(kept))
        if model_id is not None and not _of_another_size(model_id, kept, said):
            return _taken(f"{name}, the shape of {model_id}", model_id, kept, said)
    for kept in tried:
        members = usual_models().get("".join(kept))
        if members and not any(SIZE.fullmatch(word) for word in said if word not in kept):
            return _usual(name, members, kept, said)
    for kept in tried:
        if (model_id := _of_size(kept)) is not None:
            return _taken(f"taking {name!r} as {model_id}, of {model_entry(model_id).published_params:,} parameters", model_id, kept, said)
    raise unknown_model(text)


def _of_size(kept: Sequence[str]) -> str | None:
    """The one model of a name or a family that has the number of parameters that stands beside it, as in ``qwen3 235b``; else None."""
    sizes = [word for word in kept if re.fullmatch(r"\d+(?:\.\d+)?[bm]", word)]
    if len(sizes) != 1:
        return None
    key = "".join(word for word in kept if word not in sizes)
    members = usual_models().get(key, (_known()[key],) if key in _known() else ())
    asked = float(sizes[0][:-1]) * (1e9 if sizes[0][-1] == "b" else 1e6)
    entries = {model_entry(member).id: model_entry(member).published_params for member in members}
    alike = [model_id for model_id, params in entries.items() if abs(params / asked - 1) <= SIZE_TOLERANCE]
    return alike[0] if len(alike) == 1 else None


def unknown_model(text: str) -> UnknownNameError:
    """What to say of a name that means no model, and how to go on."""
    name = hub_name(text)
    said = words(name.rpartition("/")[2].casefold())
    known = (*model_ids(), *model_aliases())
    if maker := _unpublished_by(name.rpartition("/")[0].casefold(), said):
        instead = f"{maker} has published no shape of it: a size such as 70b stands for a dense model of so many parameters"
        return UnknownNameError("model", text, known, MODEL_LIST, near=(), instead=instead)
    repository = name if is_repository(name) and len(name) < 100 else "OWNER/NAME"
    instead = f"another's: --fetch with --model OWNER/NAME, or `hf download {repository} config.json` and --config FILE"
    return UnknownNameError("model", text, known, MODEL_LIST, near=_near(said) or None, instead=instead)


def _near(said: Sequence[str]) -> tuple[str, ...]:
    """Models whose names, or whose families', stand whole in a name that means none; else those whose names begin as it does."""
    for length in range(len(said), 0, -1):
        inside = ["".join(said[place : place + length]) for place in range(len(said) - length + 1)]
        found = [model for key in inside for model in ((_known()[key],) if key in _known() else usual_models().get(key, ()))]
        if found:
            return tuple(dict.fromkeys(found))[:MAX_NEAR_MISSES]
    begun = {model_id: sum(1 for _ in takewhile(_is_same, zip(said, words(model_id), strict=False))) for model_id in model_ids()}
    most = max(begun.values())
    return tuple(model_id for model_id, num_same in begun.items() if num_same == most)[:MAX_NEAR_MISSES] if most else ()


def _is_same(pair: tuple[str, str]) -> bool:
    return pair[0] == pair[1]


def _unpublished_by(owner: str, said: Sequence[str]) -> str:
    """Who makes a model of that name and has published no shape of it; empty for any other."""
    rows = data.read_rows(data.file("unpublished.csv"), UNPUBLISHED_COLUMNS)
    makers = {tuple(words(name)): row.text("maker") for row in rows for name in row.texts("names")}
    its = [maker for name, maker in makers.items() if tuple(said[: len(name)]) == name and owner in ("", maker.casefold())]
    return its[0] if its and not any(SIZE.fullmatch(word) for word in said) else ""


def _of_another_size(model_id: str, kept: list[str], said: list[str]) -> bool:
    """Whether `base` was dropped as a word of tuning and is one of size: of a family whose short name means its large model."""
    return "base" in said and "base" not in kept and any(word in WORDS_OF_SIZE and word not in said for word in words(model_id))


@functools.cache
def _known() -> dict[str, str]:
    """Names of the registry without owner and punctuation, and without words of tuning; one that two models share means neither."""
    known: dict[str, str] = {}
    shared: set[str] = set()
    for name, model_id in (*((model_id, model_id) for model_id in model_ids()), *model_aliases().items()):
        key = compact(name.rpartition("/")[2])
        if known.setdefault(key, model_id) != model_id:
            shared.add(key)
    plain: dict[str, set[str]] = {}
    for alias, model_id in model_aliases().items():
        said = words(alias.rpartition("/")[2])
        plain.setdefault("".join(word for word in said if word == "base" or word not in TUNED), set()).add(model_id)
    known = {key: next(iter(meant)) for key, meant in plain.items() if len(meant) == 1} | known
    return {key: model_id for key, model_id in known.items() if key not in shared or key in map(compact, model_ids())}


@functools.cache
def usual_models() -> dict[str, tuple[str, ...]]:
    """Name of a family, without punctuation, to names of its models, the one first that most people mean."""
    rows = data.read_rows(data.file("usual_models.csv"), USUAL_COLUMNS)
    return {compact(name): row.texts("ids") for row in rows for name in row.texts("names")}


def _usual(name: str, members: Sequence[str], kept: list[str], said: list[str]) -> NamedModel:
    """The usual model of a family, and which others there are."""
    usual, *others = members
    model_id = model_entry(usual).id
    shape = "" if usual == model_id else f" (the shape of {model_id})"
    more = f"; others: {', '.join(others)}" if others else ""
    named = _taken(f"taking {name!r} as {usual}{shape}, the usual one", model_id, kept, said)
    return replace(named, said=f"{named.said}{more}")


def _taken(line: str, model_id: str, kept: list[str], said: list[str]) -> NamedModel:
    """A model by what is kept of the words of its name; the others say how its weights are stored and how long its sequences may be."""
    changes, stored = stored_as(said)
    config = model_entry(model_id).config
    length = next((found for word in said if word not in kept and (found := CONTEXT.fullmatch(word))), None)
    if length and "max_position_embeddings" in config:
        changes["max_position_embeddings"] = int(length[1]) * (2**10 if length[2] == "k" else 2**20)
    return NamedModel(model_id=model_id, changes=changes, said=f"{line}{stored}")


def _of_alias(text: str, key: str, model_id: str) -> str:
    """What is said of a name of the registry: nothing where it spells the model's own, or begins it."""
    if key == model_id:
        return ""
    entry = model_entry(key)
    if entry.alias_note:
        return entry.alias_note
    base = compact(key.rpartition("/")[2])
    own = [compact(name.casefold()) for name in (model_id, entry.name, (entry.checkpoint or "").rpartition("/")[2])]
    bare = compact("-".join(word for word in words(key.rpartition("/")[2]) if word not in TUNED | MAKERS))
    if any(spelt.startswith((base, bare)) for spelt in own if spelt):
        return ""
    return f"{text}, the shape of {model_id}"
