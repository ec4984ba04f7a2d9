"""How other tools and papers count FLOP, and which peak they divide by: one row of data each."""

from __future__ import annotations

import functools
from typing import Literal, cast, get_args

from estimators.errors import UnknownNameError
from estimators.facts import data
from estimators.frozen import frozen
from estimators.spec import Hardware, Source

WeightsCounted = Literal[
    "products", "layer products", "all parameters", "without positions", "without embeddings", "without embeddings and head"
]
AttentionCounted = Literal["none", "full", "seen", "half", "window", "half window"]
Counting = Literal["counted", "left out"]
RecomputeCounted = Literal["never", "where used", "always"]

WEIGHTS: dict[WeightsCounted, str] = {
    "products": "matrix products",
    "layer products": "matrix products without the head",
    "all parameters": "6·N, embeddings in N",
    "without positions": "6·N, embeddings in N but for positions",
    "without embeddings": "6·N, N without embeddings",
    "without embeddings and head": "6·N, N without embeddings and head",
}
"""What is counted of the weights, forward and backward, without recomputation; N are the parameters that a token uses."""

ATTENTION: dict[AttentionCounted, str] = {
    "none": "no attention",
    "full": "the attention square",
    "seen": "half the square, less behind a window",
    "half": "half the square",
    "window": "attention up to the window",
    "half window": "half the attention up to the window",
}
"""What is counted of the products of queries, keys and values."""

EXTRAS: dict[str, str] = {
    "one-hot embedding": "a one-hot embedding",
    "softmax": "softmax",
    "head at three quarters": "three quarters of the head",
}
"""What is counted besides, or otherwise."""

RECOMPUTE: dict[tuple[RecomputeCounted, str], str] = {
    ("never", ""): "",
    ("where used", "layers"): "recomputation of the layers where there is one",
    ("where used", "everything"): "a third more where there is recomputation",
    ("always", "layers"): "recomputation of the layers, always",
    ("always", "everything"): "a third more, always",
}
"""What is counted of a forward pass that activation checkpointing runs again."""

TOOL_COLUMNS = (
    *("id", "name", "aliases", "weights", "attention", "attention_width", "router", "prediction", "extras"),
    *("recompute", "recompute_scope", "years", "source", "url", "note"),
)
PEAK_COLUMNS = ("tool", "hardware_ids", "dtypes", "peak_flop_per_s", "source", "url")
ANY_DEVICE = "*"


@frozen
class ToolConvention:
    """How one tool or paper counts the FLOP of a training.

    Attributes:
        id, name, aliases: what it is called.
        weights, attention: keys of WEIGHTS and ATTENTION.
        attention_width: whether attention is as wide as its heads together, or taken as wide as the model.
        router: whether the routers of a mixture of experts are counted.
        prediction: whether layers that predict further tokens are counted.
        extras: keys of EXTRAS.
        recompute, recompute_scope: a key of RECOMPUTE.
        years: when it counted so, such as ``2022-2025``; ``any`` for no time in particular.
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    weights: WeightsCounted
    attention: AttentionCounted
    attention_width: Literal["heads", "model"]
    router: Counting
    prediction: Counting
    extras: tuple[str, ...]
    recompute: RecomputeCounted
    recompute_scope: str
    years: str
    source: Source

    @property
    def by_parameters(self) -> bool:
        """Whether weights are counted as 6 per parameter, and not as the products that they are part of."""
        return "products" not in self.weights

    @property
    def includes(self) -> str:
        """What it counts, in one line."""
        again = RECOMPUTE[self.recompute, self.recompute_scope]
        return "; ".join([WEIGHTS[self.weights], ATTENTION[self.attention], *(EXTRAS[e] for e in self.extras), *([again] if again else [])])


@frozen
class Peak:
    """The FLOP/s of one device that a utilisation is a share of.

    Attributes:
        own: whether the tool names it itself; else it is the data sheet's dense peak.
    """

    flop_per_s: float
    own: bool
    source: Source


def tool_from(row: data.Row) -> ToolConvention:
    """Check one row of tool_conventions.csv. Raises BadValueError: a cell that is not what its column says."""
    weights = cast(WeightsCounted, row.text("weights", choices=get_args(WeightsCounted)))
    recompute = cast(RecomputeCounted, row.text("recompute", choices=get_args(RecomputeCounted)))
    scope, extras = row.optional_text("recompute_scope"), row.texts("extras")
    if (recompute, scope) not in RECOMPUTE:
        raise row.fail("recompute_scope", "layers or everything; empty where recompute is never")
    if scope == "layers" and weights != "products":
        raise row.fail("weights", "products, of which layers can be run again")
    if not EXTRAS.keys() >= set(extras):
        raise row.fail("extras", f"of: {'|'.join(EXTRAS)}")
    return ToolConvention(
        id=row.text("id"),
        name=row.text("name"),
        aliases=row.texts("aliases"),
        weights=weights,
        attention=cast(AttentionCounted, row.text("attention", choices=get_args(AttentionCounted))),
        attention_width=cast(Literal["heads", "model"], row.text("attention_width", choices=("heads", "model"))),
        router=cast(Counting, row.text("router", choices=get_args(Counting))),
        prediction=cast(Counting, row.text("prediction", choices=get_args(Counting))),
        extras=extras,
        recompute=recompute,
        recompute_scope=scope,
        years=row.text("years"),
        source=Source(title=row.text("source"), url=row.optional_text("url"), note=row.optional_text("note")),
    )


@functools.cache
def tools() -> dict[str, ToolConvention]:
    """Id -> convention, in the order of tool_conventions.csv: ours first."""
    read = (tool_from(row) for row in data.read_rows(data.file("tool_conventions.csv"), TOOL_COLUMNS))
    return {tool.id: tool for tool in read}


@functools.cache
def _aliases() -> dict[str, str]:
    return {alias: tool.id for tool in tools().values() for alias in tool.aliases}


def tool(name: str) -> ToolConvention:
    """The convention of that id or alias, upper or lower case.

    Raises:
        UnknownNameError: nobody of that name is known.

    >>> tool("korthikanti").id
    'megatron-2022'
    """
    key = name.casefold()
    convention = tools().get(_aliases().get(key, key))
    if convention is None:
        raise UnknownNameError("convention", name, (*tools(), *_aliases()), "python -m bench list tools")
    return convention


@functools.cache
def _peaks() -> dict[tuple[str, str, str], Peak]:
    peaks: dict[tuple[str, str, str], Peak] = {}
    for row in data.read_rows(data.file("tool_peaks.csv"), PEAK_COLUMNS):
        source = Source(title=row.text("source"), url=row.text("url"))
        peak = Peak(flop_per_s=row.number("peak_flop_per_s"), own=True, source=source)
        peaks |= {(row.text("tool"), device, dtype): peak for device in row.texts("hardware_ids") for dtype in row.texts("dtypes")}
    return peaks


def peak_of(tool: ToolConvention, hardware: Hardware, dtype: str) -> Peak:
    """What the tool divides by on that device: its own figure where it names one, else the data sheet's dense peak.

    Raises:
        BadValueError: neither the tool nor the device has a peak for the dtype.

    >>> from estimators.facts.registry import hardware
    >>> peak_of(tools()["llm-foundry"], hardware("h100-sxm5-80gb"), "bf16").flop_per_s
    989500000000000.0
    """
    for device in (hardware.id, ANY_DEVICE):
        if (tool.id, device, dtype) in _peaks():
            return _peaks()[tool.id, device, dtype]
    return Peak(flop_per_s=hardware.peak(dtype), own=False, source=hardware.source)
