"""The rules of thumb beside the exact count: each with its citation, its ratio, and what it leaves out or adds."""

from __future__ import annotations

from estimators.architectures.attention import Attention
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import FeedForward
from estimators.counting import formulas
from estimators.counting.conventions import step_flop
from estimators.counting.estimate import count_active_params, count_params
from estimators.frozen import frozen, replace
from estimators.spec import Model, Op, Source, Workload


@frozen
class Rule:
    """One rule of thumb applied to one step.

    Attributes:
        flop: what the rule says.
        exact_flop: the exact count that it approximates, under `convention`.
        difference: named parts, in FLOP, that add up to flop - exact_flop.
    """

    name: str
    formula: str
    flop: int
    exact_flop: int
    convention: str
    difference: tuple[tuple[str, int], ...]
    source: Source

    @property
    def ratio(self) -> float:
        """Rule over exact count."""
        return self.flop / self.exact_flop

    @property
    def unexplained_flop(self) -> int:
        """What the named parts leave over: each is computed by itself, so 0 is a finding."""
        return self.flop - self.exact_flop - sum(part for _, part in self.difference)


def weights_per_token(ops: tuple[Op, ...], *, owned_only: bool = False) -> int:
    """Weights that one token is multiplied with; a tied head belongs to the embedding, so it is not owned."""
    return sum(op.count * op.weights_per_token for op in ops if op.params or not owned_only)


def named(*parts: tuple[str, int]) -> tuple[tuple[str, int], ...]:
    """The parts that are not 0."""
    return tuple((what, flop) for what, flop in parts if flop)


KAPLAN = Source(title="Kaplan et al. 2020, Scaling Laws for Neural Language Models, section 2.1", url="https://arxiv.org/abs/2001.08361")
TRAINER = Source(title="transformers 5, Trainer.floating_point_ops", url="https://huggingface.co/docs/transformers/main_classes/trainer")

TRAINER_RULE = "transformers' Trainer"


def _flop(ops: tuple[Op, ...], *, kinds: tuple[str, ...] = (), components: tuple[str, ...] = (), train: bool) -> int:
    chosen = (op for op in ops if (not kinds or op.kind in kinds) and (not components or op.component in components))
    return sum(op.count * (op.flop + (op.backward_flop if train else 0)) for op in chosen)


def _per_param_rule(
    name: str,
    formula: str,
    ops: tuple[Op, ...],
    workload: Workload,
    source: Source,
    *,
    lookups: bool,
    head: bool,
    tokens: int | None = None,
) -> Rule:
    """6·N·D or 2·N·D, and where it departs from the exact count.

    Args:
        lookups: whether N holds the embedding tables (and with them a tied head).
        head: whether N holds a head of its own.
        tokens: D, where it is not the tokens of the step.
    """
    train = workload.phase == "train"
    tokens = workload.num_tokens if tokens is None else tokens
    per_token = (6 if train else 2) * tokens
    lookup_params = sum(op.count * op.params for op in ops if op.kind == "lookup")
    head_params = sum(op.count * op.params for op in ops if op.component == "head")
    head_weights = sum(op.count * op.weights_per_token for op in ops if op.component == "head")
    unrouted = count_params(ops) - count_active_params(ops)
    tied = head_weights > 0 and head_params < head_weights
    rest_params = count_params(ops) - lookup_params - head_params
    rest_weights = weights_per_token(ops) - head_weights
    in_n = rest_params + (lookup_params if lookups else 0) + (head_params if head else 0)
    repeated = sum(op.count * op.weights_per_token for op in ops if not op.params and op.component != "head")
    idle = rest_params - unrouted - (rest_weights - repeated) + (head_params - (0 if tied else head_weights) if head else 0)
    missing_head = head_weights if tied or not head else 0
    frozen = sum(op.count * op.flop for op in ops if op.frozen and op.kind == "matmul") if train else 0
    parts = (
        ("embedding tables, which are looked up and multiply nothing", per_token * lookup_params if lookups else 0),
        ("experts that a token is not routed to", per_token * unrouted),
        ("biases, norms and other parameters, which multiply nothing", per_token * idle),
        ("layers that run again with weights which N holds once", -per_token * repeated),
        ("head, which multiplies but is not in N by itself", -per_token * missing_head),
        ("products of activations (attention), which have no parameters", -_flop(ops, kinds=("attention",), train=train)),
        ("scans of a state and mixtures of streams, which have no parameters", -_flop(ops, kinds=("scan",), train=train)),
        ("frozen matrices, which need no weight gradient", frozen),
        (
            "matrices that meet other numbers of tokens (head of a prefill, cached latents, an encoder's source, positions of "
            "an image), or need no input gradient",
            per_token * weights_per_token(ops) - _flop(ops, kinds=("matmul",), train=train) - frozen,
        ),
    )
    return Rule(
        name=name,
        formula=formula,
        flop=(formulas.six_nd if train else formulas.two_n)(in_n, tokens),
        exact_flop=step_flop(ops, workload)["full"],
        convention="full",
        difference=named(*parts),
        source=source,
    )


