"""Samples cut into tokens by a tokenizer of words made here: counts can be read off the sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.backend.token_lengths import token_lengths
from estimators.errors import BadValueError

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}ask {{ m.content }} {% else %}say {{ m.content }} end {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}say {% endif %}"
)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tokenizer whose tokens are words between blanks, with a template of one word around each turn."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s> ", eos_token=" </s>")
    fast.chat_template = TEMPLATE
    folder = tmp_path_factory.mktemp("tokenizer")
    fast.save_pretrained(folder)
    return str(folder)


def counted(words: str, tmp_path: Path, *samples: Any) -> tuple[tuple[tuple[int, int, int], ...], int | None]:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(sample) for sample in samples) + "\n\n", encoding="utf-8")
    found = token_lengths(str(path), words)
    return found.counts, found.num_loss_tokens


def test_all_of_a_text_bears_loss_and_of_a_prompt_nothing(words: str, tmp_path: Path) -> None:
    """Both special tokens count: 3 + 2 words; 2 + 1 of a prompt, 4 + 1 of its completion."""
    assert counted(words, tmp_path, {"text": "a b c"}) == (((5, 0, 1),), 5)
    assert counted(words, tmp_path, {"prompt": "a b", "completion": " c d e f"}) == (((8, 3, 1),), 5)
    assert counted(words, tmp_path, {"instruction": "a b", "input": "c", "output": "d e"}) == (((7, 4, 1),), 3)


def test_of_turns_the_answers_bear_loss_and_what_the_template_puts_before_them_does_not(words: str, tmp_path: Path) -> None:
    """ask a b say | c end | ask d say | e f end: 12 tokens, of which 2 + 3 bear loss."""
    turns = [("user", "a b"), ("assistant", "c"), ("user", "d"), ("assistant", "e f")]
    messages = {"messages": [{"role": role, "content": content} for role, content in turns]}
    shared = {"conversations": [{"from": {"user": "human", "assistant": "gpt"}[role], "value": content} for role, content in turns]}
    assert counted(words, tmp_path, messages) == counted(words, tmp_path, shared) == (((12, 7, 1),), 5)
    assert counted(words, tmp_path, {"messages": [{"role": "user", "content": "a b"}]}) == (((3, 3, 1),), 0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1 is no JSON object; expected one a line"),
        ("[1]", "line 1 is no JSON object"),
        ('{"label": 3}', "has the keys label; expected text; prompt and completion"),
        ('{"text": 3}', "'3' is no text"),
        ('{"messages": "a"}', "messages are no list of turns"),
        ("", "has no samples"),
    ],
)
def test_a_line_that_is_no_sample_is_named(words: str, tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(BadValueError, match=said):
        token_lengths(str(path), words)


def test_what_is_not_there_is_one_line(words: str, tmp_path: Path) -> None:
    with pytest.raises(BadValueError, match="cannot read"):
        token_lengths(str(tmp_path / "none.jsonl"), words)
    with pytest.raises(BadValueError, match="is no folder"):
        token_lengths(str(tmp_path / "none.jsonl"), str(tmp_path / "none"))
    with pytest.raises(BadValueError, match="no tokenizer can be read") as error:
        token_lengths(str(tmp_path / "none.jsonl"), str(tmp_path))
    assert "\n" not in str(error.value)
