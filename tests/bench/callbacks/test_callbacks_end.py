"""What ends a watched training, and what its record says then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.callbacks import Watch, watch
from bench.records.draft import Draft
from reports.checks.crosscheck import crosscheck, failed
from tests.support.seated_ranks import seat
from tests.support.tiny_models import CEILINGS
from tests.support.watched_trainings import Training, batches, only_record, run, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")


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
        assert (made.status, made.proof.num_steps) == ("partial", 4)  # the fifth was not through
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
        assert (made.status, made.status_reason, made.proof.num_steps) == ("partial", "interrupted by the user", 2)

    def test_a_break_in_a_block_ends_a_complete_record(self, tmp_path: Path) -> None:
        model = tiny_model()
        with watch(batches(9), model, out=tmp_path, every=0, ceilings=CEILINGS) as watched:
            for number, _ in enumerate(watched):
                if number == 3:
                    break
        made = only_record(tmp_path)
        assert (made.status, made.proof.num_steps) == ("complete", 3)

    def test_so_many_steps_end_a_complete_record(self, tmp_path: Path) -> None:
        made = run(tmp_path, batches(9), steps=4)
        assert (made.status, made.proof.num_steps) == ("complete", 4)

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
        assert (made.status, made.status_reason, made.proof.num_steps) == ("failed", "ValueError: broken", 1)

    def test_a_device_that_cannot_be_read_any_more_does_not_hide_the_error(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(*_: object) -> None:
            raise RuntimeError("CUDA error: device-side assert triggered\nmore lines")

        monkeypatch.setattr("bench.callbacks.rank_state.RankState.report", lost)
        with pytest.raises(ValueError, match="broken"), Watch(tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS):
            raise ValueError("broken")
        said = "RuntimeError: CUDA error: device-side assert triggered more lines"
        assert capsys.readouterr().err == f"sixnd: writing the record failed, the training goes on: {said}\n"

    def test_one_rank_of_a_training_that_broke_off_says_that_it_is_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seat(monkeypatch, rank=0)
        watched = Watch(tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS)
        with watched.step(batches(1)[0]):
            pass
        watched.finish("partial", "interrupted by the user")
        made = only_record(tmp_path)
        assert "NotReduced" in {finding.code for finding in made.warnings}
        assert made.proof.num_tokens == 32

    def test_ranks_that_a_launcher_promised_and_did_not_start_are_missed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.writer.promised_ranks_missing", lambda _: True)
        assert "RanksMissing" in {finding.code for finding in run(tmp_path, batches(2)).warnings}

    def test_an_empty_loader_has_measured_nothing_and_fails(self, tmp_path: Path) -> None:
        for _ in watch([], tiny_model(), out=tmp_path, every=0):
            raise AssertionError("there is no batch")
        made = only_record(tmp_path)
        assert made.status == "partial"
        assert {check.metric for check in failed(crosscheck(made))} >= {"timed samples", "run ended"}

    def test_a_training_that_still_runs_has_a_record_already(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.callbacks.writer.AUTOSAVE_S", 0.0)
        model = tiny_model()
        watched = watch(batches(6), model, out=tmp_path, every=0, ceilings=CEILINGS)
        seen = []
        for _ in watched:
            watched.loss(1.0)
            seen += [json.loads(path.read_text())["status"] for path in tmp_path.glob("*.json")]
        assert seen
        assert set(seen) == {"partial"}
        assert only_record(tmp_path).status == "complete"

    def test_a_record_that_takes_long_to_write_is_written_more_rarely(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By hand: after 60 s, here at 100 s; writing takes 1 s, so that the next waits for 200 s from 101 s on: at 351 s."""
        now, saved_at_s = [0.0], []
        monkeypatch.setattr("time.monotonic", lambda: now[0])

        def save(_: Draft, status: str, reason: str) -> None:
            saved_at_s.append((status, now[0]))
            now[0] += 1.0

        monkeypatch.setattr(Draft, "save", save)
        for _ in watch(batches(8), tiny_model(), out=tmp_path, every=0, ceilings=CEILINGS):
            now[0] += 50.0
        assert [at_s for status, at_s in saved_at_s if status == "partial"] == [100.0, 351.0]
