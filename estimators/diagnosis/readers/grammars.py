"""Lines that training programs print: which tool's they are, and what stands in them, in which unit and of what."""

from __future__ import annotations

import re

from estimators.diagnosis.observed import Quantity, Scope
from estimators.frozen import field, frozen

N = r"(?<![\d.,])(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\d.,]*\d)"
"""A number with a decimal point; one with a decimal comma is none."""

GROUPED = r"(?<![\d.,])(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\d.,]*\d)"
"""A number as Python's ``:,`` prints it."""


def _word(text: str) -> str:
    """A text at whose beginning a word begins, said behind it: looked for as plain text, several times quicker than from every word on.

    >>> re.search(_word("mfu: "), "bf16_mfu: 4") is None, re.search(_word("mfu: "), "mfu: 4") is None
    (True, False)
    """
    return rf"{text}(?<=\b{text})"


@frozen
class Field:
    """A number of a line.

    Attributes:
        pattern: with a group ``number``.
        quantity, scope, size: what it is, of what, and its unit in base units.
        name: as printed.
        cumulative: as of a figure.
    """

    pattern: str
    quantity: Quantity
    scope: Scope
    size: float = 1.0
    name: str = ""
    cumulative: bool = False


@frozen
class Grammar:
    """The lines of one tool.

    Attributes:
        id, tool: a name, and the software that prints it.
        marks: texts of which every such line has one: looked for first.
        head: what it must match, with a group ``step``, or ``no`` step.
        fields: the most direct first.
        spoils: texts of lines after which the next reading holds evaluation or saving.
        rank: of several tools' lines in one file the lowest counts; two of rank 1 are two runs.
        notes: what is assumed of it.
        lacks: what the line does not have, and what gives it.
        about: such a line.
        evaluation: texts of like lines that are of no training.
    """

    id: str
    tool: str
    marks: tuple[str, ...]
    head: str
    fields: tuple[Field, ...]
    spoils: tuple[str, ...] = ()
    rank: int = 1
    notes: tuple[str, ...] = ()
    lacks: str = ""
    evaluation: tuple[str, ...] = ()
    about: str = ""


_BATCH = "tokens of a step: --seq-len, and --batch with --grad-accum or --global-batch"

