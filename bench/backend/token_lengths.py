"""How many tokens the samples of a file have, by the tokenizer and the chat template of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from estimators import text_file
from estimators.errors import BadValueError
from estimators.lengths import Lengths, lengths_of

KINDS = "text; prompt and completion; instruction, input and output; messages or conversations"
"""What a sample may be, by the keys that common data sets have."""

ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant"}
"""What the conversations of ShareGPT call roles -> what templates do."""

BATCH = 1000
"""Texts that are cut into tokens at a time."""

Piece = tuple[str, bool]
"""A part of a sample's text, and whether it bears loss."""


def token_lengths(path: str, tokenizer: str) -> Lengths:
    """Tokens of every sample, and of those that bear loss: completions and the assistant's turns, or all of a plain text.

    Args:
        path: of a file with one JSON object a line.
        tokenizer: a folder with a tokenizer; nothing is downloaded, and no code of it runs.

    Raises:
        BadValueError: a file or folder that cannot be read, or a line that is no sample; one line that names it.
    """
    cutter = _tokenizer(tokenizer)
    samples = list(_samples(path, cutter))
    if not samples:
        raise BadValueError(f"{path!r} has no samples; expected one JSON object a line: {KINDS}")
    texts = [text for pieces in samples for text, _ in pieces]
    counts = iter(_counted(cutter, texts))
    total, loss = [], []
    for pieces in samples:
        of_pieces = [(next(counts), bears) for _, bears in pieces]
        total.append(max(1, sum(count for count, _ in of_pieces)))
        loss.append(min(total[-1], sum(count for count, bears in of_pieces if bears)))
    return lengths_of(total, source=f"{path}, cut into tokens by {tokenizer}", loss_tokens=loss)


def _tokenizer(folder: str) -> Any:
    import os

    if not os.path.isdir(folder):
        raise BadValueError(f"--tokenizer {folder[:80]!r} is no folder; expected one that has a tokenizer.json, such as a checkpoint's")
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of whatever library reads that tokenizer
        reason = " ".join(str(error).split())[:160]
        raise BadValueError(f"no tokenizer can be read in {folder[:80]!r}: {reason}") from None


def _counted(cutter: Any, texts: Sequence[str]) -> Iterator[int]:
    for start in range(0, len(texts), BATCH):
        for ids in cutter(list(texts[start : start + BATCH]), add_special_tokens=False)["input_ids"]:
            yield len(ids)


def _samples(path: str, cutter: Any) -> Iterator[list[Piece]]:
    try:
        lines = text_file.read(path).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadValueError(f"cannot read {path!r}: {reason}; expected one JSON object a line") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path!r}, line {number:,}"
        try:
            sample = json.loads(line)
        except (ValueError, RecursionError):
            raise BadValueError(f"{where} is no JSON object; expected one a line: {KINDS}") from None
        if not isinstance(sample, dict):
            raise BadValueError(f"{where} is no JSON object; expected one a line: {KINDS}")
        yield _pieces(sample, cutter, where)


def _pieces(sample: Mapping[str, Any], cutter: Any, where: str) -> list[Piece]:
    """A sample's text in parts, special tokens at both ends among them."""
    first, last = (getattr(cutter, name) or "" for name in ("bos_token", "eos_token"))
    turns = sample.get("messages") or sample.get("conversations")
    if turns is not None:
        return _turns(turns, cutter, where)
    if "prompt" in sample and "completion" in sample:
        return [(first + _text(sample["prompt"], where), False), (_text(sample["completion"], where) + last, True)]
    if "instruction" in sample and "output" in sample:
        asked = "\n".join(filter(None, (_text(sample["instruction"], where), _text(sample.get("input") or "", where))))
        return [(first + asked + "\n", False), (_text(sample["output"], where) + last, True)]
    if "text" in sample:
        return [(first + _text(sample["text"], where) + last, True)]
    keys = ", ".join(map(str, sample))[:80]
    raise BadValueError(f"{where} has the keys {keys or 'none'}; expected {KINDS}")


def _text(value: Any, where: str) -> str:
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):  # a prompt of messages
        return "\n".join(_text(part.get("content", ""), where) for part in value)
    if not isinstance(value, str):
        raise BadValueError(f"{where}: {str(value)[:40]!r} is no text")
    return value


def _turns(turns: Any, cutter: Any, where: str) -> list[Piece]:
    """Turns under the tokenizer's chat template; what the template adds before an answer bears no loss, the answer and its end do."""
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise BadValueError(f"{where}: messages are no list of turns with role and content")
    messages = [
        {"role": ROLES.get(role := str(turn.get("role", turn.get("from", "user"))), role), "content": _content(turn, where)}
        for turn in turns
    ]
    if not getattr(cutter, "chat_template", None):
        return [(f"{turn['content']}\n", turn["role"] == "assistant") for turn in messages]
    pieces: list[Piece] = []
    said = ""
    for place, turn in enumerate(messages):
        if turn["role"] != "assistant":
            continue
        asked, answered = (_applied(cutter, messages[:until], where, prompt=until == place) for until in (place, place + 1))
        pieces += [(asked[len(said) :], False), (answered[len(asked) :], True)]
        said = answered
    whole = _applied(cutter, messages, where)
    return [piece for piece in [*pieces, (whole[len(said) :], False)] if piece[0]]


def _content(turn: Mapping[str, Any], where: str) -> str:
    value = turn.get("content", turn.get("value", ""))
    return _text("" if value is None else value, where)


def _applied(cutter: Any, messages: Sequence[Mapping[str, str]], where: str, *, prompt: bool = False) -> str:
    if not messages:
        return ""
    try:
        return str(cutter.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt))
    except Exception as error:  # a template raises what it likes
        raise BadValueError(f"{where}: the chat template refuses it: {' '.join(str(error).split())[:120]}") from None
