"""Deciding what a request leaves open: sizes, prompt length, steps. No torch, so that an estimate can come first."""

from __future__ import annotations

import dataclasses

from bench.records.request import TASKS, Request
from estimators.architectures.decoder import Decoder
from estimators.errors import BadValueError, UnknownNameError
from estimators.spec import Model

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


def resolve(request: Request, model: Model, *, prompt_tokens: int | None) -> Request:
    """The request with every size decided.

    Args:
        prompt_tokens: length of the tokenized prompt; None where no tokenizer is at hand.

    Raises:
        UnknownNameError: no such task.
        BadValueError: sizes out of range, or a sequence longer than the model's positions.
    """
    if request.task not in TASKS:
        raise UnknownNameError("task", request.task, TASKS, "python -m bench list tasks")
    if not isinstance(model, Decoder):
        if request.task != "train":
            raise BadValueError(f"{request.model} has no {request.task} task; it is trained: use --task train")
        return dataclasses.replace(request, batch=request.batch or 1, seq_len=1, num_beams=1, new_tokens=0)
    if request.task == "generate":
        seq_len = request.seq_len or prompt_tokens or ARTICLE_PROMPT_TOKENS
        new_tokens = request.new_tokens or max(1, ARTICLE_MAX_LENGTH - seq_len)
        beams = request.num_beams or ARTICLE_BEAMS
    else:
        seq_len = request.seq_len or min(DEFAULT_PROMPT_TOKENS[request.task], model.max_positions // 2)
        new_tokens = request.new_tokens or (DEFAULT_DECODE_TOKENS if request.task == "decode" else 0)
        beams = request.num_beams or 1
    resolved = dataclasses.replace(request, batch=request.batch or 1, seq_len=seq_len, new_tokens=new_tokens, num_beams=beams)
    _check(resolved, model)
    return resolved


def _check(request: Request, model: Decoder) -> None:
    seq_len, new_tokens, rows = request.seq_len or 0, request.new_tokens or 0, (request.batch or 0) * (request.num_beams or 0)
    if not 1 <= rows <= MAX_ROWS:
        raise BadValueError(
            f"batch {request.batch} with {request.num_beams} beams is out of range; expected 1 to {MAX_ROWS:,} rows together"
        )
    if seq_len + new_tokens > model.max_positions:
        raise BadValueError(
            f"{seq_len} prompt and {new_tokens} new tokens are more than the {model.max_positions} positions of {model.name}; "
            "shorten --seq-len or --new-tokens"
        )
    if request.task == "decode" and new_tokens < 2:
        raise BadValueError(f"--new-tokens {new_tokens} leaves no decode step, since the prefill gives the first token; expected 2 or more")
    if request.layers is not None and not 2 <= request.layers <= model.layers:
        raise BadValueError(
            f"--layers {request.layers} is out of range; expected 2 to {model.layers}: slices of half and of all of them are measured"
        )
    if request.task == "train" and seq_len < 2:
        raise BadValueError(f"--seq-len {seq_len} leaves no next token to learn; expected 2 or more")
