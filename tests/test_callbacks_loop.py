"""A plain loop and a context manager under watch: the record they leave, its tokens, its proof, and what ends it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CEILINGS, config
from torch import nn

from bench import record
from bench.backend.count import meta_language_model
from bench.backend.models import random_language_model
from bench.callbacks import Watch, watch
from bench.callbacks.live import NAMES
from bench.cli.main import main
from bench.record import Measurement
from estimators.errors import BadValueError, UnavailableError
from estimators.registry import hardware
from reports.crosscheck import crosscheck, failed

CPU = torch.device("cpu")
Batch = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_model() -> nn.Module:
    return random_language_model(config("gpt2"), attn="sdpa", dtype=torch.float32, device=CPU, seed=0).train()


def batches(count: int, *, rows: int = 2, length: int = 16, padding: int = 0) -> list[Batch]:
    """One batch again and again, which a working optimizer learns; the last row ends with padding."""
    ids = torch.randint(0, 128, (rows, length), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    if padding:
        mask[-1, -padding:] = 0
    return [{"input_ids": ids, "attention_mask": mask, "labels": ids}] * count


class Training:
    """A training of one's own: forward, backward, optimizer."""

    def __init__(self, model: nn.Module, learning_rate: float = 1e-3) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)

    def step(self, batch: Batch) -> torch.Tensor:
        loss: torch.Tensor = self.model(**batch).loss
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


def only_record(folder: Path) -> Measurement:
    (path,) = folder.glob("*.json")
    return record.read(path)


def run(folder: Path, data: list[Batch], model: nn.Module | None = None, **options: Any) -> Measurement:
    model = model or tiny_model()
    training = Training(model)
    watched = watch(data, model, **({"out": folder, "every": 0, "ceilings": CEILINGS} | options))
    for batch in watched:
        watched.loss(training.step(batch))
    return only_record(folder)


