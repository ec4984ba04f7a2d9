"""Files that are cut, mixed, huge, not numbers, or in another language's numbers: one line, or the right figure, and never another."""

from __future__ import annotations

import gzip
import json
import pickle
import random
import tracemalloc
from pathlib import Path

import pytest

from estimators.diagnosis.observed import Observed
from estimators.diagnosis.readers import readings
from estimators.diagnosis.readers.formats import observed_in
from estimators.diagnosis.readers.lines import JsonPieces
from estimators.errors import RequestError
from tests.estimators.diagnosis.readers.test_one_run import READ, RUNS

COMMAS = {
    "trainer_state.json": ("193.0", '"193,0"'),
    "trainer_log.jsonl": ("67913.0", '"67913,0"'),
    "logging.jsonl": ("1.93,", '"1,93",'),
    "axolotl.log": ("8489.14", "8489,14"),
    "metrics.csv": ("8489.1", "8489,1"),
    "composer.jsonl": ("8489.12", '"8489,12"'),
    "nanogpt.log": ("1930.00ms", "1930,00ms"),
    "nanochat.log": ("67,912", "67.912,0"),
    "torchtitan.log": ("tps: 8,489", "tps: 8489,12"),
    "megatron.log": ("1930.0 |", "1930,0 |"),
    "bridge.log": ("1.93s", "1,93s"),
    "deepspeed.log": ("CurrSamplesPerSec=16.58", "CurrSamplesPerSec=16,58"),
    "tqdm.log": ("1.93s/it", "1,93s/it"),
    "wandb.csv": ('"67912"', '"67912,5"'),
}
NOT_A_NUMBER = {
    "trainer_state.json": ("193.0", "NaN"),
    "trainer_log.jsonl": ("67913.0", "NaN"),
    "logging.jsonl": ("1.93,", "NaN,"),
    "axolotl.log": ("8489.14", "nan"),
    "metrics.csv": ("8489.1", "nan"),
    "composer.jsonl": ("8489.12", "NaN"),
    "nanogpt.log": ("1930.00ms", "nanms"),
    "nanochat.log": ("67,912", "nan"),
    "torchtitan.log": ("tps: 8,489", "tps: nan"),
    "megatron.log": ("1930.0 |", "nan |"),
    "bridge.log": ("1.93s", "nans"),
    "deepspeed.log": ("CurrSamplesPerSec=16.58", "CurrSamplesPerSec=inf"),
    "tqdm.log": ("1.93s/it", "?s/it"),
    "wandb.csv": ('"67912"', '"NaN"'),
}


def text_of(name: str) -> str:
    return (RUNS / name).read_text(encoding="utf-8")


def read(folder: Path, name: str, text: str) -> Observed | str:
    """What is read, or the one line that is said."""
    (folder / name).write_text(text, encoding="utf-8")
    try:
        return observed_in(str(folder / name))
    except RequestError as error:
        return str(error)


def is_of_the_run(observed: Observed | str, name: str) -> bool:
    """Whether every figure is one that the whole file has, too, to its digits."""
    if isinstance(observed, str):
        return "\n" not in observed
    whole = observed_in(str(RUNS / name)).figures
    right = {(f.quantity, f.scope): f.value for f in whole} | {("step_time_s", "job"): 1.93, ("steps_per_s", "job"): 0.518135}
    right |= {("tokens", "job"): 13107200.0}
    return all(f.value == pytest.approx(right[f.quantity, f.scope], rel=2e-3) for f in observed.figures)


