"""One recorded pass of a model of transformers on meta, at one size: a training step, a prefill, a decode step."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bench.backend.counting.made_inputs import MadeInputs
from bench.backend.counting.module import unfused
from bench.backend.known_values import KnownValues
from bench.backend.kv_cache import NAMES, cache_name, new_cache, with_cache
from bench.backend.on_meta import autocast_by_the_cpu
from bench.backend.outputs import losses, tensors_in
from bench.backend.tracing.recorder import Pass, Recorder
from estimators.architectures.polynomials import Sizes


class Steps:
    """The steps of one model.

    Attributes:
        writes_tokens: whether it is a decoder with the head of a language model.
        has_encoder, has_source: whether an encoder lies beside its decoder, and whether that reads tokens.
        made: its inputs.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        self.writes_tokens = type(model).__name__.endswith(("ForCausalLM", "LMHeadModel"))
        self.made = MadeInputs(model)
        self._takes = inspect.signature(model.forward).parameters
        self._is_taught = self.writes_tokens and "labels" in self._takes
        self.has_encoder = bool(getattr(model.config, "is_encoder_decoder", False)) and "decoder_input_ids" in self._takes
        self.has_source = self.has_encoder and "input_ids" in self._takes

    def run(self, table: str, sizes: Sizes, *, backward: bool = True) -> Pass:
        """Record one pass of `train`, `prefill` or `decode`.

        Args:
            backward: whether a training step's gradients are taken; what they keep is recorded either way.
        """
        if table == "train":
            return self._train(sizes, backward)
        return self._prefill(sizes) if table == "prefill" else self._decode(sizes)

    def _inputs(self, sizes: Sizes) -> dict[str, Any]:
        return self.made.of(sizes["batch"], sizes["seq"], sizes["source"] or None)

    def _train(self, sizes: Sizes, backward: bool) -> Pass:
        if self._is_taught:
            try:
                return self._learn(sizes, backward)
            except ValueError:  # a head that writes after an image, of which there is none, has no place for labels
                self._is_taught = False
        return self._learn(sizes, backward)

    def _learn(self, sizes: Sizes, backward: bool) -> Pass:
        inputs = self._inputs(sizes)
        with pass_on_meta() as known, torch.enable_grad():
            given = {name: _stands_in(known, value) for name, value in inputs.items()}
            if self._is_taught:
                given["labels"] = given["input_ids"]
            recorder = Recorder(self.model, tokens=_tokens(inputs), causal=self._causal)
            with recorder.watching() as seen:
                out = self.model(**given)
                roots = [t for t in losses(out) if t.requires_grad]
                if roots and backward:
                    torch.autograd.backward([(t * torch.ones_like(t)).sum() for t in roots])
            self.model.zero_grad(set_to_none=True)
        seen.has_backward = backward
        return seen

    @property
    def _causal(self) -> bool:
        return self.writes_tokens or self.has_encoder

    def _prefill(self, sizes: Sizes) -> Pass:
        inputs = self._inputs(sizes)
        with pass_on_meta() as known, torch.no_grad():
            given = {name: _stands_in(known, value) for name, value in inputs.items()}
            given |= {"use_cache": True} if "use_cache" in self._takes else {}
            given |= {"logits_to_keep": 1} if "logits_to_keep" in self._takes else {}
            recorder = Recorder(self.model, tokens=_tokens(inputs), causal=self._causal)
            with recorder.watching() as seen:
                out = self.model(**given)
        seen.cache = cache_sizes(_cache_of(out))
        return seen

    def _decode(self, sizes: Sizes) -> Pass:
        with pass_on_meta() as known, torch.no_grad():
            more: dict[str, Any]
            if self.has_encoder:
                inputs = self._inputs({**sizes, "seq": sizes["context"]})
                before = self.model(**{name: _stands_in(known, value) for name, value in inputs.items()}, use_cache=True)
                more = {
                    "encoder_outputs": (before.encoder_last_hidden_state,),
                    **with_cache(self.model, getattr(before, cache_name(self.model))),
                }
                ids = "decoder_input_ids"
            else:
                cache = new_cache(self.model)
                context = _stands_in(known, torch.ones(sizes["batch"], sizes["context"], dtype=torch.long))
                read = self.model(input_ids=context, **with_cache(self.model, cache))
                more, ids = with_cache(self.model, _cache_of(read)), "input_ids"
            token = _stands_in(known, torch.ones(sizes["batch"], 1, dtype=torch.long))
            recorder = Recorder(self.model, tokens=sizes["batch"], causal=self._causal)
            with recorder.watching() as seen:
                out = self.model(**{ids: token}, **more)
        seen.cache = cache_sizes(_cache_of(out))
        return seen


@contextmanager
def pass_on_meta() -> Iterator[KnownValues]:
    """Inside, a model runs on meta unfused, and values that it asks for are known."""
    known = KnownValues(hides_nothing=True)
    with unfused(), autocast_by_the_cpu(), known:
        yield known


def _stands_in(known: KnownValues, value: Any) -> Any:
    return known.stand_in(value) if isinstance(value, torch.Tensor) else value


def _tokens(inputs: dict[str, Any]) -> int:
    first = inputs.get("decoder_input_ids", inputs.get("input_ids"))
    return first.numel() if isinstance(first, torch.Tensor) else 0


def _cache_of(out: Any) -> Any:
    return next((found for name in NAMES if (found := getattr(out, name, None)) is not None), None)


def cache_sizes(cache: Any) -> list[tuple[str, int, int]]:
    """Of each layer: what its cache holds, its window or 0, the elements.

    That is keys and values, inputs of filters, states, which are fp32, and MiniMax's sums of keys times values.
    """
    if cache is None:
        return []
    parts = [getattr(cache, name) for name in ("self_attention_cache", "cross_attention_cache") if hasattr(cache, name)] or [cache]
    found: list[tuple[str, int, int]] = []
    for part in parts:
        for layer in getattr(part, "layers", None) or [part]:
            kept = vars(layer)
            held = {name: [t for t in tensors_in(value) if t.dim() > 1] for name, value in kept.items()}
            filters = [t for name, of in held.items() if "conv" in name for t in of]
            states = [t for name, of in held.items() if "state" in name and "conv" not in name for t in of]
            keys = [t for name, of in held.items() if not ("state" in name or "conv" in name) for t in of]
            window = getattr(layer, "sliding_window", None)
            if keys:
                found.append(("keys", window if isinstance(window, int) else 0, sum(t.numel() for t in keys)))
            if filters:
                found.append(("filters", 0, sum(t.numel() for t in filters)))
            if states:
                found.append(("states", 0, sum(t.numel() for t in states)))
        found += [("products", 0, t.numel()) for t in tensors_in(getattr(part, "linear_cache", None))]
    return found