class TestLoop:
    def test_it_leaves_a_record_whose_checks_all_hold_and_which_report_reads(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made = run(tmp_path, batches(12))
        assert made.status == "complete"
        assert failed(crosscheck(made)) == ()
        assert main(["report", str(tmp_path)]) == 0
        (path,) = tmp_path.glob("*.json")
        assert main(["report", str(path)]) == 0
        assert "Inside the training" in capsys.readouterr().out

    def test_its_tokens_are_those_of_the_masks_and_padding_stands_apart(self, tmp_path: Path) -> None:
        made = run(tmp_path, batches(5, rows=3, length=10, padding=4))
        # By hand: 3 rows of 10 positions, 4 of them padding, 5 times.
        assert made.proof["num_tokens"] == 5 * (3 * 10 - 4) == 130
        assert made.proof["watched"]["padding_per_step"] == [4] * 5
        phase = made.phase("train_step")
        assert phase is not None
        assert (phase.items_per_sample, phase.item) == (26, "token")
        assert {finding.code for finding in made.warnings} >= {"Padding"}

    def test_its_flop_are_those_that_torch_counts_of_the_very_model(self, tmp_path: Path) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        data = batches(3)
        made = run(tmp_path, data)
        on_meta = meta_language_model(config("gpt2"))
        counter = FlopCounterMode(display=False)
        with counter:
            on_meta(input_ids=data[0]["input_ids"].to("meta")).logits.sum().backward()
        assert made.estimate["phases"]["train_step"]["flop"]["full"] == counter.get_total_flops()
        assert made.proof["watched"]["training_flop"] == 3 * counter.get_total_flops()

    def test_steps_of_several_lengths_are_summed_exactly_and_said_to_vary(self, tmp_path: Path) -> None:
        short, long = run(tmp_path / "a", batches(2, length=8)), run(tmp_path / "b", batches(2, length=16))
        both = run(tmp_path / "c", [*batches(2, length=8), *batches(2, length=16)])
        expected = sum(one.proof["watched"]["training_flop"] for one in (short, long))
        assert both.proof["watched"]["training_flop"] == expected
        assert both.proof["num_tokens"] == 2 * 2 * 8 + 2 * 2 * 16
        assert "ShapesVary" in {finding.code for finding in both.warnings}

    def test_accumulated_batches_are_one_step_and_the_last_may_be_short(self, tmp_path: Path) -> None:
        made = run(tmp_path, batches(5), accumulate=2)
        assert made.proof["num_steps"] == 3
        assert made.proof["watched"]["tokens_per_step"] == [64, 64, 32]
        assert made.request["batch"] == 4

    def test_several_epochs_go_into_one_record(self, tmp_path: Path) -> None:
        model = tiny_model()
        training, watched = Training(model), watch(batches(4), model, out=tmp_path, every=0, ceilings=CEILINGS)
        for _ in range(2):
            for batch in watched:
                watched.loss(training.step(batch))
        assert only_record(tmp_path).proof["num_steps"] == 8

    def test_the_wait_for_a_slow_loader_is_measured_apart_and_reported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]  # a scripted clock: 3 s for every batch, 1 s for every step
        monkeypatch.setattr("time.perf_counter", lambda: now[0])

        def loader() -> Iterator[Batch]:
            for batch in batches(8):
                now[0] += 3.0
                yield batch

        model = tiny_model()
        watched = watch(loader(), model, out=tmp_path, every=0, ceilings=CEILINGS)
        for _ in watched:
            now[0] += 1.0
        made = only_record(tmp_path)
        assert made.proof["watched"]["data_wait_s"] == [3.0] * 8
        step, host = made.phase("train_step"), made.phase("host_step")
        assert step is not None
        assert host is not None
        assert (set(step.samples_s), set(host.samples_s)) == ({4.0}, {1.0})
        assert "75 % of the time went into waiting for data" in {f.text for f in made.warnings if f.code == "DataWait"}

    def test_a_line_every_few_steps_goes_to_stderr(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
        monkeypatch.setattr("bench.callbacks.lines.LEAST_LINE_S", 0.0)
        run(tmp_path, batches(9), every=3)
        said = capsys.readouterr()
        lines = [line for line in said.err.splitlines() if line.startswith("step ")]
        assert len(lines) == 2  # the step that ended last still waits for its loss
        assert "tokens/s" in lines[0]
        assert "of the matmul ceiling" in lines[1]
        assert said.out == ""

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
        assert made.estimate["phases"]["train_step"]["flop"]["full"] == 3 * forward - 2 * 4 * 8 * 16
        assert made.proof["num_samples"] == 24
        assert failed(crosscheck(made)) == ()
        assert all(p.device == CPU for p in network.parameters())

    def test_a_model_that_is_trained_in_part_is_counted_and_not_read_from_the_op_table(self, tmp_path: Path) -> None:
        whole = run(tmp_path / "whole", batches(3))
        model = tiny_model()
        for name, parameter in model.named_parameters():
            parameter.requires_grad = "h.3" in name
        part = run(tmp_path / "part", batches(3), model)
        assert {count.route for count in part.counts} == {"torch's dispatcher on meta"}
        forward = whole.estimate["phases"]["train_step"]["forward_flop"]
        # By hand, of 2 x 16 tokens: the last layer's matrices have 12·32² weights, for which backward takes twice their forward FLOP;
        # attention's two products, 2·2·2·16²·32, take twice as well; the head (128·32) passes a gradient on and needs none itself.
        backward = 2 * 32 * (2 * 12 * 32**2 + 128 * 32) + 2 * (2 * 2 * 2 * 16**2 * 32)
        assert part.proof["watched"]["training_flop"] == 3 * (forward + backward)

    def test_recomputed_activations_are_no_model_flop_by_either_route(self, tmp_path: Path) -> None:
        def flop(folder: str, *, recompute: bool, trained: str) -> tuple[int, int]:
            model = tiny_model()
            if recompute:
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})  # type: ignore[operator]
            for name, parameter in model.named_parameters():
                parameter.requires_grad = trained in name
            seen = run(tmp_path / folder, batches(2), model).proof["watched"]
            return seen["training_flop"], seen["hardware_flop"]

        # By hand, of 2 x 16 tokens: the layers' forward pass is run twice, 4 layers of 12·32² weights and attention's two products.
        again = 2 * (2 * 32 * 4 * 12 * 32**2 + 4 * 2 * 2 * 2 * 16**2 * 32)
        full, hardware_flop = flop("table", recompute=True, trained="")
        assert (full, full) == flop("plain", recompute=False, trained="")
        assert hardware_flop - full == again
        assert flop("counted", recompute=True, trained="h.3")[0] == flop("uncounted", recompute=False, trained="h.3")[0]

    def test_it_does_not_disturb_the_random_state(self, tmp_path: Path) -> None:
        model = tiny_model()
        torch.manual_seed(3)
        alone = torch.rand(1)
        torch.manual_seed(3)
        for _ in watch(batches(2), model, out=tmp_path, every=0, ceilings=CEILINGS):
            pass
        assert torch.equal(torch.rand(1), alone)

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
        assert made.estimate["peak_flop_per_s"] == h100.peak("bf16")
        assert made.estimate["predicted_step_s"] > 0
        flop = made.estimate["phases"]["train_step"]["flop"]["full"]
        assert found["mfu_fraction"] == pytest.approx(flop / found["step_s"] / h100.peak("bf16"))

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"every": -1}, "every is -1; expected a whole number from 0"),
            ({"steps": 0}, "steps is 0; expected a whole number from 1"),
            ({"accumulate": 0}, "accumulate is 0; expected a whole number from 1"),
            ({"dtype": "fp3"}, "dtype 'fp3' is unknown"),
            ({"optimizer": "lion"}, "optimizer 'lion' is unknown"),
        ],
    )
    def test_a_wrong_option_is_refused_in_one_line(self, tmp_path: Path, options: dict[str, Any], complaint: str) -> None:
        with pytest.raises(BadValueError, match=complaint):
            watch(batches(1), tiny_model(), **({"out": tmp_path} | options))

    def test_a_batch_without_a_size_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadValueError, match=r"cannot tell the size of a batch of type str; .*step\(tokens=\.\.\.\)"):
            next(iter(watch(["text"], tiny_model(), out=tmp_path, every=0)))

    def test_a_folder_that_cannot_be_written_is_refused_before_the_first_step(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UnavailableError, match="cannot write records to"):
            watch(batches(1), tiny_model(), out=tmp_path / "file" / "runs")


