"""The FLOP of a watched training, by the op table and counted on meta, and the rates made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.backend.counting.meta import meta_language_model
from bench.callbacks import watch
from bench.callbacks.rates import NAMES
from estimators.facts.registry import hardware
from tests.support.quiet_machine import failed_by_itself
from tests.support.tiny_models import CEILINGS, config
from tests.support.watched_trainings import CPU, Training, batches, only_record, run, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


class TestFlop:
    def test_its_flop_are_those_that_torch_counts_of_the_very_model(self, tmp_path: Path) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        data = batches(3)
        made = run(tmp_path, data)
        on_meta = meta_language_model(config("gpt2"))
        counter = FlopCounterMode(display=False)
        with counter:
            on_meta(input_ids=data[0]["input_ids"].to("meta")).logits.sum().backward()
        assert made.estimate.phases["train_step"].flop.full == counter.get_total_flops()
        assert made.proof.watched.training_flop == 3 * counter.get_total_flops()

    def test_a_network_of_ones_own_is_counted_on_meta(self, tmp_path: Path) -> None:
        network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        data = [(torch.ones(4, 8), torch.ones(4, 1))] * 6
        watched = watch(data, network, out=tmp_path, every=0, ceilings=CEILINGS, name="own")
        for x, y in watched:
            loss = (network(x) - y).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            watched.loss(loss)
        made = only_record(tmp_path)
        # By hand: forward 2·4·(8·16 + 16·1); backward twice that, less the gradient of the first input, 2·4·8·16.
        forward = 2 * 4 * (8 * 16 + 16)
        assert made.estimate.phases["train_step"].flop.full == 3 * forward - 2 * 4 * 8 * 16
        assert made.proof.num_samples == 24
        assert failed_by_itself(made) == ()
        assert all(p.device == CPU for p in network.parameters())

    def test_a_model_that_is_trained_in_part_is_counted_and_not_read_from_the_op_table(self, tmp_path: Path) -> None:
        whole = run(tmp_path / "whole", batches(3))
        model = tiny_model()
        for name, parameter in model.named_parameters():
            parameter.requires_grad = "h.3" in name
        part = run(tmp_path / "part", batches(3), model)
        assert {count.route for count in part.counts} == {"torch's dispatcher on meta"}
        forward = whole.estimate.phases["train_step"].forward_flop
        # By hand, of 2 x 16 tokens: the last layer's matrices have 12·32² weights, for which backward takes twice their forward FLOP;
        # attention's two products, 2·2·2·16²·32, take twice as well; the head (128·32) passes a gradient on and needs none itself.
        backward = 2 * 32 * (2 * 12 * 32**2 + 128 * 32) + 2 * (2 * 2 * 2 * 16**2 * 32)
        assert part.proof.watched.training_flop == 3 * (forward + backward)

    def test_recomputed_activations_are_no_model_flop_by_either_route(self, tmp_path: Path) -> None:
        def flop(folder: str, *, recompute: bool, trained: str) -> tuple[int, int]:
            model = tiny_model()
            if recompute:
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})  # type: ignore[operator]
            for name, parameter in model.named_parameters():
                parameter.requires_grad = trained in name
            seen = run(tmp_path / folder, batches(2), model).proof.watched
            return seen.training_flop, seen.hardware_flop

        # By hand, of 2 x 16 tokens: the layers' forward pass is run twice, 4 layers of 12·32² weights and attention's two products.
        again = 2 * (2 * 32 * 4 * 12 * 32**2 + 4 * 2 * 2 * 2 * 16**2 * 32)
        full, hardware_flop = flop("table", recompute=True, trained="")
        assert (full, full) == flop("plain", recompute=False, trained="")
        assert hardware_flop - full == again
        assert flop("counted", recompute=True, trained="h.3")[0] == flop("uncounted", recompute=False, trained="h.3")[0]

    def test_what_a_known_gpu_allows_and_is_predicted_to_need_is_in_the_figures(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        h100 = hardware("h100-sxm5-80gb")
        monkeypatch.setattr("bench.backend.device.Device.hardware", lambda _: h100)
        model = tiny_model()
        training, watched = Training(model), watch(batches(6), model, out=tmp_path, every=0, ceilings=CEILINGS, dtype="bf16")
        for batch in watched:
            watched.loss(training.step(batch))
            found = watched.figures()
        assert {"mfu_fraction", "hfu_fraction", "measured_over_predicted", "matmul_ceiling_fraction"} <= found.keys() <= set(NAMES)
        made = only_record(tmp_path)
        assert made.estimate.peak_flop_per_s == h100.peak("bf16")
        assert made.estimate.predicted_step_s > 0
        flop = made.estimate.phases["train_step"].flop.full
        assert found["mfu_fraction"] == pytest.approx(flop / found["step_s"] / h100.peak("bf16"))
