"""Which matrices of its layers a quantised checkpoint leaves alone: names and patterns of modules, by component and layer."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from estimators.frozen import frozen
from estimators.spec import Op

KEYS = ("ignore", "ignored_layers", "exclude", "exclude_modules", "modules_to_not_convert", "llm_int8_skip_modules", "skip_modules")
"""Fields of a quantization_config that name them."""

SHARED = "shared"
"""Experts that serve every token, which some files leave alone where they quantise the others; rows of the component mlp."""

PATHS: Mapping[str, tuple[str, ...]] = {
    "attention": ("self_attn", "attention", "attn", "mixer"),
    "state_space": ("linear_attn", "mamba", "mixer", "conv"),
    "mlp": ("mlp", "feed_forward", "mixer"),
    SHARED: (
        "mlp.shared_experts",
        "mlp.shared_expert",
        "block_sparse_moe.shared_expert",
        "feed_forward.shared_expert",
        "mixer.shared_experts",
    ),
    "experts": ("mlp.experts.0", "block_sparse_moe.experts.0", "feed_forward.experts.0", "mixer.experts.0"),
}
"""Component -> what modules of it are called inside a layer."""

LEAVES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "attention": (
        ("q_proj", "q_a_proj", "q_b_proj", "qkv_proj"),
        ("k_proj", "kv_a_proj_with_mqa", "qkv_proj"),
        ("v_proj", "kv_b_proj", "qkv_proj"),
        ("o_proj", "out_proj"),
    ),
    "state_space": (("in_proj", "in_proj_qkvz", "in_proj_qkv"), ("out_proj",)),
    "mlp": (("gate_proj", "gate_up_proj", "w1"), ("up_proj", "gate_up_proj", "w3"), ("down_proj", "w2")),
}
"""Component -> its matrices, each with the names that it has; experts' are as a feed-forward's."""

STEMS = ("model.layers.", "model.language_model.layers.", "language_model.model.layers.", "backbone.layers.", "layers.")
"""What stands before the number of a layer, for patterns."""

NEVER = re.compile(r"lm_head|embed|norm|router|rotary|conv1d|correction_bias|gate(?!\w*_proj|\w*\|)(?:\b|_)")
"""What no format quantises."""

ELSEWHERE = re.compile(r"vis(?:ion|ual)|image|audio|speech|tower|projector|mm_|mtp|merger|aligner")
"""Parts beside the language model's layers, which it does not hold."""


@frozen
class LeftAlone:
    """What stays as it is computed with, of a decoder's layers.

    Attributes:
        shares: component (attention, state_space, mlp, shared, experts) -> the share of its matrices.
        unread: names that are of none of them.
    """

    shares: tuple[tuple[str, float], ...] = ()
    unread: int = 0

    def share_of(self, op: Op) -> float:
        """Of a row's matrices."""
        return dict(self.shares).get(component_of(op), 0.0)

    @property
    def said(self) -> str:
        """In words that go on a sentence; empty for nothing."""
        whole = [WORDS[name] for name, share in self.shares if share == 1]
        some = [f"{share:.0%} of {WORDS[name]}" for name, share in self.shares if share < 1]
        return f"; left alone: {', '.join([*whole, *some])}" if self.shares else ""


WORDS = {
    "attention": "attention",
    "state_space": "state-space mixers",
    "mlp": "dense feed-forwards",
    SHARED: "shared experts",
    "experts": "experts",
}


def component_of(op: Op) -> str:
    """Of a row, shared experts by themselves."""
    return SHARED if op.component == "mlp" and "shared" in op.part else op.component


def left_alone(given: Mapping[str, Any], layers: Sequence[frozenset[str]]) -> LeftAlone:
    """What a quantization_config leaves alone.

    A name is that of a module or of all below it; with ``re:`` before it, or a ``*`` in it, a pattern of names.

    Args:
        layers: of each layer, the components that it has.

    >>> left_alone({"ignore": ["lm_head", "re:.*self_attn.*", "model.layers.0.mlp"]}, [frozenset(("attention", "mlp"))] * 4).said
    '; left alone: attention, 25% of dense feed-forwards'
    """
    names = dict.fromkeys(str(name) for key in KEYS for name in given.get(key) or ())
    left: dict[str, set[tuple[int, int]]] = {}
    unread = 0
    for name in names:
        if NEVER.search(name) or ELSEWHERE.search(name):
            continue
        numbered = None if name.startswith("re:") else NUMBERED.search(name)
        layer = int(numbered[1]) if numbered else None
        if layer is not None and layer >= len(layers):  # of those that predict further tokens
            continue
        asked = name if numbered is None else (numbered[2] or "").rstrip("*.")
        of = {} if layer is None else {layer: layers[layer]}
        found = list(_places(asked, of or dict(enumerate(layers))))
        unread += not found
        for component, place in found:
            left.setdefault(component, set()).add(place)
    sizes = {part: sum(part in has for has in layers) * len(_leaves(part)) for part in left}
    return LeftAlone(shares=tuple((part, len(left[part]) / sizes[part]) for part in PATHS if part in left), unread=unread)


NUMBERED = re.compile(r"(?:layers|h|blocks)\.(\d{1,6})(?:\.(.*)|\*?)$")
"""The layer that a name is of, and what stands behind it."""

MOST_REPEATS = 5
"""In a pattern that is read: one with more, or with one inside another, may take forever."""


def _leaves(component: str) -> tuple[tuple[str, ...], ...]:
    return LEAVES.get(component, LEAVES["mlp"])


def _places(name: str, layers: Mapping[int, frozenset[str]]) -> Iterator[tuple[str, tuple[int, int]]]:
    """The matrices that a name is of: component, and (layer, place among its matrices)."""
    pattern = _pattern(name) if name.startswith("re:") or "*" in name else None
    alike = pattern is None or not re.search(r"\d", name)
    known: dict[frozenset[str], tuple[tuple[str, int], ...]] = {}
    for layer, has in layers.items():
        if not alike or has not in known:
            known[has] = tuple(_matched(pattern, layer, has) if pattern else _inside(name, has))
        yield from ((part, (layer, leaf)) for part, leaf in known[has])


def _pattern(name: str) -> re.Pattern[str]:
    """A pattern of modules' names; one that matches nothing for one that cannot be read."""
    text = name.removeprefix("re:") if name.startswith("re:") else re.escape(name).replace(r"\*", ".*")
    if len(re.findall(r"[*+{]", text)) > MOST_REPEATS or re.search(r"[*+}]\)*[*+{]|[*+}][^()]*\)[*+{]", text):
        return NOTHING
    try:
        return re.compile(text)
    except re.error:
        return NOTHING


NOTHING = re.compile(r"(?!)")


@functools.lru_cache(maxsize=256)
def _inside(path: str, has: frozenset[str]) -> tuple[tuple[str, int], ...]:
    """Components of a layer, and which of their matrices, that a path below the layer is of; an empty path is of all."""
    return tuple(
        (part, leaf)
        for part in has & PATHS.keys()
        for leaf, called in enumerate(_leaves(part))
        if not path or any(f".{path}." in f".{where}.{word}." for where in PATHS[part] for word in called)
    )


def _matched(pattern: re.Pattern[str], layer: int, has: frozenset[str]) -> Iterator[tuple[str, int]]:
    for part in has & PATHS.keys():
        names = [f"{stem}{layer}.{where}" for stem in STEMS for where in PATHS[part]]
        for leaf, called in enumerate(_leaves(part)):
            if any(pattern.match(f"{name}.{word}") for name in names for word in called):
                yield part, leaf
