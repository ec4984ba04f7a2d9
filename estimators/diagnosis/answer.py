"""Diagnosis: the answer to a question about one run's figures."""

from __future__ import annotations

from estimators.advice import Advice
from estimators.diagnosis.arithmetic import Check, Rate, checks, per_device, rates
from estimators.diagnosis.causes import known_peak
from estimators.diagnosis.compared import Comparison, compared
from estimators.diagnosis.counts import Counts, counts_of
from estimators.diagnosis.decoding import DecodeExpected, decode_expected, decoded_tokens_per_s
from estimators.diagnosis.evidence import Evidence, Judged, Suspected, Verdict
from estimators.diagnosis.expected import Expected, expected_of, standing
from estimators.diagnosis.observed import Missing
from estimators.diagnosis.over_time import Change, changes
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.diagnosis.slow import measured_shares
from estimators.diagnosis.verdict import judge
from estimators.facts.causes import causes
from estimators.facts.percentile import Percentile
from estimators.frozen import field, frozen
from estimators.units import format_fraction, format_ratio

MOST_SUSPECTS = 8


@frozen
class Diagnosis:
    """What a run's figures say.

    Attributes:
        judged: verdict, suspects and reason.
        checks: the figures held against one another.
        items_per_s: tokens (or samples) per second and device, of the first figures that make a rate; None where none do.
        decoded: tokens per second of all requests of a server together; None where the main figure makes no such rate.
        least: share of the dense peak that what no kernel may skip takes at that rate.
        mfu: by the usual count; None where nothing says it.
        expected, decode, comparison: what the run is held to; None for what cannot be.
        percentile: where it stands among published runs.
        changes: of its speed over the steps, where a file tells.
        missing: facts that are not there and would decide.
        suspects: as advice, the likeliest first.
    """

    question: DiagnosisQuestion
    judged: Judged
    counts: Counts | None = field(hash=False)
    checks: tuple[Check, ...]
    items_per_s: float | None
    least: float | None
    mfu: float | None
    expected: Expected | None
    decode: DecodeExpected | None
    decoded: float | None
    comparison: Comparison | None
    percentile: Percentile | None
    missing: tuple[Missing, ...]
    suspects: tuple[Advice, ...]
    changes: tuple[Change, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """One word or three."""
        return self.judged.verdict

    @property
    def cause_ids(self) -> tuple[str, ...]:
        """Of causes.csv, the likeliest first; ``none`` where nothing is wrong."""
        found = tuple(suspect.id for suspect in self.suspects)
        return found or (("none",) if self.verdict in ("NORMAL", "FAST BUT POSSIBLE") else ())

    @property
    def explained_by(self) -> tuple[str, ...]:
        """Of the causes, those with which nothing is wrong: what explains a figure that only looks odd."""
        return tuple(suspect.id for suspect in self.suspects if causes()[suspect.id].kind == "fine")

    @property
    def possible(self) -> bool:
        """Whether a machine can have produced the figure, as counted."""
        return self.verdict not in ("IMPOSSIBLE",)

    @property
    def needs_attention(self) -> bool:
        """Whether something is wrong, with the run or with its figures."""
        return self.verdict in ("IMPOSSIBLE", "MISCOUNTED", "SLOW")

    @property
    def ratio(self) -> float | None:
        """The observed rate over the predicted, or median, one."""
        if self.items_per_s is not None and self.expected is not None:
            return self.items_per_s / self.expected.middle
        if self.decode is not None and self.decode.middle and self.decoded is not None:
            return self.decoded / self.decode.middle
        return None


def diagnose(question: DiagnosisQuestion) -> Diagnosis:
    """The answer. What cannot be said is left out and named in `missing`; no device and no count of devices is assumed."""
    counts = counts_of(question)
    held = tuple(checks(question, counts))
    made = [] if question.is_decode else rates(question, counts)
    of_a_device = (per_device(each, question.num_devices) for each in made if not _is_of_a_wrong_peak(each, question))
    rate = next((each for each in of_a_device if each is not None), None)
    peak = question.peak_flop_per_s
    least = rate * counts.least / peak if rate is not None and counts is not None and peak else None
    expected = None if question.is_decode else expected_of(question, counts)
    decode = decode_expected(question) if question.is_decode else None
    decoded = decoded_tokens_per_s(question, decode.flop_per_token) if decode is not None else None
    share = _share(question)
    evidence = Evidence(
        question=question,
        counts=counts,
        checks=held,
        rate=rate,
        share=share,
        least=least,
        expected=expected,
        decode=decode,
        decoded=decoded,
        comparison=compared(question),
    )
    judged = judge(evidence)
    mfu = rate * counts.usual / peak if rate is not None and counts is not None and peak else share
    return Diagnosis(
        question=question,
        judged=judged,
        counts=counts,
        checks=held,
        items_per_s=rate,
        least=least,
        mfu=mfu,
        expected=expected,
        decode=decode,
        decoded=decoded,
        comparison=evidence.comparison,
        percentile=None if rate is None or (least or 0) > 1 else standing(question, counts, rate),
        missing=(*question.observed.missing, *_missing(question, judged, evidence)),
        suspects=_advice(judged, question),
        changes=tuple(change for series in question.observed.series[:1] for change in changes(series)),
    )


def _is_of_a_wrong_peak(rate: Rate, q: DiagnosisQuestion) -> bool:
    """Whether a rate is made of a printed utilization whose tool divides by another device's peak: it is nobody's rate."""
    figure = rate.figures[0]
    return figure.quantity == "mfu_fraction" and figure is not q.main and known_peak(q) is not None


def _share(q: DiagnosisQuestion) -> float | None:
    """Of the dense peak, what the main figure says without any count of FLOP."""
    main = q.main
    if main is None:
        return None
    if main.quantity == "mfu_fraction":
        return main.value
    if main.quantity == "flop_per_s" and q.peak_flop_per_s and (main.scope == "device" or q.num_devices):
        return main.value / q.peak_flop_per_s / (1 if main.scope == "device" else q.num_devices or 1)
    return None


def _advice(judged: Judged, q: DiagnosisQuestion) -> tuple[Advice, ...]:
    """Each cause once; behind those of the verdict what a file or a trace measured."""
    once: dict[str, Suspected] = {}
    measured = [Suspected(id=s.id, evidence=s.evidence, saves_fraction=s.saves_fraction) for s in measured_shares(q)]
    for suspect in (*judged.suspects, *measured):
        once.setdefault(suspect.id, suspect)
    return tuple(_as_advice(suspect) for suspect in list(once.values())[:MOST_SUSPECTS])


def _as_advice(suspect: Suspected) -> Advice:
    known = causes()[suspect.id]
    worth = f"a factor of {format_ratio(suspect.factor, 3)}" if suspect.factor is not None and known.kind == "miscount" else ""
    if suspect.saves_fraction is not None:
        worth = f"up to {format_fraction(suspect.saves_fraction)} of the time"
    return Advice(
        id=known.id, what=known.what, evidence=suspect.evidence, worth=worth, saves_fraction=suspect.saves_fraction, check=known.check
    )


def _missing(q: DiagnosisQuestion, judged: Judged, e: Evidence) -> list[Missing]:
    """Facts that would decide, the first of them the one that decides most; none where another run did."""
    s, main = q.setting, q.main
    found = []
    if main is None:
        return [Missing(what="a figure", why="there is nothing to judge", flag="--tokens-per-s, --mfu, --step-time or a file")]
    if e.comparison is not None and judged.verdict != "UNKNOWN":
        return []
    counted = main.quantity in ("peak_flop_per_s", "over_single_node", "reported_over_true", "requests_per_s", "tokens", "steps")
    if q.hardware is None and not (counted and judged.verdict != "UNKNOWN"):
        found.append(Missing(what="the device", why="whose peak it is a share of", flag="--hardware NAME"))
    if q.model is None and e.counts is None and not counted:
        found.append(Missing(what="the model", why="whose FLOP a token has", flag="MODEL, or --config"))
    if q.num_devices is None and main.scope == "job" and not counted and e.decode is None:
        found.append(Missing(what="the number of devices", why="which a job's figure is divided by", flag="--gpus NUM"))
    if q.model is not None and q.item_tokens is None and not q.is_decode:
        found.append(Missing(what="the length of sequences", why="on which attention depends", flag="--seq-len NUM"))
    is_said = s.micro_batch is not None and (s.accumulation is not None or q.is_decode)  # of the job, but for the number of devices
    if main.quantity in ("step_time_s", "steps_per_s") and q.sequences_per_step is None and not is_said:
        flag = "--batch NUM" if q.is_decode else "--batch NUM --grad-accum NUM, or --global-batch NUM"
        found.append(Missing(what="the batch", why="without which a step is no number of tokens", flag=flag))
    timed = any(figure.quantity in ("step_time_s", "steps_per_s", "steps") for figure in q.observed.figures)
    if timed and s.micro_batch is not None and s.accumulation is None and s.global_batch is None:
        found.append(Missing(what="the accumulation", why="micro-batches of one step", flag="--grad-accum NUM"))
    if q.is_decode and q.model is not None and q.hardware is not None and e.decode is None:
        why = f"whose next token is known here, as {q.model.name}'s is not"
        found.append(Missing(what="a model that generates", why=why, flag="MODEL"))
    if q.is_decode and main.quantity == "requests_per_s":
        found.append(Missing(what="the rate of tokens", why="as nobody said how many an answer has", flag="--tokens-per-s NUM"))
    if main.quantity == "wall_time_s" and judged.verdict == "UNKNOWN" and not _says_work(q):
        found.append(Missing(what="what was done in that time", why="without which it is no rate", flag="--tokens NUM, or --steps NUM"))
    return found


def _says_work(q: DiagnosisQuestion) -> bool:
    return any(figure.quantity in ("tokens", "samples", "steps") for figure in q.observed.figures)
