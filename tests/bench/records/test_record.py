"""Records: written whole or not at all, read strictly, refused in one line."""

import dataclasses
import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.records import draft as writing
from bench.records import record
from bench.records.asked import Asked
from bench.records.draft import Draft
from bench.records.proof import Proof
from bench.records.record import Ceiling, Count, Finding, Phase
from bench.records.request import TASKS, Request
from estimators.errors import BadRecordError, UnavailableError
from tests.support.checkout import ROOT

PROJECT = Path(record.__file__).parents[2]


def draft(out: Path, **request: Any) -> Draft:
    made = Draft(model="microsoft/phi-2", task="generate", request=Asked(model="phi-2", task="generate", **request), out=out)
    made.phases.append(Phase(name="decode", samples_s=(0.25, 0.5), warmup_s=(1.0,), context_lens=(8, 9), settled=True, calls_per_sample=2))
    made.counts.append(Count(quantity="params", route="op table", value=174_604_259_328, tag="counted"))
    made.counts.append(
        Count(quantity="forward_flop", route="fvcore x2", value=None, tag="unavailable", reason="tracing failed", unseen=("aten::sdpa",))
    )
    made.ceilings.append(Ceiling(kind="matmul", value=4.0, dtype="bf16", shape="x[1, 1]", samples_s=(0.5,), work=2))
    made.warnings.append(Finding(code="Unstable", text="decode: spread", advice="close other programs"))
    made.memory_bytes = {"peak_rss": 2**33, "torch_allocated": None}
    made.unavailable = {"torch_allocated": "no peak on cpu"}
    made.power = {"energy_j": None, "max_power_w": 300.5}
    return made


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = draft(tmp_path, prompt="深度学习是").save("complete")
    assert record.read_folder(tmp_path) == ([written], [])
    assert written.phase("decode") == written.phases[0]
    assert written.phase("prefill") is None


def test_saving_again_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    made = draft(tmp_path)
    made.save("partial", "still running")
    made.phases.append(Phase(name="generate", samples_s=(3.0,)))
    made.save("complete")
    assert os.listdir(tmp_path) == [made.path.name]
    assert [phase.name for phase in record.read(made.path).phases] == ["decode", "generate"]


def test_a_prompt_that_is_not_utf8_survives(tmp_path: Path) -> None:
    # Python hands an argument's stray byte 0xff over as the lone surrogate U+DCFF (PEP 383)
    made = draft(tmp_path, prompt="caf\udcff")
    made.save("complete")
    assert record.read(made.path).request.prompt == "caf\udcff"


def test_drafts_made_at_once_have_different_ids(tmp_path: Path) -> None:
    ids = [Draft(model="m", task="train", request=Asked(model="m", task="train"), out=tmp_path).run_id for _ in range(300)]
    assert len(set(ids)) == 300


def test_ids_sort_by_time_and_name_the_run(tmp_path: Path) -> None:
    first = draft(tmp_path).run_id
    time.sleep(0.002)
    assert first < draft(tmp_path).run_id
    assert "phi-2-generate" in first


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path, number: float) -> None:
    made = draft(tmp_path)
    made.save("partial")
    made.proof = Proof(loss_last=number)
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        made.save("complete")
    assert record.read(made.path).status == "partial"


def test_an_output_folder_that_cannot_be_made_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match=r"cannot write records to .*Not a directory; name a writable folder with --out") as error:
        draft(tmp_path / "file" / "runs")
    one_line(error)


def test_a_read_only_output_folder_is_refused_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(writing.tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(UnavailableError, match=r"cannot write records to .*Read-only file system; name a writable folder") as error:
        draft(tmp_path)
    one_line(error)


def test_a_full_disk_keeps_the_earlier_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = draft(tmp_path)
    made.save("partial", "first")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnavailableError, match=r"cannot write the record .*No space left on device; free some space") as error:
        made.save("complete")
    one_line(error)
    assert os.listdir(tmp_path) == [made.path.name]
    assert record.read(made.path).status_reason == "first"


def test_a_folder_that_vanished_is_refused_in_one_line(tmp_path: Path) -> None:
    made = draft(tmp_path / "runs")
    (tmp_path / "runs").rmdir()
    (tmp_path / "runs").touch()
    with pytest.raises(UnavailableError, match=r"cannot write the record .*Not a directory") as error:
        made.save("complete")
    one_line(error)


