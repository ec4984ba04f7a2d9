"""Inputs made up for a model of transformers from its configuration alone: the plainest that its forward pass takes.

What a class takes is told by the names of its arguments; shapes come from the configuration's own fields. Where several shapes may be
meant (a picture or a film, mel bins first or last), they are tried in turn on meta.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from bench.backend.config_fields import first_integer
from bench.backend.counting.does_not_run import DOES_NOT_RUN, first_line, raise_if_ours
from bench.backend.counting.fillings import Maker, audio, filled, images, series
from bench.backend.counting.module import unfused
from bench.backend.known_values import KnownValues
from bench.backend.on_meta import autocast_by_the_cpu
from estimators.errors import BadConfigError, BadValueError

Inputs = dict[str, Any]
Guess = Callable[[int, int, int | None], Inputs]
"""From batch, tokens of a sequence and tokens of a source to what a forward pass is given."""

MAX_TRYING_S = 25.0
"""Until when another guess is tried."""

TRIED_TOKENS = 11
"""Tokens of a sequence on which inputs are tried."""


class MadeInputs:
    """What one model is fed: the first of several guesses that its forward pass takes.

    Attributes:
        model: on meta.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        self._takes = inspect.signature(model.forward).parameters
        self._chosen: Guess | None = None

    def of(self, batch: int, seq_len: int, source_len: int | None = None) -> Inputs:
        """Keyword arguments of a forward pass: tensors on the CPU, those of floating point without memory.

        Args:
            batch: sequences, images or clips.
            seq_len: tokens per sequence, where the model takes tokens.
            source_len: tokens of the encoder's input, for an encoder-decoder of tokens; None for as many as the decoder's.

        Raises:
            BadValueError: it has no encoder beside a decoder for `source_len`.
            BadConfigError: no guess runs; with the reason of the first.
        """
        writes = bool(getattr(self.model.config, "is_encoder_decoder", False))
        if source_len is not None and not (writes and "input_ids" in self._takes):
            raise BadValueError(
                f"--source-len {source_len:,}: {type(self.model).__name__} reads no tokens beside a decoder; leave --source-len out"
            )
        if self._chosen is None:
            self._chosen = self._first_that_runs()
        return self._chosen(batch, seq_len, source_len)

    @property
    def reads_tokens(self) -> bool:
        """Whether what it is fed depends on the length of a sequence."""
        short, long = (self.of(1, length) for length in (TRIED_TOKENS, TRIED_TOKENS + 2))
        return any(isinstance(t, torch.Tensor) and t.shape != long[name].shape for name, t in short.items())

    def _first_that_runs(self) -> Guess:
        reason, tried, until = "", set(), time.monotonic() + MAX_TRYING_S
        for guess in self._guesses():
            given = guess(1, TRIED_TOKENS, None)
            look = tuple((name, tuple(value.shape) if isinstance(value, torch.Tensor) else str(value)) for name, value in given.items())
            if look in tried:
                continue
            if time.monotonic() > until:
                break
            tried.add(look)
            try:
                self._try(given)
            except DOES_NOT_RUN as error:
                raise_if_ours(error)
                reason = reason or why_not(error)
                continue
            return guess
        raise BadConfigError(reason or f"{type(self.model).__name__} takes what cannot be made up from its configuration")

    def _try(self, inputs: Inputs) -> None:
        known = KnownValues(hides_nothing=True)
        with unfused(), autocast_by_the_cpu(), torch.no_grad(), known:
            self.model(**{name: known.stand_in(value) if isinstance(value, torch.Tensor) else value for name, value in inputs.items()})

    def _guesses(self) -> Iterator[Guess]:
        """Ways to feed it, the likeliest first."""
        required = [name for name, p in self._takes.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        for main in self._mains():
            for more in self._beside():
                yield partial(self._joined, main, (*required, *more))

    def _mains(self) -> Iterator[Guess]:
        config, takes = self.model.config, self._takes
        name = getattr(self.model, "main_input_name", "input_ids")
        names = [each for each in ([name] if isinstance(name, str) else name) if each in takes] or list(takes)
        both = {"input_ids", "pixel_values"} <= takes.keys()
        if both and "logits_to_keep" not in takes and "labels" not in takes:
            yield partial(self._image_and_text, next(images(config)))
        if "input_ids" in takes and "input_ids" in names:
            yield partial(self._tokens, choices=type(self.model).__name__.endswith("ForMultipleChoice"))
            if "use_cache" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values()):
                yield partial(self._tokens, use_cache=False)
            if books := first_integer(config, *CODEBOOKS):
                yield partial(self._tokens, books=books)
                yield partial(self._tokens, books=books + 1)
        sounds = partial(audio, widths=_widths(self.model))
        for keys, makers in ((("pixel_values", "pixel_values_videos"), images), (("input_values", "input_features", "audio_mel"), sounds)):
            for key in keys:
                if key in takes and (key in names or "input_ids" not in names):
                    for make in makers(config):
                        yield partial(self._named, key, make)
        if isinstance(name, str) and name not in takes:  # the class says one name, and its forward pass another
            for make in sounds(config) if name in ("input_values", "input_features") else ():
                yield partial(self._named, next(iter(takes)), make)
        for make in images(config) if {"hidden_states", "grid_thw"} & takes.keys() else ():
            yield partial(self._known, make)
        for make in series(config):
            yield partial(self._known, make)
        if both:
            for make in images(config):
                yield partial(self._image_and_text, make)
        if "input_ids" in takes and {"input_features", "input_values"} & takes.keys():
            for make in sounds(config):
                yield partial(self._image_and_text, make)
        if "input_ids" in takes and "input_ids" not in names:
            yield self._tokens

    def _tokens(
        self, batch: int, seq_len: int, source_len: int | None, *, choices: bool = False, books: int = 0, use_cache: bool = True
    ) -> Inputs:
        """Tokens; where a sound is written, several of them at each place, in what a decoder reads if there is one."""
        ids = _ids(self.model.config, batch, source_len or seq_len)
        if self.model.config.is_encoder_decoder and type(self.model).__name__.endswith("ForSequenceClassification"):
            ids = _ended(self.model.config, ids)
        target = self._target(batch, seq_len)
        if books and target:
            target = {name: value[..., None].repeat(1, 1, books) for name, value in target.items()}
        elif books:
            ids = ids[..., None].repeat(1, 1, books)
        return {"input_ids": ids[:, None] if choices else ids, **target, **({} if use_cache else {"use_cache": False})}

    def _target(self, batch: int, seq_len: int) -> Inputs:
        """Tokens of a decoder beside an encoder."""
        return {"decoder_input_ids": _ids(self.model.config, batch, seq_len)} if "decoder_input_ids" in self._takes else {}

    def _image_and_text(self, make: Maker, batch: int, seq_len: int, source_len: int | None) -> Inputs:
        """An image or a sound, and a text of its longest, for a model that compares the two."""
        made = {name: value for name, value in make(batch).items() if name in self._takes and name != "attention_mask"}
        return {"input_ids": _ids(self.model.config, batch, _text_length(self.model.config)), **made}

    def _named(self, key: str, make: Maker, batch: int, seq_len: int, source_len: int | None) -> Inputs:
        """What is made, its first part under the name that the model has for it."""
        made = make(batch)
        first, *others = made
        return {key: made[first], **{name: made[name] for name in others if name in self._takes}, **self._target(batch, seq_len)}

    def _known(self, make: Maker, batch: int, seq_len: int, source_len: int | None) -> Inputs:
        return {key: value for key, value in make(batch).items() if key in self._takes} | self._target(batch, seq_len)

    def _beside(self) -> list[tuple[str, ...]]:
        """Optional arguments to give as well: none, then a mask, then whatever is known of the rest."""
        wanted = [name for name in ("attention_mask", "bbox", "visual_feats", "states") if name in self._takes]
        everything = tuple(name for name in self._takes if name not in ("labels", "inputs_embeds", "past_key_values", "position_ids"))
        return [(), tuple(wanted[:1]), tuple(wanted), everything] if wanted else [(), everything]

    def _joined(self, main: Guess, more: tuple[str, ...], batch: int, seq_len: int, source_len: int | None) -> Inputs:
        given = dict(main(batch, seq_len, source_len))
        for name in more:
            if name not in given and (value := filled(name, self.model, given, batch, seq_len)) is not None:
                given[name] = value
        return given