@pytest.mark.parametrize("name", READ)
def test_a_file_that_is_cut_anywhere_gives_no_other_figure(name: str, tmp_path: Path) -> None:
    text = text_of(name)
    for end in range(1, len(text), 7):
        shown = read(tmp_path, name, text[:end])
        if name in ("trainer_log.jsonl", "logging.jsonl", "composer.jsonl", "trainer_state.json", "wandb.csv", "axolotl.log"):
            assert is_of_the_run(shown, name), end


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("kind", [COMMAS, NOT_A_NUMBER], ids=["decimal comma", "no number"])
def test_a_number_that_is_none_is_no_figure(name: str, kind: dict[str, tuple[str, str]], tmp_path: Path) -> None:
    before, after = kind[name]
    text = text_of(name)
    assert before in text
    shown = read(tmp_path, name, text.replace(before, after))
    assert is_of_the_run(shown, name)
    if not isinstance(shown, str):
        quantity, scope, _ = READ[name]
        left = [figure for figure in shown.figures if (figure.quantity, figure.scope) == (quantity, scope)]
        assert not left or name in ("trainer_log.jsonl", "deepspeed.log")


@pytest.mark.parametrize("name", [name for name in READ if name.endswith((".log", ".jsonl"))])
def test_a_huge_line_is_passed_by(name: str, tmp_path: Path) -> None:
    shown = read(tmp_path, name, text_of(name) + "x" * 3_000_000 + "\n")
    assert not isinstance(shown, str)
    assert shown.figures[0].value == pytest.approx(READ[name][2])
    assert {"lines of more than 262,144 characters": 1}.items() <= {each.what: each.number for each in shown.skipped}.items()


@pytest.mark.parametrize("name", [name for name in READ if name.endswith(".log")])
def test_noise_around_the_lines_changes_nothing(name: str, tmp_path: Path) -> None:
    noise = "".join(f"WARNING: {n} \x1b[31mübel\x1b[0m \x00 'tps' 1/2 [x] {{'a': }} step: x iter y | z\n" for n in range(50))
    shown = read(tmp_path, name, noise + text_of(name) + noise)
    assert not isinstance(shown, str)
    assert shown.figures[0].value == pytest.approx(READ[name][2])


def test_lines_of_two_trainings_are_refused(tmp_path: Path) -> None:
    shown = read(tmp_path, "two.log", text_of("torchtitan.log") + text_of("megatron.log"))
    assert "lines of two trainings, 1 of torchtitan and 1 of Megatron-LM" in str(shown) or "1 of Megatron-LM and 1 of torchtitan" in str(
        shown
    )


def test_two_runs_of_an_export_are_refused(tmp_path: Path) -> None:
    shown = read(tmp_path, "two.csv", '"Step","a - train/tok_per_sec","b - train/tok_per_sec"\n"1","5","6"\n')
    assert "holds 2 runs ('a', 'b'); export one run alone" in str(shown)


def test_a_table_with_semicolons_and_decimal_commas_is_refused(tmp_path: Path) -> None:
    shown = read(tmp_path, "metrics.csv", "epoch;step;train/device/items_per_sec\n0;99;8489,1\n")
    assert "has decimal commas; export it again with decimal points" in str(shown)


def test_a_table_without_the_monitor_names_it(tmp_path: Path) -> None:
    shown = read(tmp_path, "metrics.csv", "epoch,step,train_loss\n0,99,2.1\n")
    assert isinstance(shown, Observed)
    assert not shown.figures
    assert "ThroughputMonitor" in shown.missing[0].flag


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("hello\nworld\n", "holds nothing that is known of a training (it begins 'hello'); read are trainer_state.json"),
        ('{"a": 1}\n', "holds nothing that is known"),
        ("a,b\n1,2\n", "holds nothing that is known"),
        ('{"traceEvents": []}', ""),
        ("[1, 2]", "holds nothing that is known"),
    ],
)
def test_what_is_no_log_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    shown = read(tmp_path, "x", text)
    assert not isinstance(shown, str) or said in shown


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('unpickled')",))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    (tmp_path / "training_args.bin").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(RequestError, match="holds nothing that is known"):
        observed_in(str(tmp_path / "training_args.bin"))


def test_a_folder_and_a_missing_file_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="it is a folder"):
        observed_in(str(tmp_path))
    with pytest.raises(RequestError, match="No such file"):
        observed_in(str(tmp_path / "nothing.log"))


