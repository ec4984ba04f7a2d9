"""The memory gate: what cannot fit is refused before anything is allocated, with a flag that really makes it fit."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.backend.device import Device
from bench.backend.faster_dtype import FasterDtype
from bench.cli.main import main
from bench.records.request import Request
from bench.records.run_estimate import at_depth, memory_needed, predict
from bench.runs.decide import sized
from bench.runs.decisions import dtypes, fit
from bench.workloads.language import task
from bench.workloads.language.run import LanguageRun
from bench.workloads.preparation import RUNTIME_BYTES, demanded_bytes
from estimators.architectures.decoder import Decoder
from estimators.errors import DoesNotFitError
from estimators.facts.registry import model_entry
from estimators.units import GIBI, format_bytes

FLAG = re.compile(r"--[a-z-]+ [a-z0-9]+")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what the device has free; every allocation of weights, ceilings or trial products fails the test."""

    def set_bytes(num_bytes: int) -> None:
        monkeypatch.setattr(Device, "memory_available_bytes", lambda _: num_bytes)

    for place, name in ((task, "add_ceilings"), (task, "language_counts"), (task.loading, "random_language_model")):
        monkeypatch.setattr(place, name, lambda *_, **__: pytest.fail("something was made before memory was looked at"))
    monkeypatch.setattr(dtypes, "faster_dtype_cpu", lambda *_: pytest.fail("a product was tried that does not fit"))
    return set_bytes


def complaint(argv: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["run", *argv, "--device", "cpu", "--out", str(out)]) == 2
    stdout, err = capsys.readouterr()
    assert stdout == ""
    *said, line = err.splitlines()  # before the error, at most what is about to be done
    assert len(said) <= 1
    assert all(each.startswith("· ") for each in said)
    assert not out.exists()
    return line


def fits_now(argv: list[str], monkeypatch: pytest.MonkeyPatch, out: Path) -> bool:
    """Whether the same command, with the flags, gets past the gate."""

    class PastTheGateError(Exception):
        pass

    def past(*_: object) -> None:
        raise PastTheGateError

    monkeypatch.setattr(task, "predict", past)
    monkeypatch.setattr(dtypes, "faster_dtype_cpu", lambda *_: FasterDtype(winner="bf16", samples_s={}, shape=""))
    try:
        main(["run", *argv, "--device", "cpu", "--out", str(out)])
    except PastTheGateError:
        return True
    return False


