"""What one run was asked for: the whole specification, stored in its record."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

LANGUAGE: dict[str, str] = {
    "generate": "causal language model: prefill, then one token at a time, with beams; the article's own call by default",
    "prefill": "causal language model: the prompt alone, logits of the last position",
    "decode": "causal language model: single tokens after a prompt, step by step",
    "train": "forward, backward and optimizer step; for the article's models a whole training",
}
"""Of causal language models; the training is of every model."""

TASKS: dict[str, str] = LANGUAGE | {
    "forward": "one forward pass of a model of images, speech, latents, or images beside a text",
}
SERVING: dict[str, str] = {
    "serve": "causal language model: requests arrive, and are read and decoded together, by transformers' continuous batching",
}
"""Tasks of many steps, which no single step is an answer to."""

ALL_TASKS: dict[str, str] = TASKS | SERVING
"""What `run` takes."""

CACHES = ("dynamic", "static")
"""Of keys and values: grown by a token a step, so that every step has another shape; or of its full length from the start, so that
one compiled graph does for all."""


ACROSS: dict[str, tuple[str, ...]] = {"batch": ("batch",), "device": (), "dtype": ("dtype",)}
"""What two runs may be stated to differ in when they are compared, and the fields of a request that it frees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run as asked for. `None` leaves it open: bench.runs.decide decides, and the record holds what was decided.

    Attributes:
        model: a registry id; `config` holds the model's configuration as read from the registry or from a file.
        task: a key of TASKS.
        batch, seq_len, new_tokens, num_beams: sizes. seq_len is the prompt's length for generation.
        dtype: fp32, bf16, fp16; of compute.
        device: cpu, cuda, cuda:1, mps.
        attn: attention implementation of transformers: eager, sdpa, flash_attention_2.
        compile: whether torch.compile is applied.
        cache: of keys and values: dynamic grows by a token a step, static has its full length from the start; None is dynamic.
        layers: measure slices of true width at two depths and extrapolate; None measures the whole model.
        weights: path of a checkpoint folder; None looks in the local cache, then draws random ones.
        trust_remote_code: whether a checkpoint's own code may run; never unless the user says so.
        steps, max_time_s: how many timed steps at most, and for how long at most.
        recompute: none or full activation checkpointing.
        method: of a fine-tuning as `fit` describes it: full, lora, qlora or dora; None trains all weights in fp32 by plain AdamW.
        lora_rank, lora_targets, lora_dropout, base_format, precision: of it, see bench.cli.fit.
        learning_rate, optimizer: of a training; transformers' name of the optimizer for a fine-tuning.
        epochs, hidden_layers, neurons, days, data: for the article's models.
        train_days: days of views that are trained on, the last before the held-out ones; None is all of them.
        preset: how thorough, a key of bench.sampling.presets.PRESETS; `steps` and `max_time_s` override its caps.
        images, image_size, text_tokens: what a sample is: images of an example, their height and width in pixels, tokens of its text.
        num_requests, concurrency, request_rate: of a server: requests sent; in flight at most; or a second, Poisson, in its place.
        repeat, num_repeats, repeat_group: which of how many runs in fresh processes this is, and what they have in common.
        seed: of data, weights and sampling.
        prompt: text of the prompt, tokenized where a tokenizer is at hand.
    """

    model: str
    config: dict[str, Any]
    task: str
    batch: int | None = None
    seq_len: int | None = None
    new_tokens: int | None = None
    num_beams: int | None = None
    dtype: str | None = None
    device: str | None = None
    attn: str | None = None
    compile: bool = False
    cache: str | None = None
    layers: int | None = None
    weights: str | None = None
    trust_remote_code: bool = False
    steps: int | None = None
    max_time_s: float | None = None
    recompute: str = "none"
    method: str | None = None
    lora_rank: int | None = None
    lora_targets: tuple[str, ...] | None = None
    lora_dropout: float | None = None
    base_format: str | None = None
    precision: str | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    optimizer: str | None = None
    hidden_layers: int | None = None
    neurons: int | None = None
    days: int | None = None
    train_days: int | None = None
    data: str | None = None
    seed: int = 0
    prompt: str | None = None
    preset: str = "standard"
    repeat: int = 1
    num_repeats: int = 1
    repeat_group: str | None = None
    images: int | None = None
    image_size: tuple[int, int] | None = None
    text_tokens: int | None = None
    num_requests: int | None = None
    concurrency: int | None = None
    request_rate: float | None = None

    @property
    def is_article(self) -> bool:
        """Whether the model is trained as the article's models are: dense networks and the small GPT."""
        return self.config.get("model_type") == "dense_network" or (self.model == "tiny-gpt" and self.task == "train")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a record."""
        return dataclasses.asdict(self)
