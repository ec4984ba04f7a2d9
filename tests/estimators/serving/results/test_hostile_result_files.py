"""Result files that are none, or damaged: one line each, that names the place."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from estimators.errors import RequestError
from estimators.serving.results.one_file import MAX_BYTES, read_results
from tests.support.load_results import FOLDER, changed, path_of

FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".jsonl", ".csv", ".md", ".yaml"))


def refused(path: str, form: str = "") -> str:
    """The one line that a file is refused with."""
    with pytest.raises(RequestError) as error:
        read_results(path, form)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 700
    return line


def complaint(path: str, form: str = "") -> str:
    """What a file is refused with; nothing where it is read."""
    try:
        read_results(path, form)
    except RequestError as error:
        return str(error)
    return ""


def written(folder: Path, text: str | bytes, name: str = "result.json") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("", "it is empty"),
        ("   \n", "it is empty"),
        ("{", "cut off"),
        ("[]", "its keys are of no tool"),
        ("[1, 2]", "other things than objects"),
        ("3", "a single value"),
        ("{}", "its keys are of no tool"),
        ('{"model_id": "x", "num_prompts": 1, "output_throughput": NaN}', "not a finite number"),
        ('{"model_id": "x", "model_id": "y", "num_prompts": 1, "output_throughput": 1}', "twice"),
        ('{"a": ' * 5000 + "1" + "}" * 5000, "nested"),
        ("| model | test | t/s |\n| --- | --- | --- |\n| x | nonsense | 3 |\n", "expected a test such as pp512"),
        ("build_commit,n_prompt,n_gen,avg_ts\na,1\n", "another number of cells"),
        ("!!python/object/apply:os.system ['true']", "the tag"),
        ("a: &a [*a, *a]", "alias"),
        ("version: '0.3'\nscenario: {}\nresults: {}\n", "expected 0.2"),
        ('{"metadata": {"guidellm_version": "0.1", "version": 1}, "benchmarks": []}', "expected version 2"),
    ],
)
def test_what_is_no_result_is_one_line(text: str, about: str, tmp_path: Path) -> None:
    assert about in refused(written(tmp_path, text))


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    assert "not a text file" in refused(written(tmp_path, pickle.dumps({"a": 1}, protocol=4)))


def test_a_file_of_a_hundred_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with open(path, "wb") as file:
        file.truncate(100 * 10**6)
    assert f"{MAX_BYTES:,} bytes" in refused(str(path))


def test_a_folder_and_what_is_not_there(tmp_path: Path) -> None:
    assert "cannot read" in refused(str(tmp_path))
    assert "cannot read" in refused(str(tmp_path / "missing.json"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_off_is_one_line_or_holds_what_came_before(name: str, tmp_path: Path) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    for share in (0.2, 0.5, 0.9):
        path = written(tmp_path, text[: int(len(text) * share)], name)
        assert "\n" not in complaint(path)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"duration": "long"}, "vllm_detailed.json.duration: found"),
        ({"duration": -1.0}, "vllm_detailed.json.duration: found -1.0, expected a number from 0"),
        ({"completed": 2.5}, "completed: found 2.5, expected a whole number"),
        ({"completed": True}, "completed: found true"),
        ({"ttfts": {"a": 1}}, "ttfts: found an object, expected a list"),
        ({"ttfts": [0.1, "x"]}, "ttfts.1: found"),
        ({"itls": [1.0, 2.0]}, "itls.0: found 1.0, expected a list"),
        ({"input_lens": [1]}, "its lists differ in length"),
        ({"mean_ttft_ms": [1]}, "mean_ttft_ms: found a list, expected a number from 0"),
        ({"model_id": {"a": 1}}, "model_id: found an object, expected a text"),
        ({"request_rate": "often"}, "request_rate: found"),
        ({"duration": 10**400}, "expected a number from 0"),
    ],
)
def test_a_wrong_type_is_named_by_its_place(values: dict[str, Any], place: str, tmp_path: Path) -> None:
    assert place in refused(changed("vllm_detailed.json", tmp_path, **values))


def test_a_unit_that_is_not_known_is_refused(tmp_path: Path) -> None:
    said = json.loads((FOLDER / "aiperf.json").read_text(encoding="utf-8"))
    said["time_to_first_token"]["unit"] = "fortnights"
    assert "time_to_first_token.unit: found 'fortnights'" in refused(written(tmp_path, json.dumps(said)))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("form", ["vllm", "guidellm", "llama-bench", "llm-d"])
def test_a_file_read_as_another_tools_is_one_line_or_nothing_worse(name: str, form: str) -> None:
    assert "\n" not in complaint(path_of(name), form)
