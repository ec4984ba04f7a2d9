"""``trainer_state.json`` of transformers' Trainer, and of what is built on it (TRL, axolotl): steps, losses, and few times."""

from __future__ import annotations

from typing import Any

from estimators.diagnosis.observed import Figure, Missing, Observed, Setting
from estimators.diagnosis.readers.lines import JsonPieces, number
from estimators.diagnosis.readers.metrics import WHOLE_RUN, Metrics
from estimators.diagnosis.readers.readings import digits_of, skipped
from estimators.diagnosis.readers.windows import Windows

COUNTS_TOKENS = Missing(
    what="the tokens of the run",
    why="without which samples are no tokens",
    flag="include_num_input_tokens_seen=non_padding of TrainingArguments, or --seq-len",
)
NO_TIME = Missing(
    what="any time",
    why="a checkpoint in the middle of a run has none",
    flag="include_num_input_tokens_seen=non_padding of TrainingArguments, or the state that is saved at the end",
)
UNREAD_TIME = Missing(
    what="the time of the run",
    why="as its train_runtime is no time",
    flag="--wall-time TIME, what the whole run took",
)
CAUTIONS = (
    "samples, steps and tokens are the job's; the number of GPUs is in no field",
    "num_input_tokens_seen may count padding (all) or not (non_padding), and under tensor parallelism each token once per rank",
)


class TrainerState:
    """What one file says."""

    def __init__(self, pieces: JsonPieces) -> None:
        self.pieces = pieces
        self.top: dict[str, float] = {}
        self.metrics = Metrics()
        self.tokens = Windows("tokens_per_s", "tokens between two logs of trainer_state.json")
        self.entries = self.evaluations = self.broken = 0
        self.runtime_s: float | None = None
        self.runtime_unread = False
        self.runtime_digits = 0
        self.logged_tokens: float | None = None
        for name, value in pieces:
            self._take(name, value)

    def _take(self, name: str, value: Any) -> None:
        if name != "log_history":
            if (found := number(value)) is not None:
                self.top[name] = found
            return
        if not isinstance(value, dict):
            self.broken += 1
            return
        self.entries += 1
        if any(str(key).startswith("eval_") for key in value):
            self.evaluations += 1
            return
        step = number(value.get("step"))
        seen = number(value.get("num_input_tokens_seen")) or number(value.get("num_tokens"))
        runtime = number(value.get("train_runtime"))
        self.runtime_unread |= "train_runtime" in value and not (runtime and runtime > 0)
        if runtime is not None and runtime > 0:
            self.runtime_s, self.runtime_digits = runtime, digits_of(value["train_runtime"])
            if seen is not None and step is not None and "train_loss" not in value:
                self.tokens.take(int(step), seen, runtime)
        self.logged_tokens = seen or self.logged_tokens
        self.metrics.take(value, None)

    def observed(self) -> Observed:
        """The figures: tokens between logs where they are, else of the whole run."""
        plain = self.metrics.observed("")
        seen = self.top.get("num_input_tokens_seen") or self.logged_tokens
        windows = self.tokens.course.figure()
        figures: list[Figure] = []
        if windows is not None:
            figures.append(windows)
        elif seen and self.runtime_s:
            how = f"{seen:,.0f} tokens over train_runtime of trainer_state.json"
            rate = seen / self.runtime_s
            figures.append(Figure(quantity="tokens_per_s", value=rate, source=how, digits=self.runtime_digits, includes=WHOLE_RUN))
        figures += [f for f in plain.figures if f.quantity != "tokens_per_s" and (windows is None or f.quantity == "step_time_s")]
        missing = () if any(f.quantity == "tokens_per_s" for f in figures) else (self._missing(bool(figures)),)
        if self.runtime_unread and seen and missing:
            figures.append(Figure(quantity="tokens", value=seen, source="num_input_tokens_seen of trainer_state.json"))
        series = self.tokens.course.series()
        micro = self.top.get("train_batch_size")
        setting = Setting(software="transformers", micro_batch=int(micro) if micro and 1 <= micro < 2**31 else None)
        return Observed(
            figures=tuple(figures),
            setting=setting,
            series=(series,) if series else plain.series,
            skipped=(
                *skipped("logs of an evaluation", self.evaluations),
                *self.tokens.skipped,
                *skipped("logs that could not be read", self.broken + self.pieces.broken),
                *skipped("end of the file", int(self.pieces.cut), "it is cut: what stands before it was read"),
            ),
            missing=missing,
            read=f"trainer_state.json, {self.entries:,} logs, {self.top.get('global_step', 0):,.0f} steps",
            notes=(*CAUTIONS[: 2 if seen else 1], *self._whole_run(windows is None and self.runtime_s is not None), *self._total_flos()),
        )

    def _missing(self, has_figures: bool) -> Missing:
        """What keeps the file from saying tokens per second."""
        if self.runtime_unread:
            return UNREAD_TIME
        return COUNTS_TOKENS if has_figures else NO_TIME

    def _whole_run(self, is_whole: bool) -> tuple[str, ...]:
        return ("rates are of the whole run: first steps, evaluation and saving are in them",) if is_whole else ()

    def _total_flos(self) -> tuple[str, ...]:
        flop = self.top.get("total_flos")
        if not flop:
            return ()
        return (f"total_flos of {flop:.4g} is 6·N·tokens: no attention, frozen weights as trained, every expert; it is not judged",)
