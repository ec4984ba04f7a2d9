"""What a tool's convention makes of a model: the FLOP of training on one sequence, in named parts, from our op table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isqrt, prod

from estimators.architectures.adapters import FineTuned
from estimators.architectures.decoder import Decoder
from estimators.architectures.traced import TracedModel
from estimators.errors import BadValueError
from estimators.facts.tool_conventions import ToolConvention
from estimators.frozen import frozen, replace
from estimators.spec import Model, Op, Recompute, Workload

LAYERS, ROUTER, HEAD, PREDICTION = "matrices of the layers", "routers", "head", "layers that predict further tokens"
TABLE, POSITIONS, NORMS = "embedding tables", "learned positions", "norms and biases"
ATTENTION, SCAN, SOFTMAX, ONE_HOT = "attention products", "state-space scan", "softmax", "one-hot embedding"
RECOMPUTED = "recomputation"

PARTS: dict[str, str] = {
    LAYERS: "",
    ROUTER: "",
    HEAD: "",
    PREDICTION: "",
    TABLE: "looked up, which multiplies nothing",
    POSITIONS: "looked up, which multiplies nothing",
    NORMS: "no matrix product",
    ATTENTION: "",
    SCAN: "",
    SOFTMAX: "no matrix product",
    ONE_HOT: "the table is looked up, not multiplied",
    RECOMPUTED: "",
}
"""What a count is made of -> why it is more than a model runs, where it is."""

PASSES = 3
"""A backward pass is two products for each of the forward's."""


@frozen
class ToolFlop:
    """FLOP of training on one sequence, as a tool counts them.

    Attributes:
        seq_len: tokens of the sequence.
        parts: keys of PARTS to FLOP; parts that are 0 are left out.
        unseen_flop: of the attention products, those over keys that a query may not see.
    """

    tool: ToolConvention
    seq_len: int
    parts: dict[str, int]
    unseen_flop: int = 0

    @property
    def flop(self) -> int:
        """Of the whole sequence."""
        return sum(self.parts.values())

    @property
    def flop_per_token(self) -> float:
        """Of one token of such a sequence."""
        return self.flop / self.seq_len


