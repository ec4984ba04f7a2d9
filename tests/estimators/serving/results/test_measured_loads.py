"""serve --measured: result files of a deployment become loads that its constants are refitted to, and the answer follows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from estimators.errors import BadValueError, PhysicsError
from estimators.facts.registry import hardware
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.figures import CLOSED, Asked, figures
from estimators.serving.results.loads import measured_loads
from estimators.serving.step import slower, step_law
from estimators.serving.step_batch import StepBatch
from estimators.validation.model import shipped_model

D = Deployment(model=shipped_model("llama-3-8b"), hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm"))
SERVE = ["serve", "llama-3-8b", "--hardware", "h100-sxm5-80gb", "--input", "800", "--output", "200", "--format", "json"]


def result_file(path: Path, users: int, slower_by: float, **changed: Any) -> Path:
    """What `vllm bench serve` writes of a server whose steps take so many times as long as is predicted."""
    load = Asked(load=CLOSED, sequences=users, input_tokens=800, output_tokens=200)
    seconds = figures(D, load, slower(step_law(D), slower_by))
    milli = {name: float(seconds[f"{name}_s"]) * 1e3 for name in ("ttft", "tpot")}
    rate = users / (milli["ttft"] + 199 * milli["tpot"]) * 1e3
    body = {
        "backend": "vllm",
        "model_id": "some-server",
        "num_prompts": 100,
        "max_concurrency": users,
        "request_rate": "inf",
        "duration": 100 / rate,
        "completed": 100,
        "failed": 0,
        "total_input_tokens": 80_000,
        "total_output_tokens": 20_000,
        "request_throughput": rate,
        "output_throughput": 200 * rate,
        "total_token_throughput": 1000 * rate,
        **{f"{kind}_{name}_ms": value for name, value in milli.items() for kind in ("mean", "median", "p99")},
        **{f"{kind}_itl_ms": milli["tpot"] for kind in ("mean", "median", "p99")},
        **changed,
    }
    path.write_text(json.dumps(body))
    return path


def itl_s(capsys: pytest.CaptureFixture[str], users: int, *more: str) -> float:
    """Time between tokens of so many users, as `serve` answers it."""
    assert main([*SERVE, "--concurrency", str(users), *more]) == 0
    return float(json.loads(capsys.readouterr().out)["itl_s"])


def test_files_of_a_slower_server_make_the_answer_slower(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(result_file(tmp_path / f"{users}.json", users, 1.2)) for users in (1, 16, 64)]
    for users in (1, 8, 32, 128):
        assert 1.12 < itl_s(capsys, users, "--measured", ",".join(files)) / itl_s(capsys, users) < 1.28


def test_files_as_predicted_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(result_file(tmp_path / f"{users}.json", users, 1.0)) for users in (1, 64)]
    for users in (1, 16, 128):
        assert itl_s(capsys, users, "--measured", ",".join(files)) == pytest.approx(itl_s(capsys, users), rel=0.01)


def test_a_run_is_read_with_its_load(tmp_path: Path) -> None:
    (found,) = measured_loads([str(result_file(tmp_path / "a.json", 16, 1.0))], D)
    assert found.asked == Asked(load=CLOSED, sequences=16, input_tokens=800, output_tokens=200)
    assert set(found.figures) == {"ttft_s", "tpot_s"}


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"max_concurrency": None, "request_rate": 10.0}, BadValueError, "a load 'open' has no steady state; expected so many users"),
        ({"model_id": "meta-llama/Llama-2-7b-hf"}, None, ""),
        ({"completed": 0, "failed": 100, "total_output_tokens": 0}, PhysicsError, "is no measurement: zeros for failures"),
    ],
)
def test_a_file_that_says_nothing_of_a_steady_state_is_one_line(
    changed: dict[str, Any], error: type[Exception] | None, said: str, tmp_path: Path
) -> None:
    file = str(result_file(tmp_path / "a.json", 16, 1.0, **changed))
    if error is None:
        assert measured_loads([file], D)  # whose device is not said, so that it may be of this one
        return
    with pytest.raises(error, match=said):
        measured_loads([file], D)


def test_a_run_on_other_devices_is_refused(tmp_path: Path) -> None:
    body = {
        "hw": "h200",
        "conc": 16,
        "model": "meta-llama/Meta-Llama-3-8B",
        "framework": "vllm",
        "precision": "bf16",
        "isl": 800,
        "osl": 200,
        "tp": 1,
        "ep": 1,
        "tput_per_gpu": 2000.0,
        "output_tput_per_gpu": 1500.0,
        "median_ttft": 0.1,
        "median_tpot": 0.01,
        "median_intvty": 100.0,
    }
    (tmp_path / "agg.json").write_text(json.dumps(body))
    with pytest.raises(BadValueError, match=r"agg.json was measured on h200-sxm-141gb; expected h100-sxm5-80gb, as the replica"):
        measured_loads([str(tmp_path / "agg.json")], D)


def test_a_slower_law_is_slower_by_its_factor_and_its_bound_stays() -> None:
    plain = step_law(D)
    for batch in (StepBatch(decoding=32, context_tokens=900), StepBatch(decoding=8, context_tokens=900, prompt_tokens=512, prompts=1)):
        once, twice = plain.time(batch), slower(plain, 2.0).time(batch)
        assert twice.total_s == pytest.approx(2 * once.total_s)
        assert twice.bound_s == once.bound_s


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--measured", "none.json"], "none.json"),
        (["--measured", " , "], "measured names no file; expected one such as vllm.json"),
        (["--measured", "a.json", "--search"], "--measured is of one deployment; expected no --search beside it"),
    ],
)
def test_wrong_words_are_one_line(more: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SERVE[:-2], *more]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.splitlines()[-1].startswith("error: ")
