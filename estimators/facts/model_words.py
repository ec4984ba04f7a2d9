"""The words of a model's name, and those that change no shape: how it was tuned, the month of a release, how its weights are stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from estimators.facts.named_formats import without_format

TUNED = frozenset(
    [
        "instruct",
        "it",
        "chat",
        "hf",
        "base",
        "pt",
        "sft",
        "dpo",
        "rlhf",
        "orpo",
        "ppo",
        "tuned",
        "finetuned",
        "ft",
        "aligned",
        "thinking",
        "reasoning",
        "preview",
        "uncensored",
        "abliterated",
        "original",
        "transformers",
        "lora",
        "merged",
        "pretrained",
        "sharded",
        "ungated",
        "latest",
        "free",
    ]
)
"""Words of tuning and of copies, which change weights and no shape."""

WORDS_OF_SIZE = frozenset(["tiny", "mini", "small", "medium", "large", "xl", "xxl", "huge", "giant"])
MAKERS = frozenset(["meta", "mistralai", "ibm", "c4ai", "facebook", "openai", "microsoft", "faster"])
"""Words that some put before a name, as in ``Meta-Llama-3-8B`` and ``faster-whisper-small``."""

SIZE = re.compile(r"(?:a?\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?)?[bm]|\d+x\d+b)")
"""A number of parameters, which pins a shape, so that the month of a release beside it tells none apart."""

MONTH = re.compile(r"\d{4}|20\d{6}|20\d\d|v?\d{2}\.\d{2}")
CONTEXT = re.compile(r"(\d{1,4})([km])")
"""The longest sequence, as in ``Phi-3-mini-128k``."""


def words(name: str) -> list[str]:
    """The words of a name: what stands between `-`, `_`, `:` and blanks, and before the format in a file's name.

    >>> words("llama-2-7b.q4_k_m.gguf")
    ['llama', '2', '7b', 'q4', 'k', 'm', 'gguf']
    """
    return [word for word in re.split(r"[-_:\s]+|\.(?=i?q\d|gguf|w\d+a\d+)", name) if word]


def compact(name: str) -> str:
    """A name without its punctuation, by which names are compared."""
    return "".join(words(name))


def shorter(said: Sequence[str]) -> Iterator[list[str]]:
    """The words as they are, then with less and less of what changes no shape."""
    said = list(said)
    yield said
    if said[0] in MAKERS:
        said = said[1:]
        yield said
    for tuned in (TUNED - {"base"}, TUNED):
        yield from _undated(without_format([word for word in said if word not in tuned]))


def _undated(said: list[str]) -> Iterator[list[str]]:
    """The words as they are, then without the month of a release and the length of sequences."""
    yield said
    if any(SIZE.fullmatch(word) for word in said):
        undated = [word for word in said if not MONTH.fullmatch(word)]
        yield undated
        yield [word for word in undated if not CONTEXT.fullmatch(word)]
    yield [word for word in said if not CONTEXT.fullmatch(word)]
