"""Models of which training changes only a part: adapters of low rank beside frozen matrices, or the upper layers."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from estimators.architectures.adapter_names import (
    DOWN,
    EXPERTS,
    FUSED,
    GATE_UP,
    OF_MIXTURE,
    T5_TARGETS,
    TARGETS,
    UP,
    carried_over,
    demand_both_halves,
    demand_plain,
    row_of,
)
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.freezing import positions, trained_in_part
from estimators.architectures.quantised import held_as
from estimators.architectures.rows import linear
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.method import FULL, TrainingMethod
from estimators.samples import Sample
from estimators.spec import PHASES, Item, Model, Op, Phase, Source, Workload
from estimators.weight_formats import EXPERTS_ALONE, LAYERS_ALONE, PLAIN, WeightFormat, stored_matrix

if TYPE_CHECKING:
    from estimators.architectures.encoder_decoder import EncoderDecoder

DEFAULT_TARGETS = ("query", "value", "query_key_value", "query_up", "kv_up", "in")
"""Where none are named: queries and values, as in the paper's section 4.2, or the matrices that make them."""

ALL_LINEAR = "all-linear"


@frozen
class FineTuned(Model):
    """A decoder or an encoder-decoder, and what training changes of it.

    Attributes:
        base: the model; without adapters a decoder.
        rank: of the adapters, y = W·x + B·(A·x); everything else is frozen. 0 for no adapters.
        targets: rows that have adapters, such as query or down.
        words: what those were called; a word may mean other rows in other models.
        frozen_layers: without adapters: layers from the first on that are frozen, and the embedding with them.
        base_format: what the frozen linear layers are stored as; a pass reads them so, and makes 16-bit ones of them.
        quantises_experts: whether experts are linear layers to that format.

    Source: Hu et al. 2021, LoRA (arXiv 2106.09685), section 4.
    """

    item: ClassVar[Item] = "token"
    phases: ClassVar[tuple[Phase, ...]] = PHASES

    base: Decoder | EncoderDecoder
    rank: int = 0
    targets: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    frozen_layers: int = 0
    base_format: WeightFormat = PLAIN
    quantises_experts: bool = False

    @property
    def name(self) -> str:
        """The base's, and what is trained."""
        if self.rank:
            over = "" if self.base_format == PLAIN else f" over weights in {self.base_format}"
            return f"{self.base.name}, adapters of rank {self.rank} on {', '.join(sorted(self.targets))}{over}"
        assert isinstance(self.base, Decoder)
        return f"{self.base.name}, embedding and {self.frozen_layers} of {self.base.layers} layers frozen"

    @property
    def method(self) -> TrainingMethod:
        """What `trained` makes this of the base with."""
        if not self.rank:
            return TrainingMethod(frozen_layers=self.frozen_layers)
        return TrainingMethod(rank=self.rank, targets=self.words, base_format=self.base_format, quantises_experts=self.quantises_experts)

    @property
    def source(self) -> Source:
        """The base's."""
        return self.base.source

    @property
    def max_positions(self) -> int:
        """The base's."""
        return self.base.max_positions

    @property
    def positions(self) -> int:
        """The base's."""
        return self.base.positions

    @property
    def sample(self) -> Sample | None:
        """The base's."""
        return self.base.sample

    def adapts(self, op: Op) -> bool:
        """Whether an op has an adapter: a matrix that is a target."""
        return self.rank > 0 and row_of(op) in self.targets and (is_linear_layer(op) or row_of(op) in OF_MIXTURE)

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The base's op table with adapters beside it, and a backward pass of what is needed.

        Adapters run in every phase: they are not merged into the matrices.
        """

        def beside(op: Op, fed: bool) -> tuple[Op, ...]:
            return self._adapter(workload, op, fed) if self.adapts(op) else ()

        if isinstance(self.base, Decoder):
            self.demand_sample(workload)
            lowest = self.lowest_trained(self.base)
            table = trained_in_part(self.base, workload, lowest=lowest, base_frozen=self.rank > 0, adapters=beside)
        else:
            from estimators.architectures.adapted_towers import (
                adapted_towers,  # deferred, as those below: most trainings are of whole models
            )

            table = adapted_towers(self.base, workload, beside)
        return stored_in(table, self.base_format, workload, self.quantises_experts)

    def lowest_trained(self, base: Decoder) -> int:
        """Index of the first layer that has something to train."""
        if not self.rank:
            return self.frozen_layers
        touched = (i for i, block in enumerate(base.blocks) if any(self.adapts(op) for op in block.ops(Workload(), base.width)))
        return min(positions(base, i)[0] for i in touched)

    def _adapter(self, w: Workload, op: Op, fed: bool) -> tuple[Op, Op]:
        assert op.mnk
        m, n, k = op.mnk
        row = partial(linear, w, op.name, "adapter", "adapter", cut="whole", rows=m, count=op.count, recomputed=op.recomputed)
        rank = self.rank
        if op.active_params is not None:
            num, rank = op.params * op.matrices_per_token // op.active_params, rank * self._halves(op)
            row = partial(row, rows=w.num_tokens * op.matrices_per_token)
        first = row(label="adapter_a", d_in=k, d_out=rank, input_grad=fed, reads=op.reads)
        second = row(label="adapter_b", d_in=rank, d_out=n, reads=(first.name,))
        if op.kind == "matmul" and not op.params and not op.weight_bytes:  # a weight that the layer uses again, and so its adapter
            first, second = (replace(each, params=0, weight_bytes=0) for each in (first, second))
        if op.frozen:  # what runs without a gradient, adapters and all
            first, second = (replace(each, backward_flop=0, saved_bytes=0) for each in (first, second))
        return (first, second) if op.active_params is None else (_of_each(first, op, num), _of_each(second, op, num))

    def _halves(self, op: Op) -> int:
        """Ranks of an expert's adapter in those of a plain one."""
        return FUSED if row_of(op) == GATE_UP and carried_over(names_in(self.base)) else 1