def test_a_record_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    made = draft(tmp_path)
    made.save("complete")
    whole = made.path.read_bytes()
    for length in range(0, len(whole), 97):
        made.path.write_bytes(whole[:length])
        with pytest.raises(BadRecordError, match="is not JSON or was cut off") as error:
            record.read(made.path)
        one_line(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is not a record of this tool"),
        ('{"loss": 1}', "is not a record of this tool"),
        ("[" * 10**6, "is not JSON or was cut off"),
        ('{"run_id": ' + "9" * 5000 + "}", "is not JSON or was cut off"),
        ('{"run_id": NaN}', "is not JSON or was cut off"),
        ('{"run_id": 1e999}', "is not JSON or was cut off"),
        ("\x00\x01", "is not JSON or was cut off"),
    ],
    ids=["a list", "another tool's", "a million brackets", "a huge integer", "NaN", "infinity", "binary"],
)
def test_foreign_and_hostile_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "foreign.json"
    path.write_text(text)
    with pytest.raises(BadRecordError, match=message) as error:
        record.read(path)
    one_line(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has record format 2; this version reads 1"),
        ({"format": "x" * 10**6}, "has record format x{20}; this version reads 1"),
        ({"surprise\nfield": 1}, "is damaged at surprise field: no field has this name"),
        ({"status": "done"}, 'is damaged at status: found "done", expected a text out of complete, partial, failed'),
        ({"created_utc": 5}, "is damaged at created_utc: found 5, expected a text"),
        ({"environment": ["linux"]}, "is damaged at environment: found a list of 1, expected an object"),
        ({"memory_bytes": {"peak_rss": "much"}}, 'is damaged at memory_bytes.peak_rss: found "much", expected a whole number'),
        ({"phases": None}, "is damaged at phases: found null, expected a list"),
        ({"phases": 3}, "is damaged at phases: found 3, expected a list"),
        ({"phases": [["decode"]]}, "is damaged at phases.0: found a list of 1, expected an object"),
        ({"phases": [{"samples_s": [1.0]}]}, "is damaged at phases.0.name: it is not there, expected a text"),
        ({"phases": [{"name": "decode", "samples_s": ["fast"]}]}, 'is damaged at phases.0.samples_s.0: found "fast", expected a number'),
        ({"phases": [{"name": "decode", "samples_s": 1.0}]}, "is damaged at phases.0.samples_s: found 1.0, expected a list"),
        ({"phases": [{"name": "decode", "samples_s": [True]}]}, "is damaged at phases.0.samples_s.0: found true, expected a number"),
        ({"request": {"model": "m"}}, "is damaged at request.task: it is not there, expected a text out of generate, prefill, decode"),
        ({"request": {"model": "m", "task": "rest"}}, 'is damaged at request.task: found "rest", expected a text out of generate'),
        (
            {"request": {"model": "m", "task": "train", "batch": 10**400}},
            "is damaged at request.batch: found a number of another size",
        ),
        ({"environment": {"device": "a toaster"}}, 'is damaged at environment.device: found "a toaster", expected an object'),
        ({"extrapolation": {"value_s": 3.0}}, "is damaged at extrapolation.phase: it is not there, expected a text"),
        ({"proof": {"params_changed": 1}}, "is damaged at proof.params_changed: found 1, expected true or false"),
        ({"learning": {"baseline_losses": {"as yesterday": "low"}}}, 'is damaged at learning.baseline_losses.as yesterday: found "low"'),
        ({"estimate": {"params": "many"}}, 'is damaged at estimate.params: found "many", expected a whole number'),
        ({"estimate": {"phases": {"decode": {"flop": 3}}}}, "is damaged at estimate.phases.decode.forward_flop: it is not there"),
        ({"estimate": {"rules": [{"phase": "decode"}]}}, "is damaged at estimate.rules.0.name: it is not there, expected a text"),
    ],
)
def test_damaged_and_newer_records_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    made = draft(tmp_path)
    made.save("complete")
    made.path.write_text(json.dumps(json.loads(made.path.read_text()) | change))
    with pytest.raises(BadRecordError, match=message) as error:
        record.read(made.path)
    assert len(one_line(error)) < 500


def test_a_missing_file_and_a_folder_without_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecordError, match=r"cannot read the record .*No such file"):
        record.read(tmp_path / "none.json")
    with pytest.raises(BadRecordError, match=r"no record folder .*make one with: python -m bench run"):
        record.read_folder(tmp_path / "none")
    with pytest.raises(BadRecordError, match=r"no readable record in .*make one with"):
        record.read_folder(tmp_path)
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BadRecordError, match=r"1 unreadable: cannot read the record .*not UTF-8 text"):
        record.read_folder(tmp_path)


