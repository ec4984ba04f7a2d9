"""A soak: thousands of steps on two ranks while disks fill, streams break, meters raise, and ranks are killed.

Every training ends as its unwatched twin: exit codes, losses and weights to the bit. Faults are drawn from a seed that is printed:
SOAK_SEED takes one, SOAK_STEPS the steps of each training, SOAK_KINDS some of the kinds of loop.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench.records import record
from estimators.errors import SixndError
from tests.support.soak_faults import ENDS, METERS, OTHERS, Fault, Job, meter
from tests.support.soaked_loops import KINDS
from tests.support.soaked_ranks import Ended, run

STEPS = int(os.environ.get("SOAK_STEPS", "5000"))

TIMEOUT_S = 180.0
"""Between two losses: a training that takes longer hangs."""

NEEDS = {"lightning": "lightning", "trainer": "transformers", "accelerate": "accelerate"}

Both = tuple[Ended, Ended]


def drawn(random_: random.Random, kind: str, steps: int, end: str | None) -> Job:
    """A training that faults strike, and one of ENDS, or none, ends: early as often as late, by the logarithm of the step."""
    launched = random_.random() < 0.5
    faults = []
    for what in random_.sample(OTHERS, len(OTHERS)):
        is_other_stderr = "stderr" in what and any("stderr" in fault.what for fault in faults)
        if not is_other_stderr and (end is None or random_.random() < 0.5):
            at = random_.randrange(steps)
            rank, until, meter = random_.randrange(2), at + random_.randrange(1, steps), random_.choice(METERS)
            faults.append(Fault(what, rank, at, until if what == "disk" else 0, meter if what == "meter" else ""))
    if end is not None:
        faults.append(Fault(end, random_.randrange(2), int(steps ** random_.random()) - 1))
    return Job(kind, steps, None, tuple(faults), launched)


def wrongs(job: Job, twin: Both, watched: Both) -> list[str]:
    """What a watched training did otherwise than its twin, or left behind."""
    found = []
    for rank, (alone, seen) in enumerate(zip(twin, watched, strict=True)):
        if seen.hung and not alone.hung:
            found.append(f"rank {rank} hung")
        for name in ("code", "losses", "parameters"):
            if getattr(alone, name) != getattr(seen, name):
                found.append(f"rank {rank}: another {name}")
        said = Counter(line.partition(", the training goes on")[0] for line in seen.said.splitlines() if line.startswith("sixnd: "))
        found += [f"rank {rank} said {times} times: {line}" for line, times in said.items() if times > 1]
    assert job.out is not None
    paths = list(Path(job.out).iterdir())
    found += [f"left behind: {path.name}" for path in paths if path.suffix != ".json" and path.name != "out"]
    records = [path for path in paths if path.suffix == ".json"]
    for path in records:
        try:
            made = record.read(path)
        except SixndError as error:
            found.append(f"a broken record: {error}")
            continue
        steps = {row.rank: row.num_steps for row in made.proof.watched.ranks}
        found += [f"rank {rank} has {steps[rank]} steps" for rank in steps if steps[rank] > job.steps]
    if not records and not any("record failed" in ended.said for ended in watched) and not job_has(job, "stderr"):
        found.append("neither a record nor a word of it")
    return found


def job_has(job: Job, what: str) -> bool:
    return any(fault.what.startswith(what) for fault in job.faults)


def soak(jobs: list[Job], out: Path, timeout_s: float = TIMEOUT_S) -> list[str]:
    """What was wrong with each job, all of them run unwatched and watched."""
    pairs = [each for number, job in enumerate(jobs) for each in (job, replace(job, out=str(out / str(number))))]
    for each in pairs:
        if each.out is not None:
            Path(each.out).mkdir(parents=True)
    found, ends = [], run(pairs, timeout_s)
    for job, twin, watched in zip(pairs[1::2], ends, ends, strict=True):
        print(f"{job.kind}, launched {job.launched}: {job.faults}")
        told = wrongs(job, twin, watched)
        found += [f"{wrong}; {job}" for wrong in told]
        for who, ends_of in (("alone", twin), ("watched", watched)):
            for rank, ended in enumerate(ends_of):
                print(f"{who}, rank {rank}: exit {ended.code}, {len(ended.losses)} losses", *([ended.said[-2000:]] if told else []))
        print(*told, sep="\n")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", os.environ.get("SOAK_KINDS", ",".join(KINDS)).split(","))
def test_whatever_strikes_its_ranks_a_training_ends_as_its_unwatched_twin(kind: str, tmp_path: Path) -> None:
    if kind in NEEDS and importlib.util.find_spec(NEEDS[kind]) is None:
        pytest.skip(f"{NEEDS[kind]} is an optional dependency")
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(2**32))
    begun_s, random_ = time.monotonic(), random.Random(f"{seed} {kind}")
    jobs = [drawn(random_, kind, STEPS, end) for end in (None, *ENDS)]
    print(f"SOAK_SEED={seed} {kind}: {len(jobs)} trainings of {STEPS} steps")
    found = soak(jobs, tmp_path)
    faults = Counter(fault.what for job in jobs for fault in job.faults)
    print(f"{kind}: {len(found)} wrong, {time.monotonic() - begun_s:.0f} s, faults: {dict(faults)}")
    assert found == []


@pytest.mark.parametrize("name", METERS)
def test_every_meter_that_is_broken_is_one(name: str) -> None:
    assert callable(getattr(*meter(name)))


def test_a_short_training_whose_meter_raises_and_whose_disk_is_full_ends_as_its_twin(tmp_path: Path) -> None:
    meter = Fault("meter", 0, 30, meter="bench.callbacks.watcher.scalar_loss")
    assert soak([Job("plain", 60, None, (meter, Fault("disk", 0, 20, 50)))], tmp_path, timeout_s=60.0) == []
    (path,) = (tmp_path / "0").iterdir()
    made = record.read(path)
    assert (made.status, [row.num_steps for row in made.proof.watched.ranks]) == ("complete", [60, 60])
    assert made.unavailable["loss"] == "BrokenMeterError: a meter"


WELL = Ended(0, ["0x1.0p+0"], "parameters 12", "")

VIOLATIONS: dict[str, tuple[Ended, str]] = {
    "another code": (replace(WELL, code=1), "rank 0: another code"),
    "another loss": (replace(WELL, losses=["0x1.1p+0"]), "rank 0: another losses"),
    "other weights": (replace(WELL, parameters="parameters 13"), "rank 0: another parameters"),
    "a hang": (replace(WELL, hung=True), "rank 0 hung"),
    "a word twice": (replace(WELL, said="sixnd: x failed, the training goes on: a\nsixnd: x failed, the training goes on: b\n"), "2 times"),
}


class TestWhatIsWrong:
    @pytest.mark.parametrize("name", VIOLATIONS)
    def test_a_training_that_ended_otherwise_is_seen(self, name: str, tmp_path: Path) -> None:
        ended, word = VIOLATIONS[name]
        job = Job("plain", 1, str(tmp_path), (Fault("stderr closed", 0, 0),))
        assert wrongs(job, (WELL, WELL), (WELL, WELL)) == []
        (found,) = wrongs(job, (WELL, WELL), (ended, WELL))
        assert word in found

    @pytest.mark.parametrize(("name", "word"), [("a.json", "a broken record"), (".a.json.1.tmp", "left behind"), (".try-1", "left behind")])
    def test_a_file_that_is_no_record_is_seen(self, name: str, word: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text(json.dumps({"schema": 1})[:9])
        (found,) = wrongs(Job("plain", 1, str(tmp_path), (Fault("stderr closed", 0, 0),)), (WELL, WELL), (WELL, WELL))
        assert word in found

    def test_no_record_and_no_word_is_seen(self, tmp_path: Path) -> None:
        assert wrongs(Job("plain", 1, str(tmp_path)), (WELL, WELL), (WELL, WELL)) == ["neither a record nor a word of it"]
