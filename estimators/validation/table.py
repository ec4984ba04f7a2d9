"""Tables of measured rows: known sets of columns, every cell checked; a malformed line is a row that says why it cannot be read."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence

from estimators import text_file
from estimators.errors import BadValueError
from estimators.facts import data
from estimators.frozen import field, frozen

THROUGHPUT_COLUMNS = (
    *("id", "group", "model", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "seq_len", "hardware_id", "n_gpus"),
    *("tp", "pp", "cp", "dp", "ep", "vp", "fsdp", "mbs", "gbs_seqs", "precision", "recompute"),
    *("iteration_time_s", "tokens_per_s_per_gpu", "tflops_per_gpu", "confidence", "notes"),
)
SINGLE_NODE_COLUMNS = (
    *("id", "num_gpus", "global_batch", "micro_batch", "hidden", "heads", "layers", "seq_len", "tp", "dp", "pp", "iteration_time_ms"),
)
MEMORY_COLUMNS = (
    *("id", "model", "layers", "gpu", "n_gpus", "tp", "pp", "dp", "cp", "ep", "zero", "seq_len", "mbs", "num_micro_batches"),
    *("precision", "recompute", "iteration_time_ms", "allocated_gib"),
)
KINDS: dict[str, tuple[str, ...]] = {"throughput": THROUGHPUT_COLUMNS, "single_node": SINGLE_NODE_COLUMNS, "memory": MEMORY_COLUMNS}
"""Columns that a table of each kind must have. Others are kept; `stack`, `cluster` and `network_bytes_per_s` among them say what the
row's group would."""


MOST = 10**15
"""The largest number that any column may hold: a run of tokens; beyond it a cell is a mistake."""


class LeftOutError(Exception):
    """A row that cannot be read or predicted; the message says why."""


@frozen
class Record:
    """One line of a table: its kind, its place, and its cells as text; an empty cell is missing.

    Attributes:
        broken: why the line has no cells, such as a wrong number of them; empty where it has.
    """

    kind: str
    line: int
    path: str
    cells: Mapping[str, str] = field(hash=False)
    broken: str = ""

    @property
    def id(self) -> str:
        """The row's name, or the line that it stands in."""
        return self.text("id") or self.text("name") or f"line {self.line}"

    def text(self, column: str) -> str:
        """A cell, empty where it or its column is missing."""
        return self.cells.get(column, "") or ""

    def number(self, column: str, default: float | None = None) -> float | None:
        """A non-negative number, or the default where the cell is empty. Raises LeftOutError, naming the column."""
        cell = self.text(column)
        if not cell:
            return default
        try:
            value = float(cell)
        except ValueError:
            value = -1.0
        if not 0 <= value <= MOST:
            raise self.fail(column, "a number from 0")
        return value

    def whole(self, column: str, default: int | None = None) -> int | None:
        """A whole number from 1, or the default where the cell is empty. Raises LeftOutError."""
        value = self.number(column)
        if value is None:
            return default
        if value != int(value) or value < 1:
            raise self.fail(column, "a whole number from 1")
        return int(value)

    def needed(self, column: str) -> int:
        """A whole number that must be there. Raises LeftOutError."""
        value = self.whole(column)
        if value is None:
            raise self.fail(column, "a whole number from 1")
        return value

    def fail(self, column: str, expected: str) -> LeftOutError:
        """The error to raise for one cell."""
        return LeftOutError(f"{column} is {self.text(column)[:60]!r}; expected {expected}")


TUNING = "tuning"
"""The kind of a table of fine-tunings: memory by its meter, and the time of a step."""
TUNING_COLUMNS = (
    *(
        "id",
        "group",
        "framework",
        "model",
        "method",
        "lora_rank",
        "lora_targets",
        "weight_format",
        "optimizer",
        "micro_batch",
        "grad_accum",
    ),
    *("seq_len", "seq_kind", "mean_tokens", "checkpointing", "hardware_id", "n_gpus", "parallel", "memory_gib", "memory_meter", "oom"),
    *("step_time_s", "samples_per_s", "tokens_per_s", "tokens_scope"),
)

KERNELS = "loss kernels"
"""The kind of a table of single loss kernels: the peak of one, forward and backward."""
KERNEL_COLUMNS = ("id", "kernel", "provider", "x_name", "x_value", "memory_mib", "config")

ROLLOUTS = "rollouts"
"""The kind of a table of steps of reinforcement learning, with their phases where those are printed."""
ROLLOUT_COLUMNS = (
    *("id", "group", "algorithm", "model", "hardware_id", "n_gpus", "placement", "mean_seq_len", "rollouts_per_step", "train_batch"),
    *("gen_tp", "step_time_s", "gen_s", "old_log_prob_s", "ref_log_prob_s", "update_s"),
)

SERVING = "serving"
"""The kind of a table of served models: latencies of static batches, closed loops and saturated replicas."""
SERVING_COLUMNS = (
    *(
        "id",
        "source",
        "engine",
        "version",
        "model",
        "sixnd_model",
        "gpu",
        "hardware_id",
        "num_gpus",
        "tp",
        "pp",
        "ep",
        "dp",
        "weights",
        "kv",
    ),
    *("input_len", "output_len", "load", "concurrency", "batch", "ttft_s", "itl_s", "itl_stat", "e2e_s", "energy_j_per_output_token"),
    *("speculative", "date", "confidence"),
)

