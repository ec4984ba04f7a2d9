"""Encoder-decoders: random configurations against torch on meta, `==`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from tests.support.encoder_decoder_models import bart_like, t5_like, whisper
from tests.support.encoders_and_images import WRITING, check


@given(t5_like())
@settings(max_examples=12, deadline=None)
def test_random_t5s_count_like_torch(config: dict[str, Any]) -> None:
    check(config, WRITING)


@given(bart_like())
@settings(max_examples=12, deadline=None)
def test_random_barts_count_like_torch(config: dict[str, Any]) -> None:
    check(config)


@given(whisper())
@settings(max_examples=12, deadline=None)
def test_random_whispers_count_like_torch(config: dict[str, Any]) -> None:
    check(config)
