"""Measurement, and reading it from its JSON file; bench.records.draft writes it.

Format history
    1  first version. Later records may hold more fields inside, such as `estimate.local`, the step predicted from a
       calibration, and the calibration's own kinds of ceiling; earlier readers pass over them.

A record holds the whole request, the environment, raw samples and the estimate made before the run; statistics
and checks are computed when it is read.
"""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from bench.records import typed_json
from bench.records.asked import Asked
from bench.records.environment import Environment
from bench.records.estimated import Estimated
from bench.records.extrapolation import Extrapolation
from bench.records.learning import Learning
from bench.records.proof import Proof
from bench.records.typed_json import MeasuredSeconds, OneOf
from estimators import text_file
from estimators.errors import BadRecordError, DamagedRecordError

FORMAT = 1
TIMING_METHOD = 1
STATUSES = ("complete", "partial", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Raw times of one thing that was repeated.

    Attributes:
        name: load, first, prefill, decode, generate, forward, train_step, epoch.
        samples_s: every timed sample, in order; never filtered.
        warmup_s: samples before the steady state, kept apart.
        items_per_sample: tokens or samples that one timed sample processes.
        item: token, image, audio second, example or sample; step where the size of a watched batch is not known.
        context_lens: per sample, where it varies (decode steps).
        clock: host or device-event.
        stopped_by: count, time, target, interrupt.
        settled: whether the warm-up reached a steady state; None where it was not judged.
        calls_per_sample: calls that one steady sample is the mean of; samples are in seconds per call.
    """

    name: str
    samples_s: tuple[MeasuredSeconds, ...]
    warmup_s: tuple[MeasuredSeconds, ...] = ()
    items_per_sample: int = 1
    item: str = "token"
    context_lens: tuple[int, ...] = ()
    clock: str = "host"
    stopped_by: str = "count"
    settled: bool | None = None
    calls_per_sample: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One quantity by one route.

    Attributes:
        quantity: params, forward_flop, backward_flop, training_flop, prefill_flop, decode_flop, generation_flop.
        route: op table, torch meta, fvcore x2, Trainer rule, 6ND, 2ND, PaLM, ...
        value: exact integer where the route gives one; None where unavailable, and then `reason` says why.
        tag: counted, derived, estimated, published, unavailable.
        unseen: operators that the route could not see.
    """

    quantity: str
    route: str
    value: int | float | None
    tag: str
    reason: str = ""
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """A rate measured on this machine.

    Attributes:
        kind: matmul or bandwidth, just before the run; with " after" behind it after the run, of one that was predicted; with " again"
            after one that passed it, longer; others as a calibration names them.
        value: FLOP/s or bytes/s, of the median sample; of " again" of the fastest.
        dtype, shape: what ran.
        samples_s, work: raw times and the FLOP or bytes of one sample.
    """

    kind: str
    value: float
    dtype: str
    shape: str
    samples_s: tuple[MeasuredSeconds, ...]
    work: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something the reader of a record should know, with advice.

    Attributes:
        code: Unstable, NeverSettled, ClockTooCoarse, Throttled, DeviceShared, CeilingLow, ...
    """

    code: str
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run of one case.

    Attributes:
        run_id: file name without ending; sortable by time, unique across processes.
        status: complete, partial (interrupted; says why in status_reason) or failed.
        request: everything that was asked for, and what was decided.
        environment: machine, driver, versions, commit, argv.
        phases, counts, ceilings: see their classes.
        memory_bytes: by instrument (peak_rss, torch_allocated, torch_reserved); None with a reason in `unavailable`.
        power: what the power meter read over the timed phases, by name with its unit.
        proof: loss first and last, whether every trained tensor changed, tokens generated.
        learning: train and held-out loss, and what else a trained model reports.
        extrapolation: from slices at two depths to the full depth; None, and empty in the file, where the whole model ran.
        estimate: what arithmetic said before the run.
        unavailable: figure name to the reason why it is not there.
    """

    run_id: str
    created_utc: str
    status: Annotated[str, OneOf(STATUSES)]
    request: Asked
    status_reason: str = ""
    environment: Environment = field(default_factory=Environment)
    phases: tuple[Phase, ...] = ()
    counts: tuple[Count, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    memory_bytes: dict[str, int | None] = field(default_factory=dict)
    power: dict[str, float | None] = field(default_factory=dict)
    proof: Proof = field(default_factory=Proof)
    learning: Learning = field(default_factory=Learning)
    extrapolation: Extrapolation | None = None
    estimate: Estimated = field(default_factory=Estimated)
    warnings: tuple[Finding, ...] = ()
    unavailable: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT
    timing_method: int = TIMING_METHOD

    def phase(self, name: str) -> Phase | None:
        """The phase of that name, if it was measured."""
        return next((p for p in self.phases if p.name == name), None)

    def to_json(self) -> str:
        """The record's text. Raises ValueError on NaN or infinity: a record never holds them."""
        return typed_json.dumps(typed_json.plain(self) | {"extrapolation": typed_json.plain(self.extrapolation) or {}})


def read(path: Path) -> Measurement:
    """Read one record.

    Raises:
        BadRecordError: not there, not JSON, not a record, or of a newer format; one line says which and what to do.
        DamagedRecordError: so far as can be told a record, but cut off, of another format, or with something inside that none can hold.
    """
    try:
        text = text_file.read(path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecordError(f"cannot read the record {str(path)!r}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    try:
        body = typed_json.loads(text)
    except typed_json.MisfitError as error:
        raise DamagedRecordError(f"{str(path)!r} is damaged at {error}; delete it or restore a copy") from None
    except (ValueError, RecursionError):
        kind = DamagedRecordError if '"run_id"' in text else BadRecordError
        raise kind(f"{str(path)!r} is not JSON or was cut off; expected a record written by `python -m bench run`") from None
    if not isinstance(body, dict) or not {"run_id", "status", "request", "format"} <= body.keys():
        raise BadRecordError(f"{str(path)!r} is not a record of this tool (no run_id, status, request, format); move it out of the folder")
    if body["format"] != FORMAT:
        raise DamagedRecordError(
            f"{str(path)!r} has record format {str(body['format'])[:20]}; this version reads {FORMAT}: use the version that wrote it"
        )
    try:
        return typed_json.build(Measurement, body | {"extrapolation": body.get("extrapolation") or None})
    except typed_json.MisfitError as error:
        raise DamagedRecordError(f"{str(path)!r} is damaged at {' '.join(str(error).split())[:200]}; delete it or restore a copy") from None


def files_below(folder: Path, pattern: str) -> list[Path]:
    """The files in a folder and below it whose names match, in order; a folder that may not be read, or goes meanwhile, holds none."""
    return sorted(Path(place, name) for place, _, names in os.walk(folder) for name in fnmatch.filter(names, pattern))


def read_folder(folder: Path, *, all_sound: bool = False) -> tuple[list[Measurement], list[str]]:
    """Every record below a folder, oldest first, and one line per file that could not be read.

    Args:
        all_sound: whether a damaged record is an error, as a gate needs, and not left out; other files are left out in any case.

    Raises:
        BadRecordError: the folder is not there or holds no record at all.
        DamagedRecordError: a record is damaged, where all must be sound.
    """
    if not os.path.isdir(folder):  # of a name that no system can have, pathlib raises in place of saying no
        if os.path.exists(folder):
            return [read(folder)], []
        raise BadRecordError(f"no record folder {str(folder)!r}; make one with: python -m bench run --model linreg-1d --out {folder}")
    records, problems = [], []
    for path in files_below(folder, "*.json"):
        if path.is_fifo():
            problems.append(f"{str(path)!r} is a pipe and no record; move it out of the folder")
            continue
        try:
            records.append(read(path))
        except BadRecordError as error:
            if all_sound and isinstance(error, DamagedRecordError):
                raise
            problems.append(str(error))
    if not records:
        detail = f" ({len(problems)} unreadable: {problems[0]})" if problems else ""
        raise BadRecordError(
            f"no readable record in {str(folder)!r}{detail}; make one with: python -m bench run --model linreg-1d --out {folder}"
        )
    return sorted(records, key=lambda r: (r.created_utc, r.run_id)), problems
