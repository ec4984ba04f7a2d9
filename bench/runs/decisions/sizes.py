"""Deciding the sizes that a request leaves open. No torch."""

from __future__ import annotations

from typing import NamedTuple

from bench.records.request import TASKS, Request
from estimators.architectures.decoder import Decoder
from estimators.errors import BadValueError, UnknownNameError

ARTICLE_PROMPT = "深度学习是"
ARTICLE_PROMPT_TOKENS = 10
"""The article's prompt under GPT-2's byte-pair merges, which Phi-2's tokenizer shares.

The ids are 162, 115, 109, 41753, 99, 27764, 99, 20046, 254, 42468.
"""
ARTICLE_MAX_LENGTH = 50
ARTICLE_BEAMS = 5

DEFAULT_PROMPT_TOKENS = {"prefill": 512, "decode": 128, "train": 512}
DEFAULT_DECODE_TOKENS = 33
"""One token from the prefill and 32 timed steps."""

MAX_ROWS = 2**20


class Sizes(NamedTuple):
    """Prompts (or sequences) of a step, their tokens, tokens to generate after each, and beams of each."""

    batch: int
    seq_len: int
    new_tokens: int
    num_beams: int


def sizes(request: Request, model: Decoder, *, prompt_tokens: int | None) -> Sizes:
    """The sizes of a causal language model's request.

    Args:
        prompt_tokens: length of the tokenized prompt; None where no tokenizer is at hand.

    Raises:
        UnknownNameError: no such task.
        BadValueError: sizes out of range, or a sequence longer than the model's positions.
    """
    if request.task not in TASKS:
        raise UnknownNameError("task", request.task, TASKS, "python -m bench list tasks")
    if request.task == "generate":
        seq_len = request.seq_len or prompt_tokens or ARTICLE_PROMPT_TOKENS
        new_tokens = request.new_tokens or max(1, ARTICLE_MAX_LENGTH - seq_len)
        beams = request.num_beams or ARTICLE_BEAMS
    else:
        seq_len = request.seq_len or min(DEFAULT_PROMPT_TOKENS[request.task], model.max_positions // 2)
        new_tokens = request.new_tokens or (DEFAULT_DECODE_TOKENS if request.task == "decode" else 0)
        beams = request.num_beams or 1
    decided = Sizes(batch=request.batch or 1, seq_len=seq_len, new_tokens=new_tokens, num_beams=beams)
    _check(decided, request.task, request.layers, model)
    return decided


def _check(decided: Sizes, task: str, layers: int | None, model: Decoder) -> None:
    batch, seq_len, new_tokens, beams = decided
    if not 1 <= batch * beams <= MAX_ROWS:
        raise BadValueError(f"batch {batch} with {beams} beams is out of range; expected 1 to {MAX_ROWS:,} rows together")
    if seq_len + new_tokens > model.max_positions:
        raise BadValueError(
            f"{seq_len} prompt and {new_tokens} new tokens are more than the {model.max_positions} positions of {model.name}; "
            "shorten --seq-len or --new-tokens"
        )
    if task == "decode" and new_tokens < 2:
        raise BadValueError(f"--new-tokens {new_tokens} leaves no decode step, since the prefill gives the first token; expected 2 or more")
    if layers is not None and not 2 <= layers <= model.layers:
        raise BadValueError(
            f"--layers {layers} is out of range; expected 2 to {model.layers}: slices of half and of all of them are measured"
        )
    if task == "train" and seq_len < 2:
        raise BadValueError(f"--seq-len {seq_len} leaves no next token to learn; expected 2 or more")