INFERENCE = "inference"
"""The kind of a table of prefills, decode steps and whole generations, mostly of single batches."""
INFERENCE_COLUMNS = (
    *("id", "group", "model", "params", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "gpu", "n_gpus", "tp", "pp", "framework"),
    *("precision", "batch", "input_len", "output_len", "concurrency", "prefill_ms", "ttft_ms", "decode_ms_per_token", "total_latency_ms"),
    *("output_tokens_per_s", "throughput_scope", "metric_definition", "confidence"),
)

SERVING_KV = "serving_kv"
"""The kind of a table of what engines print of their caches when they start."""
SERVING_KV_COLUMNS = (
    *("id", "source", "engine", "model", "layers", "kv_heads", "head_dim", "mla_latent", "kv_bytes_per_element", "tp", "block_tokens"),
    *("printed_blocks", "printed_tokens", "printed_memory", "memory_unit", "relation", "verdict"),
)
SERVED = (SERVING, INFERENCE, SERVING_KV)
"""Kinds of served models."""

DIAGNOSIS = "diagnosis"
"""The kind of a table of runs whose speed is asked about, with or without the right answers beside them."""
DIAGNOSIS_COLUMNS = (
    *("id", "kind", "source", "question", "model", "registry_model", "config", "gpu", "hardware_id", "num_gpus", "quantity", "value"),
    *("unit", "scope", "seq_len", "batch", "precision", "layout", "framework"),
)

RUNS = "runs"
"""The kind of a table of whole training runs, in which no single step is timed."""
RUN_COLUMNS = (
    *("name", "params_active", "layers", "hidden", "heads", "ffn", "vocab", "seq_len", "tokens"),
    *("gpu", "n_gpus", "gpu_hours", "wall_days", "precision"),
)


def shipped_serving() -> tuple[str, str, str]:
    """Paths of the tables of served models that ship."""
    return data.file("measured", "serving.csv"), data.file("measured", "inference.csv"), data.file("measured", "serving_kv.csv")


def shipped_diagnoses() -> str:
    """Path of the table of labelled diagnoses that ships."""
    return data.file("measured", "diagnose_cases.csv")


def shipped_runs() -> str:
    """Path of the table of whole runs that ships."""
    return data.file("measured", "runs.csv")


def shipped_tuning() -> str:
    """Path of the table of fine-tunings that ships."""
    return data.file("measured", "tuning.csv")


def shipped_kernels() -> str:
    """Path of the table of loss kernels that ships."""
    return data.file("measured", "loss_kernels.csv")


def shipped_rollouts() -> str:
    """Path of the table of steps of reinforcement learning that ships."""
    return data.file("measured", "rollouts.csv")


def shipped() -> dict[str, str]:
    """Kind -> path of the tables of training steps that ship."""
    return {kind: data.file("measured", f"{kind}.csv") for kind in KINDS}


def read_table(path: str) -> list[Record]:
    """Every row of a table of a known kind, told by its columns. A line that is no row of it is a record that says why.

    Raises:
        BadValueError: not there, not text, no known set of columns, no row below them; one line.
    """
    try:
        found = list(_records(path, csv.reader(io.StringIO(text_file.read(path, errors="replace"), newline=""))))
    except OSError as error:
        raise BadValueError(f"cannot read {path!r}: {error.strerror}; expected a CSV file of measured rows") from None
    except csv.Error as error:
        raise BadValueError(f"{path!r} is no CSV text ({error}); expected a CSV file of measured rows") from None
    if not found:
        raise BadValueError(f"{os.path.basename(path)} has a header and no rows; expected measured rows below it")
    return found


def _records(path: str, lines: Iterator[Sequence[str]]) -> Iterator[Record]:
    name = os.path.basename(path)
    header = next(lines, None)
    if not header:
        raise BadValueError(f"{name} is empty; expected a header and measured rows")
    header = [cell.strip() for cell in header]
    kind = _kind(name, header)
    for line, (cells, broken) in enumerate(_lines(lines), start=2):
        if not cells and not broken:
            continue
        if not broken and len(cells) != len(header):
            broken = f"{len(cells)} cells; expected {len(header)}, as in the header"
        yield Record(
            kind=kind, line=line, path=path, cells=dict(zip(header, (cell.strip() for cell in cells), strict=False)), broken=broken
        )


def _lines(lines: Iterator[Sequence[str]]) -> Iterator[tuple[Sequence[str], str]]:
    """Cells of each line, or why they cannot be told apart."""
    while True:
        try:
            yield next(lines), ""
        except StopIteration:
            return
        except csv.Error as error:
            yield (), f"no line of CSV: {error}"


def _kind(name: str, header: Sequence[str]) -> str:
    have = set(header)
    if any("\ufffd" in column for column in header):
        raise BadValueError(f"{name} is no CSV text; expected a CSV file of measured rows")
    kinds = KINDS | {RUNS: RUN_COLUMNS, TUNING: TUNING_COLUMNS, KERNELS: KERNEL_COLUMNS, ROLLOUTS: ROLLOUT_COLUMNS}
    kinds |= {SERVING: SERVING_COLUMNS, INFERENCE: INFERENCE_COLUMNS, SERVING_KV: SERVING_KV_COLUMNS, DIAGNOSIS: DIAGNOSIS_COLUMNS}
    for kind, columns in kinds.items():
        if have >= set(columns):
            return kind
    kind, missing = min(((kind, sorted(set(columns) - have)) for kind, columns in kinds.items()), key=lambda pair: len(pair[1]))
    raise BadValueError(
        f"{name} lacks the columns {', '.join(missing[:8])} of a {kind} table; expected those of a shipped table, "
        "see python -m bench list measured"
    )
