"""What the builders of encoders, encoder-decoders and vision models have in common: which class runs, layers, heads."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Literal

from estimators.architectures.attention import Attention
from estimators.architectures.block import LAYER_NORM, Block, Norm
from estimators.architectures.encoder import Projection
from estimators.architectures.feed_forward import FeedForward
from estimators.architectures.part import Part
from estimators.architectures.pooling import AttentionPool
from estimators.errors import NoOpTableError

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

Heads = tuple[Projection, ...]
HeadTable = dict[str, Callable[[], Heads]]
"""Class of transformers -> what makes its heads."""

MAX_LABELS = 10**6
MAX_RATIO = 10**4
MAX_STAGES = 30
"""As many halvings as the widest image that a configuration may have."""
IMAGE_SIDE = 224
"""Pixels along a side of an image where the configuration does not say: what all of these families were trained on first."""


def class_named(f: Fields, known: Collection[str], default: str) -> str:
    """The class of transformers that a checkpoint's `architectures` names; `default` where it names none.

    Raises:
        BadConfigError: no list of names.
        NoOpTableError: a class that is not in `known`.
    """
    named = f.config.get("architectures")
    if named is None or named == []:
        return default
    error = f.fail("architectures", named, f"a list that begins with one of {', '.join(known)}")
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise error
    if named[0] not in known:
        raise NoOpTableError(str(error))
    return str(named[0])


def heads_named(f: Fields, known: HeadTable, default: str) -> tuple[str, Heads]:
    """The class that runs, and its heads; only those are built."""
    runs = class_named(f, known, default)
    return runs, known[runs]()


def labels(f: Fields, default: int = 2) -> int:
    """Classes that a classifier tells apart.

    Raises:
        BadConfigError: `num_labels` and `id2label` disagree, or make no sense.
    """
    table = f.config.get("id2label")
    count = f.optional_integer("num_labels")
    if table is None:
        return default if count is None else count
    if not isinstance(table, dict) or not 1 <= len(table) <= MAX_LABELS:
        raise f.fail("id2label", table, f"an object of 1 to {MAX_LABELS:,} labels")
    if count is not None and count != len(table):
        raise f.fail("num_labels", count, f"the {len(table)} labels of id2label")
    return len(table)


def default_class(f: Fields, base: str) -> str:
    """The class of an image model where `architectures` names none: a classifier if labels are spoken of, else the plain one."""
    labelled = f.config.get("num_labels") is not None or f.config.get("id2label") is not None
    return f"{base}ForImageClassification" if labelled else f"{base}Model"


def head_width(f: Fields, heads_key: str, heads: int, width_key: str, width: int) -> int:
    """H = D / N. Raises BadConfigError where it is not a whole number."""
    f.divides(heads_key, heads, width_key, width)
    return width // heads


def attention(
    heads: int,
    head_width: int,
    *,
    bias: bool = True,
    key_bias: bool = True,
    out_bias: bool = True,
    causal: bool = False,
    cross: bool = False,
    by_head: bool = False,
    scores: Literal["biased", "fused", "handed_out"] = "fused",
) -> Attention:
    """Attention without rotary positions, as many key heads as heads; it sees both sides unless `causal`."""
    return Attention(
        heads=heads,
        kv_heads=heads,
        head_width=head_width,
        query_bias=bias,
        key_bias=bias and key_bias,
        value_bias=bias,
        out_bias=out_bias,
        rotary=False,
        causal=causal,
        cross=cross,
        by_head=by_head,
        scores=scores,
    )


def attention_pool(heads: tuple[int, int], feed_forward: FeedForward, *, used: bool) -> AttentionPool:
    """SigLIP's: one query attends to all tokens by torch's MultiheadAttention, which hands out its scores.

    Args:
        heads: how many, and how wide.
        used: whether what comes after reads it.
    """
    return AttentionPool(attention=attention(*heads, cross=True, scores="handed_out"), feed_forward=feed_forward, used=used)


def layers(
    count: int,
    attention: Part,
    feed_forward: FeedForward,
    *,
    cross: Part | None = None,
    norm: Norm = LAYER_NORM,
    prenorm: bool = True,
) -> Block:
    """`count` layers of attention, cross-attention where there is one, and a feed-forward, each with a norm before it or behind the sum."""
    middle = (("cross_attention", cross),) if cross else ()
    parts: tuple[tuple[str, Part], ...] = (("attention", attention), *middle, ("mlp", feed_forward))
    return Block(count=count, parts=parts, norms=len(parts), norm=norm, prenorm=prenorm, norm_of_sum=not prenorm)


def pooler(width: int, out: int | None = None) -> Projection:
    """A linear layer on the first token."""
    return Projection(name="pooler", d_in=width, d_out=out or width, per="sample", component="pooler")


def classifier(width: int, labels: int, *, per_token: bool = False, name: str = "head") -> Projection:
    """Logits of classes, per sample or per token."""
    return Projection(name=name, d_in=width, d_out=labels, per="token" if per_token else "sample")


def size_pair(f: Fields, key: str, default: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width: one number for both, or two in a list; so is the default.

    Raises:
        BadConfigError: anything else.
    """
    value = f.config.get(key)
    if value is None and isinstance(default, tuple):
        return f.default(key, default)
    if not isinstance(value, list):
        side = f.integer(key, default=default if isinstance(default, int) else None)
        return side, side
    sides = f.integers(key, minimum_length=2)
    if len(sides) != 2:
        raise f.fail(key, value, "one whole number, or height and width")
    return sides[0], sides[1]


def per_stage(f: Fields, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """A list of positive whole numbers, one per stage of a network. Raises BadConfigError."""
    values = f.default(key, default) if f.config.get(key) is None else f.integers(key, minimum_length=1)
    if len(values) > MAX_STAGES:
        raise f.fail(key, f"a list of {len(values)}", f"at most {MAX_STAGES} stages, each half as wide as the one before")
    return values


def scaled(f: Fields, key: str, default: float, width: int, *, rounded: bool = False) -> int:
    """`width` times the number in `key`, as a whole number: down, as int() does, or to the nearest.

    Raises:
        BadConfigError: no number from just above 0 to MAX_RATIO, or nothing is left.
    """
    value = f.config[key] if key in f.config else f.default(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MAX_RATIO:
        raise f.fail(key, value, f"a number above 0, up to {MAX_RATIO:,}")
    product = value * width
    size = round(product) if rounded else int(product)
    if size < 1:
        raise f.fail(key, value, f"a number that leaves at least 1 of {width}")
    return size


def number(f: Fields, key: str, default: float) -> float:
    """A number from 0. Raises BadConfigError."""
    value = f.config[key] if key in f.config else f.default(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise f.fail(key, value, "a number from 0; 0 for none")
    return value


def section(f: Fields, key: str) -> Fields:
    """The fields of one part of a model; what an old file gives as ``<key>_dict`` counts instead, as in transformers.

    Raises:
        BadConfigError: it is not an object.
    """
    value = f.config.get(f"{key}_dict")
    if value is None:
        value = f.config.get(key, {})
    if not isinstance(value, dict):
        raise f.fail(key, value, "an object that describes this part")
    return f.part(key, value)


def layer_indexes(v: Fields, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Numbers of layers, from 0. Raises BadConfigError for anything else."""
    given = v.config.get(key)
    if given is None:
        return v.default(key, default)
    if not isinstance(given, list) or not all(type(index) is int and index >= 0 for index in given):
        raise v.fail(key, given, "a list of layers, counted from 0")
    return tuple(given)