def rules(model: Model, workload: Workload) -> tuple[Rule, ...]:
    """Every rule that applies to the model and phase, for one step.

    Decode and prefill know only 2·N; the closed formulas are for whole sequences.
    """
    ops = model.ops(workload)
    product = "6·N·D" if workload.phase == "train" else "2·N·D"
    listed = [
        _per_param_rule(f"{product}, all parameters", f"{product}, N = every parameter", ops, workload, KAPLAN, lookups=True, head=True)
    ]
    if any(op.kind == "lookup" for op in ops):
        name = f"{product}, without embeddings"
        listed.append(_per_param_rule(name, f"{product}, N without embeddings and head", ops, workload, KAPLAN, lookups=False, head=False))
        if workload.phase == "train":
            formula, main_input = f"{product}, N without embedding modules", _main_input_elements(model, workload)
            listed.append(_per_param_rule(TRAINER_RULE, formula, ops, workload, TRAINER, lookups=False, head=True, tokens=main_input))
    if isinstance(model, Decoder) and model.plain_block and workload.phase in ("train", "forward"):
        listed += closed_formulas(model, ops, workload)
    return tuple(listed)


def _main_input_elements(model: Model, workload: Workload) -> int:
    """What transformers' Trainer takes for D: elements of a model's first input, be they tokens or not."""
    if isinstance(model, Decoder):
        return workload.num_tokens
    from estimators.architectures.encoder_decoder import EncoderDecoder  # deferred: most models are decoders
    from estimators.architectures.vision import DualEncoder

    base = model.base  # adapters read what the model reads
    return base.main_input_elements(workload) if isinstance(base, (EncoderDecoder, DualEncoder)) else workload.num_tokens


PALM = Source(title="Chowdhery et al. 2022, PaLM, appendix B", url="https://arxiv.org/abs/2204.02311")
CHINCHILLA = Source(
    title="Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, appendix F", url="https://arxiv.org/abs/2203.15556"
)
MEGATRON = Source(
    title="Narayanan et al. 2021, Efficient Large-Scale Language Model Training, equation 3", url="https://arxiv.org/abs/2104.04473"
)


def closed_formulas(model: Decoder, ops: tuple[Op, ...], workload: Workload) -> list[Rule]:
    """Those that apply to the phase. `model` has a `plain_block`."""
    formulas = [_chinchilla(model, ops, workload)]
    if workload.phase == "train":
        formulas = [_palm(model, ops, workload), *formulas, _megatron(model, workload)]
    return formulas


def _plain(model: Decoder) -> tuple[Attention, FeedForward]:
    assert model.plain_block
    block, feed_forward = model.plain_block
    assert block.attention
    return block.attention, feed_forward