def test_good_records_are_read_beside_bad_ones_oldest_first(tmp_path: Path) -> None:
    later, earlier = draft(tmp_path / "b"), draft(tmp_path / "a" / "deep")
    later.created_utc, earlier.created_utc = "2026-02-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"
    written = [earlier.save("complete"), later.save("failed", "out of memory")]
    (tmp_path / "a" / "x.json").write_text("{")
    (tmp_path / "a" / "folder.json").mkdir()  # a folder as any other
    records, problems = record.read_folder(tmp_path)
    assert records == written
    assert len(problems) == 1


ATOMIC_WRITER = """
import pathlib, sys
from bench.records.draft import Draft
from bench.records.asked import Asked
from bench.records.record import Phase
draft = Draft(model="phi-2", task="decode", request=Asked(model="phi-2", task="decode"), out=pathlib.Path(sys.argv[1]))
draft.phases.append(Phase(name="decode", samples_s=tuple(i / 7 for i in range(5000))))
draft.save("partial")
print("started", flush=True)
while True:
    draft.save("partial")
"""

CARELESS_WRITER = """
import pathlib, sys, time
file = open(pathlib.Path(sys.argv[1]) / "run.json", "w")
file.write('{"run_id": "x", "status": "partial", "request"')
file.flush()
print("started", flush=True)
time.sleep(60)
"""


def kill_a_writer(source: str, out: Path, after_s: float) -> None:
    with subprocess.Popen([sys.executable, "-c", source, str(out)], cwd=PROJECT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"started\n"
        time.sleep(after_s)
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL


def survives_kills(out: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(kills):
        kill_a_writer(ATOMIC_WRITER, out, draw.uniform(0, 0.03))
    records, problems = record.read_folder(out)
    assert problems == []
    assert len(records) == kills
    assert all(len(r.phases[0].samples_s) == 5000 for r in records)


def test_killing_fifty_writing_runs_never_leaves_a_broken_record(tmp_path: Path) -> None:
    survives_kills(tmp_path, kills=50, seed=2)


def test_the_kill_test_would_notice_a_careless_writer(tmp_path: Path) -> None:
    kill_a_writer(CARELESS_WRITER, tmp_path, after_s=0)
    with pytest.raises(BadRecordError, match=r"1 unreadable: .*was cut off"):
        record.read_folder(tmp_path)


COMMITTED = sorted((ROOT / "results").rglob("*.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=[path.stem for path in COMMITTED])
def test_a_committed_record_of_format_1_is_written_as_it_was_read(path: Path) -> None:
    body = json.loads(path.read_text())
    assert json.loads(record.read(path).to_json()) == body
    if not body["extrapolation"]:
        assert record.read(path).extrapolation is None


def test_there_are_records_of_every_task_to_read() -> None:
    assert {record.read(path).request.task for path in COMMITTED} == {*TASKS, "estimate"}


def test_what_a_later_version_adds_inside_is_passed_over_and_what_is_absent_stays_absent(tmp_path: Path) -> None:
    made = draft(tmp_path)
    made.proof = Proof(loss_first=None)
    made.save("complete")
    body = json.loads(made.path.read_text())
    made.path.write_text(json.dumps(body | {"proof": body["proof"] | {"num_angels": 7}}))
    seen = record.read(made.path).proof
    assert seen.stated() == {"loss_first": None}
    assert ("loss_first" in seen, "loss_last" in seen, seen.loss_last) == (True, False, None)


def test_a_whole_number_stays_as_it_was_written_unless_no_float_holds_it(tmp_path: Path) -> None:
    made = draft(tmp_path)
    made.power = {"energy_j": 2, "net_energy_j": 10**30}
    made.save("complete")
    power = record.read(made.path).power
    assert (power, [type(value) for value in power.values()]) == ({"energy_j": 2, "net_energy_j": 1e30}, [int, float])


def unlike(kind: type[Asked]) -> set[str]:
    """Fields of a request that a record's does not have, or has with another default."""
    required = {"model", "task", "config"}  # a record of no model's run has no configuration
    defaults = {field.name: field.default for field in dataclasses.fields(Request) if field.name not in required}
    missing = object()
    return {name for name, default in defaults.items() if getattr(kind, name, missing) != default} | (required - set(kind.__annotations__))


def test_a_record_holds_every_field_of_a_request_with_the_same_default() -> None:
    assert unlike(Asked) == set()


def test_a_field_that_the_record_forgot_or_that_means_something_else_is_found() -> None:
    class Other(Asked):
        seed = 1

    assert unlike(Other) == {"seed", "model", "task", "config"}
