"""Weights and tokenizer: a given checkpoint, else the local hub cache, else seeded random weights; never the network."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.backend.models import random_language_model
from bench.request import Request
from estimators.errors import BadConfigError, UnavailableError

RANDOM_WEIGHTS = "random weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model ready to run.

    Attributes:
        weights: what every table says: "random weights", or the checkpoint's name.
        load_s: seconds that it took.
    """

    model: nn.Module
    weights: str
    load_s: float


def find_checkpoint(request: Request, hub_id: str | None) -> str | None:
    """The checkpoint to load: the folder given, else the hub id if the local cache holds its weights, else None.

    Raises:
        UnavailableError: the folder given is not there or holds no checkpoint.
    """
    if request.weights:
        folder = Path(request.weights)
        if not folder.is_dir():
            raise UnavailableError(
                f"no checkpoint folder {request.weights!r}; give a folder that save_pretrained wrote, or leave --weights out"
            )
        if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
            raise UnavailableError(
                f"{request.weights!r} holds no *.safetensors and no pytorch_model*.bin; give a folder that save_pretrained wrote"
            )
        return str(folder)
    if hub_id is None or request.layers is not None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(hub_id, name) for name in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"))
    return hub_id if any(isinstance(path, str) for path in found) else None


def load_tokenizer(checkpoint: str | None, trust_remote_code: bool) -> Any | None:
    """The checkpoint's tokenizer, or None where there is none at hand."""
    if checkpoint is None:
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError, TypeError, AttributeError):
        return None


def load(request: Request, checkpoint: str | None, *, dtype: torch.dtype, device: torch.device, config: dict[str, Any]) -> Loaded:
    """The model in evaluation mode on the device.

    Raises:
        UnavailableError: the checkpoint cannot be read.
        BadConfigError: it needs code of its own, which only --trust-remote-code allows.
    """
    start = time.perf_counter()
    attn = request.attn or "sdpa"
    if checkpoint is None:
        model = random_language_model(config, attn=attn, dtype=dtype, device=device, seed=request.seed)
        return Loaded(model=model.eval(), weights=RANDOM_WEIGHTS, load_s=time.perf_counter() - start)
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            checkpoint, local_files_only=True, dtype=dtype, attn_implementation=attn, trust_remote_code=request.trust_remote_code
        )
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, AttributeError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        if "trust_remote_code" in str(error):
            raise BadConfigError(f"{checkpoint!r} needs code of its own to run; only if you trust it, add --trust-remote-code") from None
        raise UnavailableError(f"cannot load the checkpoint {checkpoint!r}: {line}") from None
    except Exception as error:  # safetensors raises an exception class of its own
        raise UnavailableError(f"cannot load the checkpoint {checkpoint!r}: {type(error).__name__}: {str(error)[:160]}") from None
    return Loaded(
        model=model.to(device).eval(),
        weights=f"checkpoint {Path(checkpoint).name if request.weights else checkpoint}",
        load_s=time.perf_counter() - start,
    )
