"""The parts of a step as a trace tells them, and the parts of a predicted step that stand for each."""

from __future__ import annotations

from collections.abc import Mapping

from estimators.diagnosis.traces import names
from estimators.diagnosis.traces.trace import Trace
from estimators.training.prediction import Prediction

LOADING, EXPOSED, IDLE = "data loading", "exposed communication", "idle"

SAID = {
    names.MATMUL: "matrix products",
    names.COMMUNICATION: EXPOSED,
    names.COPY: "copies",
    names.OTHER: "other kernels",
    names.HOST: "dispatch",
}
"""What a class is called as a part; its own name where none stands here."""

PREDICTED: Mapping[str, tuple[str, ...]] = {
    "matrix products": ("matmul", "experts", "head", "recompute", "dequantise"),
    names.ATTENTION: ("attention",),
    names.ELEMENTWISE: ("traffic", "adapters", "accumulate"),
    names.OPTIMIZER: ("optimizer",),
    EXPOSED: ("tensor_comm", "expert_comm", "context_comm", "pipeline_comm", "data_comm"),
    IDLE: ("launch", "bubble", "imbalance", "step", "straggle"),
}
"""Parts of training.step.PARTS that a part of a trace is held to: all of them, each once. Recomputation is mostly products."""


def parts_of(trace: Trace) -> dict[str, float]:
    """Seconds of the mean step by part, the device's work first; they sum to it. Of a trace without steps, of all that it has."""
    number = max(1, trace.num_steps)
    parts = {SAID.get(name, name): time_s / number for name, time_s in trace.alone_s.items() if time_s > 0}
    waits = {LOADING: trace.waiting_s, IDLE: max(0.0, trace.idle_s - trace.waiting_s)}
    return parts | {name: time_s / number for name, time_s in waits.items() if time_s > 0}


def predicted_parts(prediction: Prediction) -> dict[str, float]:
    """Seconds of a predicted step by the same parts."""
    return {name: float(sum(prediction.ledger.parts[part] for part in held)) for name, held in PREDICTED.items()}
