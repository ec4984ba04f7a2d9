"""One way to put a model on meta: whoever counts there counts the same, also of experts that look for their tokens and of rotary angles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from bench.backend import on_meta as mending
from bench.backend.counting.hf_config import count_config
from bench.backend.counting.meta import meta_model, torch_count
from bench.backend.counting.training_pass import count_pass
from bench.backend.models import language_model
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.spec import Case, Workload
from tests.support.tiny_models import config

Config = Mapping[str, Any]
BATCH, SEQ_LEN = 2, 6


def by_meta_model(config: Config) -> tuple[int, int | None]:
    counted = torch_count(meta_model(config), Workload(phase="train", batch=BATCH, seq_len=SEQ_LEN))
    return counted.forward_flop, counted.backward_flop


def by_count_config(config: Config) -> tuple[int, int | None]:
    counted = count_config(config, batch=BATCH, seq_len=SEQ_LEN)
    network = counted.network
    assert network is not None, counted.flop_reason
    return network.forward_flop, network.backward_flop


def by_watching(config: Config) -> tuple[int, int | None]:
    """Of a user's own model in training."""
    counted = count_pass(language_model(config).train(), (), {"input_ids": torch.zeros(BATCH, SEQ_LEN, dtype=torch.long)})
    return counted.forward_flop, counted.backward_flop


WAYS: dict[str, Callable[[Config], tuple[int, int | None]]] = {
    "meta_model": by_meta_model,
    "count_config": by_count_config,
    "watching": by_watching,
}

DBRX: dict[str, Any] = {
    "model_type": "dbrx",
    "d_model": 32,
    "n_heads": 4,
    "n_layers": 2,
    "max_seq_len": 64,
    "vocab_size": 64,
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
    "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
}
MIXTRAL = config("llama") | {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}


def by_op_table(config: Config) -> tuple[int, int]:
    said = estimate(Case(model=model_from_config(config, "tiny"), workload=Workload(phase="train", batch=BATCH, seq_len=SEQ_LEN)))
    return said.forward_flop, said.backward_flop


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("of", [DBRX, MIXTRAL], ids=["dbrx", "mixtral"])
def test_experts_are_counted_alike_however_a_model_came_to_meta(of: Config, way: str) -> None:
    assert WAYS[way](of) == by_op_table(of)


def test_experts_that_look_for_their_tokens_do_not_run_on_meta_unmended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "LOOPING", ())
    with pytest.raises(Exception, match=r"meta|data-dependent|aten::nonzero"):
        by_meta_model(DBRX)


@pytest.mark.parametrize("way", ["count_config", "watching"])
def test_where_values_are_known_they_find_their_tokens_and_multiply_as_much(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "LOOPING", ())
    assert WAYS[way](DBRX) == by_op_table(DBRX)


def product_of_angles(self: Any, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As transformers 5.17 forms them."""
    frequencies = self.inv_freq[None, :, None].float().expand(position_ids.shape[0], -1, 1)
    angles = (frequencies @ position_ids[:, None, :].float()).transpose(1, 2)
    both = torch.cat((angles, angles), dim=-1)
    return both.cos().to(x.dtype), both.sin().to(x.dtype)


@pytest.mark.parametrize("way", WAYS)
def test_angles_of_positions_are_no_flop_however_a_model_came_to_meta(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    monkeypatch.setattr(LlamaRotaryEmbedding, "forward", product_of_angles)
    of = config("llama")
    assert WAYS[way](of) == by_op_table(of)
    monkeypatch.setattr(mending, "_without_products", lambda forward: forward)
    assert WAYS[way](of) != by_op_table(of)
