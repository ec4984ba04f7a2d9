"""Which format a file is of, by what stands in it; its reader; and what each format holds, and does not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from estimators.diagnosis.observed import Observed
from estimators.diagnosis.readers.grammars import GRAMMARS
from estimators.diagnosis.readers.json_lines import JsonLines
from estimators.diagnosis.readers.lines import MAX_HEAD, JsonPieces, Lines, head, json_object
from estimators.diagnosis.readers.own_record import observed_in_record
from estimators.diagnosis.readers.tables import MetricsTable, is_header
from estimators.diagnosis.readers.text_log import NothingKnownError, TextLog
from estimators.diagnosis.readers.trainer_state import TrainerState
from estimators.errors import BadValueError
from estimators.frozen import frozen


@frozen
class Format:
    """A kind of file.

    Attributes:
        file: as people call it.
        key: a line or key by which it is known.
        says: unit and scope of what is taken.
        lacks: what it does not hold, and what would write it.
    """

    file: str
    key: str
    says: str
    lacks: str


FORMATS: dict[str, Format] = {
    "trainer-state": Format(
        file="trainer_state.json of transformers' Trainer, TRL",
        key="log_history[]: train_runtime, train_samples_per_second, num_input_tokens_seen",
        says="samples, steps and tokens of the job; of the whole run, or between logs where tokens are counted",
        lacks="GPUs: --gpus; a time in mid-run: include_num_input_tokens_seen",
    ),
    "trainer-prints": Format(
        file="stdout of a Trainer, axolotl",
        key="{'loss': .., 'tokens/train_per_sec_per_gpu': 8489.14}",
        says="axolotl: loss tokens of one GPU; else as trainer_state.json",
        lacks="steps: trainer_state.json has them",
    ),
    "llama-factory": Format(
        file="trainer_log.jsonl of LLaMA-Factory",
        key="current_steps, elapsed_time, throughput, total_tokens",
        says="tokens of the job between logs; throughput is a mean since the start",
        lacks="GPUs: --gpus; tokens: include_num_input_tokens_seen",
    ),
    "ms-swift": Format(
        file="logging.jsonl of ms-swift",
        key="global_step/max_steps, train_speed(s/it)",
        says="seconds a step of the optimizer, between logs",
        lacks="tokens of a step: --seq-len, --batch, --grad-accum",
    ),
    "lightning": Format(
        file="metrics.csv of Lightning's CSVLogger",
        key="a header with step and epoch; device/items_per_sec, device/batches_per_sec",
        says="items of one GPU, over the monitor's window",
        lacks="any time: callbacks=[ThroughputMonitor(...)]",
    ),
    "metrics": Format(
        file="JSON lines or CSV of Composer, llm-foundry, torchtitan, nanochat",
        key="throughput/device/tokens_per_sec, throughput(tps), train/tok_per_sec",
        says="as the name says: device is one GPU",
        lacks="--gpus where the job's rate alone is there",
    ),
    "wandb": Format(
        file="a CSV export of Weights & Biases, one run",
        key='"Step","RUN - METRIC","RUN - METRIC__MIN",..',
        says="as the metric's name says",
        lacks="steps between its 500 points",
    ),
    **{
        grammar.id: Format(
            file=f"{grammar.tool}'s log",
            key=grammar.about,
            says=", ".join(
                dict.fromkeys(
                    f"{field.name}: {'of one GPU' if field.scope == 'device' else 'of the job'}"
                    for field in grammar.fields
                    if field.name in grammar.about
                )
            ),
            lacks=grammar.lacks,
        )
        for grammar in GRAMMARS
    },
    "tqdm": Format(
        file="a progress bar of tqdm in any log",
        key="90/100 [02:53<00:19,  1.93s/it]",
        says="seconds a step, of the bar that ran the longest",
        lacks="tokens of a step: --seq-len, --batch, --grad-accum",
    ),
    "trace": Format(
        file="a trace of torch.profiler, .json or .json.gz",
        key="traceEvents, deviceProperties; ProfilerStep#N",
        says="microseconds of one rank: busy, idle, loading, exposed communication, kinds of kernels",
        lacks="tokens of a step: --model, --seq-len, --batch, --grad-accum",
    ),
    "record": Format(
        file="a record of this tool",
        key="run_id, request, phases",
        says="samples of its training steps",
        lacks="",
    ),
}
"""By a short name."""

READS = (
    "trainer_state.json, LLaMA-Factory's trainer_log.jsonl, ms-swift's logging.jsonl, metrics.csv of Lightning, JSON lines of Composer, "
    "W&B's CSV, logs of axolotl, nanoGPT, nanochat, torchtitan, Megatron, Bridge, DeepSpeed or tqdm, traces of torch.profiler, "
    "and this tool's records"
)
"""In a line."""

DOCUMENTS: dict[str, str] = {"log_history": "trainer-state", "phases": "record", "traceEvents": "trace"}
"""Top-level names by which a JSON document is known."""


def observed_in(path: str) -> Observed:
    """What a file says of a run; recognised by what stands in it, never by its name.

    Raises:
        UnavailableError: it cannot be read.
        BadValueError: no format that is known, or one that cannot be read as one run; one line.
        BadRecordError: a record of this tool without a training.
    """
    begins = head(path)
    first = next((line for line in begins.splitlines() if line.strip()), "")
    if not first:
        raise BadValueError(f"{path!r} is empty, or blank for its first {MAX_HEAD:,} characters; expected {READS}")
    try:
        return _reader(first, begins)(path)
    except NothingKnownError:
        raise BadValueError(
            f"{path!r} holds nothing that is known of a training (it begins {first.strip()[:40]!r}); read are {READS}"
        ) from None


def _reader(first: str, begins: str) -> Callable[[str], Observed]:
    if begins.lstrip().startswith("{") and not first.lstrip().startswith("{'"):
        row = json_object(first)
        alone = row is not None and not set(DOCUMENTS) & set(row)
        return (lambda path: JsonLines(Lines(path)).observed()) if alone else _document
    if is_header(first) and "{" not in first:
        return lambda path: MetricsTable(Lines(path)).observed()
    return lambda path: TextLog(Lines(path)).observed()


def _document(path: str) -> Observed:
    kind = next((DOCUMENTS[name] for name, _ in islice(JsonPieces(path), MOST_VALUES) if name in DOCUMENTS), "")
    if kind == "trainer-state":
        return TrainerState(JsonPieces(path)).observed()
    if kind == "record":
        record: dict[str, Any] = {}
        for name, value in islice(JsonPieces(path), MOST_VALUES):
            if name == "phases":
                record.setdefault(name, []).append(value)
            elif name in ("request", "environment", "run_id", "proof", "power"):
                record[name] = value
        return observed_in_record(path, record)
    if not kind:
        return JsonLines(Lines(path)).observed()
    from estimators.diagnosis.traces.observe import observed_in_trace  # numpy, which no other reader takes

    return observed_in_trace(path)


MOST_VALUES = 1_000_000
"""Of a JSON document in which its kind is looked for."""
