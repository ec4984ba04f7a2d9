"""A dense Llama of a size that somebody names, such as `13b`: layers and widths as published models of about that size have them."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Mapping
from typing import Any

from estimators.errors import BadValueError
from estimators.frozen import field, frozen
from estimators.spec import Source

PUBLISHED = (
    (125e6, 12),
    (350e6, 24),
    (1.3e9, 24),
    (2.7e9, 32),
    (6.7e9, 32),
    (13e9, 40),
    (32.5e9, 60),
    (65.2e9, 80),
    (174.6e9, 96),
    (405e9, 126),
)
"""Parameters and layers. Source: Brown et al. 2020 (arXiv 2005.14165), table 2.1, up to 2.7B and of 175B; Touvron et al. 2023, LLaMA
(arXiv 2302.13971), table 2; Grattafiori et al. 2024 (arXiv 2407.21783), table 3."""

VOCAB = 32_000
POSITIONS = 4_096
SMALLEST, LARGEST = 100e6, 1e12
TOLERANCE = 0.02
FEW_KEYS_FROM = 30e9
"""Parameters from which eight heads of keys serve all, as in Llama 2 (Touvron et al. 2023, arXiv 2307.09288, section 2.2)."""

KEY_HEADS = 8

RULE = (
    "layers interpolated between the published sizes of GPT-3, LLaMA and Llama 3, heads of 128 (64 below 1B), feed-forward of 8/3 of the "
    "width, a vocabulary of 32,000, untied; from 30B on eight heads of keys; the nearest in size, then in layers"
)


@frozen
class SizedLlama:
    """A configuration of the size, its name and what it is."""

    name: str
    config: Mapping[str, Any] = field(hash=False)
    params: int
    source: Source
    said: str


def sized_llama(text: str) -> SizedLlama | None:
    """The dense Llama of a size such as ``13b``, within 2 % of it; None where the text is no size.

    Raises:
        BadValueError: below 100M or above 1000B.

    >>> made = sized_llama("13b")
    >>> made.config["num_hidden_layers"], made.config["hidden_size"], made.params
    (40, 5120, 13015864320)
    >>> sized_llama("7b-moe") is None
    True
    """
    found = re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?)([bm])", text.strip().casefold())
    if not found:
        return None
    asked = float(found[1]) * (1e9 if found[2] == "b" else 1e6)
    if not SMALLEST <= asked <= LARGEST:
        raise BadValueError(f"model {text.strip()!r}: a dense Llama is made of 100M to 1000B parameters; name a model, or give --config")
    usual = _layers(asked)
    room = max(3, usual // 6)
    *_, layers, hidden = min(
        _off(asked, layers, hidden, usual) for layers in range(max(2, usual - room), usual + room + 1) for hidden in _widths(asked, layers)
    )
    params = num_params(asked, layers, hidden)
    assert abs(params / asked - 1) <= TOLERANCE, (text, params)
    heads = hidden // _head_size(asked)
    config = {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": intermediate(hidden),
        "num_attention_heads": heads,
        "num_key_value_heads": _key_heads(asked, heads),
        "vocab_size": VOCAB,
        "max_position_embeddings": POSITIONS,
        "tie_word_embeddings": False,
    }
    name = f"llama-{text.strip().casefold()}-dense"
    shape = f"{params:,} parameters: {layers} layers of width {hidden:,}, {heads} heads"
    return SizedLlama(
        name=name,
        config=config,
        params=params,
        source=Source(title=f"a dense Llama of about {text.strip()}: {RULE}"),
        said=f"taking {text.strip()!r} as a dense Llama of {shape}, interpolated between published sizes",
    )


def _off(asked: float, layers: int, hidden: int, usual: int) -> tuple[bool, int, int, int]:
    """How a shape is ranked: within half of the tolerance first, then by layers as published, then by the width."""
    miss = abs(num_params(asked, layers, hidden) / asked - 1)
    return miss > TOLERANCE / 2, round(1000 * miss) if miss > TOLERANCE / 2 else abs(layers - usual), layers, hidden


def _layers(asked: float) -> int:
    """Layers, interpolated in the logarithm of the size and carried on beyond the ends."""
    sizes = [math.log(size) for size, _ in PUBLISHED]
    at = min(max(bisect.bisect_left(sizes, math.log(asked)), 1), len(sizes) - 1)
    (low, few), (high, many) = PUBLISHED[at - 1], PUBLISHED[at]
    share = (math.log(asked) - math.log(low)) / (math.log(high) - math.log(low))
    return max(2, round(few + share * (many - few)))


def _widths(asked: float, layers: int) -> tuple[int, int]:
    """The multiples of a head, or of a group of them, below and above the width that would give the size."""
    step = _head_size(asked) * (KEY_HEADS if asked >= FEW_KEYS_FROM else 1)
    low, high = 1, 2**12
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if num_params(asked, layers, middle * step) <= asked else (low, middle)
    return low * step, high * step


def _head_size(asked: float) -> int:
    return 64 if asked < 1e9 else 128


def _key_heads(asked: float, heads: int) -> int:
    return KEY_HEADS if asked >= FEW_KEYS_FROM else heads


def intermediate(hidden: int) -> int:
    """Width of the feed-forward part: 8/3 of the model's, rounded up to a multiple of 256 (LLaMA's reference code).

    >>> intermediate(4096), intermediate(5120)
    (11008, 13824)
    """
    return -(-(8 * hidden // 3) // 256) * 256


def num_params(asked: float, layers: int, hidden: int) -> int:
    """V·h twice, and per layer 2·h² + 2·h·k for queries, output, keys and values, 3·h·f, two norms; one norm more."""
    heads = hidden // _head_size(asked)
    keys = _key_heads(asked, heads) * _head_size(asked)
    layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * intermediate(hidden) + 2 * hidden
    return layers * layer + 2 * VOCAB * hidden + hidden