def _palm(model: Decoder, ops: tuple[Op, ...], workload: Workload) -> Rule:
    attention, _ = _plain(model)
    t, tokens = workload.seq_len, workload.num_tokens
    params = count_params(ops)
    lookups = sum(op.count * op.params for op in ops if op.kind == "lookup")
    weights, owned = weights_per_token(ops), weights_per_token(ops, owned_only=True)
    return Rule(
        name="PaLM",
        formula="(6·N + 12·L·H·Q·T)·D",
        flop=formulas.palm_training_flop(params, model.layers, attention.heads, attention.head_width, t, tokens),
        exact_flop=step_flop(ops, workload)["full"],
        convention="full",
        difference=named(
            ("embedding tables, which are looked up and multiply nothing", 6 * tokens * lookups),
            ("biases and norms, which multiply nothing", 6 * tokens * (params - lookups - owned)),
            ("head tied to the embedding: looked up once, multiplied once", -6 * tokens * (weights - owned)),
        ),
        source=PALM,
    )


def _shape_terms(model: Decoder, tokens: int, ffn_width: int) -> tuple[int, int]:
    """Forward FLOP that a plain GPT block (no grouped keys and values, no gate, N·H = D) has above the model's own."""
    attention, feed_forward = _plain(model)
    q, kv = attention.inner_width, attention.kv_heads * attention.head_width
    projections = 2 * tokens * model.layers * model.width * (4 * q - (2 * q + 2 * kv))
    ffn = 2 * tokens * model.layers * model.width * (2 * ffn_width - (3 if feed_forward.gated else 2) * feed_forward.width)
    return projections, ffn


def _chinchilla(model: Decoder, ops: tuple[Op, ...], workload: Workload) -> Rule:
    b, t = workload.batch, workload.seq_len
    passes = 3 if workload.phase == "train" else 1
    attention, feed_forward = _plain(model)
    projections, ffn = _shape_terms(model, workload.num_tokens, feed_forward.width)
    forward = formulas.chinchilla_forward_flop(
        layers=model.layers,
        width=model.width,
        heads=attention.heads,
        key_width=attention.head_width,
        ffn_width=feed_forward.width,
        vocab=model.vocab,
        seq_len=t,
        num_sequences=b,
    )
    return Rule(
        name="Chinchilla",
        formula="embeddings + L·(attention + dense) + logits" + (", times 3" if passes == 3 else ""),
        flop=passes * forward,
        exact_flop=step_flop(ops, workload)["full"],
        convention="full",
        difference=named(
            ("token embedding as a product with a one-hot matrix", passes * 2 * b * t * model.vocab * model.width),
            ("softmax at 3 FLOP per score", passes * 3 * b * model.layers * attention.heads * t * t),
            ("keys and values shared by several heads, which the formula does not know", passes * projections),
            ("a gated feed-forward, which the formula does not know", passes * ffn),
        ),
        source=CHINCHILLA,
    )


def _megatron(model: Decoder, workload: Workload) -> Rule:
    b, t = workload.batch, workload.seq_len
    recomputing = replace(workload, recompute="full")
    inner = _plain(model)[0].inner_width
    projections, ffn = _shape_terms(model, workload.num_tokens, 4 * model.width)
    wider = 2 * workload.num_tokens * model.layers * (model.width - inner) * (4 * model.width + 2 * t)
    return Rule(
        name="Megatron with recomputation",
        formula="96·B·s·l·h²·(1 + s/(6h) + V/(16·l·h))",
        flop=formulas.megatron_training_flop(
            num_sequences=b, seq_len=t, layers=model.layers, width=model.width, vocab=model.vocab, recompute=True
        ),
        exact_flop=step_flop(model.ops(recomputing), recomputing)["hardware"],
        convention="hardware",
        difference=named(
            ("keys and values shared by several heads, which the formula does not know", 4 * projections),
            ("a feed-forward that is not two matrices of 4·h", 4 * ffn),
            ("heads that are not h wide together", 4 * wider),
        ),
        source=MEGATRON,
    )