GRAMMARS: tuple[Grammar, ...] = (
    Grammar(
        id="nanochat",
        tool="nanochat",
        marks=("tok/sec:",),
        head=rf"{_word('step ')}(?P<step>\d+)(?:/\d+)?\b",
        fields=(
            Field(pattern=rf"tok/sec: {GROUPED}", quantity="tokens_per_s", scope="job", name="tok/sec"),
            Field(pattern=rf"{_word('dt: ')}{N}ms", quantity="step_time_s", scope="job", size=1e-3, name="dt"),
            Field(pattern=rf"\b(?:bf16_)?mfu: {N}", quantity="mfu_fraction", scope="device", size=0.01, name="mfu"),
        ),
        notes=("tok/sec is the job's; before pull request 175 it left out the accumulation",),
        about="step 00090/00100 (90.00%) | loss: .. | dt: 1930.00ms | tok/sec: 67,912 | bf16_mfu: 44.18 | ..",
    ),
    Grammar(
        id="nanogpt",
        tool="nanoGPT",
        marks=("iter ",),
        head=rf"{_word('iter ')}(?P<step>\d+): loss \S+, time",
        fields=(
            Field(pattern=rf", time {N}ms", quantity="step_time_s", scope="job", size=1e-3, name="time"),
            Field(pattern=rf", mfu {N}%", quantity="mfu_fraction", scope="device", size=0.01, name="mfu"),
        ),
        spoils=(": train loss ", "saving checkpoint to"),
        notes=("time is of one iteration, all its accumulation; mfu is as printed: of 312 TFLOP/s whatever the GPU, a moving mean",),
        lacks=_BATCH,
        about="iter 90: loss 2.1000, time 1930.00ms, mfu 148.62%",
    ),
    Grammar(
        id="torchtitan",
        tool="torchtitan",
        marks=(" tps: ", " wps: "),
        head=rf"{_word('step:')}\s*(?P<step>\d+)\s",
        fields=(
            Field(pattern=rf"{_word('[tw]ps: ')}{GROUPED}", quantity="tokens_per_s", scope="device", name="tps"),
            Field(pattern=rf"{_word('tflops: ')}{GROUPED}", quantity="flop_per_s", scope="device", size=1e12, name="tflops"),
            Field(pattern=rf"{_word('mfu: ')}{N}%", quantity="mfu_fraction", scope="device", size=0.01, name="mfu"),
        ),
        evaluation=("validate step:",),
        spoils=("Saving the checkpoint",),
        notes=("tps is of one GPU, divided by tp, cp and pp",),
        about="step: 90  loss: ..  memory: 60.00GiB(75.70%)  tps: 8,489  tflops: 436.95  mfu: 44.18%",
    ),
    Grammar(
        id="megatron",
        tool="Megatron-LM",
        marks=("elapsed time per iteration", "elapsed_time_per_iteration"),
        head=rf"{_word('iteration')}\s+(?P<step>\d+)/\s*\d+ ?\|",
        fields=(
            Field(pattern=rf"tokens/s/GPU inst/harmonic mean: {N}", quantity="tokens_per_s", scope="device", name="tokens/s/GPU"),
            Field(pattern=rf"tokens per GPU \(tokens/s/GPU\): {N}", quantity="tokens_per_s", scope="device", name="tokens per GPU"),
            Field(pattern=rf"tokens per gpu per second \(tgs\): {N}", quantity="tokens_per_s", scope="device", name="tgs"),
            Field(pattern=rf"samples per second: {N}", quantity="samples_per_s", scope="job", name="samples per second"),
            Field(
                pattern=rf"elapsed.time.per.iteration \(ms\): {N}",
                quantity="step_time_s",
                scope="job",
                size=1e-3,
                name="elapsed time per iteration",
            ),
            Field(
                pattern=rf"elapsed.time.per.iteration \(s\): {N}", quantity="step_time_s", scope="job", name="elapsed time per iteration"
            ),
            Field(
                pattern=rf"throughput per GPU \(TFLOP/s/GPU\): {N}",
                quantity="flop_per_s",
                scope="device",
                size=1e12,
                name="throughput per GPU",
            ),
            Field(pattern=rf"\| TFLOPs: {N}", quantity="flop_per_s", scope="device", size=1e12, name="TFLOPs"),
        ),
        spoils=("validation loss at", "successfully saved checkpoint", "saving checkpoint at"),
        notes=("a mean over the log interval; TFLOP/s count half of the attention square since 2025, all of it before",),
        lacks=_BATCH,
        about="iteration 90/ 100 | .. | elapsed time per iteration (ms): 1930.0 | throughput per GPU (TFLOP/s/GPU): 409.6 | ..",
    ),
    Grammar(
        id="megatron-bridge",
        tool="Megatron-Bridge",
        marks=("MODEL_TFLOP/s/GPU",),
        head=r"Step Time ?:",
        fields=(
            Field(pattern=rf"Step Time ?: ?{N}s\b", quantity="step_time_s", scope="job", name="Step Time"),
            Field(
                pattern=rf"GPU utilization: {N} ?MODEL_TFLOP/s/GPU",
                quantity="flop_per_s",
                scope="device",
                size=1e12,
                name="GPU utilization",
            ),
        ),
        rank=2,
        notes=("a packed batch's real length is in no line",),
        lacks=_BATCH,
        about="Step Time : 1.93s GPU utilization: 409.6MODEL_TFLOP/s/GPU",
    ),
    Grammar(
        id="deepspeed",
        tool="DeepSpeed",
        marks=("SamplesPerSec=",),
        head=r"global_step=(?P<step>\d+)\b",
        fields=(Field(pattern=rf"CurrSamplesPerSec={N}", quantity="samples_per_s", scope="job", name="CurrSamplesPerSec"),),
        rank=3,
        notes=("samples per second are the job's; RunningAvgSamplesPerSec is a mean since the start and left out",),
        lacks="tokens of a sample: --seq-len",
        about="[timer.py:260:stop] ../global_step=90, RunningAvgSamplesPerSec=16.58, CurrSamplesPerSec=16.58, ..",
    ),
)
"""The order is that of looking; the tools' versions are named in docs/diagnose.md."""


