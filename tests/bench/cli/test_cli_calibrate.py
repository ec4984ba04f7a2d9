"""`calibrate` on the command line: what would lose its minutes is told before they are spent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.calibration import calibrate
from bench.cli.main import main
from bench.records import calibration_file
from bench.runs import decide


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibration that was begun fails the test."""

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("a calibration was begun")

    monkeypatch.setattr(calibrate, "calibrate", begun)


@pytest.mark.parametrize("words", [["--out"], ["--out", "c.json", "--output"]], ids=["the calibration", "the table"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    words: list[str], tmp_path: Path, never: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "--device", "cpu", *words, str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: cannot write ")
    assert line.endswith(f"; name a file {'in a writable folder with --output' if '--output' in words else 'with --out'}")
    assert list(tmp_path.iterdir()) == []


def test_the_same_words_with_a_file_begin(tmp_path: Path, never: None) -> None:
    with pytest.raises(AssertionError, match="begun"):
        main(["calibrate", "--device", "cpu", "--out", str(tmp_path / "c.json")])


class TestModelsName:
    """A calibration that is begun names the model whose operators it is to time."""

    @pytest.fixture
    def named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[str, int]]:
        def ask(*words: str) -> tuple[str, int]:
            asked: list[tuple[str, int]] = []
            monkeypatch.setattr(calibrate, "calibrate", lambda *_, **__: None)
            monkeypatch.setattr(calibration_file, "write", lambda *_: None)

            def runs(name: str, config: Mapping[str, Any], _: object) -> list[object]:
                asked.append((name, config["num_hidden_layers"]))
                raise KeyboardInterrupt

            monkeypatch.setattr(decide, "usual_runs", runs)
            assert main(["calibrate", "--device", "cpu", "--out", str(tmp_path / "c.json"), *words]) == 130
            return asked[0]

        return ask

    @pytest.mark.parametrize(
        ("model", "told"),
        [
            ("unsloth/Llama-3.2-1B-Instruct-GGUF", ("llama-3.2-1b", 16)),
            ("llama3.2:1b", ("llama-3.2-1b", 16)),
            ("smollm2", ("smollm2-1.7b", 24)),
            ("6.7b", ("llama-6.7b-dense", 32)),
        ],
    )
    def test_it_is_read_as_estimate_reads_it(
        self, model: str, told: tuple[str, int], named: Callable[..., tuple[str, int]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert named("--model", model) == told
        assert model in capsys.readouterr().err

    def test_a_quantised_copys_name_is_told_to_be_built_whole(
        self, named: Callable[..., tuple[str, int]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert named("--model", "TheBloke/Llama-2-7B-Chat-GPTQ")[0] == "llama-2-7b"
        assert "TheBloke/Llama-2-7B-Chat-GPTQ is built and measured here with none of its weights quantised" in capsys.readouterr().err
        named("--model", "llama-2-7b")
        assert "quantised" not in capsys.readouterr().err

    def test_a_folder_is_its_configuration(self, tmp_path: Path, named: Callable[..., tuple[str, int]]) -> None:
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 3}), encoding="utf-8")
        assert named("--model", str(folder)) == named("--config", str(folder)) == ("mine", 3)

    def test_one_that_means_nothing_is_one_line_before_anything_is_measured(
        self, tmp_path: Path, never: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["calibrate", "--device", "cpu", "--out", str(tmp_path / "c.json"), "--model", "llama-9"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: unknown model 'llama-9'; did you mean ")
