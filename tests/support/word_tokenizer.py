"""A tokenizer of 64 words, made here: TRL asks for one even where the examples are tokens already."""

from __future__ import annotations

from typing import Any


def word_tokenizer() -> Any:
    """`w0` to `w61`, padding and the end."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {f"w{i}": i for i in range(62)} | {"<pad>": 62, "<eos>": 63}
    made = Tokenizer(models.WordLevel(words, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="w0")
