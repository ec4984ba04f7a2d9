"""The nouns: Source, Hardware, Workload, Op, Model, Case, Estimate. Frozen, keyword-only, base units inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from estimators.errors import BadValueError
from estimators.frozen import field, frozen
from estimators.method import FULL, TrainingMethod
from estimators.roles import Cut, Role
from estimators.samples import Sample
from estimators.stack import Stack
from estimators.units import DTYPE_BYTES, SCALED_BLOCK

Phase = Literal["train", "forward", "prefill", "decode"]
Recompute = Literal["none", "full"]

Tag = Literal["measured", "counted", "derived", "estimated", "published", "unavailable"]

PHASES: tuple[Phase, ...] = ("train", "forward", "prefill", "decode")


@frozen
class Source:
    """Where a figure comes from.

    Attributes:
        title: the document, with a locator such as a table or section.
        url: where it is published; empty where there is no stable address.
        note: what a reader should know before trusting it.
    """

    title: str
    url: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{self.title} <{self.url}>" if self.url else self.title


@frozen
class Hardware:
    """One device as a framework sees it.

    Attributes:
        id, name: the registry's key and the product's name.
        device_names: the exact strings that the driver reports.
        peak_flop_per_s: dense peak by dtype, fp32 accumulate; a dtype that is not there has no peak.
        memory_bytes: as the driver shows it where known, else as marketed.
        memory_bytes_per_s: off-chip bandwidth.
        link_bytes_per_s: scale-up link, one direction, per device; None where there is none.
        pcie_bytes_per_s: what a device's share of its slot can carry, one direction; None where unknown or where it has none.
        power_w: board power limit; None where unpublished.
        one_device: such as ``one of a card's two dies``; empty where a device is what is sold.
        compute_units: multiprocessors; None where unpublished.
        source: where the figures come from.
    """

    id: str
    name: str
    vendor: str
    architecture: str
    device_names: tuple[str, ...]
    peak_flop_per_s: Mapping[str, float] = field(hash=False)
    memory_bytes: int
    memory_bytes_per_s: float
    link_bytes_per_s: float | None = None
    pcie_bytes_per_s: float | None = None
    power_w: float | None = None
    devices_per_node: int | None = None
    one_device: str = ""
    compute_units: int | None = None
    source: Source
    confidence: str = "high"

    @property
    def generation(self) -> str:
        """Such as ``Ada`` of the architecture ``Ada (AD102)``."""
        return self.architecture.partition(" (")[0]

    def peak(self, dtype: str) -> float:
        """Dense peak in FLOP/s for `dtype`. Raises BadValueError where the device has none: there is no fallback."""
        try:
            return self.peak_flop_per_s[dtype]
        except KeyError:
            have = ", ".join(self.peak_flop_per_s)
            raise BadValueError(f"{self.id} has no published dense peak for {dtype}; it has one for: {have} (--dtype)") from None


@frozen
class Workload:
    """What is done in one step.

    Attributes:
        phase: train (forward, backward, optimizer), forward (all logits), prefill (logits of the last position
            only, as `generate` does), decode (one token per sequence after `context_len` cached ones).
        batch, seq_len: sequences (or samples; times beams) in the step, and tokens of each; 1 in decode and for models without a sequence.
            context_len, cache_len: tokens in the KV cache before the step, and those that a static one has room for (0: it grows).
        source_len: tokens of the encoder's input, for models with an encoder beside the decoder; 0 for the others.
        sample: what each of the batch is, for models of images or audio; None for what the model was made for.
        dtype, optimizer: of compute and stored weights; for the memory and bytes of a training step.
        recompute: activation checkpointing, counted under the `hardware` convention only.
    """

    phase: Phase = "forward"
    batch: int = 1
    seq_len: int = 1
    context_len: int = 0
    source_len: int = 0
    cache_len: int = 0
    sample: Sample | None = None
    dtype: str = "bf16"
    optimizer: str = "adamw"
    recompute: Recompute = "none"

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise BadValueError(f"phase {self.phase!r} is unknown; expected one of: {', '.join(PHASES)}")
        if self.batch < 1 or self.seq_len < 1 or min(self.context_len, self.source_len) < 0:
            raise BadValueError(f"batch {self.batch}, seq_len {self.seq_len}, context_len {self.context_len}: expected from 1, 1 and 0")
        if self.phase == "decode" and self.seq_len != 1:
            raise BadValueError(f"a decode step has one token per sequence; seq_len was {self.seq_len}, give context_len instead")
        if self.dtype not in DTYPE_BYTES:
            raise BadValueError(f"dtype {self.dtype!r} is unknown; expected one of: {', '.join(DTYPE_BYTES)}")

    @property
    def num_tokens(self) -> int:
        """Tokens (or samples) that the step processes."""
        return self.batch * self.seq_len

    @property
    def dtype_bytes(self) -> float:
        """Bytes per stored element, with its part of the scale of its block."""
        return DTYPE_BYTES[self.dtype]

    def bytes_of(self, elements: int) -> int:
        """Bytes that so many stored elements take, the last block's scale in full.

        >>> Workload(dtype="bf16").bytes_of(100), Workload(dtype="mxfp4").bytes_of(64)
        (200, 34)
        """
        return -(-elements * round(SCALED_BLOCK * self.dtype_bytes) // SCALED_BLOCK)


@frozen
class Op:
    """One row of the op table: `count` identical copies, every figure per copy.

    Attributes:
        name: such as ``layer.attention.query``; unique within a table. It is for display, and no code reads a meaning out of it.
        component: embedding, attention, mlp, norm, head, loss.
        kind: matmul, attention or scan (a product of two activations), lookup, norm, elementwise.
        part: what the row is a part of, such as ``layer.attention``; rows of one part without `reads` have one input.
        role, cut: what the operation is there, and what tensor and expert parallelism divide of it.
        params: parameters that this op owns (a tied weight is owned once, elsewhere); trained unless it is `frozen`.
        flop, backward_flop: forward, and backward without recomputation; `full` convention, one multiply-add being two.
        unseen_flop: the part of `flop` over keys that a query may not see, a triangle of T tokens being T²/2; `causal` leaves it out.
        masked_flop: the part of `flop` that another kernel may skip (masked pairs, say): physics, where `unseen_flop` is a convention.
        surplus_flop: forward, beside `flop`: what transformers runs and no result depends on, such as experts not chosen.
        weight_bytes: weights that must be read in a forward pass (counted once however large the batch).
        cache_bytes, held_cache_bytes: KV cache or state that must be read or written, and that is held when the step is over.
        cache_heads: heads that the cache holds keys and values of; more ranks than that hold copies of it.
        key_columns, tokens_per_key: of a matrix's outputs, keys and values of `cache_heads` heads; tokens that a product's key stands for.
        activation_bytes: inputs read and outputs written if nothing is fused.
        saved_bytes, recomputed: activations that an unfused backward keeps; whether full activation checkpointing runs the forward twice.
        mnk: (m, n, k) of one matrix product of the op, where it is one.
        matrices_per_token: how many matrices of shape (k, n) one token is multiplied with; experts per token.
        active_params: of `params`, those that one token uses; None for all. Experts are the case.
        reads: rows whose outputs it multiplies; empty where that is the input of its part of the layer.
        frozen: whether training leaves its parameters as they are, so that they need no gradient.
        stored_bytes: of its parameters where they are held in another format than they are computed in; None for the workload's dtype.
    """

    name: str
    component: str
    kind: str
    part: str
    role: Role
    cut: Cut
    count: int = 1
    params: int = 0
    flop: int = 0
    backward_flop: int = 0
    unseen_flop: int = 0
    masked_flop: int = 0
    surplus_flop: int = 0
    weight_bytes: int = 0
    cache_bytes: int = 0
    held_cache_bytes: int = 0
    cache_heads: int = 1
    key_columns: int = 0
    activation_bytes: int = 0
    saved_bytes: int = 0
    recomputed: bool = False
    mnk: tuple[int, int, int] | None = None
    matrices_per_token: int = 1
    tokens_per_key: int = 1
    active_params: int | None = None
    reads: tuple[str, ...] = ()
    frozen: bool = False
    stored_bytes: int | None = None

    @property
    def trainable_params(self) -> int:
        """Of `params`, those that training changes."""
        return 0 if self.frozen else self.params

    @property
    def weight_grad_flop(self) -> int:
        """The part of `backward_flop` that is the gradient of the op's own weight; a product of two activations has none."""
        return 0 if self.frozen or self.kind != "matmul" else min(self.flop, self.backward_flop)

    @property
    def weights_per_token(self) -> int:
        """Weights that one token is multiplied with, biases left out; 0 for ops that are no matrix product."""
        return self.matrices_per_token * self.mnk[1] * self.mnk[2] if self.kind == "matmul" and self.mnk else 0

    @property
    def backward_unseen_flop(self) -> int:
        """The part of `backward_flop` over keys that a query may not see."""
        return self.unseen_flop * self.backward_flop // self.flop if self.flop else 0

    @property
    def backward_masked_flop(self) -> int:
        """The part of `backward_flop` that a masked kernel may skip."""
        return self.masked_flop * self.backward_flop // self.flop if self.flop else 0


