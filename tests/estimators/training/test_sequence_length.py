"""How long the sequences of a training are where nobody says: every verb that trains takes the same length and says whose it is."""

from __future__ import annotations

from typing import Any

import pytest

import sixnd
from estimators.architectures.from_config import model_from_config
from estimators.errors import BadValueError
from estimators.facts.entries import entry_from
from estimators.facts.registry import model_entry, model_ids
from estimators.training.sequence_length import training_length
from estimators.validation.model import shipped_model


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("llama-3-8b", 8192),  # Meta, Introducing Meta Llama 3
        ("llama-3.1-405b", 8192),  # The Llama 3 Herd of Models, section 3.4.1; it reads 131,072
        ("qwen2.5-72b", 4096),  # Qwen2.5 technical report, section 3.3; it reads 131,072
        ("qwen3-8b", 4096),  # Qwen3 technical report, section 3.2; it reads 40,960
        ("deepseek-v3", 4096),  # section 4.2; it reads 163,840
        ("mistral-7b", 8192),  # table 1; it reads 32,768
        ("mpt-30b", 2048),  # its model card: 2,048, then a stage that adapts it to 8,192
        ("modernbert-base", 1024),  # section 2.2.2: 1.7 T tokens of 2 T; it reads 8,192
        ("bert-base-uncased", 128),  # appendix A.2: 90 % of the steps; it reads 512
        ("olmo-3-7b", 8192),  # section 3; it reads 65,536
        ("gpt-3", 2048),
        ("gpt2", 1024),
        ("command-r", 4096),  # nothing is published: the smaller of its 8,192 and 4,096
        ("t5-small", 512),  # the smaller of its 512 and 4,096
        ("resnet-50", 1),
    ],
)
def test_a_training_takes_the_length_that_the_model_was_pre_trained_at(name: str, tokens: int) -> None:
    assert training_length(shipped_model(name), model_entry(name)).tokens == tokens


def test_no_model_was_pre_trained_on_more_than_it_reads_and_every_length_has_its_source() -> None:
    for name in model_ids():
        entry = model_entry(name)
        longest = model_from_config(entry.config, name).max_positions
        length = training_length(shipped_model(name), entry)
        assert 1 <= length.tokens <= longest, name
        if entry.pretraining_seq_len is None:
            assert length.tokens == min(longest, 4096), name
        else:
            assert "arXiv" in entry.pretraining_source or "http" in entry.pretraining_source or name.startswith("gpt2"), name


@pytest.mark.parametrize(
    "length", [8192, {"tokens": 8192}, {"tokens": 0, "source": "x"}, {"tokens": True, "source": "x"}, {"tokens": 1, "source": ""}]
)
def test_a_length_without_its_source_is_refused(length: Any) -> None:
    body = {
        "id": "x",
        "name": "x",
        "aliases": [],
        "config": {"model_type": "llama"},
        "published_params": 1,
        "published_params_text": "1",
        "source": {"title": "x", "url": "", "note": ""},
        "pretraining_seq_len": length,
    }
    with pytest.raises(BadValueError, match=r"pretraining_seq_len is .*; expected tokens, a positive number, and their source"):
        entry_from(body, "models/x.json")


def answers(**options: Any) -> dict[str, Any]:
    """Verb -> its answer on the same training."""
    device = {"hardware": "h100-sxm5-80gb", "gpus": 8}
    return {
        "estimate": sixnd.estimate(**options, **device, tokens="1B"),
        "estimate at a utilization": sixnd.estimate(**options, **device, tokens="1B", utilization=0.4),
        "estimate of single steps": sixnd.estimate(**options),
        "plan": sixnd.plan(**options, **device, tokens="1B"),
        "compare-hardware": sixnd.compare_hardware(**options, **device, tokens="1B"),
        "check-claim": sixnd.check_claim(**options, **device, tokens="1B", days=10),
        "show": sixnd.show(**options, phase="train"),
    }


def said(answer: Any) -> str:
    first = answer.tables()[0]
    return "\n".join((first.title, *first.conditions))


def test_every_verb_that_trains_takes_it_and_says_so_in_its_first_line() -> None:
    for verb, answer in answers(model="qwen3-0.6b").items():
        assert "sequences of 4,096" in said(answer), verb
        assert "as it was pre-trained: Qwen Team 2025" in said(answer), verb
        if verb not in ("show", "estimate of single steps"):
            assert "sequences of 4,096" in answer.tables()[0].title, verb


def test_a_length_that_was_given_is_nobody_elses() -> None:
    for verb, answer in answers(model="qwen3-0.6b", seq_len=2048).items():
        assert "pre-trained" not in said(answer), verb
        assert "4,096" not in said(answer), verb


def test_a_file_of_the_users_takes_what_is_usual_and_says_so(tmp_path: Any) -> None:
    import json

    path = tmp_path / "config.json"
    path.write_text(json.dumps(dict(model_entry("qwen3-0.6b").config)))
    for verb, answer in answers(config=str(path)).items():
        assert "its longest is 40,960, but no pre-training length is known: 4,096 is assumed" in said(answer), verb


class TestGeneration:
    """A prompt asks about no training."""

    def test_a_prompt_alone_is_no_question_about_a_training(self) -> None:
        answer = sixnd.estimate(model="llama-3-8b", batch=32, prompt_tokens=8192, hardware="h100-sxm5-80gb")
        assert answer.training_memory_bytes is None
        assert answer.train_step_flop is None
        assert "training" not in answer.text(verbose=True)
        assert {row["step"] for row in answer.tables()[1].rows} == {"prefill", "decode"}

    def test_a_length_beside_the_prompt_asks_about_a_training_too(self) -> None:
        answer = sixnd.estimate(model="llama-3-8b", prompt_tokens=512, seq_len=1024)
        assert answer.training_memory_bytes is not None
