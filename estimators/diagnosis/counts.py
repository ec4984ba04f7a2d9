"""FLOP of training on one item of a question's model, counted in every way that a tool or a slip counts it."""

from __future__ import annotations

from estimators.architectures.adapters import FineTuned, trained
from estimators.architectures.decoder import Decoder
from estimators.counting.conventions import step_flop, unskippable_flop, usual_convention
from estimators.counting.estimate import count_active_params, count_params
from estimators.counting.flop_by_tool import PASSES, count
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.errors import RequestError
from estimators.facts.tool_conventions import tools
from estimators.frozen import field, frozen
from estimators.method import FULL
from estimators.spec import Model, Recompute, Workload
from estimators.training.prediction import MOST_UNSEEN


@frozen
class Counts:
    """FLOP per item: per token, or per sample of a model of samples.

    Attributes:
        full, causal, hardware: this project's conventions of the model as it is trained; hardware with every layer run again.
        usual: `full`, or `causal` where that overstates.
        least: what no kernel may skip.
        all_trained: `full` as if every weight were trained; the same as `full` where all are.
        all_experts: `full` with every expert counted as used.
        by_tool: 6·N·D and what each tool counts, recomputation as the run has it, by id; empty of what no tool counts.
        printed: what the run's own tool counts where it is known and all weights are trained; `usual` else.
    """

    full: float
    causal: float
    hardware: float
    usual: float
    least: float
    all_trained: float
    all_experts: float
    printed: float
    by_tool: dict[str, float] = field(default_factory=dict, hash=False)


def counts_of(question: DiagnosisQuestion) -> Counts | None:
    """Every count of the question's model; None where the model, or the length of its sequences, is not known."""
    model, tokens = question.model, question.item_tokens
    if model is None and question.setting.forward_flop_per_sample is not None:
        return _published(question.setting.forward_flop_per_sample)
    if model is None or tokens is None:
        return None
    as_trained = trained(model, question.method)
    own, whole = _by_convention(as_trained, tokens), _by_convention(model, tokens)
    table = model.ops(Workload(phase="train", seq_len=tokens))
    unused = count_params(table) - count_active_params(table)
    overstates = own["causal"] < (1 - MOST_UNSEEN) * own["full"]
    ops = as_trained.ops(Workload(phase="train", seq_len=tokens))
    usual = own["causal"] if overstates or usual_convention(ops) == "causal" else own["full"]
    recompute: Recompute = "full" if question.setting.recompute == "full" else "none"
    by_tool = _by_tool(model, tokens, recompute) if isinstance(model, Decoder | FineTuned) else {}
    known = question.tool is not None and question.method == FULL
    return Counts(
        **own,
        usual=usual,
        printed=by_tool.get(question.tool.id, usual) if known and question.tool else usual,
        least=unskippable_flop(ops, Workload(phase="train", seq_len=tokens)) / tokens,
        all_trained=whole["full"],
        all_experts=own["full"] + 6 * unused,
        by_tool=by_tool,
    )


def _published(forward_flop: float) -> Counts:
    """Of a published forward count: a backward pass is two products for each of the forward's."""
    flop = PASSES * forward_flop
    return Counts(
        full=flop, causal=flop, hardware=flop + forward_flop, usual=flop, least=flop, all_trained=flop, all_experts=flop, printed=flop
    )


def _by_convention(model: Model, tokens: int) -> dict[str, float]:
    workload = Workload(phase="train", seq_len=tokens, recompute="full")
    return {name: flop / tokens for name, flop in step_flop(model.ops(workload), workload).items()}


def _by_tool(model: Model, tokens: int, recompute: Recompute) -> dict[str, float]:
    counted = {}
    for name, tool in tools().items():
        try:
            counted[name] = count(tool, model, tokens, recompute).flop_per_token
        except RequestError:
            continue
    return counted
