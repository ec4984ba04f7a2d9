"""What an engine does around its forward passes, measured while it serves a model that costs next to nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from bench.backend import device as devices
from bench.backend.models import random_language_model
from bench.calibration.paged_passes import is_alone, timed
from bench.records.calibration import Calibration
from bench.statistics.robust import median
from bench.workloads.serving.engine import Pass, prompts_of, serve
from bench.workloads.serving.run import ServingRun
from estimators.cost.array_math import Lane
from estimators.frozen import frozen
from estimators.profile.operator_times import Host

NARROW = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
}
"""What its passes take is what issuing operators costs, what lies between them is the engine's."""

LOADS = ((1, 8), (8, 8), (8, 256))
"""Sequences, and tokens of a prompt: one and several, with few keys and with many."""

DEPTHS, ANSWER_TOKENS, LOAD_ROUNDS = (1, 6), 40, 4
FEW_TOKENS = 64
"""A vocabulary that takes no time."""


@frozen
class EngineHost:
    """What the engine does beside a step's forward pass, and what passes cost to issue.

    It takes requests in, schedules, lists the keys that are read, fills the mask of tokens by keys, takes the likeliest token of each
    sequence and gives answers back.

    Attributes:
        step_s: of each step.
        sequence_s: for each sequence in it: its row of logits over the vocabulary, its place in the batch.
        key_s: for each key that is seen; cell_s: for each of tokens x keys in the mask.
        admitted_s: for each prompt whose place another answer had.
        issue: of a pass, and for each operator in it.
    """

    step_s: float
    sequence_s: float
    key_s: float = 0.0
    cell_s: float = 0.0
    admitted_s: float = 0.0
    issue: Host = Host(fixed_s=0.0, per_op_s=0.0)

    def seconds(self, sequences: Lane, *, tokens: Lane, keys: Lane, admitted: Lane = 0.0) -> Lane:
        """Of one step, beside its pass."""
        return self.step_s + self.sequence_s * sequences + self.key_s * keys + self.cell_s * tokens * keys + self.admitted_s * admitted


def engine_host(run: ServingRun, calibration: Calibration, vocab: int) -> EngineHost:
    """Measured on narrow models in the run's dtype: loads of several sizes with the run's vocabulary, and two depths.

    Each term is one unknown of as many equations: steps that decode under each load, and those that take all prompts of a round in.

    Args:
        vocab: of the run's model.
    """
    rows = [row for sequences, prompt in LOADS for row in _between(run, sequences, prompt, vocab)]
    terms, seconds = np.array([each[0] for each in rows]), np.array([each[1] for each in rows])
    found, *_ = np.linalg.lstsq(terms / seconds[:, None], np.ones(len(rows)), rcond=None)
    step_s, sequence_s, key_s, cell_s, admitted_s = (max(0.0, float(each)) for each in found)
    return EngineHost(
        step_s=step_s, sequence_s=sequence_s, key_s=key_s, cell_s=cell_s, admitted_s=admitted_s, issue=_issue(run, calibration)
    )


def _between(run: ServingRun, sequences: int, prompt: int, vocab: int) -> Iterator[tuple[tuple[float, ...], float]]:
    """Terms and median seconds of the steps that decode under a load, and of those that take a whole round in."""
    passes = _narrow(run, sequences, prompt, vocab=vocab)[1]
    for tokens in (sequences, sequences * prompt):
        steps = [
            (later.keys, _between_s(run, earlier, later))
            for earlier, later in pairwise(passes)
            if (earlier.tokens, later.tokens) == (sequences, tokens)
        ]
        if steps:
            keys, seconds_s = (median(column) for column in zip(*steps, strict=True))
            yield (1.0, sequences, keys, tokens * keys, sequences if tokens > sequences else 0), seconds_s


def _issue(run: ServingRun, calibration: Calibration) -> Host:
    """A line through two depths: what passes of as many sequences as the run's take beyond their operators, timed alone."""
    issued = []
    for depth in DEPTHS:
        narrow, passes = _narrow(run, run.sequences, LOADS[0][1], depth=depth)
        decoded = [each for each in passes if each.tokens == run.sequences]
        size = run.sequences, round(median([each.keys for each in decoded]))
        made = timed(narrow, [size], calibration, Host(fixed_s=0.0, per_op_s=0.0))[size]
        issued.append((made.num_ops, max(0.0, median([_pass_s(run, each) for each in decoded]) - made.seconds_s)))
    (few_ops, shallow_s), (many_ops, deep_s) = issued
    per_op_s = max(0.0, (deep_s - shallow_s) / (many_ops - few_ops))
    return Host(fixed_s=max(0.0, shallow_s - per_op_s * few_ops), per_op_s=per_op_s)


def _narrow(
    run: ServingRun, sequences: int, prompt: int, *, depth: int = DEPTHS[0], vocab: int = FEW_TOKENS
) -> tuple[ServingRun, list[Pass]]:
    """A narrow model served in rounds of so many prompts, and its passes; those of the first round warm up."""
    config = {**NARROW, "num_hidden_layers": depth, "vocab_size": vocab}
    narrow = dataclasses.replace(
        run,
        config=config,
        seq_len=prompt,
        new_tokens=ANSWER_TOKENS,
        requests=sequences * LOAD_ROUNDS,
        concurrency=sequences,
        rate=None,
        num_blocks=sequences * -(-(prompt + ANSWER_TOKENS) // run.page_size),
        max_batch_tokens=sequences * prompt,
    )
    model = random_language_model(config, attn=run.attn, dtype=devices.dtype(run.dtype), device=run.device.torch_device, seed=0).eval()
    passes = serve(model, prompts_of(narrow, vocab), narrow).passes
    return narrow, passes[len(passes) // LOAD_ROUNDS :]


def _between_s(run: ServingRun, earlier: Pass, later: Pass) -> float:
    return later.begun_processor_s - earlier.ended_processor_s if is_alone(run) else later.begun_s - earlier.ended_s


def _pass_s(run: ServingRun, each: Pass) -> float:
    return each.ended_processor_s - each.begun_processor_s if is_alone(run) else each.ended_s - each.begun_s