Item = Literal["token", "sample"]


class Model(ABC):
    """Anything that can list its operations. What most models do not have, has the value here that says so.

    Attributes:
        item: what one row of input is: a token of a language model, a sample of any other.
        phases: of a step, those that the model has; only what writes tokens has a prefill and a decode step.
    """

    __slots__ = ()

    item: ClassVar[Item] = "sample"
    phases: ClassVar[tuple[Phase, ...]] = ("train", "forward")

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called."""

    @property
    @abstractmethod
    def source(self) -> Source:
        """Where its configuration comes from."""

    @abstractmethod
    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step."""

    @property
    def generates(self) -> bool:
        """Whether it writes tokens one by one: decoders and encoder-decoders do, encoders and models of samples do not."""
        return "decode" in self.phases

    @property
    def max_positions(self) -> int:
        """Tokens of the longest sequence that it was made for; 1 for models without a sequence."""
        return 1

    @property
    def positions(self) -> int:
        """Rows of its table of positions; 0 where positions are computed, so that no sequence is too long."""
        return 0

    @property
    def stack(self) -> Stack | None:
        """Its layers, where it is a decoder with the head of a language model; else None."""
        return None

    @property
    def sample(self) -> Sample | None:
        """What it was made to read, where that is no text and no numbers: an image of a size, audio of a length."""
        return None

    def demand_sample(self, workload: Workload) -> None:
        """Refuse samples that it does not read. Raises BadValueError."""
        if workload.sample is not None and workload.sample != self.sample:
            reads = self.sample or ("tokens" if self.item == "token" else "numbers")
            raise BadValueError(f"{self.name} reads {reads}, not {workload.sample}")

    @property
    def runs(self) -> str:
        """The class of transformers that it is counted as, where that is not a decoder with the head of a language model; else empty."""
        return ""

    @property
    def base(self) -> Model:
        """The model itself, all of it trained: another one where this is a way to train a part of it."""
        return self

    @property
    def code_paths(self) -> Mapping[str, Model]:
        """The ways in which it is run at different cost, name to model; empty where there is no choice."""
        return {}


