"""StepBatch: what one step of an engine works on, whether it decodes, reads prompts, or both."""

from __future__ import annotations

from estimators.cost.array_math import Lane
from estimators.frozen import frozen


@frozen
class StepBatch:
    """The work of one step, all sequences of a replica together; one step or many side by side.

    A decode step has no prompt tokens, a prefill step no decoding sequences, a mixed step both.

    Attributes:
        decoding: sequences that get their next token.
        context_tokens: that each of them has in the cache, in the mean.
        prompt_tokens: read in this step, all prompts together.
        prompt_context: keys that each of those sees, in the mean: half of its prompt where a prompt is read whole.
        prompts: prompts that the prompt tokens are of.
    """

    decoding: Lane = 0
    context_tokens: Lane = 0
    prompt_tokens: Lane = 0
    prompt_context: Lane = 0
    prompts: Lane = 0
