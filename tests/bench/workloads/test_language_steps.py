"""Prefill, decode and training steps of language models, and the compute dtype that a run decides on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bench.backend.device import Device
from bench.backend.faster_dtype import FasterDtype
from bench.backend.models import random_language_model
from bench.records.record import Measurement
from bench.runs.decide import sized
from bench.runs.decisions import dtypes
from bench.workloads.language import steps, train
from bench.workloads.language.run import LanguageRun
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config
from estimators.errors import BadValueError, DoesNotFitError
from estimators.units import GIBI, MEBI
from reports.checks.crosscheck import crosscheck, failed
from tests.support.quiet_machine import failed_by_itself
from tests.support.tiny_models import CONFIGS, asked, config, decided

pytestmark = pytest.mark.usefixtures("quick")
Run = Callable[..., Measurement]
CPU = torch.device("cpu")


def random_model(family: str) -> nn.Module:
    return random_language_model(config(family), attn="sdpa", dtype=torch.float32, device=CPU, seed=0).eval()


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("task", ["prefill", "decode", "train"])
def test_every_task_of_every_family_passes_its_own_checks(family: str, task: str, measured: Run) -> None:
    record = measured(family, task, batch=2, seq_len=20, steps=3, **({"new_tokens": 5} if task == "decode" else {}))
    assert failed_by_itself(record) == ()
    assert record.status == "complete"
    unjudged = {check.metric for check in crosscheck(record) if check.ok is not True}
    assert unjudged <= {"processors taken by other programs"}, "only what the rest of the machine does may stand unjudged"


class TestDecode:
    def test_each_step_finds_one_token_more_in_the_cache(self, measured: Run) -> None:
        record = measured("llama", "decode", seq_len=9, new_tokens=6, batch=3)
        phase = record.phase("decode")
        assert phase is not None
        assert phase.context_lens == (9, 10, 11, 12, 13)
        assert (phase.items_per_sample, len(phase.warmup_s)) == (3, 2)
        assert (record.proof.num_new_tokens, record.proof.num_expected_new_tokens) == (6, 6)

    @pytest.mark.parametrize("family", CONFIGS)
    def test_its_tokens_are_those_that_greedy_generation_gives(self, family: str) -> None:
        model, ids = random_model(family), torch.arange(6).view(1, 6)
        fed = []
        model.register_forward_pre_hook(lambda _, args, kwargs: fed.append(kwargs["input_ids"].tolist()), with_kwargs=True)
        steps.decode(model, ids, decided(family, "decode", new_tokens=5))
        tokens = [row[0] for (row,) in fed[-4:]]  # each step is fed what the one before it gave
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False, eos_token_id=None)  # type: ignore[operator]
        assert tokens == whole[0, 6:10].tolist()

    def test_a_time_limit_makes_fewer_steps_and_no_failure(self, measured: Run) -> None:
        record = measured("phi", "decode", seq_len=9, new_tokens=50, max_time_s=1e-6)
        phase = record.phase("decode")
        assert phase is not None
        assert (len(phase.samples_s), phase.stopped_by, record.proof.num_new_tokens) == (1, "time", 2)
        assert failed_by_itself(record) == ()

    def test_steps_limit_the_tokens(self, measured: Run) -> None:
        record = measured("phi", "decode", seq_len=9, new_tokens=50, steps=3)
        assert (record.proof.num_new_tokens, record.proof.num_expected_new_tokens) == (4, 4)

    def test_a_cache_that_does_not_grow_is_found(self, measured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        from transformers import DynamicCache

        monkeypatch.setattr(DynamicCache, "get_seq_length", lambda *_, **__: 9)
        record = measured("gpt2", "decode", seq_len=9, new_tokens=4)
        assert "tokens generated" in {check.metric for check in failed(crosscheck(record))}

    def test_the_warm_up_stays_within_the_positions(self, measured: Run) -> None:
        record = measured("gpt2", "decode", seq_len=126, new_tokens=2)  # 128 positions, learned: one more would fail
        assert failed_by_itself(record) == ()


class TestPrefill:
    def test_logits_that_are_no_numbers_fail_the_check(self, measured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        from bench.workloads.language import loading

        def broken(*args: Any, **kwargs: Any) -> nn.Module:
            model = random_language_model(*args, **kwargs)
            with torch.no_grad():
                next(model.parameters()).fill_(torch.nan)
            return model

        monkeypatch.setattr(loading, "random_language_model", broken)
        record = measured("llama", "prefill", seq_len=9, steps=2)
        assert [check.metric for check in failed(crosscheck(record))] == ["logits are finite"]

    def test_only_the_last_positions_logits_are_computed(self) -> None:
        model = random_model("phi")
        shapes = []
        model.register_forward_hook(lambda *args: shapes.append(tuple(args[-1].logits.shape)))
        timed = steps.prefill(model, torch.ones(2, 7, dtype=torch.long), decided("phi", "prefill", steps=1))
        assert set(shapes) == {(2, 1, 128)}
        assert timed.phase.items_per_sample == 14


class TestTraining:
    @pytest.mark.parametrize(("dtype", "recompute"), [("fp32", "none"), ("bf16", "none"), ("fp32", "full"), ("bf16", "full")])
    def test_the_loss_falls_and_every_matrix_moves(self, dtype: str, recompute: str, measured: Run) -> None:
        record = measured("llama", "train", seq_len=16, batch=2, dtype=dtype, recompute=recompute, steps=4)
        assert record.proof.params_changed
        assert record.proof.loss_last < record.proof.loss_first
        assert record.proof.num_steps == 6  # two to warm up
        assert failed_by_itself(record) == ()

    def test_the_first_loss_is_that_of_guessing(self, measured: Run) -> None:
        """Untrained weights of deviation 0.02 give nearly uniform logits: cross-entropy ln V = ln 128 = 4.852."""
        record = measured("gpt2", "train", seq_len=64, batch=2, steps=1)
        assert record.proof.loss_first == pytest.approx(4.852, abs=0.05)

    def test_losses_are_those_of_a_plain_loop(self, measured: Run) -> None:
        """Cross-entropy of the next token, AdamW at PyTorch's defaults: written out with torch alone. Llama has no dropout."""
        record = measured("llama", "train", seq_len=16, batch=2, steps=3, learning_rate=1e-3)
        model = random_model("llama").train()
        ids = torch.randint(0, 128, (2, 16), generator=torch.Generator().manual_seed(0))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        losses = []
        for _ in range(5):
            logits = model(input_ids=ids).logits[:, :-1]
            loss = nn.functional.cross_entropy(logits.reshape(-1, 128), ids[:, 1:].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert [record.proof.loss_first, record.proof.loss_last] == pytest.approx([losses[0], losses[-1]], rel=1e-5)

    def test_the_seed_decides_dropout_too(self, measured: Run) -> None:
        first, again, other = (measured("gpt2", "train", seq_len=16, steps=2, seed=seed).proof.loss_last for seed in (1, 1, 2))
        assert first == again != other

    def test_recomputation_is_counted_as_hardware_flop_and_holds_fewer_activations(self, measured: Run) -> None:
        plain, full = (measured("llama", "train", seq_len=32, steps=2, recompute=recompute) for recompute in ("none", "full"))
        step, again = (record.estimate.phases["train_step"].flop for record in (plain, full))
        assert step.full == step.hardware == again.full < again.hardware
        # one more forward of the layers (the head is outside them): Chen et al. 2016 (arXiv 1604.06174)
        head = 2 * 32 * 32 * 128
        assert again.hardware - again.full == full.estimate.phases["train_step"].forward_flop - head
        assert full.estimate.memory_bytes["activations"] < plain.estimate.memory_bytes["activations"]

    def test_recomputation_really_runs_the_layers_again(self) -> None:
        passes = {}
        for recompute in ("none", "full"):
            model = random_model("llama")
            calls: list[int] = []
            mlp = model.get_submodule("model.layers.0.mlp")
            mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
            timed = train.train(model, torch.ones(1, 8, dtype=torch.long), decided("llama", "train", steps=1, recompute=recompute))
            passes[recompute] = len(calls) / timed.proof.num_steps
        assert passes == {"none": 1, "full": 2}

    def test_an_optimizer_that_does_nothing_is_found(self, measured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_, **__: None)
        record = measured("llama", "train", seq_len=16, steps=2)
        found = {check.metric for check in failed(crosscheck(record))}
        assert found == {"loss is finite and falls", "parameters changed"}

    def test_one_frozen_matrix_is_found(self, measured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        real = torch.optim.AdamW

        def all_but_one(params: Any, **kwargs: Any) -> torch.optim.Optimizer:
            return real(list(params)[1:], **kwargs)

        monkeypatch.setattr(torch.optim, "AdamW", all_but_one)
        record = measured("llama", "train", seq_len=16, steps=2)
        assert [check.metric for check in failed(crosscheck(record))] == ["parameters changed"]

    def test_a_training_that_diverges_is_kept_and_fails(self, measured: Run) -> None:
        record = measured("llama", "train", seq_len=16, steps=4, learning_rate=1e30)
        assert record.proof.loss_finite is False
        assert (record.proof.loss_first, record.proof.loss_last) == (None, None)
        assert "loss is finite and falls" in {check.metric for check in failed(crosscheck(record))}


class TestDtype:
    def undecided(self, task: str = "decode", **fields: Any) -> tuple[LanguageRun, Decoder]:
        return sized(asked("llama", task, device="cpu", **fields), None, dtype="fp32")

    def test_what_was_asked_for_is_taken(self) -> None:
        run, model = self.undecided()
        assert dtypes.decide("fp16", run, model) == ("fp16", "as asked")

    @pytest.mark.parametrize("dtype", ["fp64", "int8", "fp8", "bf61", ""])
    def test_what_no_run_computes_in_is_refused(self, dtype: str) -> None:
        run, model = self.undecided()
        with pytest.raises(BadValueError, match=r"cannot compute in dtype '.*'; expected one of: fp32, bf16, fp16"):
            dtypes.decide(dtype, run, model)

    def test_fp16_training_on_a_cpu_is_refused(self) -> None:
        run, model = self.undecided("train")
        with pytest.raises(BadValueError, match="dtype fp16 needs a GPU to train, for its scaled gradients; expected fp32 or bf16"):
            dtypes.decide("fp16", run, model)

    @pytest.mark.parametrize("winner", ["fp32", "bf16"])
    def test_a_cpu_takes_the_one_that_was_measured_faster(self, winner: str, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = []

        def trial(*mnk: int) -> FasterDtype:
            tried.append(mnk)
            return FasterDtype(winner=winner, samples_s={}, shape="x · W")

        monkeypatch.setattr(dtypes, "faster_dtype_cpu", trial)
        run, model = self.undecided(batch=3)
        assert dtypes.decide(None, run, model) == (winner, "measured the faster here for x · W")
        assert tried == [(3, 64, 32)]  # one token of three sequences through 32 -> 64

    def test_the_trial_is_bounded_however_wide_the_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Device, "memory_available_bytes", lambda _: 2**60)
        tried = []
        monkeypatch.setattr(
            dtypes, "faster_dtype_cpu", lambda *mnk: tried.append(mnk) or FasterDtype(winner="bf16", samples_s={}, shape="")
        )
        run, _ = self.undecided("prefill", batch=100)
        wide = model_from_config(run.config | {"hidden_size": 2**16, "intermediate_size": 2**18}, "wide")
        dtypes.decide(None, run, wide)
        assert tried == [(1024, 8192, 8192)]

    def test_the_only_one_that_fits_is_taken_without_a_trial(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dtypes, "faster_dtype_cpu", lambda *_: pytest.fail("a trial was made"))
        run, model = self.undecided("prefill")
        wide = dataclasses.replace(model, vocab=2**20, width=128)  # two tables of 512 MiB in fp32, of 256 MiB in bf16
        monkeypatch.setattr(Device, "memory_available_bytes", lambda _: GIBI + 600 * MEBI)
        assert dtypes.decide(None, run, wide) == ("bf16", "the only one that fits")
        monkeypatch.setattr(Device, "memory_available_bytes", lambda _: GIBI + 400 * MEBI)
        with pytest.raises(DoesNotFitError, match="prefill in bf16, needs"):
            dtypes.decide(None, run, wide)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["generate", "decode", "prefill", "train"])
def test_a_compiled_run_compiles_before_its_time_begins(task: str, measured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced by torch.compile, without the minute that its code generator takes."""
    compiled, real = [], torch.compile

    def trace_only(function: Any, **options: Any) -> Any:
        compiled.append(function)
        return real(function, **options, backend="eager")

    monkeypatch.setattr(torch, "compile", trace_only)
    new_tokens = {} if task in ("prefill", "train") else {"new_tokens": 4}
    record = measured("llama", task, seq_len=8, steps=2, max_time_s=1.0, compile=True, **new_tokens)
    assert compiled
    assert failed_by_itself(record) == ()
    phase = record.phase("train_step" if task == "train" else task)
    assert phase is not None
    assert phase.warmup_s[0] > max(phase.samples_s)