def count(tool: ToolConvention, model: Model, seq_len: int, recompute: Recompute = "none") -> ToolFlop:
    """The FLOP of training on one sequence of `seq_len` tokens, as `tool` counts them: as if every weight were trained.

    Args:
        recompute: whether the run recomputes activations; it matters to tools that count it.

    Raises:
        BadValueError: not a decoder-only language model; the tools know no other.
    """
    workload = Workload(phase="train", seq_len=seq_len)
    decoder = decoder_of(model)
    ops = decoder.ops(workload)
    if tool.by_parameters:
        parts = _by_parameters(tool, ops, seq_len)
    else:
        parts = _by_products(tool, ops)
        parts[PREDICTION] = _prediction_flop(tool, decoder, workload)
    attention = [op for op in ops if op.kind == "attention" and op.flop]  # layers that attend to images do nothing where there is none
    parts[ATTENTION] = sum(_attention_flop(tool, op, seq_len, decoder.width) for op in attention)
    seen = sum(_attention_flop(replace(tool, attention="seen"), op, seq_len, decoder.width) for op in attention)
    if "one-hot embedding" in tool.extras:
        parts[ONE_HOT] = PASSES * 2 * seq_len * sum(op.count * op.params for op in _tables(ops))
    if "softmax" in tool.extras:
        scores = sum(op.count * op.flop // (2 * _head_width(op)) for op in attention if op.role == "scores")
        parts[SOFTMAX] = PASSES * 3 * scores
    if "head at three quarters" in tool.extras:
        parts[HEAD] = parts[HEAD] * 3 // 4
    if tool.recompute == "always" or (tool.recompute == "where used" and recompute == "full"):
        again = [op for op in ops if op.recomputed] if tool.recompute_scope == "layers" else []
        parts[RECOMPUTED] = sum(op.count * op.flop for op in again) if again else sum(parts.values()) // PASSES
    counted = {part: parts[part] for part in PARTS if parts.get(part)}
    return ToolFlop(tool=tool, seq_len=seq_len, parts=counted, unseen_flop=max(0, parts[ATTENTION] - seen))


def training_flop_per_token(tool: ToolConvention, model: Model, seq_len: int, recompute: Recompute = "none") -> float:
    """FLOP of training on one token of a sequence of `seq_len`, as `tool` counts them. Raises BadValueError, as `count`."""
    return count(tool, model, seq_len, recompute).flop_per_token


def decoder_of(model: Model) -> Decoder | TracedModel:
    """The decoder that a tool counts: of a fine-tuned one all of it, as if every weight were trained.

    Raises:
        BadValueError: not a decoder-only language model.
    """
    decoder = model.base if isinstance(model, FineTuned) else model
    if not isinstance(decoder, Decoder | TracedModel) or decoder.stack is None:
        raise BadValueError(
            f"{model.name} is not a decoder-only language model; the tools' conventions are for those alone; `check-claim` judges any other"
        )
    return decoder


def _sum(ops: Sequence[Op], chosen: Callable[[Op], bool], per_copy: Callable[[Op], int]) -> int:
    return sum(op.count * per_copy(op) for op in ops if chosen(op))


def _training(op: Op) -> int:
    return op.flop + op.backward_flop


def _by_products(tool: ToolConvention, ops: Sequence[Op]) -> dict[str, int]:
    """Each weight matrix's own products: forward, weight's gradient, input's gradient."""
    matmuls = [op for op in ops if op.kind == "matmul"]
    return {
        LAYERS: _sum(matmuls, lambda op: op.component not in ("router", "head"), _training),
        ROUTER: _sum(matmuls, lambda op: op.component == "router", _training) if tool.router == "counted" else 0,
        HEAD: _sum(matmuls, lambda op: op.component == "head", _training) if tool.weights == "products" else 0,
        SCAN: _sum(ops, lambda op: op.kind == "scan", _training),
    }


def _prediction_flop(tool: ToolConvention, decoder: Model, workload: Workload) -> int:
    """Of layers beside the decoder that predict further tokens, if it has any and the tool counts them."""
    if tool.prediction == "left out" or not isinstance(decoder, Decoder) or decoder.prediction is None:
        return 0
    rows = decoder.prediction.ops(workload, decoder.width, decoder.vocab)
    weights = sum(_by_products(tool, rows).values())
    return weights + sum(_attention_flop(tool, op, workload.seq_len, decoder.width) for op in rows if op.kind == "attention")


def _by_parameters(tool: ToolConvention, ops: Sequence[Op], seq_len: int) -> dict[str, int]:
    """6 per parameter that a token uses and that the tool's N holds; N's own tied head counts as head."""
    per_param = PASSES * 2 * seq_len

    def used(op: Op) -> int:
        return op.params if op.active_params is None else op.active_params

    def matrix(op: Op) -> int:
        return min(used(op), op.weights_per_token)

    tables = sum(op.count * op.params for op in _tables(ops))
    head = _sum(ops, lambda op: op.component == "head", matrix)
    tied = head < _sum(ops, lambda op: op.component == "head", lambda op: op.weights_per_token)
    if tool.weights.startswith("without embeddings"):
        head = 0 if tool.weights == "without embeddings and head" else head
        tables = 0
    counted = {
        LAYERS: _sum(ops, lambda op: op.component not in ("router", "head"), matrix),
        ROUTER: _sum(ops, lambda op: op.component == "router", matrix),
        HEAD: head + (tables if tied else 0),
        TABLE: 0 if tied else tables,
        POSITIONS: _sum(ops, _is_position, used) if tool.weights == "all parameters" else 0,
        NORMS: _sum(ops, lambda op: op.kind != "lookup", lambda op: used(op) - matrix(op)),
    }
    return {part: per_param * weights for part, weights in counted.items()}


def _is_position(op: Op) -> bool:
    return op.kind == "lookup" and op.role == "position"


def _tables(ops: Sequence[Op]) -> list[Op]:
    """Lookups by token, the learned positions left out."""
    return [op for op in ops if op.kind == "lookup" and not _is_position(op)]


def _head_width(op: Op) -> int:
    """Width of one head's query and key, or value: m·n·k is T·T·width."""
    assert op.mnk
    return prod(op.mnk) // op.mnk[0] ** 2


def _attention_flop(tool: ToolConvention, op: Op, seq_len: int, width: int) -> int:
    """One of the two products of attention, forward and backward, all copies."""
    flop = op.count * _training(op)
    if tool.attention == "none":
        return 0
    if tool.attention_width == "model":
        heads_together = op.flop // (2 * seq_len**2)
        flop = flop * width // heads_together
    if tool.attention == "seen":
        return flop - flop * op.unseen_flop // op.flop
    if "window" in tool.attention and op.unseen_flop:
        flop = flop * _window(op, seq_len) // seq_len
    return flop // 2 if "half" in tool.attention and op.unseen_flop else flop


def _window(op: Op, seq_len: int) -> int:
    """Keys that a query of the layer sees at most, from the pairs that its mask lets through.

    A window of W lets V = W·T - W·(W - 1)/2 pairs through, so 2·W = (2·T + 1) - √((2·T + 1)² - 8·V).
    """
    visible = seq_len**2 - seq_len**2 * op.masked_flop // op.flop
    return (2 * seq_len + 1 - isqrt((2 * seq_len + 1) ** 2 - 8 * visible)) // 2
