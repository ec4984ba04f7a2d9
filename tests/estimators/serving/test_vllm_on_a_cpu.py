"""vLLM itself, on this CPU, where its CPU build is installed: the tokens of cache that it logs at its start are those of the law."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.serving.kv_cache import kv_bytes_per_token
from estimators.units import GIBI

pytest.importorskip("vllm")
pytestmark = pytest.mark.slow

LOGGED = re.compile(r"KV cache size: ([\d,]+) tokens")
LONGEST_S = 600

BASE: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 1024,
}

TOKENS_OF_A_BLOCK = 128

START = f"""
import sys
from vllm import LLM

if __name__ == "__main__":
    LLM(
        model=sys.argv[1], dtype=sys.argv[2], load_format="dummy", skip_tokenizer_init=True, enforce_eager=True,
        max_model_len=512, block_size={TOKENS_OF_A_BLOCK},
    )
"""


@pytest.mark.parametrize(
    ("changes", "dtype"),
    [
        ({}, "fp32"),  # 2 layers x 2 x 2 heads of 32 x 4 B = 1,024 B a token: 1,048,576 tokens
        (
            {"num_hidden_layers": 3, "num_key_value_heads": 4},
            "bf16",
        ),  # 3 x 2 x 4 x 32 x 2 B = 1,536 B: 699,008 tokens in whole blocks
    ],
)
def test_the_cache_that_vllm_logs_is_the_laws(changes: dict[str, Any], dtype: str, tmp_path: Path) -> None:
    config = BASE | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "OMP_NUM_THREADS": "1",
    }
    start = tmp_path / "start.py"
    start.write_text(START)
    words = [sys.executable, str(start), str(tmp_path), {"fp32": "float32", "bf16": "bfloat16"}[dtype]]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    found = LOGGED.search(ended.stdout + ended.stderr)
    assert found is not None, (ended.stdout + ended.stderr)[-2000:]
    model = model_from_config(config, "random")
    assert isinstance(model, Decoder)
    blocks = GIBI // (kv_bytes_per_token(model, dtype) * TOKENS_OF_A_BLOCK)
    assert int(found.group(1).replace(",", "")) == blocks * TOKENS_OF_A_BLOCK