CODEBOOKS = ("num_codebooks", "num_audio_codebooks", "num_channels", "n_codes_total", "audio_num_codebooks")
"""How many tokens stand at one place of a sequence that is a sound."""

LOOKS_AT_VALUES = ("nonzero", "item", "bincount", "unique", "masked_select", "data-dependent", "meta tensor", "no data", "meta device")
"""What torch names where the size of a result, or the way that a forward pass takes, depends on the values of a tensor."""


def why_not(error: BaseException) -> str:
    """Why a forward pass does not run on meta, in one line; torch's own words only where the reason is not one that is known."""
    named = next((word for word in LOOKS_AT_VALUES if re.search(f"(?<![a-z]){word}(?![a-z])", str(error))), "")
    if named:
        operator = f" ({named})" if named.isidentifier() else ""
        return f"its forward looks at values of tensors{operator}, such as which tokens an expert gets or which are padding; meta has none"
    return f"its forward does not run on inputs made up from its configuration: {first_line(error)}"


def made_inputs(model: nn.Module, batch: int, seq_len: int, source_len: int | None) -> Inputs:
    """What `MadeInputs` makes, once. Raises BadConfigError, BadValueError."""
    return MadeInputs(model).of(batch, seq_len, source_len)


def _widths(model: nn.Module) -> list[int]:
    """What the first layers of a model take: a row of features, or channels."""
    taken = (getattr(part, "in_features", None) or getattr(part, "in_channels", None) for part in model.modules())
    return list(dict.fromkeys(width for width in taken if isinstance(width, int) and width > 1))[:2]


def _ids(config: Any, batch: int, length: int) -> torch.Tensor:
    """Tokens that are neither padding nor ends, so that nothing is left out for what it is."""
    text = config.get_text_config()
    named = [getattr(text, f"{kind}_token_id", None) for kind in ("pad", "bos", "eos", "sep", "image", "mask")]
    special = {token for each in named for token in (each if isinstance(each, list) else [each])}
    vocab = first_integer(text, "vocab_size") or 100
    plain = next((token for token in range(3, max(4, min(vocab, 100))) if token not in special), 0)
    return torch.full((batch, length), plain, dtype=torch.long)


def _ended(config: Any, ids: torch.Tensor) -> torch.Tensor:
    """The same with an end of text as its last token: a class of encoders and decoders reads the state at it."""
    end = getattr(config, "eos_token_id", None)
    end = end[0] if isinstance(end, list) and end else end
    return torch.cat([ids[:, :-1], torch.full_like(ids[:, :1], end)], dim=1) if isinstance(end, int) else ids


def _text_length(config: Any) -> int:
    """The longest text of a model that compares texts with images."""
    text = getattr(config, "text_config", None) or config
    return min(first_integer(text, "max_position_embeddings") or 16, 512)