@frozen
class Case:
    """Model, workload, hardware, and how the model is trained: the join key of estimates, measurements and reports."""

    model: Model
    workload: Workload
    hardware: Hardware | None = None
    method: TrainingMethod = FULL


@frozen
class Estimate:
    """What arithmetic says of one case; field names are shared with measurements.

    Attributes:
        params: parameters, tied weights once.
        trainable_params: of them, those that training changes: all, unless some are frozen.
        active_params: of them, those that one token uses: all but the experts it is not routed to.
        embedding_params: of them, in lookup tables (token and position embeddings; a tied head counts here).
        flop: by convention: full, causal, hardware; for the step of the workload. What is needed.
        forward_flop, backward_flop: as transformers runs them: those of `full`, and `surplus_flop`.
        surplus_flop: of both passes, what transformers runs and no result depends on; 0 for nearly all models.
        min_flop, min_bytes: what no kernel may skip; what must cross the memory bus at least once.
        memory_bytes: by part: weights, gradients, optimizer, kv_cache, saved activations where training.
        step_time_bound_s, bound_by: physics, never beaten, None without hardware; compute or bandwidth.
    """

    params: int
    trainable_params: int
    active_params: int
    embedding_params: int
    params_by_component: Mapping[str, int] = field(hash=False)
    flop: Mapping[str, int] = field(hash=False)
    forward_flop: int
    backward_flop: int
    surplus_flop: int
    min_flop: int
    min_bytes: int
    memory_bytes: Mapping[str, int] = field(hash=False)
    step_time_bound_s: float | None = None
    compute_bound_s: float | None = None
    bandwidth_bound_s: float | None = None
    bound_by: str = ""