def _of_each(adapter: Op, expert: Op, num: int) -> Op:
    """An adapter of every one of `num` experts, from the row of one: a token meets those of the experts that it is routed to."""
    return replace(
        adapter,
        cut=expert.cut,
        params=num * adapter.params,
        active_params=expert.matrices_per_token * adapter.params,
        weight_bytes=expert.matrices_per_token * adapter.weight_bytes,
        matrices_per_token=expert.matrices_per_token,
    )


def names_in(model: Decoder | EncoderDecoder) -> dict[str, str]:
    """What peft calls the matrices of a model's mixtures that its adapters reach, to rows of the op table; empty for no mixture."""
    if not isinstance(model, Decoder):
        return {}
    parts = (part for block in model.blocks for _, part in block.parts)
    return {name: row for part in parts if isinstance(part, Experts) for name, row in part.adapter_names}


def stored_in(table: tuple[Op, ...], base_format: WeightFormat, w: Workload, experts: bool = False) -> tuple[Op, ...]:
    """The rows of frozen layers as a format holds them: their matrices quantised, biases as they were, and all else."""
    matrix = stored_matrix(base_format)
    if matrix is None:
        return table
    return tuple(held_as(op, matrix, w) if is_quantised(op, base_format, experts) else op for op in table)


def is_quantised(op: Op, base_format: WeightFormat, experts: bool = False) -> bool:
    """Whether a format is one of this row's matrices: of linear layers inside layers, of experts, or of both."""
    if not op.mnk or op.role in ("dt", "router", "adapter"):
        return False
    if op.component == "experts":
        return op.kind == "matmul" and (experts or base_format not in LAYERS_ALONE)
    return is_linear_layer(op) and base_format not in EXPERTS_ALONE


def is_linear_layer(op: Op) -> bool:
    """Whether an op is a linear layer on every token, inside a layer: no router, no bank of experts, no convolution."""
    inside = op.component in ("attention", "mlp", "state_space") or op.role in ("stream_router", "stream_mixture")
    return inside and op.kind == "matmul" and op.matrices_per_token == 1 and op.role != "convolution"


def _rows_called(target: str, has: frozenset[str]) -> frozenset[str]:
    """The rows that a target means in a model that has these rows. Two of transformers' names mean different ones.

    out_proj is a mixer's where there is one, else the attention's; c_proj closes attention and feed-forward where c_attn
    opens the attention, else the feed-forward alone.
    """
    if target == "out_proj":
        return has & {"out"} or has & {"output"}
    if target == "c_proj":
        return has & ({"output", "down"} if "query_key_value" in has else {"down"})
    return has & {target, TARGETS.get(target, target)}


def _expert_rows(target: str, experts: frozenset[str], names: Mapping[str, str]) -> frozenset[str]:
    """The rows of a mixture that a word of the op table means: its experts' matrices, or its router where peft reaches that."""
    words = {"experts": EXPERTS, "gate": {GATE_UP}, "up": {GATE_UP, UP}, "gate_up": {GATE_UP}, "down": {DOWN}}
    reached = experts | frozenset(names.values())
    return reached & frozenset(words.get(target, {target}))