class TestProof:
    def failures(self, made: Measurement) -> set[str]:
        return {check.metric for check in failed(crosscheck(made))}

    def test_a_loop_without_an_optimizer_step_is_flagged(self, tmp_path: Path) -> None:
        model = tiny_model().eval()  # no dropout: the loss of one batch stays the same
        watched = watch(batches(6), model, out=tmp_path, every=0, ceilings=CEILINGS)
        for batch in watched:
            watched.loss(model(**batch).loss)
        assert self.failures(only_record(tmp_path)) == {"parameters changed", "loss is finite and falls"}

    def test_a_loss_that_is_no_number_is_flagged(self, tmp_path: Path) -> None:
        model = tiny_model()
        training, watched = Training(model), watch(batches(6), model, out=tmp_path, every=0, ceilings=CEILINGS)
        for number, batch in enumerate(watched):
            watched.loss(training.step(batch) * (math.nan if number == 3 else 1.0))
        made = only_record(tmp_path)
        assert self.failures(made) == {"loss is finite and falls"}
        assert made.proof["loss_finite"] is False

    def test_parameters_that_became_no_numbers_are_flagged_without_a_loss(self, tmp_path: Path) -> None:
        model = tiny_model()
        training = Training(model, learning_rate=math.inf)
        for batch in watch(batches(3), model, out=tmp_path, every=0, ceilings=CEILINGS):
            training.step(batch)
        assert "loss is finite and falls" in self.failures(only_record(tmp_path))

    def test_a_loss_that_rises_is_flagged(self, tmp_path: Path) -> None:
        model = tiny_model()
        training, watched = Training(model), watch(batches(8), model, out=tmp_path, every=0, ceilings=CEILINGS)
        for number, batch in enumerate(watched):
            training.step(batch)
            watched.loss(float(number))
        assert self.failures(only_record(tmp_path)) == {"loss is finite and falls"}

    @pytest.mark.parametrize(
        ("value", "complaint"), [(torch.ones(2), "a loss of shape"), ("1.0", "a loss of type str"), (True, "type bool")]
    )
    def test_what_is_no_loss_is_refused(self, tmp_path: Path, value: Any, complaint: str) -> None:
        watched = watch(batches(1), tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS)
        for _ in watched:
            with pytest.raises(BadValueError, match=complaint):
                watched.loss(value)