def test_a_compressed_log_is_read_and_one_that_is_cut_to_where_it_is_whole(tmp_path: Path) -> None:
    packed = gzip.compress((text_of("torchtitan.log") * 3).encode())
    (tmp_path / "train.log.gz").write_bytes(packed)
    assert observed_in(str(tmp_path / "train.log.gz")).figures[0].value == 8489.0
    (tmp_path / "cut.log.gz").write_bytes(packed[:-9])
    assert observed_in(str(tmp_path / "cut.log.gz")).figures[0].value == 8489.0


def test_a_log_of_powershell_is_read(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(text_of("nanochat.log"), encoding="utf-16")
    assert observed_in(str(tmp_path / "train.log")).figures[0].value == 67912.0


def test_a_json_document_is_read_piece_by_piece(tmp_path: Path) -> None:
    value = {"a": [1, {"b": [2, "]}"]}, 'x"y'], "c": {"d": 1}, "e": 2.5}
    for indent in (None, 2):
        (tmp_path / "x.json").write_text(json.dumps(value, indent=indent))
        assert list(JsonPieces(str(tmp_path / "x.json"))) == [("a", 1), ("a", {"b": [2, "]}"]}), ("a", 'x"y'), ("c", {"d": 1}), ("e", 2.5)]


@pytest.mark.parametrize("name", READ)
def test_no_change_of_a_few_characters_ends_in_a_traceback(name: str, tmp_path: Path) -> None:
    draw, text = random.Random(name), text_of(name)
    for _ in range(60):
        changed = list(text)
        for _ in range(draw.randint(1, 6)):
            place = draw.randrange(len(changed))
            changed[place] = draw.choice(
                ["", "9", "-", ".", ",", "e", "\0", "²", "'", '"', "{", "[", "}", "\n", "\r", " ", "NaN", "1" * 400]
            )
        read(tmp_path, name, "".join(changed))


def peak_bytes(path: Path) -> int:
    tracemalloc.start()
    try:
        observed_in(str(path))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("train.log", "[titan] step: {0}  loss: 2.10000  tps: 8,489  tflops: 436.95  mfu: 44.18%\n"),
        ("trainer_log.jsonl", '{{"current_steps":{0},"elapsed_time":"{0}:00:00","total_tokens":{0}00}}\n'),
    ],
)
def test_memory_does_not_grow_with_the_file(name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the lines, and no more memory than a full series takes."""
    monkeypatch.setattr(readings, "MOST_POINTS", 256)
    sizes = []
    for count in (1_000, 4_000):
        path = tmp_path / f"{count}-{name}"
        path.write_text("".join(line.format(step) for step in range(1, count)))
        sizes.append(peak_bytes(path))
    assert sizes[1] < 1.2 * sizes[0]


@pytest.mark.slow
def test_a_log_of_fifty_megabytes_takes_as_much_memory_as_a_small_one(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    line = (RUNS / "torchtitan.log").read_text(encoding="utf-8").replace("step: 90", "step: {0}")
    noise = "INFO - what a library says of what it does, and which nobody needs to read in the end, a hundred times a second\n" * 9
    with open(path, "w", encoding="utf-8") as file:
        for step in range(45_000):
            file.write(line.format(step) + noise)
    assert path.stat().st_size > 5e7
    assert peak_bytes(path) < 4_000_000


def test_tokens_without_a_time_ask_for_the_time(tmp_path: Path) -> None:
    """13,107,200 tokens are there: what makes no rate of them is train_runtime."""
    found = read(tmp_path, "trainer_state.json", text_of("trainer_state.json").replace("193.0", "NaN"))
    assert isinstance(found, Observed)
    assert [(each.what, each.flag.split()[0]) for each in found.missing] == [("the time of the run", "--wall-time")]
    assert [figure.value for figure in found.figures if figure.quantity == "tokens"] == [13107200]
