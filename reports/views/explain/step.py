"""How the cost of single steps came about."""

from __future__ import annotations

from estimators.counting.estimate import MASTER_BYTES, OPTIMIZER_STATE_BYTES
from estimators.inference.single_steps import StepsAnswer
from estimators.spec import Estimate, Hardware, Workload
from estimators.units import format_byte_rate, format_bytes, format_duration, format_flop, format_flop_rate, format_int
from reports.table import Table
from reports.views.explain.formula import FormulaStep, Input, explanation_table, params_step
from reports.views.training.step import work_text


def explain_steps(answer: StepsAnswer, *, model_option: str) -> Table:
    """Parameters, FLOP and bound of every step, and the training state.

    Args:
        model_option: the words that name the model in a command.
    """
    question, steps = answer.question, answer.steps
    model, hardware, convention = question.model, question.hardware, question.convention
    item, first = model.item, next(iter(steps.values()))[1]
    explained = [params_step(first.params, first.params_by_component, source=str(model.source), model_option=model_option)]
    for name, (workload, cost) in steps.items():
        explained.append(_flop_step(name, workload, cost, convention, item, _show(workload, item, convention, model_option)))
        if hardware:
            explained.append(_bound_step(name, workload, cost, hardware))
    if "training" in steps:
        explained.append(_state_step(steps["training"][0], first.params))
    return explanation_table(explained, what=f"one step of {model.name}{f' on {hardware.id}' if hardware else ''}")


def _show(workload: Workload, item: str, convention: str, model_option: str) -> str:
    words = [f"python -m bench show {model_option} --phase {workload.phase} --batch {workload.batch}"]
    if workload.phase == "decode":
        words.append(f"--context-len {workload.context_len}")
    elif item == "token":
        words.append(f"--seq-len {workload.seq_len}")
    return " ".join([*words, f"--dtype {workload.dtype} --convention {convention}"])


def _flop_step(name: str, workload: Workload, cost: Estimate, convention: str, item: str, check: str) -> FormulaStep:
    """FLOP of one step as forward + backward - what the convention leaves out + what it adds."""
    flop = cost.flop[convention]
    named = [("forward", cost.forward_flop, "op table: 2 · m · n · k of every product")]
    if workload.phase == "train":
        named.append(("backward", cost.backward_flop, "op table: two products for each, one where the input is data"))
    formula = " + ".join(part for part, _, _ in named)
    if cost.surplus_flop:
        formula += " - surplus"
        named.append(("surplus", cost.surplus_flop, "experts that a token is not routed to, which transformers runs for nothing"))
    other = flop - cost.flop["full"]
    if other < 0:
        formula += " - masked"
        named.append(("masked", -other, "attention that no query may see, which this convention leaves out"))
    if other > 0:
        formula += " + recomputed"
        named.append(("recomputed", other, "the layers' forward pass, which checkpointing runs again"))
    return FormulaStep(
        figure=f"{name} FLOP",
        value=flop,
        text=f"{format_flop(flop)} for {work_text(workload, item)}, counted {convention}",
        formula=formula,
        inputs=tuple(Input(symbol=part, value=value, text=f"{format_int(value)} FLOP", source=source) for part, value, source in named),
        check=check,
    )


def _bound_step(name: str, workload: Workload, cost: Estimate, hardware: Hardware) -> FormulaStep:
    assert cost.step_time_bound_s is not None
    peak = hardware.peak(workload.dtype)
    bandwidth = hardware.memory_bytes_per_s
    source = str(hardware.source)
    return FormulaStep(
        figure=f"{name} bound",
        value=cost.step_time_bound_s,
        text=f"{format_duration(cost.step_time_bound_s)}, by {cost.bound_by}",
        formula="max(F / P, B / W)",
        inputs=(
            Input(
                symbol="F",
                value=cost.min_flop,
                text=format_flop(cost.min_flop),
                source="full, less every masked pair: no kernel may skip it",
            ),
            Input(symbol="P", value=peak, text=f"{format_flop_rate(peak)}, dense {workload.dtype} peak", source=source),
            Input(
                symbol="B",
                value=cost.min_bytes,
                text=format_bytes(cost.min_bytes),
                source="op table: weights once per pass, KV cache, optimizer",
            ),
            Input(symbol="W", value=bandwidth, text=f"{format_byte_rate(bandwidth)}, memory bandwidth", source=source),
        ),
        check=f"python -m bench list hardware --match {hardware.id}",
    )


def _state_step(workload: Workload, params: int) -> FormulaStep:
    """What training holds besides activations."""
    copies = workload.dtype_bytes if workload.dtype_bytes < MASTER_BYTES else 0
    state = OPTIMIZER_STATE_BYTES[workload.optimizer]
    value = params * (2 * MASTER_BYTES + state + copies)
    return FormulaStep(
        figure="training state",
        value=value,
        text=format_bytes(value),
        formula="N · (w + g + s + c)",
        inputs=(
            Input(symbol="N", value=params, text=f"{format_int(params)} parameters", source="parameters, above"),
            Input(symbol="w", value=MASTER_BYTES, text=f"{MASTER_BYTES} bytes", source="a weight in fp32"),
            Input(symbol="g", value=MASTER_BYTES, text=f"{MASTER_BYTES} bytes", source="its gradient in fp32"),
            Input(symbol="s", value=state, text=f"{state} bytes", source=f"{workload.optimizer} state in fp32"),
            Input(symbol="c", value=copies, text=f"{copies} bytes", source=f"its {workload.dtype} copy, as torch.autocast keeps it"),
        ),
    )
