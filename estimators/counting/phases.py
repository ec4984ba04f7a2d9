"""What one step of each phase of a model costs, with the operations of the one that is looked at."""

from __future__ import annotations

from estimators.architectures.decoder import Decoder
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.spec import Case, Estimate, Model, Op, Phase, Recompute, Workload


@frozen
class PhasesQuestion:
    """The steps of a model at one size.

    Attributes:
        phase: whose operations are looked at.
        context_len: tokens that are cached before a decode step; None for seq_len, or one less where the positions end there.
        convention: with `hardware` the operations are those of a step that recomputes its activations.
    """

    model: Model
    phase: Phase
    seq_len: int
    context_len: int | None = None
    batch: int = 1
    dtype: str = "bf16"
    convention: str = "full"


@frozen
class PhasesAnswer:
    """Each phase that the model has.

    Attributes:
        workloads: what one step does.
        costs: of it, with recomputation, so that the `hardware` convention has its figure.
        ops, prediction_ops: of the phase that was asked for: the model's, and those of layers beside it that predict further tokens.
        decode_flop_by_code_path: by each way of running a decode step; empty where there is one.
    """

    question: PhasesQuestion
    workloads: dict[Phase, Workload]
    costs: dict[Phase, Estimate]
    ops: tuple[Op, ...]
    prediction_ops: tuple[Op, ...]
    decode_flop_by_code_path: dict[str, int]

    @property
    def workload(self) -> Workload:
        """Of the phase that was asked for."""
        return self.workloads[self.question.phase]

    @property
    def cost(self) -> Estimate:
        """Of the phase that was asked for."""
        return self.costs[self.question.phase]


def count_phases(question: PhasesQuestion) -> PhasesAnswer:
    """Every phase counted. Raises BadValueError where the model has no such phase."""
    model, workloads = question.model, _workloads(question)
    if question.phase not in workloads:
        raise BadValueError(f"--phase {question.phase}: {model.name} does not generate; expected one of: {', '.join(workloads)}")
    workload, decode = workloads[question.phase], workloads.get("decode")
    beside = model.prediction if isinstance(model, Decoder) else None
    return PhasesAnswer(
        question=question,
        workloads=workloads,
        costs={phase: _cost(model, replace(each, recompute="full")) for phase, each in workloads.items()},
        ops=model.ops(workload),
        prediction_ops=beside.ops(workload, model.width, model.vocab) if isinstance(model, Decoder) and beside else (),
        decode_flop_by_code_path={name: _cost(path, decode).flop["full"] for name, path in model.code_paths.items()} if decode else {},
    )


def _workloads(question: PhasesQuestion) -> dict[Phase, Workload]:
    model, seq_len, context_len = question.model, question.seq_len, question.context_len
    recompute: Recompute = "full" if question.convention == "hardware" else "none"
    sizes: dict[Phase, tuple[int, int]] = {"forward": (seq_len, 0)}
    if model.generates:
        fits = not model.positions or seq_len < model.max_positions
        default = seq_len if fits else seq_len - 1
        sizes |= {"prefill": (seq_len, 0), "decode": (1, default if context_len is None else context_len)}
    sizes["train"] = (seq_len, 0)
    return {
        phase: Workload(phase=phase, batch=question.batch, seq_len=length, context_len=context, dtype=question.dtype, recompute=recompute)
        for phase, (length, context) in sizes.items()
    }


def _cost(model: Model, workload: Workload) -> Estimate:
    return estimate(Case(model=model, workload=workload))
