"""Weights and tokenizer: a given checkpoint, else the local hub cache, else seeded random weights; never the network."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.backend import device as devices
from bench.backend.models import random_language_model
from bench.backend.tuned_model import tuned
from bench.workloads.language.run import Checkpoint, LanguageRun
from bench.workloads.step_run import StepRun
from estimators.errors import BadConfigError, UnavailableError

RANDOM_WEIGHTS = "random weights"
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tokenizer_config.json")
MAX_REASON = 160
"""Characters of a library's own complaint that are passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model ready to run, and the seconds that it took to get it there."""

    model: nn.Module
    load_s: float


def find_checkpoint(weights: str | None, hub_id: str | None) -> Checkpoint | None:
    """The checkpoint to load: the folder given, else the hub's name if the local cache holds its weights, else None.

    Raises:
        UnavailableError: the folder given is not there or holds no checkpoint.
    """
    if weights is not None:
        folder = Path(weights)
        if not folder.is_dir():
            raise UnavailableError(f"no checkpoint folder {weights!r}; give a folder that save_pretrained wrote, or leave --weights out")
        if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
            raise UnavailableError(
                f"{weights!r} holds no *.safetensors and no pytorch_model*.bin; give a folder that save_pretrained wrote"
            )
        return Checkpoint(place=str(folder), label=f"checkpoint {folder.resolve().name}")
    if hub_id is None or not _has(hub_id, WEIGHT_FILES):
        return None
    return Checkpoint(place=hub_id, label=f"checkpoint {hub_id}")


def _has(place: str, names: tuple[str, ...]) -> bool:
    """Whether a folder, or the hub's local cache under a name, holds one of the files."""
    if Path(place).is_dir():
        return any((Path(place) / name).is_file() for name in names)
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(place, name), str) for name in names)


def load_tokenizer(checkpoint: Checkpoint | None, trust_remote_code: bool) -> Any | None:
    """The checkpoint's tokenizer, or None where there is none at hand.

    transformers makes an empty tokenizer, which turns every text into nothing, for a checkpoint without its files.
    """
    if checkpoint is None or not _has(checkpoint.place, TOKENIZER_FILES):
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(checkpoint.place, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception:  # a checkpoint without a usable tokenizer fails in many ways; random ids stand in, and every table says so
        return None


def load(run: LanguageRun, config: dict[str, Any] | None = None) -> Loaded:
    """The model in evaluation mode on the run's device.

    Stored weights are fp32 in training, where autocast computes in the run's dtype; else in the run's own. Those of a fine-tuning are
    its job's, with the adapters.

    Args:
        config: of random weights; the run's unless given.

    Raises:
        UnavailableError: the checkpoint cannot be read, or lacks weights.
        BadConfigError: it needs code of its own, which only --trust-remote-code allows.
    """
    dtype = weights_dtype(run)
    device = run.device.torch_device
    start = time.perf_counter()
    if run.checkpoint is None:
        model = random_language_model(config or run.config, attn=run.attn, dtype=dtype, device=device, seed=run.seed)
    else:
        model = _from_checkpoint(run.checkpoint, run, dtype).to(device)
    if run.job is not None:
        model = tuned(model, run.job)
    return Loaded(model=model.eval(), load_s=time.perf_counter() - start)


def weights_dtype(run: StepRun) -> torch.dtype:
    """What a run's weights are loaded in."""
    if run.job is not None:
        return devices.dtype(run.job.weights_dtype)
    return torch.float32 if run.task == "train" else devices.dtype(run.dtype)


def _from_checkpoint(checkpoint: Checkpoint, run: LanguageRun, dtype: torch.dtype) -> nn.Module:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would draw into files and pipes as well
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            checkpoint.place,
            local_files_only=True,
            dtype=dtype,
            attn_implementation=run.attn,
            trust_remote_code=run.trust_remote_code,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # transformers, safetensors and torch each raise exceptions of their own on a bad file
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:MAX_REASON]
        if "trust_remote_code" in str(error):
            raise BadConfigError(
                f"{checkpoint.place!r} needs code of its own to run; only if you trust it, add --trust-remote-code"
            ) from None
        raise UnavailableError(f"cannot load the checkpoint {checkpoint.place!r}: {reason}") from None
    unusable = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    if unusable:
        raise UnavailableError(
            f"the checkpoint {checkpoint.place!r} has no fitting {unusable[0]} ({len(unusable)} weights in all), "
            "which would be drawn at random; give the whole checkpoint with its own config.json"
        )
    loaded: nn.Module = model
    return loaded
