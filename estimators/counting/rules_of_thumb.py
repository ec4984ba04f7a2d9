"""The rules of thumb beside the exact count: each with its citation, its ratio, and what it leaves out or adds."""

from __future__ import annotations

from estimators.architectures.decoder import Decoder
from estimators.counting import formulas
from estimators.counting.closed_formulas import closed_formulas
from estimators.counting.conventions import step_flop
from estimators.counting.estimate import count_active_params, count_params
from estimators.counting.rule_of_thumb import Rule, named, weights_per_token
from estimators.spec import Model, Op, Source, Workload

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
        ("scans of a state, which have no parameters", -_flop(ops, kinds=("scan",), train=train)),
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

    return model.main_input_elements(workload) if isinstance(model, (EncoderDecoder, DualEncoder)) else workload.num_tokens
