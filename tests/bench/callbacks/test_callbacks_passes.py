"""The FLOP of a step are the sum over the passes that happened, each known by all that its forward was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from bench.callbacks.batches import BatchSize
from tests.support.loops_of_ones_own import flop, named, small, squares, tiny_llama, train, usual_step

pytestmark = pytest.mark.usefixtures("one_thread")

X = [torch.randn(4, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)]
LINEAR = 2 * 4 * 8 * 2
"""FLOP of 4 rows through Linear(8, 2), forward; as many for the gradient of its weights."""


class TestShapes:
    @pytest.mark.parametrize("sizes", [(16, 64), (64, 16)])
    def test_images_that_vary_are_counted_each_by_its_own_size(self, tmp_path: Path, sizes: tuple[int, int]) -> None:
        made = train(tmp_path, nn.Conv2d(3, 8, 3, padding=1), [torch.randn(4, 3, size, size) for size in sizes])
        # By hand: 4 rows x 2·27·8 FLOP a pixel, forward and the gradient of the weights; none of the images.
        assert flop(made) == (2 * 4 * 2 * 27 * 8 * (16**2 + 64**2),) * 2 == (15_040_512,) * 2

    @pytest.mark.parametrize("lengths", [(4, 64), (64, 4)])
    def test_labels_that_vary_are_a_part_of_the_work(self, tmp_path: Path, lengths: tuple[int, int]) -> None:
        fields: dict[str, Any] = {"vocab_size": 64, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
        model = T5ForConditionalGeneration(T5Config(**fields, decoder_start_token_id=0))  # type: ignore[no-untyped-call]
        data = [{"input_ids": torch.zeros(4, 16).long(), "labels": torch.zeros(4, length).long()} for length in lengths]
        # Torch's counter around forward and backward of this very model with eager attention: 22,118,400 / 2 and 117,964,800 / 2.
        assert flop(train(tmp_path, model, data, usual_step(named)))[0] == 70_041_600

    def test_rows_are_not_taken_to_be_apart(self, tmp_path: Path) -> None:
        class Pairs(nn.Module):
            """Every row against every other, as a contrastive loss has them."""

            def __init__(self) -> None:
                super().__init__()
                self.l = nn.Linear(8, 8)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                y = self.l(x)
                return y @ y.T

        def by_hand(rows: int) -> int:
            return 2 * 2 * rows * 8 * 8 + 3 * 2 * rows * rows * 8

        made = train(tmp_path, Pairs(), [torch.randn(rows, 8) for rows in (4, 12)])
        assert flop(made)[0] == by_hand(4) + by_hand(12)

    @pytest.mark.parametrize("given", [lambda n, x: n(x, x), lambda n, x: n({"x": x, "y": x}), lambda n, x: n(x=x, y=x)])
    def test_arguments_of_any_kind_are_seen_as_they_are_given(self, tmp_path: Path, given: Any) -> None:
        class Sum(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.l = small()

            def forward(self, x: Any, y: Any = None) -> Any:
                x, y = (x["x"], x["y"]) if isinstance(x, dict) else (x, y)
                return self.l(x + y)

        made = train(tmp_path, Sum(), X, usual_step(lambda network, x: given(network, x).square().mean()))
        assert flop(made)[0] == 4 * 2_816

    def test_a_number_that_forward_is_given_is_a_part_of_what_is_known(self, tmp_path: Path) -> None:
        class Again(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.l = nn.Linear(8, 8)

            def forward(self, x: torch.Tensor, times: int) -> torch.Tensor:
                for _ in range(times):
                    x = self.l(x)
                return x

        step = usual_step(lambda network, times: network(X[0], times).square().mean())
        made = train(tmp_path, Again(), [1, 3, 1], step, size=lambda _: BatchSize(rows=4, length=1, item="sample"))
        one = 2 * 4 * 8 * 8
        assert flop(made)[0] == (2 + (3 * 3 - 1) + 2) * one


class TestDraws:
    class Depth(nn.Module):
        """8 layers, each left out where a draw says so."""

        def __init__(self, draw: Any, threshold: float) -> None:
            super().__init__()
            self.layers, self.head = nn.ModuleList(nn.Linear(32, 32) for _ in range(8)), nn.Linear(32, 2)
            self.draw, self.threshold = draw, threshold

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                if self.draw() >= self.threshold:
                    x = torch.relu(layer(x))
            return self.head(x)

    @pytest.mark.parametrize(
        ("draw", "reason"),
        [
            (lambda: torch.rand([]), "random numbers decide what forward computes"),
            (lambda: torch.rand(1).item(), "random numbers decide what forward computes"),
            (lambda: torch.bernoulli(torch.tensor(0.5)), "random numbers decide what forward computes"),
            (lambda: torch.randn([]), "draws random numbers and looks at them"),
            (lambda: torch.randint(0, 2, ()), "draws random numbers and looks at them"),
            (lambda: np.random.rand(), "draws from numpy"),
            (lambda: __import__("random").random(), "draws from Python's random"),
        ],
    )
    def test_a_forward_that_draws_is_never_counted_from_one_draw(self, tmp_path: Path, draw: Any, reason: str) -> None:
        made = train(tmp_path, self.Depth(draw, 0.5), [torch.ones(4, 32)] * 4)
        assert flop(made) == (None, None)
        assert reason in made.unavailable["training_flop"]

    def test_draws_that_decide_nothing_are_no_hindrance(self, tmp_path: Path) -> None:
        whole = 2 * 4 * (2 * 8 * 32 * 32 + 2 * 32 * 2) + 2 * 4 * (7 * 32 * 32 + 32 * 2)
        assert flop(train(tmp_path / "never", self.Depth(lambda: torch.rand([]), 0.0), [torch.ones(4, 32)] * 2))[0] == 2 * whole
        noisy = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.RReLU(), nn.Linear(16, 2))
        assert flop(train(tmp_path / "noisy", noisy, X))[0] == 4 * 2_816

    def test_a_count_leaves_all_generators_as_they_were(self, tmp_path: Path) -> None:
        def losses(folder: str | None) -> list[float]:
            torch.manual_seed(0)
            np.random.seed(0)
            network, seen = self.Depth(lambda: np.random.rand() + float(torch.rand([])), 1.0), []

            def step(network: nn.Module, x: torch.Tensor, optimizer: Any) -> torch.Tensor:
                loss = usual_step(squares)(network, x, optimizer)
                seen.append(loss.item())
                return loss  # type: ignore[no-any-return]

            if folder:
                train(tmp_path / folder, network, [torch.ones(4, 32)] * 6, step)
            else:
                optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
                for _ in range(6):
                    step(network, torch.ones(4, 32), optimizer)
            return seen

        assert losses("watched") == losses(None)


class TestRecomputation:
    class Own(nn.Module):
        """A block of one's own behind torch.utils.checkpoint."""

        def __init__(self, reentrant: bool | None) -> None:
            super().__init__()
            self.a, self.b, self.reentrant = nn.Linear(8, 64), nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)), reentrant

        def forward(self, x: torch.Tensor) -> Any:
            h = self.a(x)
            return self.b(h) if self.reentrant is None else torch.utils.checkpoint.checkpoint(self.b, h, use_reentrant=self.reentrant)

    @pytest.mark.parametrize(("reentrant", "again"), [(None, 0), (False, 1), (True, 2)])
    def test_a_checkpoint_of_ones_own_is_hardware_flop_and_no_model_flop(self, tmp_path: Path, reentrant: bool | None, again: int) -> None:
        made = train(tmp_path, self.Own(reentrant), X)
        # By hand, a step: 2·4·(8·64 + 2·64²) forward, 2·4·8·64 for the first layer's weights, twice 2·4·2·64² for the others. Of
        # the block torch runs both layers again where it is reentrant, else it stops before the last, whose output nothing needs.
        assert flop(made) == (819_200, 819_200 + again * 4 * 2 * 4 * 64**2)
        assert made.request.recompute == ("full" if again else "none")

    @pytest.mark.parametrize("reentrant", [False, True])
    def test_a_model_that_is_checkpointed_whole_from_outside_is_counted_once_in_full(self, tmp_path: Path, reentrant: bool) -> None:
        def loss_of(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
            return torch.utils.checkpoint.checkpoint(network, x, use_reentrant=reentrant, early_stop=False).square().mean()  # type: ignore[no-any-return]

        made = train(tmp_path, small(), [x.requires_grad_() for x in torch.randn(4, 4, 8)], usual_step(loss_of))
        # By hand: the input needs a gradient here, 2·4·8·16 more than 2,816; 1,280 forward a second time.
        assert flop(made) == (4 * (2_816 + 1_024), 4 * (2_816 + 1_024 + 1_280))


class TestPackedDocuments:
    """A row of 1,024 tokens that holds 64 documents of 16, in a tiny Llama."""

    DOCUMENTS = (16,) * 64
    LINEAR = 2 * 1024 * (2 * (4 * 32**2 + 3 * 32 * 64) + 32 * 64)
    """By hand: FLOP of 1,024 tokens but for attention, forward; a document of s tokens has 2·4·32·s² beside it, in two layers."""

    def positions(self, documents: tuple[int, ...]) -> torch.Tensor:
        return torch.cat([torch.arange(length) for length in documents])[None]

    def ends(self, documents: tuple[int, ...]) -> torch.Tensor:
        return torch.tensor([0, *documents]).cumsum(0).to(torch.int32)

    def batch(self, how: str, documents: tuple[int, ...]) -> dict[str, Any]:
        ids, told = torch.zeros(1, 1024, dtype=torch.long), {"position_ids": self.positions(documents)}
        if how == "kwargs of flash attention":
            ends, longest = self.ends(documents), max(documents)
            told = {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}  # type: ignore[dict-item]
        if how == "a mask that hides nothing":
            told["attention_mask"] = torch.ones_like(ids)
        return {"input_ids": ids, "labels": ids, **told}

    @pytest.mark.parametrize("how", ["positions that restart", "kwargs of flash attention", "a mask that hides nothing"])
    @pytest.mark.parametrize("documents", [DOCUMENTS, (1000, 24), (1, 1022, 1)])
    def test_attention_is_the_sum_of_the_squares_of_the_documents(self, tmp_path: Path, how: str, documents: tuple[int, ...]) -> None:
        made = train(tmp_path, tiny_llama(max_position_embeddings=4096), [self.batch(how, documents)] * 2, usual_step(named))
        squares_of = 2 * 4 * 32 * sum(length**2 for length in documents)
        phase = made.estimate.phases["train_step"]
        assert flop(made)[0] == 2 * 3 * (self.LINEAR + squares_of)
        assert (phase.flop.full, phase.min_flop) == (3 * (self.LINEAR + squares_of), 3 * (self.LINEAR + squares_of // 2))
        if documents == self.DOCUMENTS:
            assert (phase.flop.full, phase.min_flop) == (150_994_944, 144_703_488)
        assert "predicted_step_s" in made.unavailable

    def test_every_step_is_its_own_documents(self, tmp_path: Path) -> None:
        data = [self.batch("positions that restart", documents) for documents in (self.DOCUMENTS, (512, 512), (1024,))]
        made = train(tmp_path, tiny_llama(max_position_embeddings=4096), data, usual_step(named))
        assert flop(made)[0] == 3 * (3 * self.LINEAR + 2 * 4 * 32 * (64 * 16**2 + 2 * 512**2 + 1024**2))

    def test_positions_beside_padding_are_no_documents(self, tmp_path: Path) -> None:
        ids = torch.zeros(2, 8, dtype=torch.long)
        mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1], [1] * 8])
        positions = (mask.cumsum(1) - 1).masked_fill(mask == 0, 1)
        batch = {"input_ids": ids, "labels": ids, "attention_mask": mask}
        padded = train(tmp_path / "padded", tiny_llama(), [batch | {"position_ids": positions}] * 2, usual_step(named))
        assert flop(padded) == flop(train(tmp_path / "plain", tiny_llama(), [batch] * 2, usual_step(named)))

    def test_without_an_op_table_documents_are_summed_likewise(self, tmp_path: Path) -> None:
        def trained(folder: str, data: list[Any]) -> int | None:
            model = tiny_llama(max_position_embeddings=4096)
            model.model.embed_tokens.requires_grad_(False)
            model.lm_head.requires_grad_(False)
            return flop(train(tmp_path / folder, model, data, usual_step(named)))[0]

        documents = (100, 300, 300, 324)
        packed = trained("packed", [self.batch("positions that restart", documents)])
        apart = [
            trained(f"apart {i}", [{"input_ids": torch.zeros(1, n).long(), "labels": torch.zeros(1, n).long()}])
            for i, n in enumerate(documents)
        ]
        assert packed is not None
        assert packed == sum(flop or 0 for flop in apart)
