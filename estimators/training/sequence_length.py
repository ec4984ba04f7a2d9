"""How long the sequences of a training are where nobody says: as the model was pre-trained, not as long as it can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.frozen import frozen
from estimators.spec import Model

if TYPE_CHECKING:
    from estimators.facts.entries import ModelEntry

UNSAID_POSITIONS = 10**6
"""The longest sequence of a traced model whose configuration names none."""

USUAL_TOKENS = 4096
"""Where no pre-training length is published, at most: what most models since Llama 2 begin with before they are extended."""


@frozen
class SequenceLength:
    """Tokens per sequence of a training.

    Attributes:
        source: who says so, in words; empty where it was given.
    """

    tokens: int
    source: str = ""


def training_length(model: Model, entry: ModelEntry | None = None) -> SequenceLength:
    """The length that the model was pre-trained at; the smaller of its longest and USUAL_TOKENS where that is not known.

    >>> from estimators.facts.registry import model_entry
    >>> from estimators.validation.model import shipped_model
    >>> training_length(shipped_model("llama-3.1-405b"), model_entry("llama-3.1-405b")).tokens
    8192
    >>> str(training_length(shipped_model("llama-3.1-405b")).tokens)  # as a file of the user's would be
    '4096'
    """
    longest = model.max_positions
    if model.item == "sample":
        return SequenceLength(tokens=longest)
    if entry is not None and entry.pretraining_seq_len is not None:
        return SequenceLength(tokens=entry.pretraining_seq_len, source=f"as it was pre-trained: {entry.pretraining_source}")
    if longest <= USUAL_TOKENS:
        return SequenceLength(tokens=longest, source="its longest")
    if longest == UNSAID_POSITIONS:
        return SequenceLength(
            tokens=USUAL_TOKENS, source=f"it names no longest, and no pre-training length is known: {USUAL_TOKENS:,} is assumed"
        )
    return SequenceLength(
        tokens=USUAL_TOKENS, source=f"its longest is {longest:,}, but no pre-training length is known: {USUAL_TOKENS:,} is assumed"
    )
