"""The state that each pipeline stage of a device holds: weights, gradients, and what the optimizer keeps."""

from __future__ import annotations

from estimators.cost.array_math import Lane, choose, greater, smaller, up
from estimators.cost.layout import Layout
from estimators.cost.tensor_cut import CutParams
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.memory.kernels import LIVE_PARAMS, PREFETCHED_PARAMS, REDUCED_PARAMS
from estimators.memory.layer_memory import ModelMemory
from estimators.memory.optimizers import TrainedTensor
from estimators.memory.optimizers import optimizer as optimizer_named
from estimators.training.sequence_cost import SequenceCost

_MATRIX = TrainedTensor(rows=4096, columns=4096, is_linear=True)


def _per_element(name: str) -> float:
    """State bytes of an fp32 weight of a large matrix, by transformers' name of the optimizer."""
    return optimizer_named(name).state_bytes(_MATRIX) / _MATRIX.params


STATE_BYTES = {
    "adamw": _per_element("adamw_torch"),
    "adamw-8bit": _per_element("adamw_8bit"),
    "sgd": _per_element("sgd"),
    "sgd-momentum": 4.0,
}
"""AdamW keeps two fp32 moments (Kingma and Ba 2014, arXiv 1412.6980), in 8 bits a byte each and an fp32 scale for a block of 256
(Dettmers et al. 2021, arXiv 2110.02861; bitsandbytes 0.50); plain gradient descent nothing, with momentum one."""

OPTIMIZERS = (*STATE_BYTES, "adafactor", "muon")


def optimizer_bytes(work: SequenceCost, optimizer: str) -> float:
    """State bytes per parameter, averaged over the model.

    Adafactor keeps a row and a column of each matrix, 4·(n + k) bytes, no first moment (Shazeer and Stern 2018, arXiv
    1804.04235, section 3). Muon keeps one momentum for matrices of layers, 4 bytes, and AdamW's 8 for embedding, head and
    vectors (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

    Raises:
        BadValueError: an unknown optimizer.
    """
    if optimizer in STATE_BYTES:
        return STATE_BYTES[optimizer]
    if optimizer not in OPTIMIZERS:
        raise BadValueError(f"optimizer {optimizer!r} is unknown; expected one of: {', '.join(OPTIMIZERS)}")
    inner = [p for p in work.products if p.cut != "vocabulary"]
    matrices = sum(p.count * p.experts * p.n * p.k for p in inner)
    if optimizer == "muon":
        return 8 - 4 * min(1.0, matrices / work.params)
    lines = sum(p.count * p.experts * (p.n + p.k) for p in inner)
    tables = sum(work.vocab + work.width for size in (work.embedding_params, work.head_params) if size)
    vectors = max(0, work.params - matrices - work.embedding_params - work.head_params)
    return 4 * (lines + tables + vectors) / work.params


GATHERED_LAYERS = 2
"""Layers whose sharded weights are there in full at once: the one that runs, and the next."""


@frozen
class PipelineStage:
    """One pipeline stage of a device.

    Attributes:
        first_layers, rest_layers: layers of either kind.
        embedding: whether it holds the embedding, as a number.
        edge: whether it holds what belongs to no layer, such as the final norm, as a number.
        head_params: of the head that a rank of it holds; a tied head on another stage than the embedding is a copy.
        flights: micro-batches whose activations it holds at once.
        loss: whether the loss is computed here.
    """

    first_layers: Lane
    rest_layers: Lane
    embedding: Lane
    edge: Lane
    head_params: Lane
    flights: Lane
    loss: bool

    def of_layers(self, first: Lane, rest: Lane) -> Lane:
        """A sum over its layers, from one layer of either kind."""
        return self.first_layers * first + self.rest_layers * rest


def micro_batches(layout: Layout) -> Lane:
    """Passes of one step; Layout.num_micro_batches, for arrays as well."""
    return layout.global_batch / (layout.dp * layout.micro_batch)


