"""A text that the trained language model writes, as proof that it has learned to."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from bench.records.draft import Draft
from bench.records.learning import Learning
from bench.records.proof import Proof
from bench.records.record import Phase
from bench.records.request import Request
from bench.workloads.article import text
from bench.workloads.article.hyperparameters import Plan
from estimators.errors import BadValueError

PROMPT = "\n"
"""The end of a line: what follows is a new one."""


def sample_sizes(request: Request, decided: Plan) -> tuple[str, int]:
    """The prompt and the number of characters to write after it.

    Raises:
        BadValueError: characters that are not in the alphabet, or more than the model has positions for.
    """
    prompt = request.prompt or PROMPT
    unknown = sorted(set(prompt) - set(text.alphabet()))
    if unknown:
        raise BadValueError(
            f"the prompt has characters that {request.model} does not know: {''.join(unknown)[:40]!r}; it knows {text.alphabet()!r}"
        )
    room = int(decided.config.get("n_positions", 1024)) - len(prompt)
    new_tokens = room if request.new_tokens is None else request.new_tokens
    if not 1 <= new_tokens <= room:
        raise BadValueError(f"--new-tokens {new_tokens} is out of range; expected 1 to {room} after a prompt of {len(prompt)} characters")
    return prompt, new_tokens


def write_sample(request: Request, draft: Draft, decided: Plan, model: nn.Module) -> None:
    """Let the model write, character by character at its own probabilities, and hold the lines against the grammar."""
    prompt, new_tokens = sample_sizes(request, decided)
    index = {character: i for i, character in enumerate(text.alphabet())}
    device = next(model.parameters()).device
    ids = torch.tensor([[index[c] for c in prompt]], device=device)
    generating: Any = model.eval()
    torch.manual_seed(request.seed)
    began = time.perf_counter()
    written = generating.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=True,
        top_k=0,
        pad_token_id=0,
        suppress_tokens=list(range(len(index), int(decided.config["vocab_size"]))) or None,
    )
    characters = [text.alphabet()[i] for i in written[0].tolist()]
    seconds = time.perf_counter() - began
    num_written = len(characters) - len(prompt)
    sample = "".join(characters)
    right, complete = text.grammatical_lines(sample if sample.startswith("\n") else "\n" + sample)
    draft.learning |= Learning(sample=sample, sample_lines=complete, sample_grammatical_lines=right)
    draft.proof |= Proof(num_expected_new_tokens=new_tokens, num_new_tokens=num_written)
    draft.add_phase(Phase(name="generate", samples_s=(seconds,), items_per_sample=num_written, item="token"))