class TestEnd:
    def test_ctrl_c_in_the_body_leaves_a_partial_record(self, tmp_path: Path) -> None:
        model = tiny_model()
        training = Training(model)

        def train() -> None:
            for number, batch in enumerate(watch(batches(9), model, out=tmp_path, every=0, ceilings=CEILINGS)):
                training.step(batch)
                if number == 4:
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            train()
        made = only_record(tmp_path)
        assert (made.status, made.proof["num_steps"]) == ("partial", 4)  # the fifth was not through
        assert "left before its end" in made.status_reason

    def test_ctrl_c_in_a_block_is_named(self, tmp_path: Path) -> None:
        model = tiny_model()

        def train() -> None:
            with watch(batches(9), model, out=tmp_path, every=0, ceilings=CEILINGS) as watched:
                for number, _ in enumerate(watched):
                    if number == 2:
                        raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            train()
        made = only_record(tmp_path)
        assert (made.status, made.status_reason, made.proof["num_steps"]) == ("partial", "interrupted by the user", 2)

    def test_a_break_in_a_block_ends_a_complete_record(self, tmp_path: Path) -> None:
        model = tiny_model()
        with watch(batches(9), model, out=tmp_path, every=0, ceilings=CEILINGS) as watched:
            for number, _ in enumerate(watched):
                if number == 3:
                    break
        made = only_record(tmp_path)
        assert (made.status, made.proof["num_steps"]) == ("complete", 3)

    def test_so_many_steps_end_a_complete_record(self, tmp_path: Path) -> None:
        made = run(tmp_path, batches(9), steps=4)
        assert (made.status, made.proof["num_steps"]) == ("complete", 4)

    def test_an_error_in_a_block_is_named(self, tmp_path: Path) -> None:
        model = tiny_model()

        def train() -> None:
            with Watch(model, out=tmp_path, every=0, ceilings=CEILINGS) as w:
                for number, batch in enumerate(batches(2)):
                    with w.step(batch):
                        if number == 1:
                            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            train()
        made = only_record(tmp_path)
        assert (made.status, made.status_reason, made.proof["num_steps"]) == ("failed", "ValueError: broken", 1)

    def test_one_rank_of_a_training_that_broke_off_says_that_it_is_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        watched = Watch(tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS)
        with watched.step(batches(1)[0]):
            pass
        monkeypatch.setattr("bench.callbacks.ranks.num_ranks", lambda: 2)
        monkeypatch.setattr("bench.callbacks.ranks.rank", lambda: 0)
        watched.finish("partial", "interrupted by the user")
        made = only_record(tmp_path)
        assert "NotReduced" in {finding.code for finding in made.warnings}
        assert made.proof["num_tokens"] == 32

    def test_ranks_that_a_launcher_promised_and_did_not_start_are_missed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.writing.promised_ranks_missing", lambda _: True)
        assert "RanksMissing" in {finding.code for finding in run(tmp_path, batches(2)).warnings}

    def test_an_empty_loader_has_measured_nothing_and_fails(self, tmp_path: Path) -> None:
        for _ in watch([], tiny_model(), out=tmp_path, every=0):
            raise AssertionError("there is no batch")
        made = only_record(tmp_path)
        assert made.status == "partial"
        assert {check.metric for check in failed(crosscheck(made))} >= {"timed samples", "run ended"}

    def test_a_training_that_still_runs_has_a_record_already(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.writing.AUTOSAVE_S", 0.0)
        model = tiny_model()
        watched = watch(batches(6), model, out=tmp_path, every=0, ceilings=CEILINGS)
        seen = []
        for _ in watched:
            watched.loss(1.0)
            seen += [json.loads(path.read_text())["status"] for path in tmp_path.glob("*.json")]
        assert seen
        assert set(seen) == {"partial"}
        assert only_record(tmp_path).status == "complete"


class TestContext:
    def test_tokens_may_be_told_in_place_of_a_batch(self, tmp_path: Path) -> None:
        model, data = tiny_model(), batches(1)[0]
        training = Training(model)
        with Watch(model, out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for _ in range(4):
                with w.step(tokens=30, padding=2, seq_len=16):
                    w.loss(training.step(data))
        made = only_record(tmp_path)
        assert made.proof["num_tokens"] == 120
        assert made.estimate["phases"]["train_step"]["flop"] == run(tmp_path / "b", batches(2)).estimate["phases"]["train_step"]["flop"]

    def test_without_a_length_flop_are_unavailable_and_say_why(self, tmp_path: Path) -> None:
        with Watch(tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for _ in range(3):
                with w.step(tokens=32):
                    pass
        made = only_record(tmp_path)
        assert made.unavailable["training_flop"] == "no seq_len was given"
        assert made.proof["watched"]["training_flop"] is None

    @pytest.mark.parametrize("told", [{"tokens": -1}, {"tokens": 30, "seq_len": 16}, {"tokens": 0}])
    def test_counts_that_do_not_fit_are_refused(self, tmp_path: Path, told: dict[str, int]) -> None:
        with pytest.raises(BadValueError, match="expected counts from 0"), Watch(tiny_model(), out=tmp_path).step(**told):
            pass

    def test_a_step_of_nothing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadValueError, match="neither a batch nor tokens"), Watch(tiny_model(), out=tmp_path).step():
            pass

    def test_the_dtype_of_autocast_is_seen(self, tmp_path: Path) -> None:
        model = tiny_model()
        with Watch(model, out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for batch in batches(3):
                with w.step(batch), torch.autocast("cpu", dtype=torch.bfloat16):
                    model(**batch)
        made = only_record(tmp_path)
        assert (made.request["dtype"], made.request["dtype_reason"]) == ("bf16", "autocast")

    def test_a_pause_is_neither_step_nor_wait(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr("time.perf_counter", lambda: now[0])
        with Watch(tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS) as w:
            for batch in batches(3):
                now[0] += 0.5  # loading
                with w.step(batch):
                    now[0] += 1.0
                with w.pause():
                    now[0] += 100.0
        made = only_record(tmp_path)
        assert made.proof["watched"]["data_wait_s"] == [0.0, 0.5, 0.5]
        phase = made.phase("train_step")
        assert phase is not None
        assert phase.samples_s == (1.5, 1.5)

    def test_accelerates_accumulation_and_precision_are_taken(self, tmp_path: Path) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState

        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, mixed_precision="bf16")
        try:
            model = tiny_model()
            model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-3))
            with Watch(model, accelerator, out=tmp_path, every=0, ceilings=CEILINGS) as w:
                for batch in batches(6):
                    with w.step(batch), accelerator.accumulate(model):
                        loss = model(**batch).loss
                        accelerator.backward(loss)
                        optimizer.step()
                        optimizer.zero_grad()
                        w.loss(loss)
        finally:
            GradientState._reset_state()
            AcceleratorState._reset_state(reset_partial_state=True)
        made = only_record(tmp_path)
        assert (made.proof["num_steps"], made.proof["num_tokens"], made.request["dtype"]) == (3, 6 * 32, "bf16")
        assert failed(crosscheck(made)) == ()