@frozen
class Fact:
    """Something of the configuration that a log's first lines say.

    Attributes:
        mark: text that every such line has.
        pattern: with the groups that `fields` names.
        fields: group -> field of a setting; ``peak`` is no setting, and becomes a figure.
    """

    mark: str
    pattern: str
    fields: dict[str, str] = field(default_factory=dict, hash=False)


FACTS: tuple[Fact, ...] = (
    Fact(mark="capacity: ", pattern=r"\bCUDA capacity: (?P<name>[^,|]{3,60}?) with ", fields={"name": "hardware"}),
    Fact(mark="computing MFU", pattern=rf"Peak FLOPS used for computing MFU: {N}", fields={"number": "peak"}),
    Fact(mark="Peak FLOPS (BF16)", pattern=r"\bGPU: (?P<name>[^|]{3,60}?) \| Peak", fields={"name": "hardware"}),
    Fact(mark="Peak FLOPS (BF16)", pattern=rf"Peak FLOPS \(BF16\): {N}", fields={"number": "peak"}),
    Fact(
        mark="with local batch size",
        pattern=r"local batch size (?P<micro>\d+), global batch size (?P<all>\d+)(?:, gradient accumulation steps (?P<passes>\d+))?"
        r"(?:, sequence length (?P<length>\d+))?",
        fields={"micro": "micro_batch", "all": "global_batch", "passes": "accumulation", "length": "seq_len"},
    ),
    Fact(
        mark="Tokens / micro-batch / rank",
        pattern=r"rank: (?P<micro>\d+) x (?P<length>\d+) =",
        fields={"micro": "micro_batch", "length": "seq_len"},
    ),
    Fact(mark="gradient accumulation steps:", pattern=r"gradient accumulation steps: (?P<passes>\d+)", fields={"passes": "accumulation"}),
    Fact(
        mark="Instantaneous batch size per device",
        pattern=r"batch size per device = (?P<micro>[\d,]+)",
        fields={"micro": "micro_batch"},
    ),
    Fact(mark="Total train batch size", pattern=r"Total train batch size [^=]*= (?P<all>[\d,]+)", fields={"all": "global_batch"}),
    Fact(mark="Gradient Accumulation steps", pattern=r"Accumulation steps = (?P<passes>[\d,]+)", fields={"passes": "accumulation"}),
    Fact(mark="global batch size:", pattern=r"global batch size:\s+(?P<all>\d+) \|", fields={"all": "global_batch"}),
)

DOTTED = re.compile(r"(?:^|\s)(?P<name>[a-z_]+) \.{3,} (?P<value>\w+)\s*$")
"""Arguments as Megatron and DeepSpeed print them: ``seq_length ................ 4096``."""

ARGUMENTS = {
    "seq_length": "seq_len",
    "world_size": "num_devices",
    "micro_batch_size": "micro_batch",
    "train_micro_batch_size_per_gpu": "micro_batch",
    "global_batch_size": "global_batch",
    "train_batch_size": "global_batch",
    "gradient_accumulation_steps": "accumulation",
    "tensor_model_parallel_size": "tp",
    "pipeline_model_parallel_size": "pp",
    "context_parallel_size": "cp",
    "expert_model_parallel_size": "ep",
    "recompute_granularity": "recompute",
}
