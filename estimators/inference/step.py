"""One step of inference on one device or several side by side: a prefill or a decode step, by what takes the time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from estimators.architectures.decoder import Decoder
from estimators.cost.collectives import tensor_parallel_s
from estimators.cost.compute import TILE_SIDE, attention_s, grouped, matmul_s, memory_bound_s, operations, routing_bytes
from estimators.cost.divisibility import divisors, legal_tp, nearest
from estimators.cost.efficiency import Efficiency, efficiency
from estimators.cost.machine import Machine, machine_of
from estimators.cost.software import DEFAULT_STACK, Software, software, stack
from estimators.cost.tensor_cut import cut_width, outputs_on_rank
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.spec import Case, Hardware, Model, Op, Workload


@frozen
class InferenceStep:
    """Seconds of one step by what takes them; they sum to the step.

    Attributes:
        matmul_s, experts_s, head_s: matrix products: compute, or reading the weights where that takes longer.
        attention_s: products of attention and softmax, or reading the KV cache where that takes longer.
        memory_bound_s: tables, norms, activations and other element-wise work.
        launch_s: starts of kernels.
        collectives_s: all-reduces of tensor parallelism.
        bound_s: what no device can beat: FLOP that no kernel may skip over the peak, or bytes that must move over the bandwidth.
        bound_by: compute or bandwidth.
        new_tokens: that the step writes, one per sequence.
    """

    matmul_s: float
    experts_s: float
    head_s: float
    attention_s: float
    memory_bound_s: float
    launch_s: float
    collectives_s: float
    bound_s: float
    bound_by: str
    new_tokens: int

    @property
    def total_s(self) -> float:
        """The whole step."""
        products_s = self.matmul_s + self.experts_s + self.head_s
        return products_s + self.attention_s + self.memory_bound_s + self.launch_s + self.collectives_s

    @property
    def tokens_per_s(self) -> float:
        """New tokens per second, all sequences together."""
        return self.new_tokens / self.total_s


def prefill(
    model: Model,
    hardware: Hardware,
    *,
    batch: int,
    prompt_tokens: int,
    tensor_parallel: int = 1,
    dtype: str = "bf16",
    stack_id: str = DEFAULT_STACK,
) -> InferenceStep:
    """Reading `batch` prompts of `prompt_tokens` at once, up to the first new token of each. See `inference_step`."""
    workload = Workload(phase="prefill", batch=batch, seq_len=prompt_tokens, dtype=dtype)
    return inference_step(model, workload, hardware, tensor_parallel=tensor_parallel, stack_id=stack_id)


def decode(
    model: Model,
    hardware: Hardware,
    *,
    batch: int,
    context_tokens: int,
    tensor_parallel: int = 1,
    dtype: str = "bf16",
    stack_id: str = DEFAULT_STACK,
) -> InferenceStep:
    """One new token for each of `batch` sequences that have `context_tokens` in the cache. See `inference_step`.

    Llama 2 7B on an A100 reads 13.2 GB of weights at 2.04 TB/s for every token:

    >>> from estimators.facts.registry import hardware
    >>> from estimators.validation.model import shipped_model
    >>> round(decode(shipped_model("llama-2-7b"), hardware("a100-sxm4-80gb"), batch=1, context_tokens=1).bound_s * 1e3, 1)
    6.5
    """
    workload = Workload(phase="decode", batch=batch, context_len=context_tokens, dtype=dtype)
    return inference_step(model, workload, hardware, tensor_parallel=tensor_parallel, stack_id=stack_id)


def inference_step(
    model: Model, workload: Workload, hardware: Hardware, *, tensor_parallel: int = 1, stack_id: str = DEFAULT_STACK
) -> InferenceStep:
    """A prefill or a decode step, row by row of the op table, on the constants that training steps are predicted with.

    A matrix product takes the longer of its arithmetic and of reading its weights, once per step; attention the longer of
    its arithmetic and of reading the cache. Of n experts of which a token uses k, `t` tokens read n·(1 - (1 - k/n)^t): even
    routing. Tensor parallelism divides what the rows' cuts say, each expert included, and adds two all-reduces per layer
    that nothing hides. Kernels are issued as a captured graph: the host never binds. Of ways to run a step at different cost
    (latent attention) it is the fastest, as engines run it, and not transformers' own.

    Not modelled: the share of its bandwidth that a device reaches (0.7 to 0.85 of it in measured decode steps); what an engine's
    host does per step and per sequence (scheduling, sampling, streaming), and eager engines that wait for it; an engine's own
    all-reduces and fused kernels, faster and fewer than those of a training framework, so that small models on several devices
    and mixtures of experts come out up to 2.6 times too slow; expert, pipeline and context parallelism; prefills mixed with decode
    steps; caches in another dtype than the weights. No constant was fitted on inference.

    Args:
        workload: of phase prefill or decode.
        tensor_parallel: devices, all behind one scale-up link where it joins as many.
        stack_id: kernels; see stacks.json.

    Raises:
        BadValueError: another phase, a model without a head or with scans, ranks that do not divide the heads, no peak
            for the dtype; one line.
        UnknownNameError: an unknown software.
    """
    if workload.phase not in ("prefill", "decode"):
        raise BadValueError(f"phase {workload.phase!r} is not a step of inference; expected prefill or decode")
    paths = tuple(model.code_paths.values()) or (model,)
    return min((_step_of(path, workload, hardware, tensor_parallel, stack_id) for path in paths), key=lambda step: step.total_s)


def _step_of(model: Model, workload: Workload, hardware: Hardware, tensor_parallel: int, stack_id: str) -> InferenceStep:
    """The step by the model's own way of running it. Raises BadValueError, UnknownNameError, as `inference_step`."""
    base, ops = model.base, model.ops(workload)
    if not isinstance(base, Decoder) or any(op.kind == "scan" or op.component == "state_space" for op in ops):
        raise BadValueError(f"{model.name} is not a decoder of attention and feed-forward layers; inference steps are estimated for those")
    _check_ranks(base, ops, tensor_parallel)
    constants = efficiency()
    step = _Step(
        workload=workload,
        ranks=tensor_parallel,
        machine=machine_of(hardware, workload.dtype),
        software=software(stack(stack_id), hardware.architecture, constants),
        constants=constants,
    )
    routed = [op for op in ops if op.kind == "matmul" and op.active_params is not None]  # the experts, and their adapters
    routed_layers = sum(op.count for op in routed if op.role == "gate_up")
    per_token = max((op.matrices_per_token for op in routed), default=0)
    token_bytes = workload.bytes_of(workload.num_tokens * base.width)
    products = [op for op in ops if op.kind == "matmul" and op.active_params is None]
    elementwise = [op for op in ops if op.kind in ("lookup", "norm", "elementwise")]
    least = estimate(Case(model=model, workload=workload, hardware=hardware))
    assert least.step_time_bound_s is not None
    return InferenceStep(
        matmul_s=sum((step.product_s(op) for op in products if op.role != "head"), 0.0),
        experts_s=sum((step.experts_s(op) for op in routed), 0.0),
        head_s=sum((step.product_s(op) for op in products if op.role == "head"), 0.0),
        attention_s=step.attention_s([op for op in ops if op.kind == "attention"]),
        memory_bound_s=step.memory_bound_s(elementwise, token_bytes * per_token, routed_layers),
        launch_s=operations(base.layers, routed_layers, tensor_parallel, step.software.kernels_per_layer) * constants.launch_s,
        collectives_s=tensor_parallel_s(token_bytes, base.layers, tensor_parallel, step.machine, constants),
        bound_s=least.step_time_bound_s / tensor_parallel,
        bound_by=least.bound_by,
        new_tokens=workload.batch,
    )


