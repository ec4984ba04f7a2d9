"""Measured lengths of accepted drafts: possible ones, by the medians that their readers quote, and no guess where none was measured."""

from __future__ import annotations

import pytest

from estimators.errors import BadValueError
from estimators.serving.acceptance import accepted, speculation_on


def test_no_step_yields_less_than_its_own_token_or_more_than_the_draft_and_one() -> None:
    assert len(accepted()) == 88
    assert all(1 <= row.accepted_len <= row.draft_tokens + 1 for row in accepted())
    assert all(row.source.startswith("github:SemiAnalysisAI/InferenceX") for row in accepted())


def test_code_is_accepted_as_its_publishers_distributions_say() -> None:
    """1.8 at one draft token, 2.5 to 3 at three, and little more beyond."""
    lengths = {draft: speculation_on("Coding", draft).accepted_len for draft in range(1, 9)}
    assert lengths[1] == pytest.approx(1.84, abs=0.01)
    assert 2.5 <= lengths[3] <= 3.0
    assert lengths[8] - lengths[5] < 0.3
    assert speculation_on("coding", 3).basis == "the median of 11 measured drafts on coding, 2.49 to 3.39"


def test_what_was_not_measured_is_not_guessed() -> None:
    with pytest.raises(BadValueError, match="on 'poetry'; expected coding, or a length"):
        speculation_on("poetry", 3)
    with pytest.raises(BadValueError, match="expected from 1 to 8"):
        speculation_on("coding", 20)