@pytest.mark.parametrize(
    ("argv", "free", "needed", "mend"),
    [
        # 174,604,259,328 parameters in bf16 are 325 GiB
        (["--model", "gpt-3-175b"], 100 * GIBI, "weights 325 GiB", "--task decode --layers 8"),
        (["--model", "gpt-3-175b", "--task", "generate", "--dtype", "fp32"], 500 * GIBI, "weights 650 GiB", "--dtype bf16"),
        (["--model", "gpt-3-175b", "--task", "prefill"], 60 * GIBI, "weights 325 GiB", "--layers 8"),
        (["--model", "gpt-3-175b", "--task", "prefill"], 24 * GIBI, "weights 325 GiB", "--layers 5"),  # 5 · 3.38 GiB + tables 1.20 GiB
        # 405,853,388,800 parameters in fp32 are 1.48 TiB, as are the gradients; AdamW's state is twice that
        (
            ["--model", "llama-3.1-405b", "--task", "train"],
            1024 * GIBI,
            "weights 1.48 TiB, gradients 1.48 TiB, optimizer 2.95 TiB",
            "--layers 8",
        ),
        (["--model", "phi-2", "--task", "train"], 24 * GIBI, "weights 10.4 GiB", "--layers 8"),
        (["--model", "gpt2", "--task", "train", "--batch", "512", "--recompute", "full"], 6 * GIBI, "weights 475 MiB", "--batch 1"),
        (["--model", "gpt2", "--task", "train", "--batch", "8", "--seq-len", "1024"], 11 * GIBI, "weights 475 MiB", "--recompute full"),
        (["--model", "gpt2", "--new-tokens", "900", "--num-beams", "200", "--dtype", "bf16"], 2 * GIBI, "kv cache 6.2", "--num-beams 1"),
        (["--model", "phi-2", "--task", "train", "--layers", "20"], 24 * GIBI, "with 20 layers, train", "--layers 8"),
    ],
)
def test_what_cannot_fit_is_refused_with_a_flag_that_makes_it_fit(
    argv: list[str],
    free: int,
    needed: str,
    mend: str,
    memory: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory(free)
    line = complaint(argv, tmp_path / "runs", capsys)
    assert needed in line
    assert f"has {format_bytes(free)} free; " in line
    assert line.endswith(mend)
    given = dict(zip(argv[::2], argv[1::2], strict=True)) | dict(flag.split() for flag in FLAG.findall(line))
    assert fits_now([word for pair in given.items() for word in pair], monkeypatch, tmp_path / "runs")
    assert not fits_now(argv, monkeypatch, tmp_path / "runs")


def test_where_no_flag_helps_the_line_says_so(memory: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory(24 * GIBI)
    # two layers of 3.2 billion parameters and the tables of 4.2 billion need 16 bytes each to train: 158 GiB
    line = complaint(["--model", "llama-3.1-405b", "--task", "train"], tmp_path / "runs", capsys)
    assert line.endswith("no flag makes it fit: take a smaller model or a device with more memory")


def test_an_absurdly_large_configuration_is_refused_like_any_other(memory: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory(24 * GIBI)
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "gpt2", "n_embd": 1000000000, "n_head": 1, "n_layer": 1000000000, "vocab_size": 1000000000}')
    assert "no flag makes it fit" in complaint(["--config", str(path)], tmp_path / "runs", capsys)


def run_of(name: str, task_name: str, **fields: Any) -> tuple[LanguageRun, Decoder]:
    entry = model_entry(name)
    return sized(Request(model=entry.id, config=dict(entry.config), task=task_name, device="cpu", **fields), None, dtype="bf16")


@given(
    free_gib=st.integers(1, 4000),
    name=st.sampled_from(["gpt2", "phi-2", "llama-2-70b", "gpt-3-175b"]),
    train=st.booleans(),
    batch=st.integers(1, 64),
)
def test_a_recommended_flag_always_makes_it_fit(free_gib: int, name: str, train: bool, batch: int) -> None:
    run, model = run_of(name, "train" if train else "generate", batch=batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Device, "memory_available_bytes", lambda _: free_gib * GIBI)
        if fit.fits(run, model):
            fit.demand_fit(run, model)
            assert demanded_bytes(memory_needed(model, run)) <= free_gib * GIBI
            return
        with pytest.raises(DoesNotFitError, match=r"needs .* free; ") as refused:
            fit.demand_fit(run, model)
    changes = {flag[2:].split()[0].replace("-", "_"): flag.split()[1] for flag in FLAG.findall(str(refused.value))}
    if not changes:
        assert "no flag makes it fit" in str(refused.value)
        return
    smaller: dict[str, Any] = {name: int(value) if value.isdigit() else value for name, value in changes.items()}
    if "task" in smaller:
        again = {name: smaller.pop(name) for name in ("task", "layers")}
        changed, _ = run_of(name, again["task"], batch=batch, layers=again["layers"])
    else:
        changed = dataclasses.replace(run, **smaller)
    assert demanded_bytes(fit.held(changed, model)) <= free_gib * GIBI


def test_a_run_that_fits_to_the_byte_is_let_through_and_one_byte_less_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    run, model = run_of("gpt2", "prefill")
    needed = sum(memory_needed(model, run).values()) + RUNTIME_BYTES
    monkeypatch.setattr(Device, "memory_available_bytes", lambda _: needed)
    fit.demand_fit(run, model)
    monkeypatch.setattr(Device, "memory_available_bytes", lambda _: needed - 1)
    with pytest.raises(DoesNotFitError, match=r"gpt2, prefill in bf16, needs .* GiB \(weights .*, runtime 1.00 GiB\); .* has .* free; "):
        fit.demand_fit(run, model)


def test_memory_needed_is_that_of_the_last_and_largest_step() -> None:
    run, model = run_of("phi-2", "generate")
    said = predict(model, run, None).memory_bytes
    assert said == memory_needed(model, run)
    # 5 beams, 49 tokens in the cache when the 50th comes out, 2·32·2560 elements of 2 bytes each
    assert said == {"weights": 2 * 2_779_683_840, "kv_cache": 5 * 49 * 2 * 32 * 2560 * 2}


def test_memory_grows_by_the_same_amount_with_every_layer() -> None:
    run, _ = run_of("phi-2", "train")
    held = [sum(memory_needed(at_depth(run, layers), run).values()) for layers in (1, 2, 3, 31, 32)]
    assert held[1] - held[0] == held[2] - held[1] == held[4] - held[3] > 0


def test_the_estimate_of_weights_is_what_torch_holds() -> None:
    entry = model_entry("tiny-gpt")
    module = task.loading.random_language_model(entry.config, attn="sdpa", dtype=torch.float32, device=torch.device("cpu"), seed=0)
    run, model = run_of("tiny-gpt", "prefill")
    fp32 = dataclasses.replace(run, dtype="fp32")
    assert memory_needed(model, fp32)["weights"] == sum(p.numel() * p.element_size() for p in module.parameters())