def _check_ranks(base: Decoder, ops: Sequence[Op], ranks: int) -> None:
    parts = [part for block in base.blocks for _, part in block.parts]
    if ranks < 1:
        raise BadValueError(f"tensor parallelism over {ranks} devices; expected a whole number from 1")
    for part in parts:
        if not legal_tp(part, ranks):
            other = nearest(ranks, (tp for tp in divisors(part.heads) if legal_tp(part, tp)))
            raise BadValueError(f"{ranks} ranks do not divide the {part.heads} heads of {base.name}; the nearest that do: {other}")
    width = cut_width(ops)
    if width % ranks:
        raise BadValueError(f"{ranks} ranks do not divide the feed-forward's width of {width:,} of {base.name}; expected a divisor of it")


@frozen
class _Step:
    """What every row of a step is priced with."""

    workload: Workload
    ranks: int
    machine: Machine
    software: Software
    constants: Efficiency

    def product_s(self, op: Op) -> float:
        """All copies of a product: arithmetic, or reading the weights."""
        assert op.mnk
        m, n, k = op.mnk
        if not m:
            return 0.0
        rate = self.machine.flop16_per_s if op.role == "head" else self.machine.flop_per_s
        seconds = self._matmul_s(op, m, n, k, rate)
        return float(op.count * max(seconds, self._read_s(op.weight_bytes * self._share(op))))

    def experts_s(self, op: Op) -> float:
        """All copies of one matrix of all experts: of those that some token is sent to."""
        assert op.mnk
        assert op.active_params
        _, n, k = op.mnk
        experts = op.params * op.matrices_per_token // op.active_params
        rows = self.workload.num_tokens * op.matrices_per_token
        met = experts * (1 - (1 - op.matrices_per_token / experts) ** self.workload.num_tokens)
        seconds = met * grouped(self.machine, self.constants) * self._matmul_s(op, rows / met, n, k, self.machine.flop_per_s)
        read = met / experts * (self.workload.bytes_of(op.params) if op.stored_bytes is None else op.stored_bytes)
        return float(op.count * max(seconds, self._read_s(read / self.ranks)))

    def _matmul_s(self, op: Op, m: float, n: float, k: float, rate: float) -> float:
        if op.cut in ("rows", "expert_rows"):
            k = k / self.ranks
        else:
            n = n * self._share(op)
        rows = min(m, TILE_SIDE)
        return float(matmul_s(m, n, k, rate * self.constants.matmul, self.machine.units, self.constants, tile_rows=rows))

    def _share(self, op: Op) -> float:
        """Of a matrix, what each rank holds: its part of what can be divided, and all else."""
        assert op.mnk
        n, ranks = op.mnk[1], self.ranks
        if op.cut == "columns":
            return float(outputs_on_rank(n, op.key_columns, op.cache_heads, ranks) / n)
        if op.cut == "vocabulary":
            return math.ceil(n / ranks) / n
        return 1.0 if op.cut == "whole" else 1 / ranks

    def _read_s(self, num_bytes: float) -> float:
        return float(num_bytes / self.machine.memory_bytes_per_s)

    def attention_s(self, ops: list[Op]) -> float:
        """The products of every kind of layer: arithmetic, or reading the cache."""
        parts: dict[str, list[Op]] = defaultdict(list)
        for op in ops:
            parts[op.part].append(op)
        return sum((self._one_attention_s(rows) for rows in parts.values()), 0.0)

    def _one_attention_s(self, rows: list[Op]) -> float:
        n = self.ranks
        scores = [(op, op.mnk[2]) for op in rows if op.role == "scores" and op.mnk]
        flop = sum(op.count * op.flop for op in rows)
        visible = flop - sum(op.count * op.masked_flop for op in rows)
        elements = sum(op.count * op.flop // (2 * width) for op, width in scores)
        width = max((width for _, width in scores), default=0)
        cache = sum(op.count * op.cache_bytes / min(n, op.cache_heads) for op in rows)
        seconds = attention_s(flop / n, visible / n, elements / n, width, self.machine, self.software, self.constants)
        return float(max(seconds, cache / self.machine.memory_bytes_per_s))

    def memory_bound_s(self, ops: list[Op], routed_bytes: float, routed_layers: int) -> float:
        """Everything else that moves bytes: inputs and outputs, and the parameters that are read."""
        moved = sum(op.count * op.activation_bytes / (1 if op.cut == "whole" else self.ranks) for op in ops)
        routed = routing_bytes(routed_bytes, routed_layers, self.constants)
        plain = memory_bound_s(moved, routed, self.machine, self.software, self.constants)
        return float(plain) + self._read_s(sum(op.count * op.weight_bytes for op in ops))
