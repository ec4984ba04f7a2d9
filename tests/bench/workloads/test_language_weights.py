"""Seeded random weights that are real work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from bench.backend.models import language_model
from tests.support.checkpoints import random_model
from tests.support.tiny_models import CONFIGS, config

pytestmark = pytest.mark.usefixtures("quick")


class TestRandomWeights:
    @pytest.mark.parametrize("family", CONFIGS)
    def test_the_seed_decides_every_weight(self, family: str) -> None:
        first, again, other = (random_model(family, seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[name], again[name]) for name in first)
        matrices = [name for name, tensor in first.items() if tensor.dim() >= 2]
        assert matrices
        assert not any(torch.equal(first[name], other[name]) for name in matrices)

    @pytest.mark.parametrize("family", CONFIGS)
    def test_matrices_are_drawn_norms_are_ones_and_biases_zeros(self, family: str) -> None:
        for name, p in random_model(family).named_parameters():
            if p.dim() >= 2:
                # 0.02 / sqrt(2 n) is the standard error of a standard deviation from n draws; six of them allowed
                assert abs(p.std().item() - 0.02) < 6 * 0.02 / (2 * p.numel()) ** 0.5, name
                assert torch.unique(p).numel() > 0.9 * p.numel(), name
            else:
                assert torch.all(p == (1 if "norm" in name or ".ln_" in name else 0)) or name.endswith("bias"), name
                if name.endswith("bias"):
                    assert torch.all(p == 0), name

    def test_no_row_of_a_wide_matrix_repeats(self) -> None:
        """The drawn block is laid end to end: were its length a multiple of the width, every 4096th row would be the same."""
        wide = random_model("llama", hidden_size=1024, intermediate_size=8192, num_attention_heads=8, num_hidden_layers=1)
        down = dict(wide.named_parameters())["model.layers.0.mlp.down_proj.weight"]
        assert down.numel() == 2**23  # two blocks long
        assert torch.unique(down, dim=0).shape[0] == down.shape[0]

    @pytest.mark.parametrize("family", ["phi", "llama", "mistral"])
    def test_rotary_buffers_are_those_of_a_model_built_the_ordinary_way(self, family: str) -> None:
        expected = {name: b for name, b in language_model(config(family)).named_buffers() if "inv_freq" in name}
        found = dict(random_model(family).named_buffers())
        assert expected
        assert all(torch.equal(found[name], buffer) for name, buffer in expected.items())

    def test_inverse_frequencies_are_the_papers(self) -> None:
        """theta^(-2i/d) with d = 0.5 · 8 = 4 rotary widths. Source: Su et al. 2021 (arXiv 2104.09864), section 3.2.2."""
        (inverse,) = (b for name, b in random_model("phi").named_buffers() if name.endswith(".inv_freq"))
        torch.testing.assert_close(inverse, torch.tensor([1.0, 10_000 ** (-2 / 4)]))

    @pytest.mark.parametrize("family", CONFIGS)
    def test_logits_are_those_of_an_ordinary_model_with_the_same_weights(self, family: str) -> None:
        """Buffers that no state dict holds must be right as well, or the logits differ."""
        drawn, ordinary = random_model(family), language_model(config(family)).eval()
        ordinary.load_state_dict(drawn.state_dict())
        ids = torch.arange(24).view(2, 12)
        with torch.no_grad():
            assert torch.equal(drawn(input_ids=ids).logits, ordinary(input_ids=ids).logits)

    @pytest.mark.parametrize(("family", "tied"), [("gpt2", True), ("llama", False), ("llama", True)])
    def test_a_tied_head_stays_tied(self, family: str, tied: bool) -> None:
        model = random_model(family, tie_word_embeddings=tied)
        assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) is tied

    @pytest.mark.parametrize("family", CONFIGS)
    def test_only_one_block_is_drawn_and_no_weight_twice(self, family: str) -> None:
        """Initial weights that are overwritten anyway would take a minute to draw for billions of them."""
        drawn: list[tuple[str, int, int]] = []

        class Watch(TorchFunctionMode):
            def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
                    tensor = args[0] if args else kwargs["tensor"]
                    drawn.append((func.__name__, tensor.numel(), tensor.dim()))
                return func(*args, **(kwargs or {}))

        with Watch():
            random_model(family)
        assert [(name, num) for name, num, dims in drawn if dims > 1 or num > 2**20] == [("normal_", 2**22 + 15)]
        assert sum(num for _, num, dims in drawn if dims == 1) < 2**22 + 15 + 10_000  # and biases, which are few and stay
        drawn.clear()
        with Watch():
            language_model(config(family))
        assert len(drawn) > 20  # the ordinary way: the watch sees every draw

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
    def test_every_parameter_has_the_dtype_asked_for(self, dtype: torch.dtype) -> None:
        assert {p.dtype for p in random_model("phi", dtype=dtype).parameters()} == {dtype}