@functools.lru_cache(maxsize=64)
def trained(model: Model, method: TrainingMethod) -> Model:
    """A model as a method trains it: the model itself where that is all of it.

    Raises:
        BadValueError: what the model does not have, see `with_adapters` and `with_frozen_layers`.
    """
    if method == FULL:
        return model
    if method.base_format != PLAIN and not method.rank:
        raise BadValueError(f"weights stored as {method.base_format} are not trained; give a rank for adapters beside them")
    if method.frozen_layers is not None:
        return with_frozen_layers(model, method.frozen_layers)
    adapted = with_adapters(model, method.rank, method.targets, method.base_format)
    return replace(adapted, quantises_experts=True) if method.quantises_experts else adapted


def with_adapters(model: Model, rank: int, targets: tuple[str, ...] = (), base_format: WeightFormat = PLAIN) -> FineTuned:
    """A model whose matrices are frozen, with trained adapters of low rank beside some of them.

    Args:
        model: a decoder or an encoder-decoder.
        rank: from 1.
        targets: what transformers or the op table calls the matrices, or "all-linear"; queries and values if empty.
        base_format: what the frozen matrices are stored as.

    Raises:
        BadValueError: a model that does not generate, a rank below 1, or a target that the model does not have.

    >>> from estimators.facts.registry import model_entry
    >>> from estimators.architectures.from_config import model_from_config
    >>> tuned = with_adapters(model_from_config(model_entry("llama-2-7b").config, "llama-2-7b"), rank=8)
    >>> sum(op.count * op.trainable_params for op in tuned.ops(Workload()))
    4194304
    """
    from estimators.architectures.encoder_decoder import EncoderDecoder
    from estimators.architectures.traced_decoder import as_decoder

    model = as_decoder(model) or model
    if not isinstance(model, (Decoder, EncoderDecoder)):
        raise BadValueError(f"adapters on {model.name}: expected a language model that generates")
    if rank < 1:
        raise BadValueError(f"an adapter of rank {rank}; expected a whole number from 1")
    ops, names = model.ops(Workload()), names_in(model)
    has = frozenset(op.role for op in ops if is_linear_layer(op))
    if ALL_LINEAR in targets:
        taken = frozenset(TARGETS[name] for name in names if name in TARGETS)
        every = (has - taken) | frozenset(names.values())
        demand_plain(model.name, every)
        return FineTuned(base=model, rank=rank, targets=every, words=targets, base_format=base_format)
    experts = frozenset(row_of(op) for op in ops if op.component == "experts") & EXPERTS
    chosen = frozenset(DEFAULT_TARGETS) & has if not targets else frozenset()
    for target in targets:
        if target in names:
            demand_both_halves(target, targets, names)
            chosen |= {names[target]}
            continue
        plain = T5_TARGETS.get(target, target) if isinstance(model, EncoderDecoder) else target
        rows = _rows_called(plain, has) | _expert_rows(plain, experts, names)
        if not rows:
            known = sorted({*has, *names, *(("experts", "up", "down") if experts else ())})
            raise BadValueError(f"{model.name} has no linear layer {target[:40]!r}; expected {ALL_LINEAR} or some of: {', '.join(known)}")
        chosen |= rows
    demand_plain(model.name, chosen)
    return FineTuned(base=model, rank=rank, targets=chosen, words=targets, base_format=base_format)


def with_frozen_layers(model: Model, layers: int) -> FineTuned:
    """A decoder whose embedding and first layers are frozen, the rest trained.

    Args:
        layers: how many, from 0 (the embedding alone) to all.

    Raises:
        BadValueError: no decoder, or more layers than it has.
    """
    from estimators.architectures.shared_transformer import SharedTransformer
    from estimators.architectures.traced_decoder import TracedPart, as_decoder

    model = as_decoder(model) or model
    if not isinstance(model, Decoder):
        raise BadValueError(f"frozen layers of {model.name}: expected a decoder-only language model")
    if not all(part.is_even for block in model.blocks for _, part in block.parts if isinstance(part, TracedPart)):
        raise BadValueError(f"frozen layers of {model.name}: its op table was traced, and does not say which of its layers are alike")
    if not 0 <= layers <= model.layers:
        raise BadValueError(f"{layers} frozen layers: {model.name} has {model.layers}; expected from 0 to that")
    parts = [(i, part) for i, block in enumerate(model.blocks) for _, part in block.parts if isinstance(part, SharedTransformer)]
    first = min((positions(model, i)[0] for i, part in parts if part.owned), default=0)
    if layers > first and not all(part.owned for _, part in parts):
        raise BadValueError(
            f"{layers} frozen layers: later layers of {model.name} run with the weights of layer {first + 1}, and would be frozen in part; "
            f"expected at most {first}"
        )
    return FineTuned(base=model, frozen_layers=layers)