def stages_of(model_memory: ModelMemory, layout: Layout) -> tuple[PipelineStage, PipelineStage, PipelineStage]:
    """The first, the second and the last stage, the fullest candidates; without a pipeline all are the same.

    The first has min(pp, micro-batches) in flight, times 1 + (pp - 1) / (pp · vp) under interleaving; each later stage one
    less, the last one. Layers that do not divide are rounded up on every stage: the fullest is what counts.

    Source: Korthikanti et al. 2022 (arXiv 2205.05198), section 4.2.3 and appendix; Narayanan et al. 2021 (arXiv 2104.04473), section 2.2.
    """
    work, pp, early = model_memory.work, layout.pp, model_memory.num_first
    staged, micro, layers = layout.pp > 1, micro_batches(layout), up(work.layers / layout.pp)
    extra = choose(layout.vp > 1, (pp - 1) / layout.vp, 0)
    first = smaller(micro, pp + extra)
    last = smaller(micro, choose(layout.vp > 1, pp - extra, 1))
    tied = work.head_params == 0
    own_head = work.head.on_rank(layout.tp)
    last_head = CutParams(tables=work.embedding.tables, vocab=work.vocab).on_rank(layout.tp) if tied else own_head
    counts = [greater(smaller(early - layers * before, layers), 0) for before in (0, 1, pp - 1)]
    return (
        PipelineStage(
            first_layers=counts[0],
            rest_layers=layers - counts[0],
            embedding=1,
            edge=choose(staged, 0, 1),
            head_params=choose(staged, 0, own_head),
            flights=first,
            loss=False,
        ),
        PipelineStage(
            first_layers=counts[1],
            rest_layers=choose(staged, layers - counts[1], 0),
            embedding=0,
            edge=0,
            head_params=0,
            flights=smaller(micro, greater(first - 1, 1)),
            loss=False,
        ),
        PipelineStage(
            first_layers=counts[2],
            rest_layers=layers - counts[2],
            embedding=choose(staged, 0, 1),
            edge=1,
            head_params=choose(staged, last_head, own_head),
            flights=last,
            loss=True,
        ),
    )


def states_of(
    model_memory: ModelMemory, layout: Layout, stage: PipelineStage, *, gradient_bytes: float, state_bytes: float
) -> dict[str, Lane]:
    """Bytes of weights, gradients, fp32 masters and optimizer state, and of layers on their way from and to other replicas.

    ZeRO shares out optimizer state and masters (1), gradients (2), weights (3) between dp · cp replicas, those of experts
    between the replicas of an expert. What is on its way is never more than what was shared out.

    Args:
        gradient_bytes, state_bytes: per trained parameter.

    Source: Rajbhandari et al. 2019, ZeRO (arXiv 1910.02054), section 5.
    """
    work, kernels, size = model_memory.work, model_memory.kernels, model_memory.element_bytes
    trained = work.trained_params / work.params
    first, rest = model_memory.first, model_memory.rest
    first_dense, rest_dense = first.dense.on_rank(layout.tp), rest.dense.on_rank(layout.tp)
    tables = stage.embedding * work.embedding.on_rank(layout.tp) + stage.edge * model_memory.edge.on_rank(layout.tp) + stage.head_params
    dense = stage.of_layers(first_dense, rest_dense) + tables
    expert = stage.of_layers(first.expert_params, rest.expert_params) / layout.ep
    replicas, three = layout.dp * layout.cp, layout.zero >= 3
    cut = choose(three & (layout.shard > 0), layout.shard * layout.cp, replicas)
    expert_cut = greater(layout.tp * cut / layout.ep, 1)

    def held(from_stage: int) -> Lane:
        sharded = layout.zero >= from_stage
        return dense / choose(sharded, cut, 1) + expert / choose(sharded, expert_cut, 1)

    masters = 4 * trained if kernels.masters and size < 4 else 0.0
    stored = size if kernels.masters else 4 * trained + size * (1 - trained)
    stored = stored - (size * work.quantised_params - work.quantised_bytes) / work.params
    copies = 0.0 if kernels.masters or size >= 4 else size * trained
    gradients = (gradient_bytes + kernels.more_gradient_bytes) * trained
    layer = greater(first_dense + first.expert_params / layout.ep, rest_dense + rest.expert_params / layout.ep)
    whole = dense + expert
    there, going = GATHERED_LAYERS * layer, layer
    if kernels.gathers != "layers":
        largest = model_memory.largest_matrix(layout.tp)
        there, going = 2 * largest, largest
    if kernels.gathers == "deepspeed":
        there, going = greater(largest, LIVE_PARAMS) + PREFETCHED_PARAMS, greater(largest, REDUCED_PARAMS)
    gathered = smaller(there * size, (stored + copies) * whole - stored * held(3))
    reduced = smaller(going * size, gradients * (whole - held(2)))
    return {
        "weights": stored * held(3) + copies * choose(three, 0, whole),
        "gradients": gradients * held(2),
        "master_weights": masters * held(1),
        "optimizer": state_bytes * trained * held(1),
        "gathered": choose(three, gathered, 0),
        "reducing": choose(layout.zero >= 2, reduced, 0),
    }
