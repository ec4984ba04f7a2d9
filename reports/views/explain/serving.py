"""How the figures of a served model came about: memory, tokens of cache, a step, rates by Little's law, the price."""

from __future__ import annotations

from estimators.serving.answer import ServeAnswer
from estimators.serving.curve import Curve, Point
from estimators.units import format_bytes, format_duration, format_int, format_rate
from reports.table import Table
from reports.views.explain.formula import FormulaStep, Input, explanation_table

BUDGET_FORMULAS = {
    "all": "fraction · memory - weights - activations - outside",
    "weights and cache": "fraction · (memory - outside) - weights",
    "rest": "fraction · (memory - weights - activations - outside)",
}
"""What an engine's fraction is of -> what is left for its cache."""


def explain_serving(answer: ServeAnswer) -> Table:
    """Weights, cache and its tokens; at the point that the answer is of, a step, its rates and the price."""
    steps = [_weights(answer)]
    if not answer.budget.is_measured:
        steps.append(_cache(answer))
    if answer.budget.cache.is_linear and answer.budget.kv_bytes > 0:
        steps.append(_tokens(answer))
    if (point := answer.shown) is not None:
        steps += [_step(answer, point), _between(answer, point), _requests(answer, point), *_price(answer, point)]
    d = answer.question.deployment
    return explanation_table(steps, what=f"{d.model.name} served on {d.num_devices} x {d.hardware.id}")


def _bytes(symbol: str, value: float, source: str) -> Input:
    return Input(symbol=symbol, value=value, text=format_bytes(value), source=source)


def _weights(answer: ServeAnswer) -> FormulaStep:
    parts = answer.budget.weights
    d = answer.question.deployment
    cut = f"op table of {d.model.source}, {d.weights}, on one of tp={d.tp}, pp={d.pp}, dp={d.dp}, ep={d.ep}"
    return FormulaStep(
        figure="weights of a device",
        value=answer.budget.weights_bytes,
        text=format_bytes(answer.budget.weights_bytes),
        formula=" + ".join(parts),
        inputs=tuple(_bytes(name, size, cut if i == 0 else "likewise") for i, (name, size) in enumerate(parts.items())),
    )


def _cache(answer: ServeAnswer) -> FormulaStep:
    found, d = answer.budget, answer.question.deployment
    formula = BUDGET_FORMULAS[d.engine.fraction_of]
    given = "given by --memory-fraction" if d.memory_fraction else f"default of {d.engine.id}: {d.engine.source}"
    inputs = [
        Input(symbol="fraction", value=d.fraction, text=f"{d.fraction:g}", source=given),
        _bytes("memory", d.hardware.memory_bytes, str(d.hardware.source)),
        _bytes("weights", found.weights_bytes, "above"),
        _bytes("activations", found.activations_bytes, "of the largest step, or the sampler's copies of logits, the greater"),
        _bytes("outside", found.outside_bytes, "measured start-ups: serving_memory.csv"),
    ]
    return FormulaStep(
        figure="cache of a device",
        value=found.kv_bytes,
        text=format_bytes(found.kv_bytes),
        formula=formula,
        inputs=tuple(i for i in inputs if i.symbol in formula),
    )


def _tokens(answer: ServeAnswer) -> FormulaStep:
    found = answer.budget
    return FormulaStep(
        figure="tokens of cache",
        value=found.kv_tokens,
        text=f"{format_int(found.kv_tokens)} tokens",
        formula="cache // (block · token) · block · groups",
        inputs=(
            _bytes("cache", found.kv_bytes, "above" if not found.is_measured else "given by --kv-blocks"),
            Input(symbol="block", value=found.block_tokens, text=f"{found.block_tokens} tokens", source="block of the engine"),
            _bytes("token", found.cache.token_bytes, "keys and values of the device's layers and heads"),
            Input(symbol="groups", value=found.groups, text=str(found.groups), source="groups of attention, each with a cache"),
        ),
    )


def _step(answer: ServeAnswer, point: Point) -> FormulaStep:
    asked, load = answer.question, point.load
    context = asked.input_tokens + asked.output_tokens / 2
    time = Curve(asked, answer.budget).decode_step(load)
    parts = {name.removesuffix("_s"): float(seconds) for name, seconds in time.parts.items() if float(seconds)}
    said = f"{load.running:.4g} sequences decode, {context:.4g} tokens in the cache of each"
    return FormulaStep(
        figure="a step that decodes",
        value=float(time.total_s),
        text=format_duration(float(time.total_s)),
        formula=" + ".join(parts),
        inputs=tuple(
            Input(symbol=name, value=seconds, text=format_duration(seconds), source=said if i == 0 else "the same step")
            for i, (name, seconds) in enumerate(parts.items())
        ),
    )


def _between(answer: ServeAnswer, point: Point) -> FormulaStep:
    speculation, load = answer.question.deployment.speculation, point.load
    accepted = speculation.accepted_len if speculation else 1.0
    share, step_s = float(load.prompt_share), float(load.step_s)
    return FormulaStep(
        figure="time between tokens (ITL)",
        value=float(load.itl_s),
        text=format_duration(float(load.itl_s)),
        formula="step / (1 - prompts) / accepted",
        inputs=(
            Input(symbol="step", value=step_s, text=format_duration(step_s), source="above"),
            Input(symbol="prompts", value=share, text=f"{share:.3g}", source="of the time, what reading prompts adds"),
            Input(symbol="accepted", value=accepted, text=f"{accepted:g}", source="tokens of a step; 1 without speculation"),
        ),
    )


def _requests(answer: ServeAnswer, point: Point) -> FormulaStep:
    load, output = point.load, answer.question.output_tokens
    return FormulaStep(
        figure="output tokens/s of a replica",
        value=float(load.output_tokens_per_s),
        text=f"{format_rate(float(load.output_tokens_per_s))} tokens/s",
        formula="users / whole · output",
        inputs=(
            Input(symbol="users", value=load.users, text=format_int(load.users), source="in flight, Little's law"),
            Input(
                symbol="whole",
                value=float(load.e2e_s),
                text=format_duration(float(load.e2e_s)),
                source="TTFT by steps + (output - 1) · ITL",
            ),
            Input(symbol="output", value=output, text=format_int(output), source="given by --output"),
        ),
    )


def _price(answer: ServeAnswer, point: Point) -> list[FormulaStep]:
    asked = answer.question
    if asked.rent is None or point.price is None:
        return []
    return [
        FormulaStep(
            figure="dollars per million output tokens",
            value=point.price.output_usd,
            text=f"${point.price.output_usd:.2f}",
            formula="price · gpus / (rate · 3600 · utilization) · 1000000",
            inputs=(
                Input(symbol="price", value=asked.rent.median, text=f"${asked.rent.median:.2f} per GPU-hour", source=asked.rent.source),
                Input(symbol="gpus", value=point.num_gpus, text=str(point.num_gpus), source="of a replica"),
                Input(symbol="rate", value=float(point.load.output_tokens_per_s), text="output tokens/s", source="above"),
                Input(symbol="utilization", value=asked.utilization, text=f"{asked.utilization:g}", source="of the time at this load"),
            ),
        )
    ]
