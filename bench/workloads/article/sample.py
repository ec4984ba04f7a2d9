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
from bench.workloads.article import text
from bench.workloads.article.run import ArticleRun


def write_sample(run: ArticleRun, draft: Draft, model: nn.Module) -> None:
    """Let the model write, character by character at its own probabilities, and hold the lines against the grammar."""
    prompt, new_tokens = run.prompt, run.new_tokens
    index = {character: i for i, character in enumerate(text.alphabet())}
    device = next(model.parameters()).device
    ids = torch.tensor([[index[c] for c in prompt]], device=device)
    generating: Any = model.eval()
    torch.manual_seed(run.seed)
    began = time.perf_counter()
    written = generating.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=True,
        top_k=0,
        pad_token_id=0,
        suppress_tokens=list(range(len(index), int(run.config["vocab_size"]))) or None,
    )
    characters = [text.alphabet()[i] for i in written[0].tolist()]
    seconds = time.perf_counter() - began
    num_written = len(characters) - len(prompt)
    sample = "".join(characters)
    right, complete = text.grammatical_lines(sample if sample.startswith("\n") else "\n" + sample)
    draft.learning |= Learning(sample=sample, sample_lines=complete, sample_grammatical_lines=right)
    draft.proof |= Proof(num_expected_new_tokens=new_tokens, num_new_tokens=num_written)
    draft.add_phase(Phase(name="generate", samples_s=(seconds,), items_per_sample=num_written, item="token"))
