"""The closed formulas of the literature, for models whose layers are all of one plain kind: PaLM, Chinchilla, Megatron."""

from __future__ import annotations

from estimators.architectures.attention import Attention
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import FeedForward
from estimators.counting import formulas
from estimators.counting.conventions import step_flop
from estimators.counting.estimate import count_params
from estimators.counting.rule_of_thumb import Rule, named, weights_per_token
from estimators.frozen import replace
from estimators.spec import Op, Source, Workload

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
